"""The ledger: what a call may come to is reserved before it, and what it came to is entered after it.

PostgreSQL holds the truth. A process remembers for half a second whether an organisation has budgets at all, so
that calls of one that has none ask nobody; all else is decided over locked rows, for all calls that wait at that
moment together (`gather.py`). The spent and the reserved of a budget never pass its limit by reservations; what a
call comes to beyond its own is all that can.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID
from weakref import WeakSet

from sqlalchemy import exists, select
from uuid_utils.compat import uuid7

from folkmoot.keys.models import ApiKey
from folkmoot.keys.rotate import family_of
from folkmoot.kit.access import Principal
from folkmoot.kit.errors import NotAvailable, TooManyRequests
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Sessions, Work, begin
from folkmoot.usage import settle
from folkmoot.usage.account import Account, Noted, Reservation, Spent
from folkmoot.usage.gather import Gathering, Remembered
from folkmoot.usage.limits import BudgetExhausted
from folkmoot.usage.models import Budget

__all__ = ["Account", "BudgetExhausted", "Ledger", "Reservation", "Spent"]
log = get_logger(__name__)
REMEMBER_SECONDS = 0.5
MOST_REMEMBERED = 10_000
RENEW_SECONDS = 20.0
PATIENCE_SECONDS = 10.0
"""How long whoever settles waits for a PostgreSQL that is away. The entry is written once it is back."""


@dataclass(frozen=True)
class KeyFacts:
    """What the ledger must know of an API key."""

    family_id: UUID
    """The first key of its family: what one of them spends, all have spent."""
    tokens_per_month: int | None


class Ledger:
    """Lives as long as the process."""

    def __init__(self, sessions: Sessions, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._sessions, self._clock = sessions, clock
        self._reserving: Gathering[Reservation, TooManyRequests | None] = Gathering(self._reserve)
        self._settling: Gathering[tuple[Reservation, Sequence[Spent]], None] = Gathering(self._settle, patient=True)
        self._budgeted = Remembered(self._has_budgets, seconds=REMEMBER_SECONDS, most=MOST_REMEMBERED)
        self._keys = Remembered(self._key, seconds=REMEMBER_SECONDS, most=MOST_REMEMBERED)
        self._open: WeakSet[Reservation] = WeakSet()
        """Held by whoever makes the call: one that nobody holds any more is left to the sweep."""
        self._renewing: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Task[None]] = set()

    def forget(self, tenant_id: UUID) -> None:
        """Ask at the next call whether an organisation has budgets: this process need not wait for what it changed."""
        self._budgeted.forget(tenant_id)

    async def reserve(self, account: Account, amount: int) -> Reservation:
        """Leave for one call that may come to `amount` micro-units; hand it to `settle`, however the call ends.

        Raises `BudgetExhausted`, `TooManyRequests` (`spending-limit-reached`: the tokens of an API key), or
        `NotAvailable` if nobody can say: a call that nobody counts is not made.
        """
        if amount < 0:
            raise ValueError(f"{amount} micro-units cannot be reserved: a call costs nothing or something")
        key = await self._keys.get((account.tenant_id, account.key_id)) if account.key_id else None
        reservation = Reservation(uuid7(), account, amount, self._clock(), key.family_id if key else None)
        limited = key is not None and key.tokens_per_month is not None
        if not limited and not (amount and await self._budgeted.get(account.tenant_id)):
            return reservation
        asked = self._reserving.put(account.tenant_id, reservation)
        try:
            refusal = await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(lambda done: self._release(done, reservation))
            raise
        if refusal is not None:
            raise refusal
        if reservation.counters:
            self._hold(reservation)
        return reservation

    async def settle(self, reservation: Reservation, *spent: Spent) -> None:
        """Enter what the calls of a reservation came to, and give back what was reserved; committed on return.

        Only the first settlement of a reservation counts. Without `spent` it just gives back. Raises `NotAvailable`
        if PostgreSQL is away for ten seconds; the entry is then written as soon as it is back.
        """
        if reservation.settling is None and not spent and not reservation.counters:
            reservation.settling = asyncio.get_running_loop().create_future()
            reservation.settling.set_result(None)
        if reservation.settling is None:
            if reservation.account.noted is not None:
                reservation.account.noted.extend(Noted(reservation.account.purpose, one) for one in spent)
            reservation.settling = self._settling.put(reservation.account.tenant_id, (reservation, spent))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.shield(reservation.settling)
        except TimeoutError:
            raise NotAvailable("PostgreSQL does not answer: what this call cost is entered once it does") from None
        finally:
            if reservation.settling.done():
                self._open.discard(reservation)

    async def close(self) -> None:
        """Write what waits. Reservations of calls that are still under way are left to the sweep."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
        await self._reserving.close(PATIENCE_SECONDS)
        await asyncio.sleep(0)
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=PATIENCE_SECONDS)
        await self._settling.close(PATIENCE_SECONDS)

    async def _reserve(self, tenant_id: UUID, asked: Sequence[Reservation]) -> Sequence[TooManyRequests | None]:
        return await settle.reserve(self._sessions, tenant_id, asked)

    async def _settle(self, tenant_id: UUID, calls: Sequence[tuple[Reservation, Sequence[Spent]]]) -> Sequence[None]:
        return await settle.settle(self._sessions, tenant_id, calls)

    def _release(self, done: asyncio.Future[TooManyRequests | None], reservation: Reservation) -> None:
        """Whoever asked went away before the answer came."""
        if done.exception() is None and reservation.counters:
            self._hold(reservation)
            releasing = asyncio.get_running_loop().create_task(self._give_back(reservation))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    async def _give_back(self, reservation: Reservation) -> None:
        try:
            await self.settle(reservation)
        except Exception as error:  # noqa: BLE001 - nobody waits for it; the sweep finds the row
            log.warning("usage.not_released", reservation_id=str(reservation.id), error=str(error))

    def _hold(self, reservation: Reservation) -> None:
        self._open.add(reservation)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(), context=contextvars.Context())

    async def _renew(self) -> None:
        """Say that this process lives, for as long as calls are under way."""
        while self._open:
            await asyncio.sleep(RENEW_SECONDS)
            for tenant_id, ids in settle.by_tenant(self._open).items():
                try:
                    await settle.keep_alive(self._sessions, tenant_id, ids)
                except Exception as error:  # noqa: BLE001 - it is said again in a moment
                    log.warning("usage.not_renewed", tenant_id=str(tenant_id), error=str(error))

    async def _has_budgets(self, tenant_id: UUID) -> bool:
        async with begin(self._sessions, Principal.system(tenant_id)) as work:
            return bool(await work.session.scalar(select(exists().where(Budget.tenant_id == tenant_id))))

    async def _key(self, of: tuple[UUID, UUID]) -> KeyFacts:
        tenant_id, key_id = of
        async with begin(self._sessions, Principal.system(tenant_id)) as work:
            return await key_facts(work, key_id)


async def key_facts(work: Work, key_id: UUID) -> KeyFacts:
    """Of a key that is gone, it alone is its family."""
    limit = select(ApiKey.tokens_per_month).where(ApiKey.id == key_id).scalar_subquery()
    # Ids are in the order of making, so the first of a family stays its first.
    first = select(ApiKey.id, limit).where(ApiKey.id.in_(family_of(key_id))).order_by(ApiKey.id).limit(1)
    row = (await work.session.execute(first)).first()
    return KeyFacts(row[0], row[1]) if row else KeyFacts(key_id, None)
