"""Telling of events as they happen, each person of what they may see, from where they left off.

The rows of `events` are the outbox. Redis only rings a bell; whoever hears it, or a few seconds of silence,
reads the rows after its cursor. So a lost bell delays and never loses.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import and_, or_, select, text, tuple_

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest
from folkmoot.kit.events import Event
from folkmoot.kit.log import get_logger
from folkmoot.kit.redis import Redis
from folkmoot.spaces.service import SpaceService

log = get_logger(__name__)
CHANNEL = "folkmoot:events"
SILENCE_SECONDS = 10.0
BATCH = 500

Cursor = tuple[int, int]


class Bell:
    """Hears, for all sockets of this process, which tenants have new events."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: dict[UUID, set[asyncio.Event]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def ring(self, tenant_id: UUID) -> None:
        try:
            await self._redis.publish(CHANNEL, str(tenant_id))
        except RedisError as error:
            log.warning("bell.not_rung", error=str(error))

    async def wait(self, tenant_id: UUID) -> None:
        """Return at the next ring for this tenant, or after `SILENCE_SECONDS`."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        rung = asyncio.Event()
        self._waiting.setdefault(tenant_id, set()).add(rung)
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await rung.wait()
        except TimeoutError:
            pass
        finally:
            waiting = self._waiting[tenant_id]
            waiting.discard(rung)
            if not waiting:
                del self._waiting[tenant_id]

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as heard:
                    await heard.subscribe(CHANNEL)
                    async for message in heard.listen():
                        if message["type"] == "message":
                            for rung in self._waiting.get(UUID(message["data"].decode()), ()):
                                rung.set()
            except RedisError as error:
                log.warning("bell.deaf", error=str(error))
                await asyncio.sleep(1)

    def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()


def parse_cursor(value: str | None) -> Cursor | None:
    """`last_event_id` of a client. Raises `BadRequest` for one that we did not give."""
    if not value:
        return None
    xid, _, seq = value.partition("-")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in (xid, seq)):
        raise BadRequest("`last_event_id` is not one of ours: leave it out to begin with what happens now")
    return int(xid), int(seq)


# A row below the oldest open transaction can no longer get an older neighbour.
SETTLED = text("events.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


async def now(app: App, principal: Principal) -> Cursor:
    """The cursor of somebody who wants only what happens from now on."""
    async with app.begin(principal) as work:
        row = (
            await work.session.execute(
                select(Event.xid, Event.seq).where(SETTLED).order_by(Event.xid.desc(), Event.seq.desc()).limit(1)
            )
        ).first()
    return (row[0], row[1]) if row else (0, 0)


async def after(app: App, principal: Principal, cursor: Cursor) -> tuple[list[dict[str, Any]], Cursor]:
    """What the principal may hear of after `cursor`, oldest first, and the cursor after that.

    One hears of what is told to oneself, and of what happens in the spaces one is in now.
    """
    async with app.begin(principal) as work:
        mine = SpaceService(work).mine()
        events = (
            await work.session.scalars(
                select(Event)
                .where(
                    tuple_(Event.xid, Event.seq) > tuple_(*cursor),
                    SETTLED,
                    or_(
                        Event.user_id == principal.user,
                        and_(Event.user_id.is_(None), Event.space_id.in_(mine)),
                    ),
                )
                .order_by(Event.xid, Event.seq)
                .limit(BATCH)
            )
        ).all()
    if not events:
        return [], cursor
    return [_shown(event) for event in events], (events[-1].xid, events[-1].seq)


def _shown(event: Event) -> dict[str, Any]:
    return {
        "id": f"{event.xid}-{event.seq}",
        "event": event.action,
        "object_type": event.object_type,
        "object_id": event.object_id,
        "space_id": event.space_id,
        "actor_id": event.actor_id,
        "created_at": event.created_at,
        "data": event.data,
    }
