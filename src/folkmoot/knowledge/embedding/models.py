"""What is known of collections on their way between embedding models, and of the models' tokens."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from advanced_alchemy.base import AdvancedDeclarativeBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, text, true
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Tenanted, belongs, referred


class ChunkRefusal(Tenanted, AdvancedDeclarativeBase):
    """A chunk that a model would not embed: its space is complete without it."""

    __tablename__ = "chunk_refusals"
    __table_args__ = (
        ForeignKeyConstraint(
            ["chunk_id", "collection_id", "tenant_id"],
            ["chunks.id", "chunks.collection_id", "chunks.tenant_id"],
            ondelete="CASCADE",
        ),
        belongs("space_id", "embedding_spaces"),
    )

    chunk_id: Mapped[UUID] = mapped_column(primary_key=True)
    space_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)
    collection_id: Mapped[UUID]
    code: Mapped[str]
    """Of the provider's error."""


class TokenRate(Tenanted, AdvancedDeclarativeBase):
    """What a provider counted of texts in one language, beside what we had estimated."""

    __tablename__ = "token_rates"
    __table_args__ = (belongs("model_id", "models"),)

    model_id: Mapped[UUID] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    """ISO 639-1, or empty."""
    estimated: Mapped[int] = mapped_column(BigInteger)
    counted: Mapped[int] = mapped_column(BigInteger)


class EmbeddingMove(Tenanted, Base):
    """A collection on its way to another embedding model, or a space of it being completed."""

    __tablename__ = "embedding_moves"
    __table_args__ = (
        referred(),
        belongs("collection_id", "collections"),
        belongs("model_id", "models", ondelete="SET NULL (model_id)"),
        belongs("from_space_id", "embedding_spaces", ondelete="SET NULL (from_space_id)"),
        belongs("to_space_id", "embedding_spaces", ondelete="SET NULL (to_space_id)"),
        belongs("left_space_id", "embedding_spaces", ondelete="SET NULL (left_space_id)"),
        Index("uq_embedding_moves_filling", "collection_id", unique=True, postgresql_where=text("state = 'filling'")),
        Index("ix_embedding_moves_open", "tenant_id", "state"),
    )

    collection_id: Mapped[UUID] = mapped_column(index=True)
    model_id: Mapped[UUID | None] = mapped_column(index=True)
    """None: to no model, or to one that is gone."""
    model: Mapped[str]
    """Its name; empty for a move to no model."""
    version: Mapped[str] = mapped_column(default="", server_default="")
    """Of the space to fill, if it has yet to be opened."""
    from_space_id: Mapped[UUID | None] = mapped_column(index=True)
    from_model: Mapped[str] = mapped_column(default="", server_default="")
    """The name of the model that it comes from; empty if it had none."""
    from_embeds: Mapped[bool] = mapped_column(default=True, server_default=true())
    to_space_id: Mapped[UUID | None] = mapped_column(index=True)
    """None until the model has given its first vector, whose length nobody may know before."""
    state: Mapped[str] = mapped_column(default="filling", server_default="filling")
    """`filling`, `switched` (and may be undone), `done`, `undone`, `cancelled` or `failed`."""
    chunk_count: Mapped[int]
    """To be embedded, as counted when it began."""
    done_count: Mapped[int] = mapped_column(default=0, server_default="0")
    refused_count: Mapped[int] = mapped_column(default=0, server_default="0")
    position: Mapped[int] = mapped_column(default=-1, server_default="-1")
    """The number of the last chunk that was looked at in this round."""
    clean: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether this round has found nothing that lacks a vector so far."""
    rounds: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often it went over all chunks: what came meanwhile is seen by the next."""
    tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    cost: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Micro-units of the organisation's currency so far."""
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    """Failures since the last success."""
    lease_until: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    retry_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    started_by: Mapped[UUID | None]
    switched_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    left_space_id: Mapped[UUID | None] = mapped_column(index=True)
    """Whose vectors of this collection are removed when `keep_until` has passed."""
    keep_until: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
