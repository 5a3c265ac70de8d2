"""Conversations, messages and the events of an answer, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from folkmoot.conversations.models import Conversation, Message
from folkmoot.kit.structs import Input, Struct
from folkmoot.knowledge.fuse import NOTHING

Origin = Literal["app", "api"]
Title = Annotated[str, Meta(max_length=200, examples=["Fences"])]


class ConversationOut(Struct, frozen=True, kw_only=True):
    id: UUID
    assistant_id: UUID | None
    title: str
    key_id: UUID | None
    """The API key that began it."""
    origin: str
    """`app`, or `api` for one call through `/v1`."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, conversation: Conversation) -> ConversationOut:
        return cls(
            id=conversation.id,
            assistant_id=conversation.assistant_id,
            title=conversation.title,
            key_id=conversation.key_id,
            origin=conversation.origin,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )


class ConversationCreate(Input, frozen=True, kw_only=True):
    title: Title = ""


class Ask(Input, frozen=True, kw_only=True):
    content: Annotated[
        str, Meta(min_length=1, max_length=200_000, pattern=r"\S", examples=["How high may a fence be?"])
    ]
    parent_id: UUID | None = None
    """The answer that this goes on from; the newest one if left out."""
    file_ids: Annotated[list[UUID], Meta(max_length=0)] | UnsetType = UNSET
    """Attachments are not offered yet: leave it out or empty."""


class ModelAsked(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    provider: str


class ModelRef(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    provider: str
    instead_of: ModelAsked | UnsetType = UNSET
    """The model that was asked first and could not answer."""


class Citation(Struct, frozen=True, kw_only=True):
    n: int
    document_id: UUID
    document_name: str
    chunk_id: UUID
    page: int | None
    start: int
    """Offset in the document's text; `quote` is exactly what stands from here to `end`."""
    end: int
    quote: str


class Usage(Struct, frozen=True, kw_only=True):
    input_tokens: int
    output_tokens: int


class MessageError(Struct, frozen=True, kw_only=True):
    code: str
    title: str
    detail: str
    retryable: bool


class MessageOut(Struct, frozen=True, kw_only=True):
    id: UUID
    conversation_id: UUID
    parent_id: UUID | None
    role: str
    content: str
    reasoning: str
    status: str
    """`pending`, `streaming`, `complete`, `stopped` or `failed`."""
    citations: list[Citation]
    usage: Usage | None
    model: ModelRef | None
    assistant_version_id: UUID | None
    """Which version of the assistant answered."""
    error: MessageError | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, message: Message) -> MessageOut:
        return cls(
            id=message.id,
            conversation_id=message.conversation_id,
            parent_id=message.parent_id,
            role=message.role,
            content=message.content,
            reasoning=message.reasoning,
            status=message.status,
            citations=msgspec.convert(message.citations, list[Citation]),
            usage=msgspec.convert(message.usage, Usage | None),
            model=msgspec.convert(message.model, ModelRef | None),
            assistant_version_id=message.assistant_version_id,
            error=msgspec.convert(message.error, MessageError | None),
            created_at=message.created_at,
            finished_at=message.finished_at,
        )


class MessageCreated(Struct, frozen=True, kw_only=True, tag="message.created", tag_field="event"):
    """First, at once."""

    conversation_id: UUID
    question_id: UUID
    message_id: UUID
    model: ModelRef


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


class TextDelta(Struct, frozen=True, kw_only=True, tag="text.delta", tag_field="event"):
    text: str


class ReasoningDelta(Struct, frozen=True, kw_only=True, tag="reasoning.delta", tag_field="event"):
    text: str


class CitationEvent(Citation, frozen=True, kw_only=True, tag="citation", tag_field="event"):
    pass


class MessageCompleted(Struct, frozen=True, kw_only=True, tag="message.completed", tag_field="event"):
    """Last."""

    message: MessageOut


class MessageFailed(MessageError, frozen=True, kw_only=True, tag="message.failed", tag_field="event"):
    """Last; the text so far is kept."""


AnswerEvent = (
    MessageCreated | RetrievalCompleted | ReasoningDelta | TextDelta | CitationEvent | MessageCompleted | MessageFailed
)


def created(message: Message) -> dict[str, Any]:
    """The data of `message.created`."""
    return {
        "conversation_id": str(message.conversation_id),
        "question_id": str(message.parent_id),
        "message_id": str(message.id),
        "model": message.model,
    }


def retrieved(passages: list[dict[str, Any]]) -> dict[str, Any]:
    """The data of `retrieval.completed`."""
    return {"passages": passages, "relevant": any(passage["score"] >= NOTHING for passage in passages)}


def ending(message: Message) -> tuple[str, Any]:
    """The event that ends the stream of a finished answer, and its data."""
    if message.status == "failed":
        return "message.failed", message.error
    return "message.completed", {"message": MessageOut.of(message)}
