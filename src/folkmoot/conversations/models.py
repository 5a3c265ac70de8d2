"""Conversations and their messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Computed, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred

WORDS = """\
CASE WHEN finished_at IS NOT NULL OR role::text = 'user'::text \
THEN to_tsvector('simple'::regconfig, "left"(content::text, 100000)) ELSE NULL::tsvector END"""
"""Of a message. Not while an answer is written, when every few seconds would count them anew."""


class Conversation(Tenanted, Changing):
    """One person's conversation with one assistant. Nobody else reads it, administrators included."""

    __tablename__ = "conversations"
    __table_args__ = (
        referred(),
        belongs("user_id", "users"),
        belongs("assistant_id", "assistants", ondelete="SET NULL (assistant_id)"),
        belongs("collection_id", "collections", ondelete="SET NULL (collection_id)"),
        Index("ix_conversations_user_id_origin", "user_id", "origin", "id"),
    )

    user_id: Mapped[UUID]
    assistant_id: Mapped[UUID | None] = mapped_column(index=True)
    title: Mapped[str] = mapped_column(default="")
    titled_by: Mapped[str] = mapped_column(default="", server_default="")
    """`model` or `person`; empty: the title is the first question's beginning."""
    pinned_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    archived_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    collection_id: Mapped[UUID | None] = mapped_column(index=True)
    """Where its attachments are read into, in its owner's personal space; None until the first."""
    approved_tools: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default="[]")
    """Ids of tools that its owner has approved for the rest of it."""
    key_id: Mapped[UUID | None] = mapped_column(index=True)
    """The API key that began it."""
    origin: Mapped[str] = mapped_column(default="app", server_default="app")
    """`app`, or `api` for one call through `/v1`, which lists do not show unless asked for."""


class Message(Tenanted, Base):
    """A question or an answer. The tree is by `parent_id`: a question's parent is the answer before it."""

    __tablename__ = "messages"
    __table_args__ = (
        referred(),
        belongs("conversation_id", "conversations"),
        belongs("parent_id", "messages"),
        belongs("continues_id", "messages", ondelete="SET NULL (continues_id)"),
        belongs("assistant_version_id", "assistant_versions", ondelete="SET NULL (assistant_version_id)"),
        UniqueConstraint("conversation_id", "request_key"),
        Index("ix_messages_open", "status", "lease_until"),
    )

    conversation_id: Mapped[UUID] = mapped_column(index=True)
    parent_id: Mapped[UUID | None] = mapped_column(index=True)
    role: Mapped[str]
    """`user` or `assistant`."""
    content: Mapped[str] = mapped_column(default="")
    reasoning: Mapped[str] = mapped_column(default="")
    status: Mapped[str] = mapped_column(default="complete")
    """`pending`, `streaming`, `waiting_for_approval`, `complete`, `stopped` or `failed`; a question is `complete`."""
    request_key: Mapped[str | None]
    """The client's `Idempotency-Key`: the same question sent twice is asked once."""
    stop_requested: Mapped[bool] = mapped_column(default=False)
    lease_until: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """While an answer is being written: the worker renews this."""
    finished_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    assistant_version_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]
    """The API key that asked; what the answer costs counts for it."""
    model: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """`{id, name, provider}` of who answers; with `instead_of`, the model that was asked first and could not."""
    collection_ids: Mapped[list[str]] = mapped_column(JSONB, default=list)
    """Where the answer may look, as it was when the question was asked."""
    passages: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    citations: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """`{code, title, detail, retryable}` of a failed answer."""
    continues_id: Mapped[UUID | None] = mapped_column(index=True)
    """The answer that broke off and whose text this one begins with."""
    file_ids: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default="[]")
    """Attachments of a question."""
    turns: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    """What model and tools said to each other before the answer's last part, as `folkmoot_sdk.Message`: whoever goes
    on after an approval, or after a restart, needs it."""
    sentences: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    """What the check of its sentences found: `verify.Checked`."""
    trace: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    """How the answer came to be, for its receipt: what was searched for and why, what was left out of the prompt."""
    feedback: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """`{rating, reason, comment, at}` of its owner."""
    edits: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    """`{at, by, before}` of each edit of an answer by a person: `before` is the text that stood there until then."""
    claim: Mapped[UUID | None]
    """Of the worker that writes it: one that finds another here has lost it."""
    turned_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """When it began to wait for an approval, or for a worker after one; None: it never did."""
    words: Mapped[Any] = mapped_column(TSVECTOR, Computed(WORDS, persisted=True), deferred=True)
    """For the search over one's own history, once it is finished."""
    stream_at: Mapped[int] = mapped_column(default=0, server_default="0")
    """Number of the last event of its stream, once it waits for an approval: the next goes on from there."""


class Attachment(Tenanted, Base):
    """A file or picture on a question."""

    __tablename__ = "attachments"
    __table_args__ = (
        belongs("conversation_id", "conversations"),
        belongs("document_id", "documents"),
        belongs("file_id", "files", ondelete=None),
    )

    conversation_id: Mapped[UUID] = mapped_column(index=True)
    kind: Mapped[str]
    """`document` or `image`."""
    name: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    file_id: Mapped[UUID | None] = mapped_column(index=True)
    """Of an image; a document has its own."""
    document_id: Mapped[UUID | None] = mapped_column(index=True)
    """In the conversation's collection: what is read from it, and how far that has come."""


class Summary(Tenanted, Base):
    """What was said in a conversation up to one message, in short. Never changed: branches share it."""

    __tablename__ = "summaries"
    __table_args__ = (
        belongs("conversation_id", "conversations"),
        belongs("message_id", "messages"),
        UniqueConstraint("message_id"),
    )

    conversation_id: Mapped[UUID] = mapped_column(index=True)
    message_id: Mapped[UUID]
    """The newest message that is in it."""
    text: Mapped[str]
    messages: Mapped[int]
    """So many are in it."""
    model: Mapped[dict[str, Any]] = mapped_column(JSONB)


class ToolCall(Tenanted, Base):
    """One call of a tool that a model asked for."""

    __tablename__ = "tool_calls"
    __table_args__ = (
        belongs("message_id", "messages"),
        UniqueConstraint("message_id", "call_id"),
    )

    message_id: Mapped[UUID]
    round: Mapped[int]
    """From 1; calls of one round go on at the same time."""
    call_id: Mapped[str]
    """Ours; what a provider calls it stands in `Message.turns`."""
    name: Mapped[str]
    """As the model knows the tool."""
    title: Mapped[str] = mapped_column(default="", server_default="")
    tool_id: Mapped[UUID | None]
    """Of a tool server's tool; it may be gone."""
    arguments: Mapped[str]
    """As the model wrote them."""
    status: Mapped[str]
    """`waiting` for its approval, `approved`, `denied`, `running`, `done` or `failed`."""
    result: Mapped[str] = mapped_column(default="", server_default="")
    """What the model was told, cut to the budget."""
    error: Mapped[str] = mapped_column(default="", server_default="")
    """Code, if it failed."""
    decided_by: Mapped[UUID | None]
    decided_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))


class Receipt(Tenanted, Base):
    """A signed record of how an answer came to be. Never changed; what changes later is told by a further one.

    The runtime role may add and read these; they go with their message.
    """

    __tablename__ = "receipts"
    __table_args__ = (
        belongs("message_id", "messages"),
        UniqueConstraint("message_id", "number"),
    )

    message_id: Mapped[UUID]
    number: Mapped[int]
    """From 1."""
    statement: Mapped[str]
    """JSON, as it was signed."""
    key_id: Mapped[str]
    signature: Mapped[bytes]
    """Ed25519 over the statement's bytes."""
