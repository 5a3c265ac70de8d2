"""Whether a call may be made: what bounds it, what of that is used, and how somebody is told no.

Nothing here talks to the database: it decides over rows that are locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from folkmoot.kit.errors import TooManyRequests
from folkmoot.usage.account import Place, bounds_of, first_day
from folkmoot.usage.money import said

WARN_PERCENT = 80
WHOSE = {
    "tenant": "your organisation",
    "space": "this space",
    "user": "each person's calls",
    "key": "this API key",
    "assistant": "this assistant",
}
CALLED = {"day": "daily", "month": "monthly"}


@dataclass(frozen=True)
class Bound:
    """A budget as it applies to one subject."""

    budget_id: UUID
    kind: str
    subject_id: UUID
    period: str
    amount: int
    """Micro-units."""
    currency: str

    def place(self, at: datetime) -> Place:
        return Place(self.kind, self.subject_id, self.period, first_day(self.period, at))


@dataclass(kw_only=True)
class Counter:
    """A locked row of `budget_counters`, and what is to be added to it."""

    id: UUID
    spent: int
    reserved: int
    tokens: int
    told: int = 0
    told_of: int = 0
    more_spent: int = 0
    more_reserved: int = 0
    more_tokens: int = 0

    @property
    def used(self) -> int:
        """Micro-units that are spent or reserved."""
        return self.spent + self.more_spent + self.reserved + self.more_reserved

    def must_tell(self, percent: int, amount: int) -> bool:
        """Whether nobody was told yet that `percent` of `amount` are used; true once."""
        told = self.told if self.told_of == amount else 0
        if told >= percent:
            return False
        self.told, self.told_of = percent, amount
        return True

    def level(self, amount: int) -> int:
        """Which percentage of `amount` the settled calls have reached: 100, 80 or 0."""
        spent = self.spent + self.more_spent
        if amount <= 0 or spent * 100 < amount * WARN_PERCENT:
            return 0
        return 100 if spent >= amount else WARN_PERCENT


class BudgetExhausted(TooManyRequests):
    """What a call may come to is more than a budget has left."""

    code = "budget-exhausted"
    title = "A budget is used up"

    def __init__(self, bound: Bound, amount: int, counter: Counter, at: datetime) -> None:
        _, end = bounds_of(bound.period, first_day(bound.period, at))
        limit, spent = said(bound.amount, bound.currency), said(counter.spent + counter.more_spent, bound.currency)
        reserved = counter.reserved + counter.more_reserved
        under_way = f", and {said(reserved, bound.currency)} reserved by calls under way" if reserved else ""
        super().__init__(
            f"this call may come to {said(amount, bound.currency)}, and of the {CALLED[bound.period]} budget of {limit}"
            f" for {WHOSE[bound.kind]} {spent} are spent{under_way}: it begins anew on {end:%d %B %Y} (UTC), and"
            " an administrator of your organisation can raise it before",
            (end - at).total_seconds(),
        )
        self.bound = bound


def tokens_spent(tokens: int, limit: int, at: datetime) -> TooManyRequests:
    """An API key has used up the tokens of its month."""
    _, end = bounds_of("month", first_day("month", at))
    return TooManyRequests(
        f"this API key has spent {tokens} of its {limit} tokens of this month: its owner can raise the limit",
        (end - at).total_seconds(),
        code="spending-limit-reached",
    )


@dataclass(kw_only=True)
class Wanted:
    """A call that asks for leave."""

    amount: int
    begun_at: datetime
    bounds: Sequence[Bound]
    tokens: tuple[Place, int] | None = None
    """The counter of its API key, and the tokens that this may spend in the month."""

    def places(self) -> set[Place]:
        found = {bound.place(self.begun_at) for bound in self.bounds}
        return found | {self.tokens[0]} if self.tokens else found


def admit(wanted: Wanted, counters: Mapping[Place, Counter]) -> TooManyRequests | None:
    """Reserve what `wanted` may come to in all of its counters, or in none: then why not.

    What costs nothing is never refused for money, so that a model of one's own still answers when the budget is gone.
    """
    if wanted.tokens is not None:
        place, limit = wanted.tokens
        if counters[place].tokens >= limit:
            return tokens_spent(counters[place].tokens, limit, wanted.begun_at)
    for bound in wanted.bounds if wanted.amount else ():
        counter = counters[bound.place(wanted.begun_at)]
        if counter.used + wanted.amount > bound.amount:
            return BudgetExhausted(bound, wanted.amount, counter, wanted.begun_at)
    for place in wanted.places():
        counters[place].more_reserved += wanted.amount
    return None


def worth_telling(refusal: BudgetExhausted, counter: Counter) -> bool:
    """Whether a refusal shows that the budget is used up, and not that one call was far too large for it."""
    return counter.used * 100 >= refusal.bound.amount * WARN_PERCENT and counter.must_tell(100, refusal.bound.amount)


def applying(subjects: Iterable[tuple[str, UUID]], bounds: Mapping[tuple[str, UUID], Sequence[Bound]]) -> list[Bound]:
    """What of `bounds` applies to a call of these subjects."""
    return [bound for subject in subjects for bound in bounds.get(subject, ())]
