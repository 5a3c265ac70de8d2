"""Entering the calls whose process died."""

from __future__ import annotations

from uuid import UUID

from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep
from folkmoot.usage.settle import settle_expired


@sweep
async def settle_for_the_dead(app: App, tenant_id: UUID) -> None:
    """Their reservations stand for what they may have spent."""
    await settle_expired(app.sessions, tenant_id)
