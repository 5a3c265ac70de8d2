"""What was used, by any of the axes that entries have."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, String, and_, case, cast, func, or_, select, text, true

from folkmoot.kit.access import Access, Permission
from folkmoot.kit.errors import BadRequest, ValidationFailed
from folkmoot.kit.work import Work
from folkmoot.spaces.service import SpaceService
from folkmoot.tenants.schemas import TenantSettings
from folkmoot.tenants.service import TenantService
from folkmoot.usage.models import UsageEntry
from folkmoot.usage.schemas import UsageFigures, UsageOut, UsagePage

_IDS = {
    "model": UsageEntry.model_id,
    "space": UsageEntry.space_id,
    "user": UsageEntry.user_id,
    "key": UsageEntry.key_id,
    "assistant": UsageEntry.assistant_id,
}
_WORDS = {"provider": UsageEntry.provider, "purpose": UsageEntry.purpose}
_TIMES = {"day": "YYYY-MM-DD", "month": "YYYY-MM"}
ABOUT_PEOPLE = {"user", "key", "entry"}
"""Axes that show what single people do."""
# What lies in a personal space is not for anybody else's eyes, its name neither.
_NAMES = {
    "user": text("SELECT id, name FROM users WHERE id = ANY(:ids) AND erased_at IS NULL"),
    "space": text("SELECT id, name FROM spaces WHERE id = ANY(:ids)"),
    "key": text("SELECT id, name FROM api_keys WHERE id = ANY(:ids)"),
    "assistant": text(
        "SELECT a.id, a.name FROM assistants a JOIN spaces s ON s.id = a.space_id"
        " WHERE a.id = ANY(:ids) AND (s.kind <> 'personal' OR s.owner_id = :caller)"
    ),
}
_SUMS = {
    "calls": func.count(),
    "input_tokens": func.sum(UsageEntry.input_tokens),
    "output_tokens": func.sum(UsageEntry.output_tokens),
    "cached_input_tokens": func.sum(UsageEntry.cached_input_tokens),
    "reasoning_tokens": func.sum(UsageEntry.reasoning_tokens),
    "cost_micros": func.sum(UsageEntry.cost),
    "estimated_calls": func.count(case((UsageEntry.estimated, 1))),
    "ceiling_calls": func.count(case((UsageEntry.priced == "ceiling", 1))),
    "failed_calls": func.count(case((UsageEntry.error != "", 1))),
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which entries; what is None does not matter."""

    since: datetime | None = None
    """If left out, the beginning of the month."""
    until: datetime | None = None
    """The first moment that is out."""
    model_id: UUID | None = None
    provider: str | None = None
    purpose: str | None = None
    space_id: UUID | None = None
    user_id: UUID | None = None
    key_id: UUID | None = None
    assistant_id: UUID | None = None

    def about_people(self, by: str) -> bool:
        return by in ABOUT_PEOPLE or self.user_id is not None or self.key_id is not None

    def told(self) -> dict[str, str]:
        """For the log."""
        return {name: str(value) for name, value in vars(self).items() if value is not None}


class UsageService:
    """Reading the ledger."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def of_organisation(self, wanted: Wanted, by: str, limit: int, cursor: str | None) -> UsagePage:
        """Everybody's. What shows single people is in the log."""
        self._work.principal.require(Permission.ADMIN)
        if wanted.about_people(by):
            self._work.record("usage.read", "usage", data={"by": by, "filter": wanted.told()})
        return await self._page(wanted, by, limit, cursor)

    async def of_space(self, space_id: UUID, wanted: Wanted, by: str, limit: int, cursor: str | None) -> UsagePage:
        """For its admins, who see what was used and not by whom. Raises what the door of the space raises."""
        await SpaceService(self._work).get(space_id, Access.MANAGE)
        return await self._page(wanted, by, limit, cursor, UsageEntry.space_id == space_id)

    async def mine(self, wanted: Wanted, by: str, limit: int, cursor: str | None) -> UsagePage:
        """The caller's own, with that of their keys."""
        return await self._page(wanted, by, limit, cursor, UsageEntry.user_id == self._work.principal.user)

    async def export(self, wanted: Wanted, by: str) -> None:
        """Write down that usage leaves the house, before it does."""
        self._work.principal.require(Permission.ADMIN)
        matching(self._work, wanted)
        self._work.record("usage.exported", "usage", data={"by": by, "filter": wanted.told()})

    async def exported(self, wanted: Wanted, by: str, limit: int, cursor: str | None) -> UsagePage:
        """What `export` has written down, page by page."""
        self._work.principal.require(Permission.ADMIN)
        return await self._page(wanted, by, limit, cursor)

    async def _page(
        self, wanted: Wanted, by: str, limit: int, cursor: str | None, *also: ColumnElement[bool]
    ) -> UsagePage:
        grouped = _grouped(by).where(*matching(self._work, wanted), *also).cte("grouped").prefix_with("MATERIALIZED")
        sums = [func.coalesce(func.sum(grouped.c[name]), 0).label(f"all_{name}") for name in _SUMS]
        totals = select(*sums).subquery("totals")
        order = _order(grouped, by)
        found = select(grouped).where(_after(grouped, by, cursor)).order_by(*order).limit(limit + 1).subquery("found")
        # In one statement, so that the totals are those of the items.
        query = select(totals, found).select_from(totals.outerjoin(found, true())).order_by(*_order(found, by))
        rows = (await self._work.session.execute(query)).all()
        currency = await currency_of(self._work)
        items = [_item(row, currency) for row in rows if row.key is not None]
        more, items = len(items) > limit, items[:limit]
        first = rows[0]
        return UsagePage(
            items=await named(self._work, by, items),
            next_cursor=_cursor(items[-1]) if more else None,
            totals=UsageFigures(currency=currency, **{name: int(getattr(first, f"all_{name}")) for name in _SUMS}),
        )


def matching(work: Work, wanted: Wanted) -> list[ColumnElement[bool]]:
    """The conditions on entries. Raises `ValidationFailed`."""
    now = datetime.now(UTC)
    since = _moment("from", wanted.since) or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    until = _moment("to", wanted.until)
    if until is not None and until <= since:
        raise ValidationFailed("`to` is not after `from`: nothing can be in between", [("to", "is not after `from`")])
    found = [UsageEntry.tenant_id == work.principal.tenant, UsageEntry.begun_at >= since]
    if until is not None:
        found.append(UsageEntry.begun_at < until)
    for name, column in {**{f"{axis}_id": column for axis, column in _IDS.items()}, **_WORDS}.items():
        if (value := getattr(wanted, name)) is not None:
            found.append(column == value)
    return found


async def currency_of(work: Work) -> str:
    tenant = await TenantService(work).get(work.principal.tenant)
    return TenantSettings.of(tenant.settings).currency


async def named(work: Work, by: str, items: Sequence[UsageOut]) -> list[UsageOut]:
    """With the names of what their keys are the ids of."""
    if by not in _NAMES:
        return list(items)
    known = await names(work, by, (UUID(item.key) for item in items if item.key))
    return [msgspec.structs.replace(item, name=known.get(UUID(item.key)) if item.key else None) for item in items]


async def names(work: Work, kind: str, ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """Names by id, of what is still there and the caller may know of."""
    wanted = list({found for found in ids if found is not None})
    if not wanted:
        return {}
    given = {"ids": wanted, "caller": work.principal.user_id} if kind == "assistant" else {"ids": wanted}
    return {row.id: row.name for row in await work.session.execute(_NAMES[kind], given)}


def _grouped(by: str) -> Select[Any, *tuple[Any, ...]]:
    if by in _TIMES:
        key: Any = func.to_char(func.timezone("UTC", UsageEntry.begun_at), _TIMES[by])
    else:
        key = func.coalesce(cast(_IDS[by], String), "") if by in _IDS else _WORDS[by]
    name = func.max(UsageEntry.model) if by == "model" else func.max("")
    sums = [column.label(name) for name, column in _SUMS.items()]
    return select(key.label("key"), name.label("name"), *sums).group_by(key)


def _order(grouped: Any, by: str) -> list[Any]:
    return [grouped.c.key] if by in _TIMES else [grouped.c.cost_micros.desc(), grouped.c.key]


def _after(grouped: Any, by: str, cursor: str | None) -> ColumnElement[bool]:
    if cursor is None:
        return true()
    try:
        cost, key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=="), type=tuple[int, str])
        if abs(cost) > 2**62:
            raise ValueError
    except ValueError:
        raise BadRequest(
            "`cursor` is not one of ours: leave it out to start from the beginning", code="invalid-cursor"
        ) from None
    if by in _TIMES:
        return grouped.c.key > key
    return or_(grouped.c.cost_micros < cost, and_(grouped.c.cost_micros == cost, grouped.c.key > key))


def _cursor(item: UsageOut) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((item.cost_micros, item.key or ""))).decode().rstrip("=")


def _item(row: Any, currency: str) -> UsageOut:
    figures = {name: int(getattr(row, name)) for name in _SUMS}
    return UsageOut(key=row.key or None, name=row.name or None, currency=currency, **figures)


def _moment(name: str, value: datetime | None) -> datetime | None:
    """With a zone: UTC if it names none."""
    if value is None:
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValidationFailed(f"`{name}` is beyond the calendar", [(name, "is beyond the calendar")]) from None
