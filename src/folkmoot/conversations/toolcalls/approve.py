"""What the asker decides about calls of tools, and what was called.

A decision is a row that changes; once none of a round's calls waits any more, a worker goes on with the answer. So it
works with any number of processes, and whatever was started anew in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from folkmoot.conversations.models import Conversation, Message, ToolCall
from folkmoot.conversations.schemas import Decision
from folkmoot.conversations.service import ConversationService, resume
from folkmoot.conversations.toolcalls.kept import OF_MESSAGE, in_order
from folkmoot.kit.errors import BadRequest, Conflict, NotFound
from folkmoot.kit.work import Work


async def decide(work: Work, message_id: UUID, data: Decision) -> Message:
    """Let a call of an answer of the caller's own be made, or not. The answer goes on after the last that waits.

    With `remember` the tool is approved for the rest of the conversation, and its other calls that wait with it.
    Raises `NotFound`, and `Conflict` (`not-waiting`, `already-decided`).
    """
    message = await ConversationService(work).message(message_id, lock=True)
    calls = await _calls(work, message.id)
    call = next((row for row in calls if row.call_id == data.call_id), None)
    if call is None:
        raise NotFound("this answer has no such call of a tool: its `call_id` stands in `approval.requested`")
    if call.decided_at is not None:
        raise Conflict("this call was decided already: a decision is not changed", code="already-decided")
    if message.status != "waiting_for_approval" or call.status != "waiting":
        raise Conflict("this call waits for no approval any more: its answer went on or ended", code="not-waiting")
    if data.remember and not data.approved:
        raise BadRequest("`remember` goes with an approval: to deny, leave it out")
    alike = [call]
    if data.remember:
        same = _tool(call)
        alike = [row for row in calls if row.status == "waiting" and _tool(row) == same]
        conversation = await work.session.get_one(Conversation, message.conversation_id)
        if same not in conversation.approved_tools:
            conversation.approved_tools = [*conversation.approved_tools, same]
    for row in alike:
        row.status = "approved" if data.approved else "denied"
        row.decided_by, row.decided_at = work.principal.user, datetime.now(UTC)
        told = {"call_id": row.call_id, "tool": row.name, "remember": data.remember}
        who = work.principal.user
        work.record("tool.approved" if data.approved else "tool.denied", "message", message.id, user_id=who, data=told)
    if not any(row.status == "waiting" for row in calls):
        resume(work, message)
    return message


async def calls_of(work: Work, message_id: UUID) -> Sequence[ToolCall]:
    """The calls of an answer of the caller's own, in order. Raises `NotFound`."""
    message = await ConversationService(work).message(message_id)
    return await _calls(work, message.id)


async def _calls(work: Work, message_id: UUID) -> list[ToolCall]:
    return in_order(list(await work.session.scalars(OF_MESSAGE, {"message": message_id})))


def _tool(row: ToolCall) -> str:
    """As `calls.key_of` names it."""
    return str(row.tool_id or row.name)
