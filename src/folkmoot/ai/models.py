"""Connections to providers, and the models that they offer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Changing, Tenanted, belongs, referred


class Connection(Tenanted, Changing):
    """An account at a provider."""

    __tablename__ = "connections"
    __table_args__ = (
        referred(),
        UniqueConstraint("tenant_id", "name"),
    )

    kind: Mapped[str]
    """`ProviderSpec.kind`."""
    name: Mapped[str]
    config: Mapped[bytes]
    """The whole configuration as JSON, sealed with the tenant's key: it holds secrets."""


class Model(Tenanted, Changing):
    """One model of one connection."""

    __tablename__ = "models"
    __table_args__ = (
        referred(),
        belongs("connection_id", "connections"),
        UniqueConstraint("connection_id", "name"),
    )

    connection_id: Mapped[UUID]
    name: Mapped[str]
    """The provider's own id."""
    kind: Mapped[str]
    """`chat`, `embedding`, `rerank` or `transcription`."""
    info: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """`ModelInfo` as the provider gave it."""
    enabled: Mapped[bool] = mapped_column(default=True)
    rank: Mapped[int] = mapped_column(default=0)
    """The lowest of a kind is the default."""
