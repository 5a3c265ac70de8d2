"""Budgets and usage, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.kit.structs import Input, Struct

Kind = Annotated[
    Literal["tenant", "space", "user", "key", "assistant"],
    Meta(description="Whose calls count; `tenant` is the whole organisation.", examples=["space"]),
]
Period = Annotated[Literal["day", "month"], Meta(description="Of the calendar, in UTC.", examples=["month"])]
Micros = Annotated[
    int,
    Meta(ge=0, le=10**15, description="Millionths of a unit of the organisation's currency.", examples=[25_000_000]),
]
Axis = Literal["model", "provider", "purpose", "space", "user", "key", "assistant", "day", "month"]
SpaceAxis = Literal["model", "provider", "purpose", "assistant", "day", "month"]
MyAxis = Literal["model", "provider", "purpose", "space", "key", "assistant", "day", "month"]
Purpose = Literal["answer", "title", "embedding", "search", "rerank", "transcription", "check", "api"]


class BudgetOut(Struct, frozen=True, kw_only=True):
    id: UUID
    kind: str
    subject_id: UUID | None
    """Null for the organisation, and for a budget of each that has none of its own. Of a key that was exchanged, the
    first one."""
    name: str | None
    """Of the subject, while it is there."""
    period: str
    limit_micros: int
    """Millionths of a unit of `currency`."""
    currency: str
    spent_micros: int | None
    """In the current day or month. Null for a budget of each: `GET /usage?by=…` tells who spent what."""
    reserved_micros: int | None
    """By calls that are under way."""
    starts_at: datetime
    ends_at: datetime
    """When it begins anew."""
    created_at: datetime
    updated_at: datetime


class BudgetCreate(Input, frozen=True, kw_only=True):
    kind: Kind
    subject_id: UUID | None = None
    """Which space, person, key or assistant. Without it, for each that has no budget of its own for the period."""
    period: Period
    limit_micros: Micros


class BudgetUpdate(Input, frozen=True, kw_only=True):
    limit_micros: Micros | UnsetType = UNSET


class MyBudgetOut(Struct, frozen=True, kw_only=True):
    """A budget that binds the caller's calls, and what is left of it."""

    kind: str
    subject_id: UUID | None
    name: str | None
    period: str
    limit_micros: int
    currency: str
    spent_micros: int
    reserved_micros: int
    left_micros: int
    """Never below 0."""
    ends_at: datetime
    """When it begins anew."""


class UsageFigures(Struct, frozen=True, kw_only=True):
    calls: int
    """Of providers, those that failed among them."""
    input_tokens: int
    """All of them: those from the provider's cache are among them."""
    output_tokens: int
    """All of them: reasoning is among them."""
    cached_input_tokens: int
    reasoning_tokens: int
    cost_micros: int
    """Millionths of a unit of `currency`."""
    currency: str
    estimated_calls: int
    """Of which the provider told no usage."""
    ceiling_calls: int
    """Of models whose price nobody knows, counted at the ceiling."""
    failed_calls: int


class UsageOut(UsageFigures, frozen=True, kw_only=True):
    key: str | None
    """What is counted here: an id, a word, or a day or month as `2026-11-22` or `2026-11`. Null for calls that have
    none, such as calls of nobody's key."""
    name: str | None
    """Of what `key` is the id, while it is there."""


class UsagePage(Struct, frozen=True, kw_only=True):
    """The most expensive first; days and months in their order."""

    items: list[UsageOut]
    next_cursor: str | None
    totals: UsageFigures
    """Of all that the filters leave, on whatever page."""
