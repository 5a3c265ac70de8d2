"""Conversations and their messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class Conversation(Tenanted, Changing):
    """One person's conversation with one assistant. Nobody else reads it, administrators included."""

    __tablename__ = "conversations"
    __table_args__ = (
        referred(),
        belongs("user_id", "users"),
        belongs("assistant_id", "assistants", ondelete="SET NULL (assistant_id)"),
        Index("ix_conversations_user_id_origin", "user_id", "origin", "id"),
    )

    user_id: Mapped[UUID]
    assistant_id: Mapped[UUID | None] = mapped_column(index=True)
    title: Mapped[str] = mapped_column(default="")
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
    """`pending`, `streaming`, `complete`, `stopped` or `failed`; a question is `complete`."""
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
