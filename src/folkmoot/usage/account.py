"""Who pays for a call, what it came to, and where both are counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

KINDS = ("tenant", "space", "user", "key", "assistant")
"""What a budget may be for."""
PERIODS = ("day", "month")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who pays for a call, and what it is for."""

    tenant_id: UUID
    purpose: str
    """`answer`, `title`, `embedding`, `search`, `rerank`, `transcription`, `check` or `api`."""
    user_id: UUID | None = None
    key_id: UUID | None = None
    space_id: UUID | None = None
    assistant_id: UUID | None = None
    message_id: UUID | None = None
    noted: list[Noted] | None = field(default=None, compare=False, repr=False)
    """Where the ledger notes what the calls came to, for whoever made them."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one call of a provider came to."""

    model_id: UUID | None
    model: str
    provider: str
    connection_id: UUID | None
    input_tokens: int = 0
    """Tokens as `folkmoot_sdk.Usage` has them: those from and to the cache are among them."""
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_seconds: float = 0
    cost: int = 0
    """Micro-units of the organisation's currency."""
    priced: str = "listed"
    """`listed`, or `ceiling` if nobody knows the price."""
    estimated: bool = False
    """Whether the provider told no usage."""
    error: str = ""
    """Code of the failure."""
    first_ms: int | None = None
    total_ms: int | None = None


@dataclass(frozen=True)
class Noted:
    """What one call came to, and what it was for."""

    purpose: str
    spent: Spent


class Place(NamedTuple):
    """One counter: what one person, space, … uses in one day or month."""

    kind: str
    subject_id: UUID
    period: str
    starts_on: date


@dataclass(eq=False)
class Reservation:
    """Leave to make one call. Hand it to `Ledger.settle` once the call is over, however it ended."""

    id: UUID
    account: Account
    amount: int
    """Micro-units that the call may come to."""
    begun_at: datetime
    family_id: UUID | None = None
    """Of the account's key: the first key of its family, under which all of it is counted."""
    counters: frozenset[UUID] = frozenset()
    """Where the amount is reserved; empty if nothing bounds the call, and then no row stands for it."""
    settling: asyncio.Future[None] | None = field(default=None, repr=False)
    """Of the ledger: the one settlement there is."""

    def places(self) -> list[Place]:
        """Every counter that the call counts for, if there is one."""
        return [
            Place(kind, subject_id, period, first_day(period, self.begun_at))
            for kind, subject_id in self.subjects()
            for period in PERIODS
        ]

    def subjects(self) -> list[tuple[str, UUID]]:
        """Whose budgets apply."""
        known = zip(
            KINDS,
            (
                self.account.tenant_id,
                self.account.space_id,
                self.account.user_id,
                self.family_id,
                self.account.assistant_id,
            ),
            strict=True,
        )
        return [(kind, subject_id) for kind, subject_id in known if subject_id is not None]


def first_day(period: str, at: datetime) -> date:
    """The first day of the day or month that `at` lies in, in UTC."""
    day = at.astimezone(UTC).date()
    return day if period == "day" else day.replace(day=1)


def bounds_of(period: str, starts_on: date) -> tuple[datetime, datetime]:
    """The first moment of a day or month, and the first one after it."""
    begin = datetime(starts_on.year, starts_on.month, starts_on.day, tzinfo=UTC)
    if period == "day":
        return begin, begin + timedelta(days=1)
    return begin, (begin + timedelta(days=32)).replace(day=1)
