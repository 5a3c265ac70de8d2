"""The events of an answer's stream, as they go out and as the API describes them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from folkmoot.conversations.models import Message
from folkmoot.conversations.schemas import Citation, LeftOut, MessageError, MessageOut, ModelRef, Sentence
from folkmoot.kit.structs import Struct
from folkmoot.knowledge.fuse import NOTHING


class MessageCreated(Struct, frozen=True, kw_only=True, tag="message.created", tag_field="event"):
    """First, at once."""

    conversation_id: UUID
    question_id: UUID
    message_id: UUID
    model: ModelRef


class FileState(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    status: str
    """Of its document: `queued` or `processing`."""
    progress: float


class PassageRef(Struct, frozen=True, kw_only=True):
    n: int
    document_id: UUID
    document_name: str
    chunk_id: UUID
    page: int | None
    score: float


class RetrievalCompleted(Struct, frozen=True, kw_only=True, tag="retrieval.completed", tag_field="event"):
    passages: list[PassageRef]
    relevant: bool
    """False if not even the best passage is likely to have what was asked for."""
    query: str = ""
    """What was searched for, where that is not the question as it was asked; empty: the question itself."""


class TextDelta(Struct, frozen=True, kw_only=True, tag="text.delta", tag_field="event"):
    text: str


class ReasoningDelta(Struct, frozen=True, kw_only=True, tag="reasoning.delta", tag_field="event"):
    text: str


class CitationEvent(Citation, frozen=True, kw_only=True, tag="citation", tag_field="event"):
    pass


class ToolCalled(Struct, frozen=True, kw_only=True, tag="tool.called", tag_field="event"):
    """The model calls a tool."""

    call_id: str
    name: str
    title: str
    arguments: Any


class ToolCompleted(Struct, frozen=True, kw_only=True, tag="tool.completed", tag_field="event"):
    """What it came to."""

    call_id: str
    name: str
    status: str
    """`done`, `failed` or `denied`."""
    result: str
    """What the model was told, at most its first 2,000 characters."""
    error: str
    """Code, if it failed."""


class ApprovalRequested(Struct, frozen=True, kw_only=True, tag="approval.requested", tag_field="event"):
    """The answer waits until its asker approves this call, or denies it."""

    call_id: str
    name: str
    title: str
    arguments: Any


class ContextReduced(Struct, frozen=True, kw_only=True, tag="context.reduced", tag_field="event"):
    """Not everything had room in the prompt."""

    left_out: list[LeftOut]


class FilesWaiting(Struct, frozen=True, kw_only=True, tag="files.waiting", tag_field="event"):
    """The answer waits until its attachments are read."""

    files: list[FileState]


class ReadingProgress(Struct, frozen=True, kw_only=True, tag="reading.progress", tag_field="event"):
    """Long attachments are read part by part, since the question needs all of them."""

    done: int
    total: int
    """Parts."""


class VerificationCompleted(Struct, frozen=True, kw_only=True, tag="verification.completed", tag_field="event"):
    """What the check of the answer's sentences found."""

    sentences: list[Sentence]
    unchecked: int = 0
    """Sentences without a verdict, of a very long answer or one from very many passages."""


class MessageCompleted(Struct, frozen=True, kw_only=True, tag="message.completed", tag_field="event"):
    """Last."""

    message: MessageOut


class MessageFailed(MessageError, frozen=True, kw_only=True, tag="message.failed", tag_field="event"):
    """Last; the text so far is kept."""


AnswerEvent = (
    MessageCreated
    | FilesWaiting
    | ReadingProgress
    | RetrievalCompleted
    | ContextReduced
    | ReasoningDelta
    | TextDelta
    | CitationEvent
    | ToolCalled
    | ToolCompleted
    | ApprovalRequested
    | VerificationCompleted
    | MessageCompleted
    | MessageFailed
)


def created(message: Message) -> dict[str, Any]:
    """The data of `message.created`."""
    return {
        "conversation_id": str(message.conversation_id),
        "question_id": str(message.parent_id),
        "message_id": str(message.id),
        "model": message.model,
    }


def opening(message: Message) -> list[tuple[str, Any]]:
    """What stands in the stream of an answer before its worker says anything; one that goes on has the kept text."""
    rows: list[tuple[str, Any]] = [("message.created", created(message))]
    if message.continues_id is not None and message.content:
        if message.passages:
            rows.append(("retrieval.completed", retrieved(message.passages)))
        rows.append(("text.delta", {"text": message.content}))
        rows += [("citation", item) for item in message.citations]
    return rows


def retrieved(passages: list[dict[str, Any]], query: str = "") -> dict[str, Any]:
    """The data of `retrieval.completed`."""
    relevant = any(passage["score"] >= NOTHING for passage in passages)
    return {"passages": passages, "relevant": relevant, "query": query}


def ending(message: Message) -> tuple[str, Any]:
    """The event that ends the stream of a finished answer, and its data."""
    if message.status == "failed":
        return "message.failed", message.error
    return "message.completed", {"message": MessageOut.of(message)}
