"""The organisations on this installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted

PLATFORM = UUID(int=0)
"""The tenant that is the installation itself: it has no people, and its log has what belongs to no organisation."""


class Tenant(Changing):
    """Platform-wide; a tenant sees its own row, only the platform sees them all."""

    __tablename__ = "tenants"
    __table_args__ = (Index("uq_tenants_lower_name", text("lower(name)"), unique=True),)

    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="active", server_default="active")
    """`active`; `suspended`: nobody of it gets in; `deleting`: its rows and files are being removed; `platform`."""
    state_reason: Mapped[str] = mapped_column(default="", server_default="")
    """Why it is suspended, for its administrators and ours."""
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    """`tenants.schemas.TenantSettings`."""
    max_users: Mapped[int | None]
    """Quota: people who are invited, active or inactive. None: no limit."""
    max_storage_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Quota: bytes of files. None: no limit."""
    max_chunks: Mapped[int | None] = mapped_column(BigInteger)
    """Quota: passages that its documents are cut into. None: no limit."""
    requests_per_minute: Mapped[int | None]
    """Quota: requests of all its people and keys together. None: the installation's default."""

    @property
    def active(self) -> bool:
        return self.state == "active"


class AllowedOrigin(Tenanted, Base):
    """A web origin that may call the API from a browser, kept in rows so that a preflight can look it up."""

    __tablename__ = "allowed_origins"

    origin: Mapped[str] = mapped_column(index=True)


class Certificate(Base):
    """What was removed with a tenant. Platform-wide, kept for ever, and signed."""

    __tablename__ = "deletion_certificates"

    tenant_id: Mapped[UUID] = mapped_column(unique=True)
    """No foreign key: the tenant is gone."""
    tenant_name: Mapped[str]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    completed_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """None while the removal goes on."""
    removed: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """Rows by table, files and bytes."""
    key_id: Mapped[str] = mapped_column(default="")
    signature: Mapped[bytes | None]
    """Ed25519 over all of the above."""
