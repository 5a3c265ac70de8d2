"""Assistants and their versions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class Assistant(Tenanted, Changing):
    """What people talk with. What it does stands in its newest version."""

    __tablename__ = "assistants"
    __table_args__ = (
        referred(),
        belongs("space_id", "spaces"),
    )

    space_id: Mapped[UUID] = mapped_column(index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    version: Mapped[int] = mapped_column(default=1)
    """Number of the newest version."""
    published: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether viewers of the space see it."""


class AssistantVersion(Tenanted, Base):
    """What an assistant was at one time. Never changed, so that an answer can name what it came from."""

    __tablename__ = "assistant_versions"
    __table_args__ = (
        referred(),
        belongs("assistant_id", "assistants"),
        belongs("model_id", "models", ondelete="SET NULL (model_id)"),
        UniqueConstraint("assistant_id", "number"),
    )

    assistant_id: Mapped[UUID]
    number: Mapped[int]
    name: Mapped[str]
    instructions: Mapped[str] = mapped_column(default="")
    model_id: Mapped[UUID | None]
    """None: the organisation's default model."""
    collection_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PG_UUID(as_uuid=True)), default=list)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """`temperature`, `max_output_tokens` and `retrieval`, where set."""
    tool_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PG_UUID(as_uuid=True)), default=list, server_default="{}")
    """Tools of the organisation's tool servers that it may use, as far as organisation and space still allow them."""
    builtin_tools: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    """Tools of our own that it may use; None: all of them, since they change nothing."""
    created_by: Mapped[UUID | None]
