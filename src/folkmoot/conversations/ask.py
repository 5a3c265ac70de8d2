"""Asking: the question is stored first, with a pending answer; only then does a worker hear of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, insert, select, update
from uuid_utils.compat import uuid7

from folkmoot.ai.route import Snapshot
from folkmoot.conversations.events import created
from folkmoot.conversations.guarded import classes_in
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.prompt import Turn
from folkmoot.conversations.schemas import Ask
from folkmoot.conversations.service import OPEN, ConversationService
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.jobs import Task
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Work
from folkmoot.usage.check import check_tokens

ASKED = ("id", "tenant_id", "conversation_id", "parent_id", "role", "content", "status", "request_key")
ANSWERED = ("assistant_version_id", "key_id", "model", "collection_ids")
# Built once: every question runs these, and 64 may come at the same moment.
ADD = insert(cast("Table", Message.__table__))
TOUCH = (
    update(cast("Table", Conversation.__table__))
    .where(Conversation.id == bindparam("conversation"))
    .values(title=bindparam("said"), updated_at=bindparam("now"))
)
NEWEST = (
    select(Message.id, Message.status)
    .where(Message.conversation_id == bindparam("conversation"), Message.role == "assistant")
    .order_by(Message.id.desc())
    .limit(1)
)


async def ask(
    work: Work,
    conversation_id: UUID,
    data: Ask,
    *,
    key: str | None,
    answer: Task,
    streams: Streams,
    models: Snapshot,
    history: Sequence[Turn] = (),
) -> Message:
    """Store the question and a pending answer, frozen to the assistant, model and collections of now.

    The commit opens the answer's stream and queues `answer`. The same `key` gives the same answer again.
    `models` is what the organisation has connected; what the spaces' classes forbid is refused here already.
    `history` are turns before the question that are not stored yet, oldest first, none of them empty.
    Raises `Conflict` (`answer-in-progress`) while the conversation waits for another answer, and
    `TooManyRequests` (`spending-limit-reached`) for an API key that has spent its month.
    """
    who, service = work.principal, ConversationService(work)
    conversation = await service.get(conversation_id, lock=True)
    if key is not None and (known := await _by_key(work, conversation.id, key)) is not None:
        return known
    if conversation.assistant_id is None:
        raise Conflict("the assistant of this conversation was deleted: begin a new one", code="assistant-gone")
    await check_tokens(work)
    assistant, version = await service.assistant(conversation.assistant_id)
    parent_id = await _parent(work, conversation.id, data.parent_id)
    class_ids = await classes_in(work, conversation.id, assistant.space_id, version.collection_ids)
    model = models.route("chat", models.text_of(class_ids), version.model_id).first
    shared = {"tenant_id": who.tenant, "conversation_id": conversation.id}
    told: list[Message] = []
    for turn in history:
        told.append(
            Message(id=uuid7(), **shared, parent_id=parent_id, role=turn.role, content=turn.text, status="complete")
        )
        parent_id = told[-1].id
    question = Message(
        id=uuid7(),
        **shared,
        parent_id=parent_id,
        role="user",
        content=data.content,
        status="complete",
        request_key=key,
    )
    reply = Message(
        id=uuid7(),
        **shared,
        parent_id=question.id,
        role="assistant",
        content="",
        status="pending",
        assistant_version_id=version.id,
        key_id=who.key_id,
        model=model.described(),
        collection_ids=[str(item) for item in version.collection_ids],
    )
    await work.session.execute(ADD, [_row(message) for message in (*told, question, reply)])
    await work.session.execute(
        TOUCH,
        {
            "conversation": conversation.id,
            "said": conversation.title or " ".join(data.content.split())[:80],
            "now": datetime.now(UTC),
        },
    )
    work.record("message.asked", "message", reply.id, user_id=who.user)
    first = created(reply)
    work.after_commit(lambda: _open_stream(streams, str(reply.id), first))
    work.enqueue(answer, tenant_id=who.tenant, message_id=reply.id)
    return reply


async def _by_key(work: Work, conversation_id: UUID, key: str) -> Message | None:
    question = select(Message.id).where(Message.conversation_id == conversation_id, Message.request_key == key)
    return await work.session.scalar(
        select(Message).where(Message.parent_id.in_(question), Message.role == "assistant")
    )


async def _parent(work: Work, conversation_id: UUID, parent_id: UUID | None) -> UUID | None:
    """The answer that a question goes on from: the one named, else the newest."""
    newest = (await work.session.execute(NEWEST, {"conversation": conversation_id})).first()
    if newest is not None and newest.status in OPEN:
        raise Conflict("the last question is still being answered: wait for it, or stop it", code="answer-in-progress")
    if parent_id is None:
        return newest.id if newest else None
    known = select(Message.id).where(
        Message.id == parent_id, Message.conversation_id == conversation_id, Message.role == "assistant"
    )
    if await work.session.scalar(known) is None:
        raise NotFound("`parent_id` names no answer of this conversation")
    return parent_id


def _row(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in (*ASKED, *ANSWERED)} | {
        "collection_ids": message.collection_ids or []
    }


async def _open_stream(streams: Streams, stream: str, first: dict[str, Any]) -> None:
    writer = await streams.writer(stream, fresh=True)
    writer.write("message.created", first)
    await writer.flush()
