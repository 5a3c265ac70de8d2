"""Answers beside answers: made anew, or gone on with where they broke off. What was there stays.

A question's parent is the answer before it, an answer's the question. Two answers to one question, or two questions
after one answer, are branches; what goes to the model is one branch, from its question upwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from uuid_utils.compat import uuid7

from folkmoot.ai.catalogue import with_classes
from folkmoot.ai.route import Snapshot
from folkmoot.conversations import ask as asking
from folkmoot.conversations.answering.go_on import without
from folkmoot.conversations.attachments.attachments import asked_with
from folkmoot.conversations.citations.cite import CitedPassage
from folkmoot.conversations.guarded import classes_in
from folkmoot.conversations.models import Message
from folkmoot.conversations.service import ConversationService
from folkmoot.kit.errors import AppError, BadRequest, Conflict
from folkmoot.kit.jobs import Task
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Chunk, Document

_IDS = ARRAY(PG_UUID(as_uuid=True))
THERE = (
    select(Chunk, Document.name, Document.content_hash)
    .join(Document, Document.id == Chunk.document_id)
    .where(
        Chunk.id == any_(bindparam("chunks", type_=_IDS)),
        Chunk.collection_id == any_(bindparam("collections", type_=_IDS)),
    )
)
"""The passages of an answer that are still there, and where its assistant may look today."""
CUT_OFF = ("length", "tool-loop")
"""How an answer may have finished that is complete and has still more to say."""


@dataclass(frozen=True)
class _Begun:
    """What a new answer takes over from the one that broke off."""

    continues_id: UUID | None = None
    content: str = ""
    passages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    citations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    trace: dict[str, Any] = field(default_factory=dict[str, Any])


async def regenerate(
    work: Work,
    message_id: UUID,
    model_id: UUID | None,
    *,
    key: str | None,
    answer: Task,
    streams: Streams,
    models: Snapshot,
) -> Message:
    """Answer a question once more, beside the answers that it has; `message_id` is the question or one of those.

    By the assistant as it is now, with `model_id` or else its own model. Raises what `ask` raises, and what
    `Snapshot.route` raises for a model that may not answer.
    """
    message = await ConversationService(work).message(message_id)
    question_id = _question_of(message)
    return await _reply(work, message, question_id, None, model_id, key, answer, streams, models)


async def resume(
    work: Work,
    message_id: UUID,
    model_id: UUID | None,
    *,
    key: str | None,
    answer: Task,
    streams: Streams,
    models: Snapshot,
) -> Message:
    """Go on with an answer that failed, was stopped or cut off: a new one beside it begins with its text.

    One that said nothing is made anew. By `model_id`, else the model that began it while it may, else the assistant's.
    Raises `Conflict` (`answer-complete`) for one that came to its end, and what `ask` raises.
    """
    message = await ConversationService(work).message(message_id)
    if message.role != "assistant":
        raise BadRequest("this message is a question: only answers can be gone on with")
    if model_id is not None:
        # One that is not there is told before anything else; whether it may see the text, once it is known what goes.
        models.route("chat", (), model_id)
    if message.status == "complete" and message.trace.get("finish") not in CUT_OFF:
        raise Conflict("this answer came to its end: ask for more, or have it made anew", code="answer-complete")
    return await _reply(work, message, _question_of(message), message, model_id, key, answer, streams, models)


def _question_of(message: Message) -> UUID:
    if message.role == "user":
        return message.id
    if message.parent_id is None:
        raise Conflict("this message answers no question of this conversation", code="no-question")
    return message.parent_id


async def _reply(
    work: Work,
    message: Message,
    question_id: UUID,
    broken: Message | None,
    model_id: UUID | None,
    key: str | None,
    answer: Task,
    streams: Streams,
    models: Snapshot,
) -> Message:
    who = work.principal
    conversation = await ConversationService(work).get(message.conversation_id, lock=True)
    if key is not None and (known := await asking.known_by(work, conversation.id, key)) is not None:
        # One that said nothing, or that its model cannot go on with, is made anew under the same key.
        same = known.continues_id is None or (broken is not None and known.continues_id == broken.id)
        if known.role != "assistant" or known.parent_id != question_id or not same:
            raise asking.reused()
        return known
    assistant, version = await asking.ready(work, conversation)
    await asking.newest_answer(work, conversation.id)
    collection_ids = [*version.collection_ids, *await asked_with(work, conversation, [])]
    class_ids = await classes_in(work, conversation.id, assistant.space_id, collection_ids)
    models = await with_classes(work, models, class_ids)
    levels = models.text_of(class_ids)
    model = None
    if broken is not None and model_id is None:
        model = _same(models, levels, broken)
    if model is None:
        model = models.route("chat", levels, model_id or version.model_id).first
    begun = _Begun()
    if broken is not None and broken.content.strip() and not model.info.passages:
        begun = await _begun(work, broken, collection_ids)
    reply = Message(
        id=uuid7(),
        tenant_id=who.tenant,
        conversation_id=conversation.id,
        parent_id=question_id,
        role="assistant",
        status="pending",
        request_key=key,
        assistant_version_id=version.id,
        key_id=who.key_id,
        model=model.described(),
        collection_ids=[str(item) for item in collection_ids],
        continues_id=begun.continues_id,
        content=begun.content,
        passages=begun.passages,
        citations=begun.citations,
        trace=begun.trace,
    )
    await work.session.execute(asking.ADD, [_row(reply)])
    await asking.touch(work, conversation, "")
    asking.send(work, reply, answer, streams)
    return reply


def _same(models: Snapshot, levels: Sequence[Any], broken: Message) -> Any:
    """The model that began it, if it is there and may see the text."""
    try:
        return models.route("chat", levels, UUID((broken.model or {})["id"])).first
    except (AppError, KeyError):
        return None


async def _begun(work: Work, broken: Message, collection_ids: Sequence[UUID]) -> _Begun:
    """Its text, with the passages that are still there under their numbers; the markers of others go."""
    told = {UUID(item["chunk_id"]): item for item in broken.passages}
    given = {"chunks": list(told), "collections": list(collection_ids)}
    rows = (await work.session.execute(THERE, given)).all()
    passages = sorted(
        (
            CitedPassage(
                n=told[chunk.id]["n"],
                document_id=chunk.document_id,
                document_name=name,
                chunk_id=chunk.id,
                text=chunk.text,
                start=chunk.start,
                page=chunk.page,
                score=told[chunk.id]["score"],
                heading=chunk.context,
                document_hash=content_hash,
            )
            for chunk, name, content_hash in rows
        ),
        key=lambda passage: passage.n,
    )
    there = {passage.n for passage in passages}
    gone = {item["n"] for item in broken.passages} - there
    text = without(gone, broken.content)
    # What rested on nothing may be searched for now.
    whole = bool(passages) and not gone
    trace: dict[str, Any] = {"goes_on": {"length": len(text), "whole": whole}}
    if whole and "retrieval" in broken.trace:
        trace["retrieval"] = broken.trace["retrieval"]
    return _Begun(
        broken.id,
        text,
        [cast("dict[str, Any]", passage.reference()) for passage in passages],
        [item for item in broken.citations if item["n"] in there],
        trace | {"passages": msgspec.to_builtins(passages)},
    )


_COLUMNS = ("id", "tenant_id", "conversation_id", "parent_id", "role", "content", "status", "request_key",
            "assistant_version_id", "key_id", "model", "collection_ids", "continues_id", "passages", "citations",
            "trace")  # fmt: skip


def _row(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in _COLUMNS} | {"created_at": datetime.now(UTC)}
