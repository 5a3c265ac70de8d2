"""Which document is read next: of the organisation that has the fewest in work.

The message in the queue is only a bell: whoever hears it asks here what to read, so ten thousand files of one
organisation do not stand before one file of another. What waits is in the rows; Redis only remembers whose rows to
look at and what is in work, and may forget both: the sweep tells it again, and until then it is less fair.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from redis.exceptions import ResponseError
from sqlalchemy import text

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.redis import Redis

WAITING = "folkmoot:ingest:waiting"
"""Organisations with documents that wait, by when one of theirs was picked last."""
WORKING = "folkmoot:ingest:working"
"""`tenant:document` for each that is read, by when that began."""
FORGOTTEN_SECONDS = 3600.0
"""Its worker died, or it takes so long that it counts no more."""
PICKED = timedelta(seconds=10)
"""How long a document that was picked is left to its worker to claim."""
_LANE = "folkmoot:lane:ingest"

_PICK = text(
    """
UPDATE documents SET status = 'queued', lease_until = :until WHERE id = (
    SELECT id FROM documents
    WHERE tenant_id = :tenant AND status IN ('queued', 'processing')
      AND (status = 'queued' AND (retry_at IS NULL OR retry_at <= :now) AND (lease_until IS NULL OR lease_until < :now)
           OR status = 'processing' AND lease_until < :now)
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""
)


@dataclass(frozen=True)
class Picked:
    """A document to read now."""

    tenant_id: UUID
    document_id: UUID


async def announce(redis: Redis, tenant_id: UUID) -> None:
    """Say that an organisation has documents that wait, before the bell for them is heard."""
    await redis.zadd(WAITING, {str(tenant_id): 0}, nx=True)


@asynccontextmanager
async def next_document(app: App, tenant_id: UUID) -> AsyncGenerator[Picked | None]:
    """The document to read while the body runs, or None if nothing waits; `tenant_id` is whose bell it was.

    It is the worker's to claim for `PICKED`, and nobody else picks it meanwhile.
    """
    redis = app.redis
    await announce(redis, tenant_id)
    picked = await _pick(app)
    if picked is None:
        yield None
        return
    member = f"{picked.tenant_id}:{picked.document_id}"
    await redis.zadd(WORKING, {member: time.time()})
    try:
        yield picked
    finally:
        await redis.zrem(WORKING, member)


async def unheard(redis: Redis) -> bool:
    """Whether the lane still has bells that no worker has taken: then nobody need ring again."""
    try:
        newest = (await redis.xinfo_stream(_LANE))["last-generated-id"]
        groups = await redis.xinfo_groups(_LANE)
    except ResponseError:
        return False
    return any(group["last-delivered-id"] != newest for group in groups)


async def _pick(app: App) -> Picked | None:
    for tenant_id in await _in_order(app.redis):
        document_id = await _of(app, tenant_id)
        if document_id is None:
            # Asked once more after it is struck out: an upload in between announced itself to nobody.
            await app.redis.zrem(WAITING, str(tenant_id))
            document_id = await _of(app, tenant_id)
        if document_id is not None:
            await app.redis.zadd(WAITING, {str(tenant_id): time.time()})
            return Picked(tenant_id, document_id)
    return None


async def _in_order(redis: Redis) -> list[UUID]:
    """Those with the fewest in work first, and of them whoever has waited longest."""
    await redis.zremrangebyscore(WORKING, 0, time.time() - FORGOTTEN_SECONDS)
    working = Counter(member.split(b":")[0] for member in await redis.zrange(WORKING, 0, -1))
    waiting = await redis.zrange(WAITING, 0, -1, withscores=True)
    order = sorted(waiting, key=lambda item: (working[item[0]], item[1]))
    return [UUID(name.decode()) for name, _ in order]


async def _of(app: App, tenant_id: UUID) -> UUID | None:
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        return await work.session.scalar(_PICK, {"tenant": tenant_id, "now": now, "until": now + PICKED})
