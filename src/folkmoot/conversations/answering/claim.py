"""Taking a pending answer for this worker, with all that it needs, in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import Table, Uuid, any_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.conversations.answering.heard import heard
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.events import ending
from folkmoot.conversations.guarded import guards
from folkmoot.conversations.models import Conversation, Message, Summary
from folkmoot.conversations.prompting.prompt import Summarised, Turn
from folkmoot.conversations.receipts.issue import issue_later, owner_of
from folkmoot.conversations.toolcalls.kept import LEFT_OPEN, put_away
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
        Conversation.origin,
        Conversation.titled_by,
        Conversation.approved_tools,
        Conversation.collection_id,
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
CLAIM = (
    update(_messages)
    .where(_messages.c.id == bindparam("message"))
    .values(lease_until=bindparam("until"), claim=bindparam("by"))
)
MOST_TURNS = 2_000
MOST_BYTES = 2_000_000
"""Of a branch that are read at most; the prompt keeps as many of the newest as fit."""
# Not by recursion: without statistics, PostgreSQL reads the whole conversation anew for each step.
TREE = (
    select(Message.id, Message.parent_id, func.octet_length(Message.content), Summary.id)
    .outerjoin(Summary, Summary.message_id == Message.id)
    .where(Message.conversation_id == bindparam("conversation"))
)
TEXTS = (
    select(Message.id, Message.role, Message.content, Summary.text, Summary.messages)
    .outerjoin(Summary, Summary.message_id == Message.id)
    .where(Message.id == any_(bindparam("ids", type_=ARRAY(Uuid()))))
)


async def claim(app: App, tenant_id: UUID, message_id: UUID) -> Run | None:
    """The answer if it is pending and nobody else writes it, else None. Raises `Conflict` (`assistant-gone`)."""
    now, claim_id = datetime.now(UTC), uuid4()
    async with app.begin(Principal.system(tenant_id)) as work:
        row = (await work.session.execute(NEEDED, {"message": message_id})).first()
        if row is None or row[0].status != "pending":
            return None
        message, asked, version, user_id, origin, titled_by, approved, attached_in, space_id, class_ids = row
        if message.lease_until is not None and message.lease_until > now:
            return None
        if message.stop_requested:
            # Only after this transaction, since its stream is looked at.
            run = None
        elif version is None or space_id is None:
            raise Conflict("the assistant was deleted before it could answer: choose another", code="assistant-gone")
        else:
            await work.session.execute(CLAIM, {"message": message_id, "until": now + LEASE, "by": claim_id})
            run = Run.of(message, asked, [], version, space_id, class_ids or [], user_id)
            run.origin, run.approved = origin, approved
            run.untitled = not titled_by and origin == "app" and asked.parent_id is None
            if str(attached_in) in message.collection_ids:
                run.attached_in = attached_in
            if asked.parent_id is not None:
                await _read(work.session, run)
            run.taken_over = message.lease_until is not None
    if run is None:
        await _end_stopped(app, tenant_id, message_id)
    else:
        # Not before the transaction is over, or it would be written a second time.
        run.message.claim = claim_id
    return run


async def _end_stopped(app: App, tenant_id: UUID, message_id: UUID) -> None:
    """End an answer that nobody writes, with what it said before it began to wait, or before its worker died."""
    seen = await heard(app, message_id)
    async with app.begin(Principal.system(tenant_id)) as work:
        message = await work.session.get(Message, message_id, with_for_update=True)
        if message is None or message.status != "pending":
            return
        user_id, now = await owner_of(work, message.conversation_id), datetime.now(UTC)
        message.status, message.finished_at, message.lease_until = "stopped", now, None
        seen.restore(message)
        if message.turns:
            await work.session.execute(LEFT_OPEN, {"message": message.id, "now": now})
        if user_id is not None:
            await issue_later(work, app.keyring, message, user_id)
        why = str(message.trace.get("stopped", "asked"))
        put_away(message)
        told = {"conversation_id": str(message.conversation_id), "why": why}
        work.record("message.stopped", "message", message.id, user_id=user_id, data=told)
    writer = await app.streams.writer(str(message_id), least=message.stream_at)
    writer.write(*ending(message))
    await writer.flush()


async def _read(session: AsyncSession, run: Run) -> None:
    """The turns on the branch above the question, oldest first, and the summary of those before them."""
    rows = await session.execute(TREE, {"conversation": run.message.conversation_id})
    tree: dict[UUID | None, Any] = {row[0]: row for row in rows}
    above, size, place = list[UUID](), 0, run.question.parent_id
    while (row := tree.get(place)) is not None and size < MOST_BYTES and len(above) < MOST_TURNS:
        message_id, place, length, summary_id = row
        above.append(message_id)
        size += length
        if summary_id is not None:
            # It has all that is above it.
            place = None
    texts: dict[UUID, Any] = {row[0]: row for row in await session.execute(TEXTS, {"ids": above})}
    for message_id in reversed(above):
        _, role, content, summary, summarised = texts[message_id]
        if summary is not None:
            run.summary = Summarised(summary, summarised)
        elif content:
            run.history.append(Turn(role, content, message_id))
    run.above = place
