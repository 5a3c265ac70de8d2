"""Which tools of the organisation's servers an answer may use, now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from folkmoot_sdk import ToolSpec
from sqlalchemy import and_, bindparam, select

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.policy import Level, Standing, why_not
from folkmoot.ai.route import Snapshot
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.kit.log import get_logger
from folkmoot.spaces.models import Space
from folkmoot.tools.line import ServerFailed
from folkmoot.tools.models import SpaceTool, Tool, ToolServer
from folkmoot.tools.offer import CALL_SECONDS, Offer, Outcome
from folkmoot.tools.servers import ToolServers
from folkmoot.tools.sound import called

log = get_logger(__name__)
MOST_OFFERED = 100
"""Tools that one answer's model is told of; models take some 128."""
USABLE = (
    select(Tool, ToolServer, Space.data_class_id)
    .join(ToolServer, ToolServer.id == Tool.server_id)
    .join(SpaceTool, and_(SpaceTool.tool_id == Tool.id, SpaceTool.space_id == bindparam("space")))
    .join(Space, Space.id == SpaceTool.space_id)
    .where(Tool.id.in_(bindparam("tools", expanding=True)), Tool.enabled, Tool.offered, ToolServer.enabled)
    .order_by(Tool.id)
)
"""Allowed by the organisation and by the space; built once."""
PLAIN = {
    "too-slow": "gave no answer in time",
    "too-large": "answered with more than is taken",
    "unauthorised": "does not let us in",
    "access-denied": "does not let us do this",
    "rate-limited": "asks for patience",
    "bad-answer": "gave an answer that makes no sense",
    "server-error": "failed",
}
"""For those who ask; what is said to administrators is in the log."""
GONE = "this tool may not be used here any more: go on without it"


def blocked(server: ToolServer, models: Snapshot, text: Sequence[Level]) -> str | None:
    """Why text of these classes may not go to a server, for people; None if it may."""
    clearance = models.levels.get(server.clearance_id) if server.clearance_id is not None else None
    return why_not(Standing(in_process=False, clearance=clearance, country=server.country), text)


async def chosen(
    app: App, tenant_id: UUID, space_id: UUID, tool_ids: Sequence[UUID], class_ids: Iterable[UUID | None]
) -> list[Offer]:
    """Those of `tool_ids` that the organisation and the space allow now, and whose server may see this text.

    `class_ids` are of all the text that the answer is made from: a model may put any of it into a call.
    """
    if not tool_ids:
        return []
    found = await _Chosen(app, tenant_id, space_id, tuple(class_ids)).usable(tool_ids)
    return [offer for _, _, offer in found[:MOST_OFFERED]]


class _Chosen:
    """One answer's."""

    def __init__(self, app: App, tenant_id: UUID, space_id: UUID, class_ids: tuple[UUID | None, ...]) -> None:
        self._app, self._tenant_id, self._space_id, self._class_ids = app, tenant_id, space_id, class_ids

    async def usable(self, tool_ids: Sequence[UUID]) -> list[tuple[Tool, ToolServer, Offer]]:
        async with self._app.begin(Principal.system(self._tenant_id)) as work:
            rows = (await work.session.execute(USABLE, {"space": self._space_id, "tools": list(tool_ids)})).all()
        if not rows:
            return []
        # With the class that the space has by now.
        class_ids = (*self._class_ids, rows[0].data_class_id)
        models = await self._app.part(Catalogue).of(self._tenant_id, classes=class_ids)
        text = models.text_of(class_ids)
        allowed = [(tool, server) for tool, server, _ in rows if blocked(server, models, text) is None]
        return [(tool, server, self._offer(tool, server)) for tool, server in allowed]

    def _offer(self, tool: Tool, server: ToolServer) -> Offer:
        async def call(arguments: dict[str, Any]) -> Outcome:
            return await self._call(tool.id, arguments)

        title = tool.title or tool.name
        return Offer(
            spec=ToolSpec(called(server.name, tool.name), tool.description or title, tool.parameters),
            title=f"{title} ({server.name})",
            call=call,
            # Whatever is not known to be otherwise is asked.
            approval=tool.approval != "never",
            reads_only=tool.hints.get("read_only") is True,
            tool_id=tool.id,
            # Its own limit is told in better words.
            seconds=CALL_SECONDS + 5,
        )

    async def _call(self, tool_id: UUID, arguments: dict[str, Any]) -> Outcome:
        # Asked again: an answer may have taken minutes, or waited days for its approval.
        found = await self.usable([tool_id])
        if not found:
            return Outcome(GONE, "tool-withdrawn")
        tool, server, _ = found[0]
        servers = self._app.part(ToolServers)
        try:
            config = await servers.config_of(server)
            return await servers.call(server.id, server.kind, config, tool.name, arguments)
        except ServerFailed as error:
            log.warning("tool.not_called", server=str(server.id), tool=tool.name, code=error.code, error=str(error))
            words = f"the tool server {PLAIN.get(error.code, 'cannot be reached')}"
            return Outcome(words, "tool-timeout") if error.code == "too-slow" else Outcome(words, "tool-unreachable")
        except AppError as error:
            return Outcome(error.detail, "tool-unreachable")
