"""Group commit: what gathers while one transaction is under way goes into the next.

A row that everybody counts on can be written once at a time. Written for each of 64 calls it makes them wait in
line; written for all of them together it makes them wait for two transactions at most.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from folkmoot.kit.errors import NotAvailable, unreachable
from folkmoot.kit.log import get_logger

log = get_logger(__name__)
K = TypeVar("K")
V = TypeVar("V")
I = TypeVar("I")  # noqa: E741 - what comes in
O = TypeVar("O")  # noqa: E741 - what comes out
MOST = 500
"""In one transaction."""
AT_ONCE = 4
"""Transactions of one process, of different tenants: they must not drain the pool."""
PAUSE_SECONDS = 0.5
Waiting = list[tuple[I, "asyncio.Future[O]"]]


class Gathering(Generic[I, O]):
    """Writes what comes, tenant by tenant, one transaction after the other."""

    def __init__(self, write: Callable[[UUID, Sequence[I]], Awaitable[Sequence[O]]], *, patient: bool = False) -> None:
        """`write(tenant_id, items)` gives one result for each item. If `patient`, what could not be written because
        PostgreSQL does not answer is tried again until `close`; else its waiters are told."""
        self._write, self._patient = write, patient
        self._waiting: dict[UUID, Waiting[I, O]] = {}
        self._writing: dict[UUID, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._closed = False

    def put(self, tenant_id: UUID, item: I) -> asyncio.Future[O]:
        """What `write` says of `item`, once it is committed. Cancelling it does not take the item back."""
        result: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, []).append((item, result))
        if tenant_id not in self._writing:
            # In a context of its own: it writes for many requests, and is none of them.
            self._writing[tenant_id] = asyncio.create_task(self._run(tenant_id), context=contextvars.Context())
        return result

    async def close(self, seconds: float) -> None:
        """Write what is left, for as long as that; what cannot be written is told to its waiters."""
        self._closed = True
        if self._writing:
            _, stuck = await asyncio.wait(list(self._writing.values()), timeout=seconds)
            for task in stuck:
                task.cancel()

    async def _run(self, tenant_id: UUID) -> None:
        batch: Waiting[I, O] = []
        try:
            while tenant_id in self._waiting:
                async with self._slots:
                    waiting = self._waiting.pop(tenant_id)
                    batch = waiting[:MOST]
                    if len(waiting) > MOST:
                        self._waiting[tenant_id] = waiting[MOST:]
                    batch = await self._together(tenant_id, batch)
                if batch:
                    self._waiting[tenant_id] = batch + self._waiting.get(tenant_id, [])
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            del self._writing[tenant_id]
            for _, result in batch + self._waiting.pop(tenant_id, []):
                if not result.done():
                    result.set_exception(NotAvailable("the service is going down: try again in a moment"))

    async def _together(self, tenant_id: UUID, batch: Waiting[I, O]) -> Waiting[I, O]:
        """What is left to try again."""
        try:
            found = await self._write(tenant_id, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - told to whoever waits for it
            if len(batch) > 1 and not _passing(error):
                # One of them cannot be written; the others can.
                return [left for one in batch for left in await self._together(tenant_id, [one])]
            if self._patient and not self._closed and _passing(error):
                log.warning("usage.not_written", tenant_id=str(tenant_id), calls=len(batch), error=str(error))
                return batch
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
            return []
        for (_, result), said in zip(batch, found, strict=True):
            if not result.done():
                result.set_result(said)
        return []


class Remembered(Generic[K, V]):
    """Answers of the database, remembered for a moment, counted from when it was asked."""

    def __init__(self, ask: Callable[[K], Awaitable[V]], *, seconds: float, most: int) -> None:
        self._ask, self._seconds, self._most = ask, seconds, most
        self._known: dict[K, tuple[float, asyncio.Task[V]]] = {}

    async def get(self, key: K) -> V:
        """The answer to `key`; those who ask at the same time wait for one. Raises what asking raises."""
        now = time.monotonic()
        until, asking = self._known.get(key, (0.0, None))
        if asking is None or until < now or (asking.done() and (asking.cancelled() or asking.exception())):
            if len(self._known) >= self._most:
                self._known.clear()
            asking = asyncio.create_task(self._asked(key), context=contextvars.Context())
            self._known[key] = (now + self._seconds, asking)
        # One caller that goes away must not take the answer from the others.
        return await asyncio.shield(asking)

    def forget(self, key: K) -> None:
        self._known.pop(key, None)

    async def _asked(self, key: K) -> V:
        return await self._ask(key)


def _passing(error: Exception) -> bool:
    """Whether the same may go well in a moment."""
    if unreachable(error):
        return True
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    return isinstance(error, DBAPIError) and state in ("40001", "40P01", "55P03", "57014")
