"""The ledger's entries, the budgets, and what of each is used."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted


class UsageEntry(Tenanted, Base):
    """What one call of a provider came to. The runtime role may add and read these, never change them.

    People, spaces and models are named by their ids alone: the figures outlive them. The id is that of the
    reservation plus the number of the call, so that nothing is entered twice.
    """

    __tablename__ = "usage_entries"
    __table_args__ = (
        Index("ix_usage_entries_time", "tenant_id", "begun_at"),
        Index("ix_usage_entries_user", "tenant_id", "user_id", "begun_at"),
        Index("ix_usage_entries_key", "tenant_id", "key_id", "begun_at"),
        Index("ix_usage_entries_space", "tenant_id", "space_id", "begun_at"),
        Index("ix_usage_entries_assistant", "tenant_id", "assistant_id", "begun_at"),
        Index("ix_usage_entries_model", "tenant_id", "model_id", "begun_at"),
    )

    begun_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    """When the call was let through. Its day and month are those that it counts for, however long it took."""
    purpose: Mapped[str]
    """An `Account.purpose`."""
    user_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]
    space_id: Mapped[UUID | None]
    assistant_id: Mapped[UUID | None]
    message_id: Mapped[UUID | None]
    model_id: Mapped[UUID | None]
    """None if the process died before it could say which model answered."""
    connection_id: Mapped[UUID | None]
    model: Mapped[str] = mapped_column(default="")
    provider: Mapped[str] = mapped_column(default="")
    input_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    """All of them: those from the provider's cache and those written to it are among them."""
    output_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    """All of them: reasoning is among them."""
    cached_input_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cache_write_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    audio_seconds: Mapped[float] = mapped_column(default=0)
    cost: Mapped[int] = mapped_column(BigInteger, default=0)
    """Micro-units of the organisation's currency."""
    priced: Mapped[str]
    """`listed`, or `ceiling`: nobody knew the price."""
    estimated: Mapped[bool]
    """The provider told no usage, or the process died in the middle."""
    error: Mapped[str] = mapped_column(default="")
    """Code of the failure; empty if there was none."""
    first_ms: Mapped[int | None]
    total_ms: Mapped[int | None]


class Budget(Tenanted, Changing):
    """The most that may be spent in each day or month."""

    __tablename__ = "budgets"
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "subject_id", "period", postgresql_nulls_not_distinct=True),
        CheckConstraint("kind <> 'tenant' OR subject_id IS NULL", name="tenant_is_one"),
        CheckConstraint("amount >= 0", name="amount_not_negative"),
    )

    kind: Mapped[str]
    """`tenant`, `space`, `user`, `key` or `assistant`: whose calls count."""
    subject_id: Mapped[UUID | None]
    """Which one. None: for each of the kind that has no budget of its own for the period. No foreign key, since it
    refers to one of several tables."""
    period: Mapped[str]
    """`day` or `month`, in UTC."""
    amount: Mapped[int] = mapped_column(BigInteger)
    """Micro-units of the organisation's currency."""


class BudgetCounter(Tenanted, Base):
    """What one person, space, … has used in one day or month: always the sum of its entries.

    There is one as soon as something bounds it; whoever opens it begins with the sum of what was entered before.
    """

    __tablename__ = "budget_counters"
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "subject_id", "period", "starts_on"),
        Index("ix_budget_counters_age", "tenant_id", "starts_on"),
    )

    kind: Mapped[str]
    subject_id: Mapped[UUID]
    """Of a key, the first of its family: what one of them spends, all have spent."""
    period: Mapped[str]
    starts_on: Mapped[date]
    spent: Mapped[int] = mapped_column(BigInteger, default=0)
    reserved: Mapped[int] = mapped_column(BigInteger, default=0)
    """By calls that are under way."""
    tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    """In and out, for the limit that a key may have in tokens."""
    told: Mapped[int] = mapped_column(default=0)
    """Percent of which an event has told: 0, 80 or 100."""
    told_of: Mapped[int] = mapped_column(BigInteger, default=0)
    """The amount that those were percent of: of another one it is told anew."""


class UsageReservation(Tenanted, Base):
    """A call that is under way, where a budget applies. If its process dies, the sweep enters it as it was reserved."""

    __tablename__ = "usage_reservations"
    __table_args__ = (Index("ix_usage_reservations_expiry", "tenant_id", "expires_at"),)

    begun_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    """Moved on by the process for as long as it lives."""
    amount: Mapped[int] = mapped_column(BigInteger)
    counters: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    """Where the amount is reserved."""
    purpose: Mapped[str]
    user_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]
    family_id: Mapped[UUID | None]
    """The first key of the family of `key_id`."""
    space_id: Mapped[UUID | None]
    assistant_id: Mapped[UUID | None]
    message_id: Mapped[UUID | None]
