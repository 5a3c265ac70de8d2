"""Reserving and settling many calls of one tenant in one transaction each, and what a dead process left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from folkmoot.kit.access import Principal
from folkmoot.kit.errors import TooManyRequests
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Sessions, Work, begin
from folkmoot.usage import books
from folkmoot.usage.account import Account, Place, Reservation, Spent, first_day
from folkmoot.usage.limits import Bound, BudgetExhausted, Counter, Wanted, admit, applying, worth_telling

log = get_logger(__name__)
LEASE_SECONDS = 90.0
"""How long a reservation stands without its process saying that it lives."""
SWEPT = 500
_GONE = text(
    "DELETE FROM usage_reservations r USING (SELECT id FROM usage_reservations WHERE tenant_id = :tenant"
    " AND id = ANY(:ids) ORDER BY id FOR UPDATE) AS held WHERE r.id = held.id RETURNING r.id"
)
_EXPIRED = text(
    "DELETE FROM usage_reservations r USING (SELECT id FROM usage_reservations WHERE tenant_id = :tenant"
    f" AND expires_at < now() ORDER BY expires_at LIMIT {SWEPT} FOR UPDATE SKIP LOCKED) AS held"
    " WHERE r.id = held.id RETURNING r.*"
)
_LIVES = text(
    "UPDATE usage_reservations SET expires_at = now() + make_interval(secs => :lease) WHERE id IN"
    " (SELECT id FROM usage_reservations WHERE tenant_id = :tenant AND id = ANY(:ids) FOR UPDATE SKIP LOCKED)"
)


async def reserve(sessions: Sessions, tenant_id: UUID, asked: Sequence[Reservation]) -> list[TooManyRequests | None]:
    """Why not, for each that is refused. Those that something bounds know afterwards in which counters."""
    while True:
        async with begin(sessions, Principal.system(tenant_id)) as work:
            wanted = await _wanted(work, asked)
            places = {place for one in wanted for place in one.places()}
            locked = await books.counters(work, places, lock=True)
            if not (missing := places - locked.keys()):
                return await _decide(work, asked, wanted, locked)
        # Not while counters are locked: who enters a call locks the books first and counters after.
        async with begin(sessions, Principal.system(tenant_id)) as work:
            await books.open_counters(work, missing)


async def _wanted(work: Work, asked: Sequence[Reservation]) -> list[Wanted]:
    known = await books.bounds(work, {subject for one in asked for subject in one.subjects()})
    limits = await books.token_limits(work, {one.account.key_id for one in asked if one.account.key_id})
    found: list[Wanted] = []
    for reservation in asked:
        tokens, key_id = None, reservation.account.key_id
        if key_id is not None and key_id in limits and reservation.family_id is not None:
            month = first_day("month", reservation.begun_at)
            tokens = (Place("key", reservation.family_id, "month", month), limits[key_id])
        found.append(
            Wanted(
                amount=reservation.amount,
                begun_at=reservation.begun_at,
                bounds=applying(reservation.subjects(), known),
                tokens=tokens,
            )
        )
    return found


async def _decide(
    work: Work, asked: Sequence[Reservation], wanted: Sequence[Wanted], locked: Mapping[Place, Counter]
) -> list[TooManyRequests | None]:
    refusals: list[TooManyRequests | None] = []
    made: list[Reservation] = []
    touched: dict[UUID, Counter] = {}
    for one, what in zip(asked, wanted, strict=True):
        refusal = admit(what, locked)
        refusals.append(refusal)
        if refusal is None:
            used = {counter.id: counter for place in what.places() if (counter := locked[place])}
            touched |= used
            one.counters = frozenset(used)
            if used:
                made.append(one)
        elif isinstance(refusal, BudgetExhausted):
            counter = locked[refusal.bound.place(what.begun_at)]
            if worth_telling(refusal, counter):
                touched[counter.id] = counter
                _tell(work, 100, refusal.bound, refusal.bound.place(what.begun_at), counter)
    await books.count(work, touched.values(), made, lease=LEASE_SECONDS)
    return refusals


async def settle(
    sessions: Sessions, tenant_id: UUID, calls: Sequence[tuple[Reservation, Sequence[Spent]]]
) -> list[None]:
    """Enter calls and give back what was reserved for them; each once, however often it is tried."""
    async with begin(sessions, Principal.system(tenant_id)) as work:
        await books.together(work)
        stored = [reservation.id for reservation, _ in calls if reservation.counters]
        gone: set[UUID] = set()
        if stored:
            given = {"tenant": tenant_id, "ids": stored}
            gone = set((await work.session.scalars(_GONE, given)).all())
        open_ones: list[tuple[Reservation, Sequence[Spent]]] = []
        for reservation, spent in calls:
            if reservation.counters and reservation.id not in gone:
                # It took longer than anybody heard of us, and the sweep has entered it; or we did, and did not
                # hear that it was committed.
                log.info("usage.settled_before", tenant_id=str(tenant_id), reservation_id=str(reservation.id))
                continue
            open_ones.append((reservation, spent))
        await _enter(work, open_ones)
    return [None] * len(calls)


async def settle_expired(sessions: Sessions, tenant_id: UUID) -> int:
    """Enter the calls whose process died, as they were reserved; returns how many."""
    async with begin(sessions, Principal.system(tenant_id)) as work:
        await books.together(work)
        rows = (await work.session.execute(_EXPIRED, {"tenant": tenant_id})).all()
        left = [_left(row) for row in rows]
        await _enter(work, left)
        await books.forget_old(work)
    if left:
        log.warning("usage.settled_for_the_dead", tenant_id=str(tenant_id), calls=len(left))
    return len(left)


async def keep_alive(sessions: Sessions, tenant_id: UUID, ids: Sequence[UUID]) -> None:
    """Say that the process of these reservations lives."""
    async with begin(sessions, Principal.system(tenant_id)) as work:
        given = {"tenant": tenant_id, "ids": list(ids), "lease": LEASE_SECONDS}
        await work.session.execute(_LIVES, given)


async def _enter(work: Work, calls: Sequence[tuple[Reservation, Sequence[Spent]]]) -> None:
    if not calls:
        return
    made = await books.enter(work, calls)
    locked = await books.counters(work, {place for one, _ in calls for place in one.places()}, lock=True)
    if not locked:
        return
    by_id = {counter.id: counter for counter in locked.values()}
    for reservation, spent in calls:
        for counter_id in reservation.counters & by_id.keys():
            by_id[counter_id].more_reserved -= reservation.amount
        places = [counter for place in reservation.places() if (counter := locked.get(place))]
        for number in range(len(spent)):
            if (entered := made.get(books.entry_of(reservation, number))) is not None:
                for counter in places:
                    counter.more_spent += entered.cost
                    counter.more_tokens += entered.input_tokens + entered.output_tokens
    await _warn(work, locked)
    await books.count(work, by_id.values())


async def _warn(work: Work, locked: Mapping[Place, Counter]) -> None:
    """Tell of budgets that reach 80 or 100 percent by this transaction, which ends the telling too."""
    bounds = await books.bounds(work, {(place.kind, place.subject_id) for place in locked})
    for place, counter in locked.items():
        for bound in bounds.get((place.kind, place.subject_id), ()):
            level = counter.level(bound.amount) if bound.period == place.period else 0
            if level and counter.must_tell(level, bound.amount):
                _tell(work, level, bound, place, counter)


def _tell(work: Work, percent: int, bound: Bound, place: Place, counter: Counter) -> None:
    work.record(
        "budget.exhausted" if percent == 100 else "budget.warned",
        "budget",
        bound.budget_id,
        user_id=bound.subject_id if bound.kind == "user" else None,
        data={
            "kind": bound.kind,
            "subject_id": str(bound.subject_id),
            "period": bound.period,
            "starts_on": place.starts_on.isoformat(),
            "limit_micros": bound.amount,
            "spent_micros": counter.spent + counter.more_spent,
            "reserved_micros": max(0, counter.reserved + counter.more_reserved),
            "currency": bound.currency,
        },
    )


def _left(row: Any) -> tuple[Reservation, Sequence[Spent]]:
    """A reservation as its process left it, and the most that its call may have come to."""
    account = Account(
        tenant_id=row.tenant_id,
        purpose=row.purpose,
        user_id=row.user_id,
        key_id=row.key_id,
        space_id=row.space_id,
        assistant_id=row.assistant_id,
        message_id=row.message_id,
    )
    reservation = Reservation(
        row.id, account, row.amount, row.begun_at, family_id=row.family_id, counters=frozenset(row.counters)
    )
    # Which model it was, only the process knew.
    unknown = Spent(
        model_id=None, model="", provider="", connection_id=None, cost=row.amount, estimated=True, error="interrupted"
    )
    return reservation, [unknown]


def by_tenant(reservations: Iterable[Reservation]) -> dict[UUID, list[UUID]]:
    """The ids of reservations that are stored, tenant by tenant."""
    found: dict[UUID, list[UUID]] = {}
    for one in reservations:
        if one.counters:
            found.setdefault(one.account.tenant_id, []).append(one.id)
    return found
