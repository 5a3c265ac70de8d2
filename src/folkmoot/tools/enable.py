"""Which tools may be used where: switched on for the organisation, chosen for a space, given to an assistant.

Each step chooses among what the one above allows. What is taken back above is gone below at once, since each answer
asks all three (`chosen.py`); what was chosen below is kept, for the day on which it is given again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Select, and_, delete, select

from folkmoot.ai.catalogue import with_classes
from folkmoot.ai.route import Snapshot
from folkmoot.kit.access import Access, SpaceKind, space_access
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.paging import check_match
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.spaces.models import Space
from folkmoot.spaces.service import SpaceService
from folkmoot.tools.chosen import blocked
from folkmoot.tools.models import SpaceTool, Tool, ToolServer
from folkmoot.tools.schemas import SpaceToolOut, ToolUpdate


class ToolService:
    """Use cases around single tools, within the tenant of the work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def get(self, tool_id: UUID) -> Tool:
        """Raises `NotFound`."""
        found = await self._work.session.scalar(select(Tool).where(Tool.id == tool_id))
        if found is None:
            raise NotFound("there is no such tool")
        return found

    async def update(self, tool_id: UUID, data: ToolUpdate, if_match: str | None) -> Tool:
        """Switch a tool on or off for the organisation, and say whether its calls are approved.

        Raises `Stale` if `if_match` is of an older revision: the server may have changed it since somebody looked. And
        `Conflict` (`tool-not-offered`) for one that its server does not list any more.
        """
        tool = await self.get(tool_id)
        check_match(if_match, tool.revision)
        if data.enabled is True and not tool.offered:
            raise Conflict("its server does not list this tool any more: refresh the server", code="tool-not-offered")
        changed = patch(tool, data)
        if tool.enabled:
            tool.changed_at = None
        if changed:
            await self._work.session.flush()
            told = {"name": tool.name, "server_id": str(tool.server_id), "fields": changed}
            self._work.record(
                "tool.updated", "tool", tool.id, data=told | {"enabled": tool.enabled, "approval": tool.approval}
            )
        return tool

    async def of_space(self, space_id: UUID, models: Snapshot) -> list[SpaceToolOut]:
        """The tools that are chosen for a space; for those who may choose, also those that could be."""
        spaces = SpaceService(self._work)
        space, role = await spaces.get(space_id, Access.READ)
        choosing = _choosing(space) in space_access(space.kind, role) and space.kind != SpaceKind.ORGANISATION
        query = _switched_on().add_columns(SpaceTool.id)
        here = and_(SpaceTool.tool_id == Tool.id, SpaceTool.space_id == space_id)
        rows = await self._work.session.execute(
            query.outerjoin(SpaceTool, here).order_by(ToolServer.name, Tool.name, Tool.id)
        )
        models = await with_classes(self._work, models, [space.data_class_id])
        text = models.text_of([space.data_class_id])
        return [
            SpaceToolOut(
                id=tool.id,
                server=server.name,
                name=tool.name,
                title=tool.title or tool.name,
                description=tool.description,
                approval=tool.approval,
                chosen=chosen is not None,
                blocked=blocked(server, models, text),
            )
            for tool, server, chosen in rows
            if choosing or chosen is not None
        ]

    async def choose(self, space_id: UUID, tool_ids: Collection[UUID]) -> None:
        """Say which tools assistants of a space may be given. Raises `NotFound` for one that is not switched on."""
        spaces = SpaceService(self._work)
        space, role = await spaces.get(space_id, Access.READ)
        if space.kind == SpaceKind.ORGANISATION:
            raise NotFound("the organisation space holds no assistants, and so no tools: choose them in another space")
        spaces.check(space.kind, (role,), _choosing(space), "space")
        wanted = set(tool_ids)
        there = set(
            await self._work.session.scalars(_switched_on().with_only_columns(Tool.id).where(Tool.id.in_(wanted)))
        )
        if wanted - there:
            raise NotFound("there is no such tool, or it is not switched on for the organisation")
        before = set(await self._work.session.scalars(select(SpaceTool.tool_id).where(SpaceTool.space_id == space_id)))
        if before == wanted:
            return
        gone = delete(SpaceTool).where(SpaceTool.space_id == space_id, SpaceTool.tool_id.in_(before - wanted))
        await self._work.session.execute(gone)
        for tool_id in sorted(wanted - before):
            self._work.session.add(SpaceTool(tenant_id=space.tenant_id, space_id=space_id, tool_id=tool_id))
        await self._work.session.flush()
        told = {"added": _sorted(wanted - before), "removed": _sorted(before - wanted)}
        self._work.record("space.tools_chosen", "space", space_id, space_id=space_id, data=told)

    async def check_in_space(self, tool_ids: Sequence[UUID], space_id: UUID) -> None:
        """Raises `NotFound` unless each of these is switched on and chosen for the space."""
        wanted = set(tool_ids)
        if not wanted:
            return
        here = and_(SpaceTool.tool_id == Tool.id, SpaceTool.space_id == space_id)
        query = _switched_on().with_only_columns(Tool.id).join(SpaceTool, here).where(Tool.id.in_(wanted))
        if wanted - set(await self._work.session.scalars(query)):
            raise NotFound("there is no such tool in this space: `GET /spaces/{id}/tools` lists those that may be used")


def _switched_on() -> Select[Tool, ToolServer]:
    return (
        select(Tool, ToolServer)
        .join(ToolServer, ToolServer.id == Tool.server_id)
        .where(Tool.enabled, Tool.offered, ToolServer.enabled)
    )


def _choosing(space: Space) -> Access:
    """Nobody manages a personal space; what its assistants use is its owner's to say."""
    return Access.EDIT if space.kind == SpaceKind.PERSONAL else Access.MANAGE


def _sorted(ids: Collection[UUID]) -> list[str]:
    return sorted(str(one) for one in ids)
