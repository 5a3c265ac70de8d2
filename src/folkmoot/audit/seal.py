"""Sealing events after they were written, so that nobody who writes one waits for anybody.

Events are sealed in the order of (`xid`, `seq`) once no older one can come. One sealer at a time works on a
tenant, by a lock that only sealers take; a position is unique, so even two could not make a fork. Each batch
is one transaction: its seals and the checkpoint that ends it.
"""

from __future__ import annotations

import hmac
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import func, select, text

from folkmoot.audit import witness
from folkmoot.audit.chain import ROW, Keys, follow, genesis, seal_of
from folkmoot.audit.models import Checkpoint, Seal
from folkmoot.audit.reading import SETTLED, UNSEALED, copy_out
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work

log = get_logger(__name__)
BATCH = 5_000
BATCHES = 20
"""In one go: a long backlog of one tenant must not keep the others waiting."""

# An organisation that is being removed needs no more seals, and its row is locked.
_LOCK = text(
    "SELECT pg_try_advisory_xact_lock(hashtextextended('folkmoot.audit.' || CAST(:tenant AS text), 0))"
    " FROM tenants WHERE id = CAST(:tenant AS uuid) AND state <> 'deleting'"
)
_NEWEST_XID = text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
_INSERT = text(
    "INSERT INTO audit_seals (id, tenant_id, position, event_id, mac)"
    " SELECT u.id, CAST(:tenant AS uuid), CAST(:before AS bigint) + u.n, u.id,"
    " substring(CAST(:macs AS bytea) FROM ((u.n - 1) * 32 + 1)::int FOR 32)"
    " FROM unnest(string_to_array(CAST(:ids AS text), ',')::uuid[]) WITH ORDINALITY AS u (id, n)"
)


class LogBroken(Exception):
    """The end of the log is not what was signed, so nothing can be added to it."""


async def seal(app: App, tenant_id: UUID, *, batches: int = BATCHES, size: int = BATCH) -> int:
    """Seal what is settled and has no seal yet; returns how many events. Raises `LogBroken`."""
    sealed = 0
    keys = Keys(app.keyring)
    for _ in range(batches):
        async with app.begin(Principal.system(tenant_id)) as work:
            made = await _batch(work, keys, tenant_id, size)
        if made is None:
            break
        before, after = made
        sealed += after.position - before
        await _remember(app, keys, tenant_id, before, after)
        if after.position - before < size:
            break
    return sealed


async def last_checkpoint(work: Work, tenant_id: UUID) -> tuple[Checkpoint | None, bytes]:
    """The newest one, and the link of the one before it."""
    rows = (
        await work.session.scalars(
            select(Checkpoint).where(Checkpoint.tenant_id == tenant_id).order_by(Checkpoint.number.desc()).limit(2)
        )
    ).all()
    return rows[0] if rows else None, rows[1].link if len(rows) > 1 else genesis(tenant_id)


async def _batch(work: Work, keys: Keys, tenant_id: UUID, size: int) -> tuple[int, Checkpoint] | None:
    """Seal one batch; where it begins, and the checkpoint that ends it. None if there is nothing to do."""
    if not await work.session.scalar(_LOCK, {"tenant": str(tenant_id)}):
        return None
    # After the lock, in a statement of its own: it sees what the sealer before us committed.
    last, previous = await last_checkpoint(work, tenant_id)
    xid, seq = await cursor_of(work, last)
    rows = await copy_out(
        work,
        f"SELECT {ROW} FROM events e WHERE e.tenant_id = '{tenant_id}' AND (e.xid, e.seq) > ({xid}, {seq})"
        f" AND {SETTLED} AND {UNSEALED} ORDER BY e.xid, e.seq LIMIT {size}",
    )
    if not rows:
        return None
    if last and not keys.signed(last, previous):
        known = "was changed" if keys.knows(last.key_id) else f"is signed with the unknown key {last.key_id}"
        raise LogBroken(f"checkpoint {last.number} {known}")
    link, before = (last.link, last.position) if last else (genesis(tenant_id), 0)
    start, key = link, keys.of_tenant(tenant_id)[0]
    ids: list[str] = []
    macs: list[bytes] = []
    for row in rows:
        link = follow(link, row)
        ids.append(row[:36].decode())
        macs.append(seal_of(key, link))
    await work.session.execute(
        _INSERT, {"tenant": tenant_id, "before": before, "ids": ",".join(ids), "macs": b"".join(macs)}
    )
    _, _, newest_seq, newest_xid, _ = rows[-1].split(b"\t", 4)
    after = Checkpoint(
        tenant_id=tenant_id,
        number=last.number + 1 if last else 1,
        position=before + len(rows),
        xid=int(newest_xid),
        seq=int(newest_seq),
        link=link,
    )
    keys.sign(after, start)
    work.session.add(after)
    return before, after


async def _remember(app: App, keys: Keys, tenant_id: UUID, before: int, after: Checkpoint) -> None:
    """Tell the witnesses. One that remembers an end which this log never had, or has no more, keeps it."""
    log.info(
        "audit.sealed",
        tenant_id=str(tenant_id),
        events=after.position - before,
        checkpoint=after.number,
        position=after.position,
        link=after.link.hex(),
    )
    try:
        seen = await witness.recall(app.redis, tenant_id)
        if seen is not None and not await holds(app, keys, tenant_id, seen):
            log.error(
                "audit.log_cut",
                tenant_id=str(tenant_id),
                position=seen.position,
                hint="`folkmoot audit verify` says more; after restoring a backup, `folkmoot audit accept`",
            )
        elif seen is None or seen.position < after.position:
            await witness.remember(app.redis, tenant_id, witness.Head(after.number, after.position, after.link))
    except RedisError as error:
        log.warning("audit.head_not_remembered", tenant_id=str(tenant_id), error=str(error))


async def holds(app: App, keys: Keys, tenant_id: UUID, head: witness.Head) -> bool:
    """Whether the log has this position still, with this link."""
    async with app.begin(Principal.system(tenant_id)) as work:
        mac = await work.session.scalar(
            select(Seal.mac).where(Seal.tenant_id == tenant_id, Seal.position == head.position)
        )
    if mac is None:
        return False
    return any(hmac.compare_digest(mac, seal_of(key, head.link)) for key in keys.of_tenant(tenant_id))


async def accept(app: App, tenant_id: UUID, reason: str, operator: str) -> str | None:
    """Let Redis remember the end that the log has now, and say so in the log; what was missing, or None if nothing.

    For after an older backup was restored: until then, `verify` says that the end was cut off.
    """
    seen = await witness.recall(app.redis, tenant_id)
    if seen is None or await holds(app, Keys(app.keyring), tenant_id, seen):
        return None
    async with app.begin(Principal.system(tenant_id)) as work:
        last, _ = await last_checkpoint(work, tenant_id)
        now = last.position if last else 0
        data = {
            "reason": reason,
            "operator": operator,
            "reached": seen.position,
            "link": seen.link.hex(),
            "position": now,
        }
        work.record("audit.end_accepted", "audit", data=data)
    if last is None:
        await witness.forget(app.redis, tenant_id)
    else:
        await witness.remember(app.redis, tenant_id, witness.Head(last.number, last.position, last.link))
    return f"it had reached position {seen.position}, and ends at {now}"


async def cursor_of(work: Work, last: Checkpoint | None) -> tuple[int, int]:
    """What is to be sealed next comes after this (`xid`, `seq`)."""
    if last is None:
        return 0, 0
    if last.xid >= (await work.session.scalar(_NEWEST_XID) or 0):
        # From before the database was restored: transaction ids are given anew, and what has its seal is passed over.
        return 0, 0
    return last.xid, last.seq


async def pending(work: Work, tenant_id: UUID, last: Checkpoint | None) -> int:
    """Events that wait for their seal."""
    xid, seq = await cursor_of(work, last)
    found = await work.session.scalar(
        text(
            "SELECT count(*) FROM events e WHERE e.tenant_id = :tenant AND (e.xid, e.seq) > (:xid, :seq)"
            f" AND {UNSEALED}"
        ),
        {"tenant": tenant_id, "xid": xid, "seq": seq},
    )
    return found or 0


async def seals_between(work: Work, tenant_id: UUID) -> tuple[int, int]:
    """The lowest and the highest position that has a seal; 1 and 0 if there is none."""
    ends = select(func.min(Seal.position), func.max(Seal.position)).where(Seal.tenant_id == tenant_id)
    lowest, highest = (await work.session.execute(ends)).one()
    return (1, 0) if highest is None else (lowest, highest)  # pyright: ignore[reportUnnecessaryComparison] - no rows
