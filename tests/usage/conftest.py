"""An organisation with a ledger, budgets made behind the API, and eyes on what is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from folkmoot.kit.access import Principal
from folkmoot.tenants.service import TenantService
from folkmoot.usage.ledger import Account, Ledger, Spent
from folkmoot.usage.models import Budget


class Clock:
    """A ledger's clock that stands where a test puts it."""

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at or datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    def on(self, *when: int) -> None:
        self.at = datetime(*when, tzinfo=UTC)

    def pass_(self, **how: float) -> None:
        self.at += timedelta(**how)


def spent(cost: int = 0, **fields) -> Spent:
    """One call; its model has the same id each time."""
    given = {
        "model_id": UUID(int=1),
        "model": "stub-chat",
        "provider": "stub",
        "connection_id": UUID(int=2),
        "cost": cost,
    }
    return Spent(**(given | fields))


class Books:
    """One organisation's ledger, budgets and counters."""

    def __init__(self, app, superuser, tenant_id: UUID):
        self.app, self.superuser, self.tenant_id = app, superuser, tenant_id
        self.clock = Clock()
        self._ledgers: list[Ledger] = []
        self.ledger = self.process()

    def process(self) -> Ledger:
        """The ledger of one more process."""
        self._ledgers.append(Ledger(self.app.sessions, clock=self.clock))
        return self._ledgers[-1]

    def account(self, purpose: str = "answer", **fields) -> Account:
        return Account(tenant_id=self.tenant_id, purpose=purpose, **fields)

    async def call(self, amount: int = 1, cost: int | None = None, *, by: Account | None = None, **fields) -> None:
        """One call from beginning to end."""
        reservation = await self.ledger.reserve(by or self.account(), amount)
        await self.ledger.settle(reservation, spent(amount if cost is None else cost, **fields))

    async def budget(self, amount: int, kind: str = "tenant", subject_id=None, period: str = "month") -> UUID:
        subject_id = UUID(str(subject_id)) if subject_id else None
        async with self.app.begin(Principal.system(self.tenant_id)) as work:
            row = Budget(tenant_id=self.tenant_id, kind=kind, subject_id=subject_id, period=period, amount=amount)
            work.session.add(row)
        self.forget()
        return row.id

    def forget(self) -> None:
        """As if half a second had gone by: no ledger remembers what budgets there are."""
        for ledger in self._ledgers:
            ledger.forget(self.tenant_id)

    async def rows(self, query: str, **values) -> list:
        async with self.superuser.connect() as connection:
            return list(await connection.execute(text(query), {"t": self.tenant_id, **values}))

    async def change(self, statement: str, **values) -> int:
        async with self.superuser.begin() as connection:
            return (await connection.execute(text(statement), {"t": self.tenant_id, **values})).rowcount

    async def entries(self) -> list:
        return await self.rows("SELECT * FROM usage_entries WHERE tenant_id = :t ORDER BY id")

    async def counter(self, kind: str = "tenant", subject_id=None, period: str = "month", starts_on=None):
        found = await self.rows(
            "SELECT * FROM budget_counters WHERE tenant_id = :t AND kind = :k AND subject_id = :s AND period = :p"
            " AND (CAST(:d AS date) IS NULL OR starts_on = CAST(:d AS date))",
            k=kind,
            s=UUID(str(subject_id)) if subject_id else self.tenant_id,
            p=period,
            d=starts_on,
        )
        return found[0] if found else None

    async def used(self, **which) -> tuple[int, int]:
        """(spent, reserved)."""
        row = await self.counter(**which)
        return row.spent, row.reserved

    async def events(self, action: str) -> list:
        return await self.rows("SELECT * FROM events WHERE tenant_id = :t AND action = :a ORDER BY seq", a=action)

    async def close(self) -> None:
        for ledger in self._ledgers:
            await ledger.close()


@pytest.fixture
async def books(app, superuser):
    async with app.begin(Principal.platform()) as work:
        tenant = await TenantService(work).create(f"Tenant {uuid4().hex[:12]}")
    made = Books(app, superuser, tenant.id)
    yield made
    await made.close()
