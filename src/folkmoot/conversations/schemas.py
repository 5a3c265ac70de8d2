"""Conversations and messages, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from folkmoot.conversations.models import Conversation, Message
from folkmoot.kit.structs import Input, Struct

Origin = Literal["app", "api"]
Support = Literal["supported", "weak", "not_found"]
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
    file_ids: Annotated[list[UUID], Meta(max_length=20)] | UnsetType = UNSET
    """Attachments: files that were sent to this conversation."""


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
    support: Support | UnsetType = UNSET
    """How far the quote supports the sentence that names it; absent in answers of before this was checked."""


class Sentence(Struct, frozen=True, kw_only=True):
    """What the check found of one sentence of the answer."""

    start: int
    """Offset in the answer's `content`, in characters."""
    end: int
    support: Support
    n: int | None
    """The passage that supports it best."""
    document_id: UUID | None
    quote: str
    """What stands in the document from `source_start` to `source_end`; empty if nothing supports it."""
    source_start: int | None
    source_end: int | None


class LeftOut(Struct, frozen=True, kw_only=True):
    """Something that did not go to the model, since it had no room."""

    what: str
    """`turns`, `passages`, `files`, `images` or `results`."""
    count: int
    why: str
    """A sentence for the asker."""


class Feedback(Struct, frozen=True, kw_only=True):
    rating: str
    """`up` or `down`."""
    reason: str
    comment: str
    at: datetime


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
    """`pending`, `streaming`, `waiting_for_approval`, `complete`, `stopped` or `failed`."""
    file_ids: list[UUID]
    """Attachments of a question."""
    continues_id: UUID | None
    """The answer that broke off and whose text this one begins with."""
    citations: list[Citation]
    sentences: list[Sentence]
    """Each sentence of a finished answer from documents, and what in them supports it."""
    left_out: list[LeftOut]
    """What did not go to the model."""
    feedback: Feedback | None
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
            file_ids=[UUID(item) for item in message.file_ids or []],
            continues_id=message.continues_id,
            citations=msgspec.convert(message.citations, list[Citation]),
            sentences=msgspec.convert(message.sentences or [], list[Sentence]),
            left_out=msgspec.convert((message.trace or {}).get("left_out", []), list[LeftOut]),
            feedback=msgspec.convert(message.feedback, Feedback | None),
            usage=msgspec.convert(message.usage, Usage | None),
            model=msgspec.convert(message.model, ModelRef | None),
            assistant_version_id=message.assistant_version_id,
            error=msgspec.convert(message.error, MessageError | None),
            created_at=message.created_at,
            finished_at=message.finished_at,
        )
