"""API keys and where they were used from."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import String

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class ApiKey(Tenanted, Changing):
    """A key acts for its owner, within its scopes. Only a hash of it is stored."""

    __tablename__ = "api_keys"
    __table_args__ = (
        referred(),
        belongs("user_id", "users"),
        belongs("assistant_id", "assistants"),
    )

    user_id: Mapped[UUID] = mapped_column(index=True)
    """Its owner: what the owner loses, the key loses."""
    name: Mapped[str]
    kind: Mapped[str]
    """`user`, `assistant` or `platform`; the key's prefix tells it too."""
    assistant_id: Mapped[UUID | None] = mapped_column(index=True)
    secret_hash: Mapped[str] = mapped_column(unique=True)
    """SHA-256 in hex: the key holds 256 random bits, so a slow hash would add nothing."""
    hint: Mapped[str]
    """Its first and last characters, to recognise it by."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String))
    """Values of `access.Scope`."""
    addresses: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    """Networks it may be used from, as CIDR; empty: from anywhere."""
    origins: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    """Origins of web pages that may use it; empty: no web page may, only programs."""
    requests_per_minute: Mapped[int | None]
    tokens_per_month: Mapped[int | None]
    """Model tokens, in and out, in one calendar month (UTC)."""
    expires_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    replaced_by: Mapped[UUID | None]
    """The key that rotation made; this one works until `expires_at`."""
    last_used_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    last_used_from: Mapped[str] = mapped_column(default="", server_default="")


class KeyAddress(Tenanted, Base):
    """An address that a key was used from; a new one is an event."""

    __tablename__ = "key_addresses"
    __table_args__ = (
        belongs("key_id", "api_keys"),
        UniqueConstraint("key_id", "ip"),
    )

    key_id: Mapped[UUID]
    ip: Mapped[str]
