"""Removing an organisation: every row, every file, and a signed certificate that says what it was.

Rows go in small transactions, deepest table first, so that nobody else waits for one long one. Each holds the
tenant's row, which keeps new rows out, and writes what it removed into the certificate as it commits: counts
are exact even when the work is cut off and taken up again. What the runtime role may not delete by itself, such
as the log, goes with the tenant's row by the foreign keys, after it was counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from folkmoot.kit.access import Permission, Principal
from folkmoot.kit.app import App
from folkmoot.kit.events import Event
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import key_of
from folkmoot.kit.work import Work, begin
from folkmoot.platform.certificate import sign
from folkmoot.platform.service import Actor, record
from folkmoot.tenants.models import PLATFORM, Certificate, Tenant

log = get_logger(__name__)
BATCH = 5_000
"""Rows in one transaction."""
LEASE_SECONDS = 120
LONGEST_STATEMENT = 3_600.0
"""Seconds for the one statement that takes the log along."""
KEPT = "deletion_certificates"
Say = Callable[[str], None]
_TABLES = text(
    """
    SELECT c.relname AS name, has_table_privilege(c.oid, 'DELETE') AS deletable,
        ARRAY(SELECT r.relname::text FROM pg_constraint f JOIN pg_class r ON r.oid = f.conrelid
              WHERE f.contype = 'f' AND f.confrelid = c.oid AND NOT r.relispartition
              -- A row that forgets another of its own table does not go along with it.
              AND NOT (f.conrelid = f.confrelid AND f.confdeltype = 'n')) AS referrers
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> :kept
        AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'
                    AND NOT a.attisdropped)
    ORDER BY 1
    """
)


@dataclass(frozen=True)
class Plan:
    """The tables with rows of tenants, as the database has them: later ones are covered by themselves."""

    every: list[str]
    alone: list[str]
    """Those that can be emptied bit by bit, deepest first: nothing goes along uncounted."""


def plan(rows: list[tuple[str, bool, list[str]]]) -> Plan:
    """From (table, whether its rows may be deleted, tables that refer to it)."""
    alone: list[str] = []
    found = True
    while found:
        ready = [
            name
            for name, deletable, referrers in rows
            if deletable and name not in alone and set(referrers) <= {*alone}
        ]
        alone += ready
        found = bool(ready)
    return Plan([name for name, _, _ in rows], alone)


def lease_of(tenant_id: UUID) -> str:
    """The Redis key that says somebody is at it."""
    return f"folkmoot:deleting:{tenant_id}"


async def remove(app: App, tenant_id: UUID, say: Say = lambda _: None) -> bool:
    """Remove what is left of a tenant whose deletion was asked for; True once the certificate is signed.

    False if somebody else is at it. Safe to call at any time and any number of times.
    """
    lease, mine = lease_of(tenant_id), str(uuid4())
    if await _certificate_done(app, tenant_id):
        return True
    if not await app.redis.set(lease, mine, nx=True, ex=LEASE_SECONDS):
        return False
    try:
        # Somebody may have ended it before they let go of the lease; what is signed cannot be locked any more.
        if not await _certificate_done(app, tenant_id):
            await _remove(app, tenant_id, lease, say)
    finally:
        if await app.redis.get(lease) == mine.encode():
            await app.redis.delete(lease)
    return True


async def _remove(app: App, tenant_id: UUID, lease: str, say: Say) -> None:
    await _files_first(app, tenant_id, say)
    while taken := await _batch(app, tenant_id):
        await app.redis.expire(lease, LEASE_SECONDS)
        say(f"{taken[1]} rows of {taken[0]}")
    await app.redis.expire(lease, int(LONGEST_STATEMENT))
    rest = await _rest(app, tenant_id)
    say(f"{rest} rows with the organisation itself")
    # An upload that was under way may have ended since; it finds no row and removes its bytes, or we do.
    files, size = await app.storage.usage(tenant_id)
    await app.storage.delete_tenant(tenant_id)
    await _forget(app, tenant_id, lease)
    async with begin(app.sessions, Principal.platform()) as work:
        certificate = await _locked(work.session, tenant_id)
        if certificate.completed_at is None:
            _add(certificate, files=files, size=size)
            certificate.completed_at = datetime.now(UTC)
            await work.session.flush()
            await work.session.refresh(certificate)
            sign(certificate, app.keyring)
    log.info("tenant.deleted", tenant_id=str(tenant_id))


async def _certificate_done(app: App, tenant_id: UUID) -> bool:
    async with begin(app.sessions, Principal.platform()) as work:
        found = await work.session.scalar(select(Certificate).where(Certificate.tenant_id == tenant_id))
    if found is None:
        raise ValueError(f"nobody asked for the deletion of the tenant {tenant_id}")
    return found.completed_at is not None


async def _files_first(app: App, tenant_id: UUID, say: Say) -> None:
    files, size = await app.storage.usage(tenant_id)
    async with begin(app.sessions, Principal.platform()) as work:
        certificate = await _locked(work.session, tenant_id)
        if "files" not in certificate.removed:
            _add(certificate, files=files, size=size)
    await app.storage.delete_tenant(tenant_id)
    say(f"{files} files")


async def _batch(app: App, tenant_id: UUID) -> tuple[str, int] | None:
    """Remove up to `BATCH` rows of the deepest table that has any; None when only the rest is left."""
    async with begin(app.sessions, _inside(tenant_id)) as work:
        if not await _hold(work.session, tenant_id):
            return None
        for table in (await _plan(work.session)).alone:
            rows = await work.session.execute(
                text(
                    # A table may be in parts, where a ctid names a row in each: hence the tenant on both sides.
                    f'DELETE FROM "{table}" WHERE tenant_id = :tenant AND ctid = ANY (ARRAY('
                    f'SELECT ctid FROM "{table}" WHERE tenant_id = :tenant LIMIT {BATCH})) RETURNING 1'
                ),
                {"tenant": tenant_id},
            )
            if count := len(rows.all()):
                _add(await _locked(work.session, tenant_id), {table: count})
                return table, count
    return None


async def _rest(app: App, tenant_id: UUID) -> int:
    """Remove the tenant's row and all that goes with it; the counts before and nothing after, or it did not happen."""
    async with begin(app.sessions, _inside(tenant_id)) as work:
        tenant = await _hold(work.session, tenant_id)
        if tenant is None:
            return 0
        tables = (await _plan(work.session)).every
        await _drop_streams(app, await _streams(work.session, tenant_id))
        counts = await _counts(work.session, tables, tenant_id)
        certificate = await _locked(work.session, tenant_id)
        _add(certificate, counts | {"tenants": 1})
        await work.session.flush()
        await _delete_tenant(work.session, tenant_id)
        left = {table: count for table, count in (await _counts(work.session, tables, tenant_id)).items() if count}
        if left:
            raise RuntimeError(f"rows of the deleted tenant {tenant_id} are left: {left}")
        await _tell(work, tenant, certificate)
        return sum(counts.values()) + 1


async def _delete_tenant(session: AsyncSession, tenant_id: UUID) -> None:
    """The foreign keys take a long log along: longer than the driver lets any other statement run."""
    raw = await (await session.connection()).get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.execute("DELETE FROM tenants WHERE id = $1", tenant_id, timeout=LONGEST_STATEMENT)


async def _tell(work: Work, tenant: Tenant, certificate: Certificate) -> None:
    """Into the platform's log, in the name of whoever asked for it."""
    await work.enter(PLATFORM)
    asked = await work.session.scalar(
        select(Event)
        .where(Event.action == "tenant.deletion_requested", Event.object_id == tenant.id)
        .order_by(Event.id.desc())
        .limit(1)
    )
    who = Principal(kind="platform", user_id=asked.actor_id, key_id=asked.key_id) if asked else Principal.platform()
    work.principal = who
    rows = certificate.removed["rows"]
    said = {"certificate_id": str(certificate.id), "rows": sum(rows.values()), "files": certificate.removed["files"]}
    actor = Actor(who, operator=str(asked.data.get("operator", "")) if asked else "")
    await record(work, actor, "tenant.deleted", "tenant", tenant.id, tenant=tenant, data=said, only_platform=True)


async def _plan(session: AsyncSession) -> Plan:
    rows = await session.execute(_TABLES, {"kept": KEPT})
    return plan([(row.name, row.deletable, row.referrers) for row in rows])


async def _counts(session: AsyncSession, tables: list[str], tenant_id: UUID) -> dict[str, int]:
    counts = {
        table: int(
            await session.scalar(text(f'SELECT count(*) FROM "{table}" WHERE tenant_id = :t'), {"t": tenant_id}) or 0
        )
        for table in tables
    }
    return {table: count for table, count in counts.items() if count}


async def _hold(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    """The tenant's row, locked so that no row can refer to it anew; None if it is gone already."""
    tenant = await session.get(Tenant, tenant_id, with_for_update=True)
    if tenant is not None and tenant.state != "deleting":
        raise ValueError(f"the tenant {tenant_id} is {tenant.state}: nobody asked for its deletion")
    return tenant


async def _locked(session: AsyncSession, tenant_id: UUID) -> Certificate:
    found = await session.scalars(select(Certificate).where(Certificate.tenant_id == tenant_id).with_for_update())
    return found.one()


def _add(certificate: Certificate, rows: dict[str, int] | None = None, *, files: int = 0, size: int = 0) -> None:
    before = certificate.removed
    counted: dict[str, int] = dict(before.get("rows", {}))
    for table, count in (rows or {}).items():
        counted[table] = counted.get(table, 0) + count
    certificate.removed = {
        "rows": counted,
        "files": before.get("files", 0) + files,
        "bytes": before.get("bytes", 0) + size,
    }


async def _streams(session: AsyncSession, tenant_id: UUID) -> list[str]:
    """Answers that Redis may still hold the stream of."""
    rows = await session.scalars(
        text("SELECT id FROM messages WHERE tenant_id = :t AND role = 'assistant'"), {"t": tenant_id}
    )
    return [key_of(str(found)) for found in rows]


async def _drop_streams(app: App, names: list[str]) -> None:
    for at in range(0, len(names), 500):
        await app.redis.delete(*names[at : at + 500])


async def _forget(app: App, tenant_id: UUID, lease: str) -> None:
    """Whatever Redis keeps under a name that has the tenant's id; the rest of it expires within a day."""
    async for name in app.redis.scan_iter(match=f"folkmoot:*{tenant_id}*", count=1000):
        if name.decode() != lease:
            await app.redis.delete(name)


def _inside(tenant_id: UUID) -> Principal:
    return Principal(tenant_id=tenant_id, kind="platform", permissions=frozenset({Permission.PLATFORM}))
