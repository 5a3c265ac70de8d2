"""Taking a pending answer for this worker, with all that it needs, in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import Select, Table, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.conversations.events import ending
from folkmoot.conversations.guarded import guards
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.prompt import Turn
from folkmoot.conversations.run import Run
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict
from folkmoot.spaces.models import Space

LEASE = timedelta(seconds=12)
_Question = aliased(Message)
NEEDED = (
    select(
        Message,
        _Question,
        AssistantVersion,
        Conversation.user_id,
        Assistant.space_id,
        # What guards the text that goes into the answer, as it is now and not as it was when the question was asked.
        select(func.array_agg(Space.data_class_id.distinct()))
        .where(guards(Assistant.space_id, Message.conversation_id))
        .correlate(Message, Assistant)
        .scalar_subquery(),
    )
    .join(_Question, _Question.id == Message.parent_id)
    .join(Conversation, Conversation.id == Message.conversation_id)
    .outerjoin(AssistantVersion, AssistantVersion.id == Message.assistant_version_id)
    .outerjoin(Assistant, Assistant.id == AssistantVersion.assistant_id)
    .where(Message.id == bindparam("message"))
    .with_for_update(of=Message)
)
"""All that an answer is made from; built once, since every answer asks it."""
_messages = cast("Table", Message.__table__)
CLAIM = update(_messages).where(_messages.c.id == bindparam("message"))
HISTORY = 40
"""Turns that are looked at; the prompt keeps as many of the newest as fit."""


def _above() -> Select[str, str]:
    turns = (Message.id, Message.parent_id, Message.role, Message.content)
    branch = select(*turns).where(Message.id == bindparam("newest")).cte("branch", recursive=True)
    branch = branch.union_all(select(*turns).join(branch, Message.id == branch.c.parent_id))
    return select(branch.c.role, branch.c.content).limit(HISTORY)


ABOVE = _above()
"""The turns on a branch, newest first."""


async def claim(app: App, tenant_id: UUID, message_id: UUID) -> Run | None:
    """The answer if it is pending and nobody else writes it, else None. Raises `Conflict` (`assistant-gone`)."""
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        row = (await work.session.execute(NEEDED, {"message": message_id})).first()
        if row is None or row[0].status != "pending":
            return None
        message, asked, version, user_id, space_id, class_ids = row
        if message.lease_until is not None and message.lease_until > now:
            return None
        if version is None or space_id is None:
            raise Conflict("the assistant was deleted before it could answer: choose another", code="assistant-gone")
        stopped = message.stop_requested
        claimed = {"status": "stopped", "finished_at": now} if stopped else {"lease_until": now + LEASE}
        await work.session.execute(CLAIM.values(**claimed), {"message": message_id})
        history = await _history(work.session, asked) if asked.parent_id is not None else []
        run = Run.of(message, asked, history, version, space_id, class_ids or [], user_id)
    if stopped:
        message.status, message.finished_at = "stopped", now
        writer = await app.streams.writer(str(message_id), least=message.stream_at)
        writer.write(*ending(message))
        await writer.flush()
        return None
    return run


async def _history(session: AsyncSession, question: Message) -> list[Turn]:
    """The turns on the branch above a question, oldest first."""
    rows = await session.execute(ABOVE, {"newest": question.parent_id})
    turns = [Turn(role, content) for role, content in rows if content]
    turns.reverse()
    return turns
