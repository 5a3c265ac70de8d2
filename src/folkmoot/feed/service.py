"""Telling of events as they happen, each person of what they may see, from where they left off.

The rows of `events` are the outbox. Redis only rings a bell; whoever hears it, or a few seconds of silence,
reads the rows after its cursor. So a lost bell delays and never loses.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import BigInteger, ColumnElement, String, and_, func, literal, or_, select, text, tuple_
from sqlalchemy.orm import aliased

from folkmoot.kit.access import Permission, Principal, Scope
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest
from folkmoot.kit.events import Event
from folkmoot.kit.log import get_logger
from folkmoot.kit.redis import Redis
from folkmoot.kit.work import Work
from folkmoot.people.models import GroupMember
from folkmoot.spaces.service import SpaceService

log = get_logger(__name__)
CHANNEL = "folkmoot:events"
ACTIVE = "folkmoot:active"
"""Sorted set in Redis: when each tenant last had new events, to within `NOTE_SECONDS`."""
NOTE_SECONDS = 5.0
MOST_NOTED = 10_000
SILENCE_SECONDS = 10.0
BATCH = 500

UNTOLD = ("users", "groups")
"""Who else was in a space that was deleted: in the log, and for nobody's ears."""
TO_ADMINISTRATORS = ("budget.warned", "budget.exhausted")
"""Of whomever's budget, for who may raise it."""

Cursor = tuple[int, int]


class Bell:
    """Hears, for all sockets of this process, which tenants have new events."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: dict[UUID, set[asyncio.Event]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._noted: dict[UUID, float] = {}

    async def ring(self, tenant_id: UUID) -> None:
        now = time.time()
        try:
            await self._redis.publish(CHANNEL, str(tenant_id))
            if now - self._noted.get(tenant_id, 0.0) > NOTE_SECONDS:
                if len(self._noted) >= MOST_NOTED:
                    self._noted.clear()
                self._noted[tenant_id] = now
                await self._redis.zadd(ACTIVE, {str(tenant_id): now})
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


# A row below the oldest open transaction can no longer get an older neighbour. `ahead` is what no transaction of
# this server has reached: a database that was restored from a dump has rows, and clients have cursors, from there.
NEWEST = text(
    "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS ahead, n.xid, n.seq"
    " FROM (SELECT 1) AS once LEFT JOIN LATERAL (SELECT e.xid, e.seq FROM events e"
    " WHERE e.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    " ORDER BY e.xid DESC, e.seq DESC LIMIT 1) n ON true"
)
OVERLAP = text("interval '1 hour'")
"""No transaction is open for as long: a row that is older than the cursor by this was told long ago."""


async def now(app: App, principal: Principal) -> Cursor:
    """The cursor of somebody who wants only what happens from now on."""
    async with app.begin(principal) as work:
        return (await _newest(work))[0]


async def after(app: App, principal: Principal, cursor: Cursor) -> tuple[list[dict[str, Any]], Cursor]:
    """What the principal may hear of after `cursor`, oldest first, and the cursor after that.

    One hears of what is told to oneself, of what happens in the spaces one is in now, and of leaving one; who
    administers the organisation, of budgets that run out.
    """
    async with app.begin(principal) as work:
        # Read first: what is settled by then is seen below, so all up to here need not be looked at again.
        newest, ahead = await _newest(work)
        if cursor[0] >= ahead:
            cursor = (0, cursor[1])
        if newest <= cursor:
            return [], cursor
        last_read = aliased(Event)
        read_at = select(last_read.created_at).where(last_read.seq == cursor[1]).scalar_subquery()
        place = tuple_(Event.xid, Event.seq)
        events = (
            await work.session.scalars(
                select(Event)
                .where(
                    place > _place(cursor),
                    place <= _place(newest),
                    Event.created_at > func.coalesce(read_at, func.now()) - OVERLAP,
                    _heard_by(work),
                )
                .order_by(Event.xid, Event.seq)
                .limit(BATCH)
            )
        ).all()
    last = events[-1] if len(events) == BATCH else None
    return [_shown(event) for event in events], (last.xid, last.seq) if last else newest


def _place(cursor: Cursor) -> Any:
    return tuple_(*(literal(part, BigInteger) for part in cursor))


async def _newest(work: Work) -> tuple[Cursor, int]:
    row = (await work.session.execute(NEWEST)).one()
    return (row.xid or 0, row.seq or 0), row.ahead


def _heard_by(work: Work) -> ColumnElement[bool]:
    spaces, user_id = SpaceService(work), work.principal.user
    groups = select(GroupMember.group_id.cast(String)).where(GroupMember.user_id == user_id)
    shown_to_viewers = or_(
        Event.object_type != "assistant",
        Event.action == "assistant.unpublished",
        Event.data["published"].astext == "true",
        Event.space_id.in_(spaces.drafting()),
    )
    # Who is in a space no more is told so, though they hear of nothing else there.
    about_leaving = and_(
        Event.action.in_(("space.deleted", "space.member_removed", "space.group_removed")),
        or_(
            Event.data["user_id"].astext == str(user_id),
            Event.data["group_id"].astext.in_(groups),
            Event.data["users"].has_key(str(user_id)),
            Event.data["groups"].has_any(func.array(groups.scalar_subquery())),
        ),
    )
    who = work.principal
    administers = Permission.ADMIN in who.permissions and (who.key_id is None or Scope.ADMIN in who.scopes)
    return or_(
        Event.user_id == user_id,
        Event.action.in_(TO_ADMINISTRATORS if administers else ()),
        and_(Event.user_id.is_(None), Event.space_id.in_(spaces.mine()), shown_to_viewers),
        about_leaving,
    )


def _shown(event: Event) -> dict[str, Any]:
    return {
        "id": f"{event.xid}-{event.seq}",
        "event": event.action,
        "object_type": event.object_type,
        "object_id": event.object_id,
        "space_id": event.space_id,
        "actor_id": event.actor_id,
        "created_at": event.created_at,
        "data": {name: value for name, value in event.data.items() if name not in UNTOLD},
    }
