"""How fast many calls reserve from one budget, and that they never pass it: `python -m benchmarks budgets`.

References, in the same run and from as many tasks: one bare UPDATE for each reservation, that checks the limit and
nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from uuid import UUID

import asyncpg

from benchmarks.house import within
from benchmarks.report import Report
from folkmoot.assemble import assemble
from folkmoot.embedded import Endpoints
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.settings import Settings
from folkmoot.tenants.service import TenantService
from folkmoot.usage.ledger import Account, BudgetExhausted, Ledger, Reservation, Spent
from folkmoot.usage.models import Budget

ASKED = 10_000
TASKS = 64
LIMIT = 9_000
CALLS = 300
CONNECTIONS = 20
_BARE = "UPDATE bare_budget SET used = used + 1 WHERE used + 1 <= $1 RETURNING used"
_LEFT = "SELECT spent, reserved FROM budget_counters WHERE tenant_id = $1 AND period = 'month'"


def run(report: Report, folder: Path) -> None:
    within(folder, lambda settings, points: _measure(report, settings, points))


async def _measure(report: Report, settings: Settings, points: Endpoints) -> None:
    async with assemble(settings) as app, asyncpg.create_pool(points.superuser_url, max_size=CONNECTIONS) as bare:
        await bare.execute("CREATE TABLE bare_budget (used bigint NOT NULL)")
        for processes in (1, 2):
            await _reserved(report, app, bare, processes)
        await _one_by_one(report, app)


async def _reserved(report: Report, app: App, bare: asyncpg.Pool, processes: int) -> None:
    tenant_id = await _tenant(app, LIMIT)
    held: list[tuple[Ledger, Reservation]] = []
    refused = 0

    async with AsyncExitStack() as stack:
        ledgers = [Ledger(app.sessions) for _ in range(processes)]
        for ledger in ledgers:
            stack.push_async_callback(ledger.close)

        async def reserve(number: int) -> None:
            nonlocal refused
            ledger = ledgers[number % processes]
            try:
                held.append((ledger, await ledger.reserve(Account(tenant_id=tenant_id, purpose="api"), 1)))
            except BudgetExhausted:
                refused += 1

        await bare.execute("DELETE FROM bare_budget")
        await bare.execute("INSERT INTO bare_budget VALUES (0)")

        async def update(_number: int) -> None:
            await bare.fetchval(_BARE, LIMIT)

        plain = await _from_tasks(update)
        took = await _from_tasks(reserve)
        spent, reserved = await bare.fetchrow(_LEFT, tenant_id)
        assert refused == ASKED - LIMIT, f"{refused} were refused"
        report.line(
            f"{ASKED} reservations from {TASKS} tasks, {processes} ledgers",
            took,
            "s",
            ASKED / 2_000,
            f"{ASKED / took:.0f} a second; a bare UPDATE each {ASKED / plain:.0f} a second",
        )
        report.line(
            "beyond the limit of these", max(0, spent + reserved - LIMIT), "", 0, f"of {LIMIT}, {refused} refused"
        )
        call = Spent(model_id=UUID(int=1), model="bench", provider="bench", connection_id=UUID(int=2), cost=1)

        async def settle(number: int) -> None:
            if number < len(held):
                ledger, one = held[number]
                await ledger.settle(one, call)

        took = await _from_tasks(settle)
        spent, reserved = await bare.fetchrow(_LEFT, tenant_id)
        assert (spent, reserved) == (LIMIT, 0), (spent, reserved)
        report.line(
            f"{LIMIT} settlements of these",
            took,
            "s",
            LIMIT / 2_000,
            f"{LIMIT / took:.0f} a second",
        )


async def _one_by_one(report: Report, app: App) -> None:
    """What a single call waits for, when nobody shares its transaction."""
    call = Spent(model_id=UUID(int=1), model="bench", provider="bench", connection_id=UUID(int=2), cost=1)
    for name, limit, goal in (("without budgets", None, 1.0), ("with a budget", 10**12, 10.0)):
        ledger, tenant_id = Ledger(app.sessions), await _tenant(app, limit)
        account = Account(tenant_id=tenant_id, purpose="api")
        reserving: list[float] = []
        settling: list[float] = []
        for _ in range(CALLS):
            begun = time.perf_counter()
            reservation = await ledger.reserve(account, 1)
            reserved = time.perf_counter()
            await ledger.settle(reservation, call)
            reserving.append(reserved - begun)
            settling.append(time.perf_counter() - reserved)
        await ledger.close()
        report.line(
            f"reserving one call {name}, median",
            median(reserving) * 1000,
            "ms",
            goal,
            f"settling it after the answer {median(settling) * 1000:.2f} ms",
        )


async def _tenant(app: App, limit: int | None) -> UUID:
    async with app.begin(Principal.platform()) as work:
        tenant = await TenantService(work).create(f"Bench {time.monotonic_ns()}")
        if limit is not None:
            work.session.add(Budget(tenant_id=tenant.id, kind="tenant", subject_id=None, period="month", amount=limit))
    return tenant.id


async def _from_tasks(step: Callable[[int], Awaitable[None]]) -> float:
    """Seconds for `ASKED` steps from `TASKS` tasks that take the next number each."""
    numbers = iter(range(ASKED))

    async def task() -> None:
        for number in numbers:
            await step(number)

    begun = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    return time.perf_counter() - begun
