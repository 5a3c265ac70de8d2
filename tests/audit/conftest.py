"""A tenant's log of its own, and hands that reach behind the policies to tamper with it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from folkmoot.audit.seal import seal
from folkmoot.audit.verify import verify
from folkmoot.kit.access import Principal
from folkmoot.tenants.service import TenantService


class Log:
    """One organisation's log. The sweep of the worker beside the tests may seal too: it does no harm."""

    def __init__(self, app, superuser, tenant_id):
        self.app, self.superuser, self.tenant_id = app, superuser, tenant_id

    async def write(self, number, action="space.created", **data):
        for count in range(number):
            async with self.app.begin(Principal.system(self.tenant_id)) as work:
                work.record(action, "space", data={"n": count, **data})

    async def seal(self, **how):
        """Until nothing is left. A transaction elsewhere on the server can hold up what is settled."""
        sealed = 0
        async with asyncio.timeout(30):
            while await self.pending():
                sealed += await seal(self.app, self.tenant_id, **how)
        return sealed

    async def other(self):
        """The log of another organisation."""
        return await opened(self.app, self.superuser)

    async def pending(self):
        return await self.value(
            "SELECT count(*) FROM events e WHERE e.tenant_id = $1"
            " AND NOT EXISTS (SELECT FROM audit_seals s WHERE s.event_id = e.id)",
            self.tenant_id,
        )

    async def verify(self, **how):
        return await verify(self.app, self.tenant_id, **how)

    async def fault(self):
        """The first, which is what the command names."""
        return (await self.verify()).faults[0]

    async def at(self, position):
        """The event that is sealed at a position."""
        return await self.value(
            "SELECT event_id FROM audit_seals WHERE tenant_id = $1 AND position = $2", self.tenant_id, position
        )

    async def top(self):
        return await self.value("SELECT max(position) FROM audit_seals WHERE tenant_id = $1", self.tenant_id)

    @asynccontextmanager
    async def hand(self):
        connection = await asyncpg.connect(self.superuser)
        try:
            yield connection
        finally:
            await connection.close()

    async def tamper(self, statement, *values):
        """As somebody who owns the database. Returns how many rows it met."""
        async with self.hand() as connection, connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            done = await connection.execute(statement, *values)
        met = int(done.rsplit(" ", 1)[1])
        assert met, f"this met no row: {statement}"
        return met

    async def value(self, query, *values):
        async with self.hand() as connection:
            return await connection.fetchval(query, *values)


async def opened(app, superuser):
    async with app.begin(Principal.platform()) as work:
        tenant = await TenantService(work).create(f"Tenant {uuid4().hex[:12]}")
    made = Log(app, superuser, tenant.id)
    made.name = tenant.name
    await made.seal()
    return made


@pytest.fixture
async def log(app, database):
    """Thirteen events in four stretches, sealed: positions and checkpoints are known."""
    made = await opened(app, database["superuser"])
    for _ in range(3):
        await made.write(4)
        await made.seal()
    return made
