"""Usage as a file for spreadsheets.

Read in short transactions, a batch each, so that a client that reads slowly holds no connection and no more than a
batch is ever in memory. Before each it is asked whether the person may still read it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select

from folkmoot.audit.export import defused, still
from folkmoot.kit.access import Permission, Principal
from folkmoot.kit.app import App
from folkmoot.kit.work import Work
from folkmoot.usage.models import UsageEntry
from folkmoot.usage.money import MICROS
from folkmoot.usage.report import UsageService, Wanted, currency_of, matching, names
from folkmoot.usage.schemas import UsageOut

BATCH = 1_000
NAMED = ("user", "key", "space", "assistant")
ENTRY = (
    "id",
    "begun_at",
    "purpose",
    "user_id",
    "key_id",
    "space_id",
    "assistant_id",
    "message_id",
    "provider",
    "model",
    "model_id",
    "connection_id",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_seconds",
    "priced",
    "estimated",
    "error",
    "first_ms",
    "total_ms",
)


async def export(app: App, principal: Principal, wanted: Wanted, by: str) -> AsyncIterator[bytes]:
    """What `GET /usage` answers, all pages of it; with `by` `entry`, each call by itself, oldest first."""
    rows = _entries(app, principal, wanted) if by == "entry" else _sums(app, principal, wanted, by)
    async for batch in rows:
        yield _csv(batch)


async def _sums(app: App, principal: Principal, wanted: Wanted, by: str) -> AsyncIterator[list[list[object]]]:
    fields = UsageOut.__struct_fields__
    yield [[*fields, "cost"]]
    cursor = None
    while True:
        async with app.begin(principal) as work:
            await still(work, Permission.ADMIN)
            page = await UsageService(work).exported(wanted, by, BATCH, cursor)
        yield [[*(getattr(item, name) for name in fields), _amount(item.cost_micros)] for item in page.items]
        if (cursor := page.next_cursor) is None:
            return


async def _entries(app: App, principal: Principal, wanted: Wanted) -> AsyncIterator[list[list[object]]]:
    yield [[*ENTRY, *(f"{kind}_name" for kind in NAMED), "cost_micros", "currency", "cost"]]
    after: tuple[datetime, UUID] | None = None
    while True:
        async with app.begin(principal) as work:
            await still(work, Permission.ADMIN)
            rows = await _batch(work, wanted, after)
            currency = await currency_of(work)
            called = {kind: await names(work, kind, (getattr(row, f"{kind}_id") for row in rows)) for kind in NAMED}
        yield [
            [
                *(getattr(row, name) for name in ENTRY),
                *(called[kind].get(getattr(row, f"{kind}_id")) for kind in NAMED),
                row.cost,
                currency,
                _amount(row.cost),
            ]
            for row in rows
        ]
        if len(rows) < BATCH:
            return
        after = rows[-1].begun_at, rows[-1].id


async def _batch(work: Work, wanted: Wanted, after: tuple[datetime, UUID] | None) -> Sequence[UsageEntry]:
    query = select(UsageEntry).where(*matching(work, wanted)).order_by(UsageEntry.begun_at, UsageEntry.id).limit(BATCH)
    if after is not None:
        at, last = after
        query = query.where(UsageEntry.begun_at >= at, (UsageEntry.begun_at > at) | (UsageEntry.id > last))
    return (await work.session.scalars(query)).all()


def _amount(micros: int) -> str:
    """In whole units, as a spreadsheet adds up."""
    return f"{Decimal(micros) / MICROS:f}"


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return defused(value.isoformat() if isinstance(value, datetime) else str(value))
