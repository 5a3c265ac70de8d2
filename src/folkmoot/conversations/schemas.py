"""Conversations and messages, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from folkmoot.conversations.models import Attachment, Conversation, Message, ToolCall
from folkmoot.conversations.toolcalls.kept import described
from folkmoot.kit.structs import Input, Struct
from folkmoot.knowledge.models import Document

Origin = Literal["app", "api"]
Rating = Literal["up", "down"]
Reason = Literal["wrong", "incomplete", "unclear", "no-sources", "outdated", "harmful", "other"]
Support = Literal["supported", "weak", "not_found"]
Title = Annotated[str, Meta(max_length=200, examples=["Fences"])]


class ConversationOut(Struct, frozen=True, kw_only=True):
    id: UUID
    assistant_id: UUID | None
    title: str
    titled_by: str
    """`model` or `person`; empty: the title is how the first question begins."""
    pinned: bool
    pinned_at: datetime | None
    archived: bool
    archived_at: datetime | None
    key_id: UUID | None
    """The API key that began it."""
    origin: str
    """`app`, or `api` for one call through `/v1`."""
    created_at: datetime
    updated_at: datetime
    """When something was last asked in it."""

    @classmethod
    def of(cls, conversation: Conversation) -> ConversationOut:
        return cls(
            id=conversation.id,
            assistant_id=conversation.assistant_id,
            title=conversation.title,
            titled_by=conversation.titled_by,
            pinned=conversation.pinned_at is not None,
            pinned_at=conversation.pinned_at,
            archived=conversation.archived_at is not None,
            archived_at=conversation.archived_at,
            key_id=conversation.key_id,
            origin=conversation.origin,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )


class ConversationCreate(Input, frozen=True, kw_only=True):
    title: Title = ""


class ConversationUpdate(Input, frozen=True, kw_only=True):
    title: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S", examples=["Fences"])] | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    """Whether it comes first in the list."""
    archived: bool | UnsetType = UNSET
    """Whether it is left out of the list; it is still found, and can be gone on with."""


class Ask(Input, frozen=True, kw_only=True):
    content: Annotated[
        str, Meta(min_length=1, max_length=200_000, pattern=r"\S", examples=["How high may a fence be?"])
    ]
    parent_id: UUID | None = None
    """The answer that this goes on from; the newest one if left out."""
    edits: Annotated[UUID | None, Meta(examples=[None])] = None
    """A question that this is another wording of: it is asked in the same place, and both branches stay."""
    file_ids: Annotated[list[UUID], Meta(max_length=20)] | UnsetType = UNSET
    """Attachments: files that were sent to this conversation."""


class Anew(Input, frozen=True, kw_only=True):
    model_id: UUID | None = None
    """Who answers; if left out, when an answer is made anew the assistant's own model, and when one goes on the model
    that began it, while it may."""


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


class AttachmentError(Struct, frozen=True, kw_only=True):
    code: str
    message: str
    retry_at: datetime | None
    """When reading is tried again; null if it is not."""


class AttachmentOut(Struct, frozen=True, kw_only=True):
    """A file or picture that was sent to a conversation."""

    id: UUID
    """For `file_ids` of a question."""
    name: str
    media_type: str
    size: int
    kind: Annotated[str, Meta(examples=["document"])]
    """`document`, which is read, or `image`, which is shown to models that can see."""
    status: Annotated[str, Meta(examples=["processing"])]
    """`queued`, `processing`, `ready` or `failed`; a picture is `ready`."""
    progress: float
    """From 0 to 1."""
    error: AttachmentError | None
    document_id: UUID | None
    """Of a document: where its text and its original are."""
    created_at: datetime

    @classmethod
    def of(cls, attachment: Attachment, document: Document | None) -> AttachmentOut:
        error = None
        if document is not None and document.error_code:
            message = document.error_message or ""
            error = AttachmentError(code=document.error_code, message=message, retry_at=document.retry_at)
        return cls(
            id=attachment.id,
            name=attachment.name,
            media_type=(document.media_type if document is not None else "") or attachment.media_type,
            size=attachment.size,
            kind=attachment.kind,
            status=document.status if document is not None else "ready",
            progress=round(document.progress, 3) if document is not None else 1.0,
            error=error,
            document_id=attachment.document_id,
            created_at=attachment.created_at,
        )


class AttachmentsOut(Struct, frozen=True, kw_only=True):
    items: list[AttachmentOut]


class Rate(Input, frozen=True, kw_only=True):
    rating: Rating
    reason: Reason | None = None
    comment: Annotated[str, Meta(max_length=2_000, examples=["The page is wrong."])] = ""
    """Nobody else reads it."""


class Feedback(Struct, frozen=True, kw_only=True):
    rating: str
    """`up` or `down`."""
    reason: str
    """Empty if none was given."""
    comment: str
    at: datetime


class Usage(Struct, frozen=True, kw_only=True):
    input_tokens: int
    output_tokens: int


class Edit(Input, frozen=True, kw_only=True):
    content: Annotated[
        str, Meta(min_length=1, max_length=1_000_000, pattern=r"\S", examples=["A fence may be 1.2 metres high. [1]"])
    ]
    """The whole text as it shall stand."""


class Decision(Input, frozen=True, kw_only=True):
    call_id: Annotated[str, Meta(min_length=1, max_length=40, examples=["1-1"])]
    """As `approval.requested` names it."""
    approved: bool
    remember: bool = False
    """Approve the tool for the rest of the conversation, whatever it is called with."""


class ToolCallOut(Struct, frozen=True, kw_only=True):
    call_id: Annotated[str, Meta(examples=["1-1"])]
    round: int
    """From 1; calls of one round are made at the same time."""
    name: str
    title: str
    tool_id: UUID | None
    """Of a tool server's tool; null for our own."""
    arguments: Any
    """As they were or will be called with; text, if the model wrote what is not a JSON object."""
    status: str
    """`waiting` for its approval, `approved`, `denied`, `running`, `done` or `failed`."""
    result: str
    """What the model was told."""
    error: str
    """Code, if it failed."""
    decided_at: datetime | None
    """When it was approved or denied; null if nobody was asked."""
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, call: ToolCall) -> ToolCallOut:
        return cls(
            **described(call),
            round=call.round,
            tool_id=call.tool_id,
            status=call.status,
            result=call.result,
            error=call.error,
            decided_at=call.decided_at,
            created_at=call.created_at,
            finished_at=call.finished_at,
        )


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
    finish_reason: str | None
    """Of a finished answer: `stop`, or that it is not whole: `length` (the model could write no more), `content_filter`
    (its service cut it off), `too-long` (longer than answers may be), `tool-loop` (it only went on calling tools)."""
    created_at: datetime
    finished_at: datetime | None
    edited_at: datetime | None
    """When a person last changed the text of this answer."""
    original: str | None
    """What the assistant had written, if a person changed it."""

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
            finish_reason=message.trace.get("finish") if message.trace and message.finished_at else None,
            created_at=message.created_at,
            finished_at=message.finished_at,
            edited_at=msgspec.convert(message.edits[-1]["at"], datetime) if message.edits else None,
            original=message.edits[0]["before"] if message.edits else None,
        )
