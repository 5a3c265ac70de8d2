"""Seals over the rows of `events`, and the reasons for which the log was read."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Tenanted, belongs


class Seal(Tenanted, Base):
    """One event's place in its tenant's chain. The runtime role may add and read these, never change them."""

    __tablename__ = "audit_seals"
    __table_args__ = (
        UniqueConstraint("tenant_id", "position", name="uq_audit_seals_position"),
        UniqueConstraint("tenant_id", "event_id", name="uq_audit_seals_event_id"),
    )

    position: Mapped[int] = mapped_column(BigInteger)
    """1, 2, 3 … without a gap."""
    event_id: Mapped[UUID]
    """No foreign key: the seal of a removed event is what shows that it was there."""
    mac: Mapped[bytes]
    """Keyed hash of the chain up to here; the key is not in the database."""


class Checkpoint(Tenanted, Base):
    """The head of the chain at one moment, signed. Anybody with the public key can check it."""

    __tablename__ = "audit_checkpoints"
    __table_args__ = (UniqueConstraint("tenant_id", "number"),)

    number: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[int] = mapped_column(BigInteger)
    """Of the last event that is in."""
    xid: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    """Of the last event that is in; the next one to seal comes after (`xid`, `seq`)."""
    link: Mapped[bytes]
    """SHA-256 of the chain up to here."""
    key_id: Mapped[str]
    signature: Mapped[bytes]
    """Ed25519."""


class AuditReason(Tenanted, Base):
    """Why somebody reads the log; good for an hour."""

    __tablename__ = "audit_reasons"
    __table_args__ = (belongs("user_id", "users"),)

    user_id: Mapped[UUID] = mapped_column(index=True)
    reason: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
