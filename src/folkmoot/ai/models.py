"""Connections to providers, the models that they offer, what those cost, and moves from one to another."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class Connection(Tenanted, Changing):
    """An account at a provider."""

    __tablename__ = "connections"
    __table_args__ = (
        referred(),
        belongs("clearance_id", "data_classes", ondelete=None),
        UniqueConstraint("tenant_id", "name"),
    )

    kind: Mapped[str]
    """`ProviderSpec.kind`."""
    name: Mapped[str]
    config: Mapped[bytes]
    """The whole configuration as JSON, sealed with the tenant's key: it holds secrets."""
    enabled: Mapped[bool] = mapped_column(default=True, server_default="true")
    rank: Mapped[int] = mapped_column(default=0, server_default="0")
    """Where the models that it brings come in the order; a model may be ranked by itself."""
    country: Mapped[str | None]
    """Where its models stand, as ISO 3166-1 alpha-2; None: not known."""
    clearance_id: Mapped[UUID | None] = mapped_column(index=True)
    """The most confidential class that its models may see; None: only text without a class."""
    max_concurrent: Mapped[int | None]
    """Most calls under way at the same time, over all processes; None: no limit."""
    checked_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    check_code: Mapped[str] = mapped_column(default="", server_default="")
    """Code of the error of the last check; empty: it worked."""
    check_message: Mapped[str] = mapped_column(default="", server_default="")


class Model(Tenanted, Changing):
    """One model of one connection."""

    __tablename__ = "models"
    __table_args__ = (
        referred(),
        belongs("connection_id", "connections"),
        belongs("clearance_id", "data_classes", ondelete=None),
        belongs("replacement_id", "models", ondelete="SET NULL (replacement_id)"),
        UniqueConstraint("connection_id", "name"),
    )

    connection_id: Mapped[UUID]
    name: Mapped[str]
    """The provider's own id."""
    kind: Mapped[str]
    """`chat`, `embedding`, `rerank` or `transcription`."""
    info: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """`ModelInfo` as the provider gave it."""
    overrides: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    """Fields of `ModelInfo` that administrators know better."""
    enabled: Mapped[bool] = mapped_column(default=True)
    offered: Mapped[bool] = mapped_column(default=True, server_default="true")
    """Whether the provider still lists it."""
    rank: Mapped[int] = mapped_column(default=0)
    """The lowest of a kind is the default."""
    country: Mapped[str | None]
    """Where it stands; None: as its connection."""
    clearance_id: Mapped[UUID | None] = mapped_column(index=True)
    """The most confidential class that it may see; None: as its connection."""
    fallback_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(PG_UUID(as_uuid=True)))
    """Who answers when it cannot, in order; None: the next of its kind by rank; empty: nobody."""
    deprecated_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """Since when it is not to be chosen any more; what uses it goes on."""
    replacement_id: Mapped[UUID | None]
    """What to choose instead."""


class ModelPrice(Tenanted, Base):
    """What a model costs from one moment on, in millionths of `currency`. Never changed."""

    __tablename__ = "model_prices"
    __table_args__ = (
        belongs("model_id", "models"),
        Index("ix_model_prices_model_id_valid_from", "model_id", "valid_from"),
    )

    model_id: Mapped[UUID]
    valid_from: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    input: Mapped[int] = mapped_column(BigInteger)
    """For a million tokens, as `output`, `cached_input` and `cache_write`."""
    output: Mapped[int] = mapped_column(BigInteger)
    cached_input: Mapped[int | None] = mapped_column(BigInteger)
    cache_write: Mapped[int | None] = mapped_column(BigInteger)
    request: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """For each call."""
    audio_minute: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    currency: Mapped[str]
    """Of the provider's list, which is US dollars, or the organisation's own."""
    source: Mapped[str]
    """`provider` for the list that its plugin brings, `manual` for what an administrator said."""
    as_of: Mapped[str] = mapped_column(default="", server_default="")
    """The date of that list."""
    created_by: Mapped[UUID | None]


class ModelMove(Tenanted, Base):
    """Assistants moved from one model to another at once, and what they had before."""

    __tablename__ = "model_moves"
    __table_args__ = (
        referred(),
        belongs("from_id", "models"),
        belongs("to_id", "models"),
    )

    from_id: Mapped[UUID] = mapped_column(index=True)
    to_id: Mapped[UUID] = mapped_column(index=True)
    moved: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """`{assistant_id, version}` of each, with the number of the version that the move made."""
    moved_by: Mapped[UUID | None]
    undone_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
