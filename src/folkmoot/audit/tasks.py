"""Sealing new events."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.exc import DBAPIError

from folkmoot.audit.seal import LogBroken, seal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep
from folkmoot.kit.log import get_logger

log = get_logger(__name__)


@sweep
async def seal_events(app: App, tenant_id: UUID) -> None:
    """A log that somebody broke must not keep the others from being sealed."""
    try:
        await seal(app, tenant_id)
    except (LogBroken, DBAPIError) as error:
        log.error("audit.not_sealed", tenant_id=str(tenant_id), error=str(error))
