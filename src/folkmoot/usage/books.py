"""The statements that keep ledger and counters true to each other.

A counter is the sum of its entries, always: whoever enters a call holds the tenant's books open together with
others (a shared lock) and adds to the counters that there are; whoever opens a counter holds them alone, so that
no entry is on its way while the sum is taken. Counters are locked in the order of their ids, after everything
else, so that no two processes wait for each other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Table, Uuid, any_, bindparam, delete, func, select, text, true
from sqlalchemy.dialects.postgresql import ARRAY, insert
from uuid_utils.compat import uuid7

from folkmoot.keys.models import ApiKey
from folkmoot.keys.rotate import family_of
from folkmoot.kit.work import Work
from folkmoot.usage.account import Place, Reservation, Spent, bounds_of
from folkmoot.usage.limits import Bound, Counter
from folkmoot.usage.models import BudgetCounter, UsageEntry

MOST_TOKENS = 10**12
MOST_COST = 10**15
"""A provider may say anything of one call; this is where we stop believing it, and what fits in a column."""
KEPT = timedelta(days=3)
"""How long a counter stays after its day or month."""

_TOGETHER = text("SELECT pg_advisory_xact_lock_shared(hashtextextended('folkmoot.usage.' || CAST(:tenant AS text), 0))")
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('folkmoot.usage.' || CAST(:tenant AS text), 0))")
# One's own budget goes before that for each of the kind.
_BOUNDS = text(
    """
    SELECT k.kind, k.subject_id, b.id, b.period, b.amount,
        (SELECT coalesce(t.settings->>'currency', 'USD') FROM tenants t WHERE t.id = :tenant) AS currency
    FROM unnest(CAST(:kinds AS text[]), CAST(:subjects AS uuid[])) AS k(kind, subject_id)
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (period) id, period, amount FROM budgets
        WHERE tenant_id = :tenant AND kind = k.kind AND (subject_id = k.subject_id OR subject_id IS NULL)
        ORDER BY period, subject_id NULLS LAST
    ) AS b
    """
)
_PLACES = (
    "budget_counters c JOIN unnest(CAST(:kinds AS text[]), CAST(:subjects AS uuid[]), CAST(:periods AS text[]),"
    " CAST(:days AS date[])) AS k(kind, subject_id, period, starts_on)"
    " ON c.kind = k.kind AND c.subject_id = k.subject_id AND c.period = k.period AND c.starts_on = k.starts_on"
    " WHERE c.tenant_id = :tenant"
)
_COUNTERS = f"SELECT c.id, c.kind, c.subject_id, c.period, c.starts_on, c.spent, c.reserved, c.tokens, c.told, c.told_of FROM {_PLACES}"  # noqa: E501
_LOOK = text(_COUNTERS)
_LOCK = text(f"{_COUNTERS} ORDER BY c.id FOR UPDATE OF c")
_ADD = """
    UPDATE budget_counters c SET spent = c.spent + d.spent, reserved = greatest(0, c.reserved + d.reserved),
        tokens = c.tokens + d.tokens, told = d.told, told_of = d.told_of
    FROM unnest(CAST(:ids AS uuid[]), CAST(:spent AS bigint[]), CAST(:reserved AS bigint[]),
        CAST(:tokens AS bigint[]), CAST(:told AS int[]), CAST(:told_of AS bigint[]))
        AS d(id, spent, reserved, tokens, told, told_of)
    WHERE c.id = d.id
    """
_COUNT = text(_ADD)
_ENTRY = {
    "id": "uuid",
    "tenant_id": "uuid",
    "begun_at": "timestamptz",
    "purpose": "text",
    "user_id": "uuid",
    "key_id": "uuid",
    "space_id": "uuid",
    "assistant_id": "uuid",
    "message_id": "uuid",
    "model_id": "uuid",
    "connection_id": "uuid",
    "model": "text",
    "provider": "text",
    "input_tokens": "bigint",
    "output_tokens": "bigint",
    "cached_input_tokens": "bigint",
    "cache_write_tokens": "bigint",
    "reasoning_tokens": "bigint",
    "audio_seconds": "float",
    "cost": "bigint",
    "priced": "text",
    "estimated": "boolean",
    "error": "text",
    "first_ms": "int",
    "total_ms": "int",
}
_RESERVED = {
    "id": "uuid",
    "tenant_id": "uuid",
    "begun_at": "timestamptz",
    "amount": "bigint",
    "counters": "uuid[]",
    "purpose": "text",
    "user_id": "uuid",
    "key_id": "uuid",
    "family_id": "uuid",
    "space_id": "uuid",
    "assistant_id": "uuid",
    "message_id": "uuid",
}


def _rows(columns: Mapping[str, str]) -> str:
    """Rows that come as one JSON parameter: one statement whatever their number."""
    return f"jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({', '.join(f'{name} {kind}' for name, kind in columns.items())})"  # noqa: E501


_ENTER = text(
    f"INSERT INTO usage_entries ({', '.join(_ENTRY)}) SELECT {', '.join(_ENTRY)} FROM {_rows(_ENTRY)}"
    " ON CONFLICT (id) DO NOTHING RETURNING id"
)
_RESERVE = text(
    f"WITH counted AS ({_ADD} RETURNING c.id) INSERT INTO usage_reservations ({', '.join(_RESERVED)}, expires_at)"
    f" SELECT {', '.join(_RESERVED)}, now() + make_interval(secs => :lease) FROM {_rows(_RESERVED)}"
)
Bounds = dict[tuple[str, UUID], list[Bound]]


async def together(work: Work) -> None:
    """Nobody opens a counter before this transaction ends. The statements after it see all that were opened."""
    await work.session.execute(_TOGETHER, {"tenant": str(work.principal.tenant)})


async def bounds(work: Work, subjects: Collection[tuple[str, UUID]]) -> Bounds:
    """The budgets that apply to each of `subjects` (kind, id), one for each period at most."""
    found: Bounds = defaultdict(list)
    if not subjects:
        return found
    kinds, ids = zip(*subjects, strict=True)
    given = {"tenant": work.principal.tenant, "kinds": list(kinds), "subjects": list(ids)}
    for row in await work.session.execute(_BOUNDS, given):
        found[row.kind, row.subject_id].append(
            Bound(row.id, row.kind, row.subject_id, row.period, row.amount, row.currency)
        )
    return found


async def token_limits(work: Work, key_ids: Collection[UUID]) -> dict[UUID, int]:
    """What those of the keys that have a limit may spend in a month."""
    if not key_ids:
        return {}
    query = select(ApiKey.id, ApiKey.tokens_per_month).where(
        ApiKey.id == any_(bindparam("ids", type_=ARRAY(Uuid()))), ApiKey.tokens_per_month.is_not(None)
    )
    return {row.id: row.tokens_per_month for row in await work.session.execute(query, {"ids": list(key_ids)})}


async def counters(work: Work, places: Collection[Place], *, lock: bool) -> dict[Place, Counter]:
    """Those of `places` that are open; with `lock`, nobody else counts on them before this transaction ends."""
    if not places:
        return {}
    kinds, subjects, periods, days = zip(*places, strict=True)
    given = {
        "tenant": work.principal.tenant,
        "kinds": list(kinds),
        "subjects": list(subjects),
        "periods": list(periods),
        "days": list(days),
    }
    return {
        Place(row.kind, row.subject_id, row.period, row.starts_on): Counter(
            id=row.id, spent=row.spent, reserved=row.reserved, tokens=row.tokens, told=row.told, told_of=row.told_of
        )
        for row in await work.session.execute(_LOCK if lock else _LOOK, given)
    }


async def count(work: Work, locked: Collection[Counter], made: Sequence[Reservation] = (), *, lease: float = 0) -> None:
    """Write what is to be added to locked counters, and the reservations that it is for, good for `lease` seconds."""
    if not locked:
        return
    added = {
        "ids": [row.id for row in locked],
        "spent": [row.more_spent for row in locked],
        "reserved": [row.more_reserved for row in locked],
        "tokens": [row.more_tokens for row in locked],
        "told": [row.told for row in locked],
        "told_of": [row.told_of for row in locked],
    }
    if not made:
        await work.session.execute(_COUNT, added)
        return
    rows = [
        {**_of_account(one), "amount": one.amount, "counters": one.counters, "family_id": one.family_id} for one in made
    ]
    await work.session.execute(_RESERVE, added | {"rows": msgspec.json.encode(rows).decode(), "lease": lease})


async def open_counters(work: Work, places: Collection[Place]) -> None:
    """Open counters, each with the sum of what was entered before. Call it in a transaction of its own."""
    await work.session.execute(_ALONE, {"tenant": str(work.principal.tenant)})
    for place in places:
        spent, tokens = await total(work, place)
        await work.session.execute(
            insert(cast("Table", BudgetCounter.__table__))
            .values(
                id=uuid7(),
                tenant_id=work.principal.tenant,
                **place._asdict(),
                spent=spent,
                reserved=0,
                tokens=tokens,
                told=0,
                told_of=0,
            )
            .on_conflict_do_nothing()
        )


async def total(work: Work, place: Place) -> tuple[int, int]:
    """Micro-units and tokens of all entries that count for `place`."""
    begin, end = bounds_of(place.period, place.starts_on)
    row = (
        await work.session.execute(
            select(
                func.coalesce(func.sum(UsageEntry.cost), 0),
                func.coalesce(func.sum(UsageEntry.input_tokens + UsageEntry.output_tokens), 0),
            ).where(
                UsageEntry.tenant_id == work.principal.tenant,
                UsageEntry.begun_at >= begin,
                UsageEntry.begun_at < end,
                _owned(place),
            )
        )
    ).one()
    return int(row[0]), int(row[1])


def _owned(place: Place) -> ColumnElement[bool]:
    if place.kind == "tenant":
        return true()
    if place.kind == "key":
        return UsageEntry.key_id.in_(family_of(place.subject_id))
    column = {"space": UsageEntry.space_id, "user": UsageEntry.user_id, "assistant": UsageEntry.assistant_id}
    return column[place.kind] == place.subject_id


async def forget_old(work: Work) -> None:
    """Remove the counters of days and months that are over. Their entries stay."""
    today = datetime.now(UTC).date()
    month = today.replace(day=1)
    for period, before in (("day", today - KEPT), ("month", month if today - month >= KEPT else month - timedelta(1))):
        old = delete(BudgetCounter).where(BudgetCounter.period == period, BudgetCounter.starts_on < before)
        await work.session.execute(old.where(BudgetCounter.tenant_id == work.principal.tenant))


async def enter(work: Work, calls: Iterable[tuple[Reservation, Sequence[Spent]]]) -> dict[UUID, Spent]:
    """Enter calls; those that were not there before, by the id of their entry."""
    rows: list[dict[str, Any]] = []
    known: dict[UUID, Spent] = {}
    for reservation, all_spent in calls:
        for number, said in enumerate(all_spent):
            spent = believable(said)
            entry_id = entry_of(reservation, number)
            known[entry_id] = spent
            rows.append({**_of_account(reservation), **_fields(spent), "id": entry_id})
    if not rows:
        return {}
    made = await work.session.scalars(_ENTER, {"rows": msgspec.json.encode(rows).decode()})
    return {entry_id: known[entry_id] for entry_id in made}


def entry_of(reservation: Reservation, number: int) -> UUID:
    """The id of a reservation's call number `number`, counted from 0: entering it again changes nothing."""
    return UUID(int=reservation.id.int + number)


def believable(spent: Spent) -> Spent:
    """`spent` as it can be stored, whatever a provider said: one call must not keep others from being entered."""
    given = _fields(spent)
    for name in ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens"):
        given[name] = max(0, min(given[name], MOST_TOKENS))
    given["cost"] = max(0, min(spent.cost, MOST_COST))
    given["audio_seconds"] = max(0.0, min(spent.audio_seconds, 1e9)) if math.isfinite(spent.audio_seconds) else 0.0
    for name in ("model", "provider", "error", "priced"):
        given[name] = given[name].encode("utf-8", "replace").decode().replace("\x00", "")[:300]
    for name in ("first_ms", "total_ms"):
        given[name] = None if given[name] is None else max(0, min(given[name], 2**31 - 1))
    return Spent(**given)


def _fields(spent: Spent) -> dict[str, Any]:
    return {name: getattr(spent, name) for name in spent.__dataclass_fields__}


def _of_account(reservation: Reservation) -> dict[str, Any]:
    account = reservation.account
    return {
        "id": reservation.id,
        "tenant_id": account.tenant_id,
        "begun_at": reservation.begun_at,
        "purpose": account.purpose,
        "user_id": account.user_id,
        "key_id": account.key_id,
        "space_id": account.space_id,
        "assistant_id": account.assistant_id,
        "message_id": account.message_id,
    }
