"""Which tools of the organisation's servers an answer may use, now."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from folkmoot.kit.app import App
from folkmoot.tools.offer import Offer


async def chosen(app: App, tenant_id: UUID, space_id: UUID, tool_ids: Sequence[UUID]) -> list[Offer]:
    """Those of `tool_ids` that the organisation and the space still allow, and whose server is there."""
    if not tool_ids:
        return []
    raise NotImplementedError(app, tenant_id, space_id)
