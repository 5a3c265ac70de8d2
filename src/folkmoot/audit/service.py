"""Reading the log, for a stated reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, select, text

from folkmoot.audit import witness
from folkmoot.audit.chain import Keys, genesis, signed_text
from folkmoot.audit.models import AuditReason, Checkpoint
from folkmoot.audit.schemas import CheckpointOut, EventOut, LogStateOut, PublicKeyOut, base64_of
from folkmoot.audit.seal import last_checkpoint, pending, seals_between
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.errors import Forbidden, ValidationFailed
from folkmoot.kit.events import Event
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.tenants.models import PLATFORM

REASON_LIFE = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(9999, 1, 1, tzinfo=UTC)
# The key of an event is made just before its time is read.
_APART = timedelta(seconds=10)

# One look into the index for each action there is, instead of one for each event.
_ACTIONS = text(
    "WITH RECURSIVE found AS ("
    " (SELECT action FROM events WHERE tenant_id = :tenant ORDER BY action LIMIT 1) UNION ALL"
    " SELECT (SELECT e.action FROM events e WHERE e.tenant_id = :tenant AND e.action > found.action"
    " ORDER BY e.action LIMIT 1) FROM found WHERE found.action IS NOT NULL)"
    " SELECT action FROM found WHERE action IS NOT NULL"
)
# One statement for any number of ids: IN would be another one for each number.
_PEOPLE = text("SELECT id, name, email FROM users WHERE id = ANY(:ids) AND erased_at IS NULL")
_PLACES = text("SELECT event_id, position FROM audit_seals WHERE tenant_id = :tenant AND event_id = ANY(:ids)")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which events; what is None does not matter."""

    actor_id: UUID | None = None
    action: str | None = None
    """Whole, or a family that ends with a dot: `session.`."""
    object_type: str | None = None
    object_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is out."""


class LogService:
    """One log: that of the caller's organisation, or with `Permission.PLATFORM` that of the platform.

    What reads the platform's log enters its tenant; after that, the work sees nothing of the caller's own.
    """

    def __init__(self, work: Work, permission: Permission = Permission.AUDIT) -> None:
        """Raises `Forbidden`."""
        work.principal.require(permission)
        self._work = work
        self._tenant_id = PLATFORM if permission is Permission.PLATFORM else work.principal.tenant

    async def state_reason(self, reason: str) -> AuditReason:
        """Say why one reads this log; good for an hour."""
        now = datetime.now(UTC)
        row = AuditReason(
            tenant_id=self._work.principal.tenant,
            user_id=self._work.principal.user,
            reason=reason.strip(),
            created_at=now,
            expires_at=now + REASON_LIFE,
        )
        self._work.session.add(row)
        await self._work.session.flush()
        await self._enter()
        self._work.record("audit.opened", "audit_reason", row.id, data={"reason": row.reason})
        return row

    async def check(self, reason_id: UUID | None) -> AuditReason:
        """The caller's own reason for this log, still good. Raises `Forbidden` (`reason-required`)."""
        found = None
        if reason_id is not None:
            found = await self._work.session.scalar(
                select(AuditReason).where(
                    AuditReason.id == reason_id,
                    AuditReason.user_id == self._work.principal.user,
                    AuditReason.expires_at > datetime.now(UTC),
                )
            )
        await self._enter()
        if found is not None:
            # It opens the log in which it stands, and no other.
            stated = exists().where(
                Event.tenant_id == self._tenant_id, Event.object_id == found.id, Event.action == "audit.opened"
            )
            if await self._work.session.scalar(select(stated)):
                return found
        raise Forbidden(
            "reading the log needs a reason of yours that is less than an hour old: state one with "
            "`POST …/audit/reasons`, and give its id as `reason_id`",
            code="reason-required",
        )

    async def _enter(self) -> None:
        if self._work.principal.tenant_id != self._tenant_id:
            await self._work.enter(self._tenant_id)

    async def export(self, reason_id: UUID | None, wanted: Filter, form: str) -> None:
        """Write down that the log leaves the house, before it does."""
        reason = await self.check(reason_id)
        asked = {name: str(value) for name, value in vars(wanted).items() if value is not None}
        data = {"reason": reason.reason, "format": form, "filter": asked}
        self._work.record("audit.exported", "audit_reason", reason.id, data=data)

    async def events(self, wanted: Filter, limit: int, cursor: str | None) -> tuple[list[EventOut], str | None]:
        """Newest first. What `check` or `export` asked for must have been asked for before."""
        await self._enter()
        rows, after = await page(self._work.session, await self._query(wanted), by=Event.id, limit=limit, cursor=cursor)
        return await self._shown(rows), after

    async def checkpoints(self, limit: int, cursor: str | None) -> tuple[list[CheckpointOut], str | None]:
        """Newest first."""
        await self._enter()
        query = select(Checkpoint).where(Checkpoint.tenant_id == self._tenant_id)
        rows, after = await page(self._work.session, query, by=Checkpoint.id, limit=limit, cursor=cursor)
        return [_checkpoint(row, previous) for row, previous in await self._with_previous(rows)], after

    async def state(self, app: App) -> LogStateOut:
        """How far the log is sealed, and what to check it with."""
        await self._enter()
        head = await witness.recall(app.redis, self._tenant_id)
        last, previous = await last_checkpoint(self._work, self._tenant_id)
        _, position = await seals_between(self._work, self._tenant_id)
        return LogStateOut(
            position=position,
            pending=await pending(self._work, self._tenant_id, last),
            whole=head is None or head.position <= position,
            checkpoint=_checkpoint(last, previous) if last else None,
            public_keys=[
                PublicKeyOut(key_id=key.key_id, algorithm="Ed25519", public_key=key.text)
                for key in Keys(app.keyring).public
            ],
        )

    async def _query(self, wanted: Filter) -> Select[Event]:
        # The tenant is named beside the policy: a constant tells the planner more.
        query = select(Event).where(Event.tenant_id == self._tenant_id)
        if wanted.since and wanted.until and _moment(wanted.since) > _moment(wanted.until):
            raise ValidationFailed("`from` is after `to`: nothing can be in between", [("from", "is after `to`")])
        if wanted.actor_id is not None:
            query = query.where(Event.actor_id == wanted.actor_id)
        if wanted.object_id is not None:
            query = query.where(Event.object_id == wanted.object_id)
        if wanted.object_type is not None:
            query = query.where(Event.object_type == wanted.object_type)
        if wanted.action is not None:
            query = query.where(await self._of_action(wanted.action))
        if wanted.since is not None:
            since = _moment(wanted.since)
            query = query.where(Event.created_at >= since, Event.id >= _first_id(since - _APART))
        if wanted.until is not None:
            until = _moment(wanted.until)
            query = query.where(Event.created_at < until, Event.id < _first_id(until + _APART))
        return query

    async def _of_action(self, action: str) -> ColumnElement[bool]:
        if not action.endswith("."):
            return Event.action == action
        known = (await self._work.session.scalars(_ACTIONS, {"tenant": self._tenant_id})).all()
        return Event.action.in_([name for name in known if name.startswith(action)])

    async def _shown(self, rows: Sequence[Event]) -> list[EventOut]:
        actors = list({row.actor_id for row in rows if row.actor_id is not None})
        people = await self._work.session.execute(_PEOPLE, {"ids": actors}) if actors else ()
        named = {found.id: found for found in people}
        ids = [row.id for row in rows]
        seals = await self._work.session.execute(_PLACES, {"tenant": self._tenant_id, "ids": ids}) if ids else ()
        places: dict[UUID, int] = {found.event_id: found.position for found in seals}
        return [_event(row, places.get(row.id), named.get(row.actor_id)) for row in rows]

    async def _with_previous(self, rows: Sequence[Checkpoint]) -> list[tuple[Checkpoint, bytes]]:
        """Each with the link of the checkpoint before it, over which it is signed too."""
        wanted = [row.number - 1 for row in rows]
        query = select(Checkpoint.number, Checkpoint.link).where(
            Checkpoint.tenant_id == self._tenant_id, Checkpoint.number.in_(wanted)
        )
        links = dict((await self._work.session.execute(query)).all()) if wanted else {}
        return [(row, links.get(row.number - 1, genesis(self._tenant_id))) for row in rows]


def _event(row: Event, position: int | None, actor: Any) -> EventOut:
    return EventOut(
        id=row.id,
        created_at=row.created_at,
        position=position,
        seq=row.seq,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor_name=actor.name if actor else None,
        actor_email=actor.email if actor else None,
        key_id=row.key_id,
        action=row.action,
        object_type=row.object_type,
        object_id=row.object_id,
        space_id=row.space_id,
        user_id=row.user_id,
        request_id=row.request_id,
        ip=row.ip,
        user_agent=row.user_agent,
        data=row.data,
    )


def _checkpoint(row: Checkpoint, previous: bytes) -> CheckpointOut:
    return CheckpointOut(
        number=row.number,
        position=row.position,
        link=row.link.hex(),
        key_id=row.key_id,
        signature=base64_of(row.signature),
        signed_text=signed_text(row, previous),
        created_at=row.created_at,
    )


def _moment(value: datetime) -> datetime:
    """With a zone (UTC if it has none), and within what a key can say."""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    if aware.year <= _EPOCH.year:
        return max(_EPOCH, aware.astimezone(UTC)) if aware.year == _EPOCH.year else _EPOCH
    return _END if aware.year >= _END.year else aware.astimezone(UTC)


def _first_id(moment: datetime) -> UUID:
    """No UUIDv7 made at or after `moment` is lower (RFC 9562, 5.7: it begins with milliseconds)."""
    return UUID(int=max(0, (moment - _EPOCH) // timedelta(milliseconds=1)) << 80)
