"""Assistants and their versions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted


class Assistant(Tenanted, Changing):
    """What people talk with. What it does stands in its newest version."""

    __tablename__ = "assistants"

    space_id: Mapped[UUID] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    version: Mapped[int] = mapped_column(default=1)
    """Number of the newest version."""
    published: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether viewers of the space see it."""


class AssistantVersion(Tenanted, Base):
    """What an assistant was at one time. Never changed, so that an answer can name what it came from."""

    __tablename__ = "assistant_versions"
    __table_args__ = (UniqueConstraint("assistant_id", "number"),)

    assistant_id: Mapped[UUID] = mapped_column(ForeignKey("assistants.id", ondelete="CASCADE"))
    number: Mapped[int]
    name: Mapped[str]
    instructions: Mapped[str] = mapped_column(default="")
    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("models.id", ondelete="SET NULL"))
    """None: the organisation's default model."""
    collection_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PG_UUID(as_uuid=True)), default=list)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """`temperature`, `top_p`, `max_output_tokens`, where set."""
    created_by: Mapped[UUID | None]
