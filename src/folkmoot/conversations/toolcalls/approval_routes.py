"""What the tools of an answer are asked to do, and what its asker says to that."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from folkmoot.conversations.schemas import Decision, MessageOut, ToolCallOut
from folkmoot.conversations.toolcalls import approve
from folkmoot.kit.access import Permission, Scope
from folkmoot.kit.http import Page, needs
from folkmoot.kit.work import Work


class ApprovalController(Controller):
    path = "/messages"
    tags = ["Conversations"]
    opt = needs(Permission.SPACES, scope=Scope.CHAT, assistant_key=True)

    @get("/{message_id:uuid}/tool-calls", operation_id="list_tool_calls", summary="List an answer's tool calls")
    async def page(self, work: NamedDependency[Work], message_id: FromPath[UUID]) -> Page[ToolCallOut]:
        """In the order in which the model asked for them; with the whole arguments and what the model was told."""
        rows = await approve.calls_of(work, message_id)
        return Page(items=[ToolCallOut.of(row) for row in rows], next_cursor=None)

    @post(
        "/{message_id:uuid}/approvals",
        operation_id="decide_tool_call",
        summary="Approve or deny a tool call",
        status_code=200,
    )
    async def decide(
        self, work: NamedDependency[Work], message_id: FromPath[UUID], data: JSONBody[Decision]
    ) -> MessageOut:
        """Only who asked may decide. The answer goes on, in the same stream, once all its calls are decided."""
        return MessageOut.of(await approve.decide(work, message_id, data))
