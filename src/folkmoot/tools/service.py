"""Tool servers of an organisation, and what they list. Whoever talks to one: `servers.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType
from sqlalchemy import delete, select
from uuid_utils.compat import uuid7

from folkmoot.ai.guard import storable
from folkmoot.classification.service import DataClassService
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotFound, changed_at_once
from folkmoot.kit.paging import check_match
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.tools.config import merged, seal
from folkmoot.tools.line import ServerFailed
from folkmoot.tools.models import Tool, ToolServer
from folkmoot.tools.schemas import RefreshOut, RefusedTool, ToolServerCreate, ToolServerOut, ToolServerUpdate
from folkmoot.tools.servers import Offered, ToolServers
from folkmoot.tools.sound import Listed

MOST_KEPT = 1_000
"""Tools of one server, with those that it does not list any more."""


class ToolServerService:
    """Use cases of administrators, within the tenant of the work."""

    def __init__(self, app: App, work: Work) -> None:
        self._app, self._work = app, work
        self._servers = app.part(ToolServers)

    async def get(self, server_id: UUID) -> ToolServer:
        """Raises `NotFound`."""
        found = await self._work.session.scalar(select(ToolServer).where(ToolServer.id == server_id))
        if found is None:
            raise NotFound("there is no such tool server")
        return found

    async def every(self) -> Sequence[ToolServer]:
        """All of them, by name."""
        return (await self._work.session.scalars(select(ToolServer).order_by(ToolServer.name, ToolServer.id))).all()

    async def tools(self, server_id: UUID) -> Sequence[Tool]:
        """All that a server lists or has listed, by name."""
        await self.get(server_id)
        query = select(Tool).where(Tool.server_id == server_id).order_by(Tool.name, Tool.id)
        return (await self._work.session.scalars(query)).all()

    async def create(self, data: ToolServerCreate, config: dict[str, Any]) -> ToolServer:
        """Raises `NotFound` for a class that is not there, `Conflict` (`already-exists`) for a name that is taken."""
        await self.check_class(data.clearance_id)
        tenant_id, server_id = self._work.principal.tenant, uuid7()
        server = ToolServer(
            id=server_id,
            tenant_id=tenant_id,
            name=data.name,
            kind=data.kind,
            config=await seal(self._app.keyring, tenant_id, server_id, config),
            country=data.country,
            clearance_id=data.clearance_id,
        )
        self._work.session.add(server)
        await self._work.session.flush()
        self._record("tool_server.created", server)
        return server

    async def configured(self, server: ToolServer, data: ToolServerUpdate) -> dict[str, Any] | None:
        """The whole configuration that a change leads to; None if it stays. Raises `ValidationFailed`."""
        if data.config is UNSET:
            return None
        before = await self.stored(server)
        after = merged(server.kind, data.config, before, self._servers.commands)
        return None if after == before else after

    async def update(
        self, before: ToolServer, data: ToolServerUpdate, config: dict[str, Any] | None, if_match: str | None
    ) -> ToolServer:
        """Change a server; `config` is the whole configuration, where it changes (`configured`).

        `before` is what that was made from. Raises `Conflict` (`try-again`) if somebody changed it since, and `Stale`.
        """
        server = await self.get(before.id)
        check_match(if_match, server.revision)
        if config is not None and server.config != before.config:
            raise changed_at_once()
        await self.check_class(data.clearance_id)
        changed = patch(server, data, leave=("config",))
        if config is not None:
            server.config = await seal(self._app.keyring, server.tenant_id, server.id, config)
            changed.append("config")
        if changed:
            await self._work.session.flush()
            self._record("tool_server.updated", server, fields=changed)
        return server

    async def delete(self, server_id: UUID) -> None:
        """Remove a server with its tools, from every space; assistants that name them go on without."""
        server = await self.get(server_id)
        self._record("tool_server.deleted", server)
        await self._work.session.execute(delete(ToolServer).where(ToolServer.id == server.id))

    async def stored(self, server: ToolServer) -> dict[str, Any]:
        """The configuration with its secrets; empty if it cannot be opened any more."""
        try:
            return await self._servers.config_of(server)
        except ServerFailed:
            return {}

    async def shown(self, server: ToolServer) -> ToolServerOut:
        """With its secrets masked."""
        return ToolServerOut.of(server, await self.stored(server))

    async def check_class(self, class_id: UUID | UnsetType | None) -> None:
        """Raises `NotFound` for a class that is not there."""
        if isinstance(class_id, UUID):
            await DataClassService(self._work).get(class_id)

    async def note_failure(self, server_id: UUID, error: ServerFailed) -> RefreshOut:
        """Keep that a server could not be asked. What is known of its tools stays."""
        server = await self.get(server_id)
        server.checked_at, server.check_code = datetime.now(UTC), error.code
        server.check_message = storable(str(error))[:1000]
        await self._work.session.flush()
        self._record("tool_server.refreshed", server, ok=False, code=error.code)
        return RefreshOut(
            ok=False, code=error.code, message=server.check_message, new=[], changed=[], gone=[], refused=[]
        )

    async def note_tools(self, server_id: UUID, offered: Offered) -> RefreshOut:
        """Keep what a server lists. What is new is off; what is another than it was is off again."""
        server = await self.get(server_id)
        known = {tool.name: tool for tool in await self.tools(server_id)}
        listed = {tool.name: tool for tool in offered.tools}
        new = [name for name in listed if name not in known]
        gone = [name for name, tool in known.items() if name not in listed and tool.offered]
        for name in new:
            self._work.session.add(_taken(Tool(tenant_id=server.tenant_id, server_id=server.id), listed[name]))
        for name in gone:
            known[name].offered = False
        changed = [name for name, tool in listed.items() if name in known and self._renewed(server, known[name], tool)]
        refused = [RefusedTool(name=storable(name)[:200], reason=reason) for name, reason in offered.refused[:100]]
        message = f"this works: {len(listed)} tools"
        message += f", and {len(offered.refused)} that cannot be taken" if offered.refused else ""
        message += f"; it lists more than the {len(listed) + len(offered.refused)} that are looked at" * offered.more
        server.checked_at, server.check_code, server.check_message = datetime.now(UTC), "", ""
        await self._work.session.flush()
        if len(known) + len(new) > MOST_KEPT:
            left = delete(Tool).where(Tool.server_id == server.id, ~Tool.offered, ~Tool.enabled)
            await self._work.session.execute(left)
        told = {"ok": True, "new": len(new), "changed": len(changed), "gone": len(gone), "refused": len(refused)}
        self._record("tool_server.refreshed", server, **told)
        return RefreshOut(ok=True, code=None, message=message, new=new, changed=changed, gone=gone, refused=refused)

    def _renewed(self, server: ToolServer, row: Tool, tool: Listed) -> bool:
        """Whether it is another than it was."""
        row.offered = True
        fields = ("title", "description", "parameters", "hints")
        changed = [name for name in fields if getattr(row, name) != getattr(tool, name)]
        if not changed:
            return False
        _taken(row, tool)
        if row.enabled:
            # Somebody looked at what it was before, and switched that on.
            row.enabled, row.approval, row.changed_at = False, "always", datetime.now(UTC)
            told = {"name": row.name, "server": server.name, "server_id": str(server.id), "fields": changed}
            self._work.record("tool.changed", "tool", row.id, data=told)
        return True

    def _record(self, action: str, server: ToolServer, **data: Any) -> None:
        told = {
            "name": server.name,
            "kind": server.kind,
            "enabled": server.enabled,
            "country": server.country,
            "clearance_id": str(server.clearance_id) if server.clearance_id else None,
        }
        self._work.record(action, "tool_server", server.id, data=told | data)


def _taken(row: Tool, tool: Listed) -> Tool:
    row.name, row.title, row.description = tool.name, tool.title, tool.description
    row.parameters, row.hints = tool.parameters, tool.hints
    return row
