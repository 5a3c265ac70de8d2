"""Asking: the question is stored first, with a pending answer; only then does a worker hear of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import Table, bindparam, insert, select, update
from uuid_utils.compat import uuid7

from folkmoot.ai.catalogue import with_classes
from folkmoot.ai.route import Snapshot
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.conversations.attachments.attachments import asked_with, still_there
from folkmoot.conversations.events import opening
from folkmoot.conversations.guarded import classes_in
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.prompting.prompt import Turn
from folkmoot.conversations.schemas import Ask
from folkmoot.conversations.service import OPEN, ConversationService
from folkmoot.kit.errors import Conflict, NotFound, ValidationFailed
from folkmoot.kit.jobs import Task
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Work
from folkmoot.usage.check import check_tokens

ASKED = ("id", "tenant_id", "conversation_id", "parent_id", "role", "content", "status", "request_key",
         "file_ids")  # fmt: skip
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

    A question that edits another stands beside it, with its files unless it names others, and what was there stays.
    The commit opens the answer's stream and queues `answer`. The same `key` gives the same answer again.
    `models` is what the organisation has connected; what the spaces' classes forbid is refused here already.
    `history` are turns before the question that are not stored yet, oldest first, none of them empty.
    Raises `Conflict` (`answer-in-progress`) while the conversation waits for another answer, and
    `TooManyRequests` (`spending-limit-reached`) for an API key that has spent its month.
    """
    who = work.principal
    conversation = await ConversationService(work).get(conversation_id, lock=True)
    if key is not None and (known := await _by_key(work, conversation.id, key)) is not None:
        return known
    assistant, version = await ready(work, conversation)
    parent_id, edited_files = await _place(work, conversation.id, data)
    named = await still_there(work, edited_files) if data.file_ids is UNSET else data.file_ids
    file_ids = list(dict.fromkeys(named))
    collection_ids = [*version.collection_ids, *await asked_with(work, conversation, file_ids)]
    class_ids = await classes_in(work, conversation.id, assistant.space_id, collection_ids)
    models = await with_classes(work, models, class_ids)
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
        file_ids=[str(item) for item in file_ids],
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
        collection_ids=[str(item) for item in collection_ids],
    )
    await work.session.execute(ADD, [_row(message) for message in (*told, question, reply)])
    await touch(work, conversation, data.content)
    send(work, reply, answer, streams)
    return reply


async def ready(work: Work, conversation: Conversation) -> tuple[Assistant, AssistantVersion]:
    """Who answers next in a conversation. Raises `Conflict` (`assistant-gone`), and what `check_tokens` raises."""
    if conversation.assistant_id is None:
        raise Conflict("the assistant of this conversation was deleted: begin a new one", code="assistant-gone")
    await check_tokens(work)
    return await ConversationService(work).assistant(conversation.assistant_id)


async def newest_answer(work: Work, conversation_id: UUID) -> UUID | None:
    """Raises `Conflict` (`answer-in-progress`) if it is still written; with the conversation locked, so it stays."""
    newest = (await work.session.execute(NEWEST, {"conversation": conversation_id})).first()
    if newest is None:
        return None
    if newest.status == "waiting_for_approval":
        why = "the last answer waits for your approval of a tool: approve it, deny it, or stop the answer"
        raise Conflict(why, code="answer-in-progress")
    if newest.status in OPEN:
        raise Conflict("the last question is still being answered: wait for it, or stop it", code="answer-in-progress")
    return newest.id


async def touch(work: Work, conversation: Conversation, content: str) -> None:
    """Something was said just now; by its first words it is called as long as nobody names it."""
    said = conversation.title or " ".join(content.split())[:80]
    await work.session.execute(TOUCH, {"conversation": conversation.id, "said": said, "now": datetime.now(UTC)})


def send(work: Work, reply: Message, answer: Task, streams: Streams) -> None:
    """After the commit, open the stream of a pending answer and let a worker hear of it."""
    work.record("message.asked", "message", reply.id, user_id=work.principal.user)
    first = opening(reply)
    work.after_commit(lambda: _open_stream(streams, str(reply.id), first))
    work.enqueue(answer, tenant_id=work.principal.tenant, message_id=reply.id)


async def known_by(work: Work, conversation_id: UUID, key: str) -> Message | None:
    """What was stored for an `Idempotency-Key`: a question, or an answer of its own."""
    found = select(Message).where(Message.conversation_id == conversation_id, Message.request_key == key)
    return await work.session.scalar(found)


def reused() -> Conflict:
    return Conflict("this key was used for another request: take a new one", code="idempotency-key-reused")


async def _by_key(work: Work, conversation_id: UUID, key: str) -> Message | None:
    question = await known_by(work, conversation_id, key)
    if question is None:
        return None
    if question.role != "user":
        raise reused()
    answers = select(Message).where(Message.parent_id == question.id, Message.role == "assistant")
    return await work.session.scalar(answers.order_by(Message.id).limit(1))


async def _place(work: Work, conversation_id: UUID, data: Ask) -> tuple[UUID | None, list[UUID]]:
    """The answer that a question goes on from: the one named, that of the question it edits, else the newest.

    And the files of the question that it edits.
    """
    newest = await newest_answer(work, conversation_id)
    if data.edits is not None:
        if data.parent_id is not None:
            raise ValidationFailed("a question that edits another stands in its place: leave `parent_id` out")
        edited = select(Message.parent_id, Message.file_ids).where(
            Message.id == data.edits, Message.conversation_id == conversation_id, Message.role == "user"
        )
        row = (await work.session.execute(edited)).first()
        if row is None:
            raise NotFound("`edits` names no question of this conversation")
        return row.parent_id, [UUID(item) for item in row.file_ids]
    if data.parent_id is None:
        return newest, []
    known = select(Message.id).where(
        Message.id == data.parent_id, Message.conversation_id == conversation_id, Message.role == "assistant"
    )
    if await work.session.scalar(known) is None:
        raise NotFound("`parent_id` names no answer of this conversation")
    return data.parent_id, []


def _row(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in (*ASKED, *ANSWERED)} | {
        "collection_ids": message.collection_ids or [],
        "file_ids": message.file_ids or [],
    }


async def _open_stream(streams: Streams, stream: str, first: Sequence[tuple[str, Any]]) -> None:
    writer = await streams.writer(stream, fresh=True)
    for event, data in first:
        writer.write(event, data)
    await writer.flush()
