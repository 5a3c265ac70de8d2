"""Finding out whether a log is what was written, and naming the first row that is not.

Reads in stretches of some ten thousand rows, each a short transaction: what has its seal never changes, so
nothing has to be held while the rest is checked. What is written meanwhile is left for the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from uuid import UUID

from sqlalchemy import select, text

from folkmoot.audit import witness
from folkmoot.audit.chain import GONE, ROW, Keys, genesis
from folkmoot.audit.models import Checkpoint
from folkmoot.audit.reading import copy_out
from folkmoot.audit.seal import last_checkpoint, pending, seals_between
from folkmoot.audit.walk import Fault, Mark, Walker, told
from folkmoot.audit.witness import Head
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.tenants.models import PLATFORM, Certificate
from folkmoot.tenants.service import TenantService

SPAN = 40_000
"""Positions that are compared with the events in one go."""
STEP = 10_000
"""Of these, how many are held in memory at once, twice."""
CHECKPOINTS = 1_000
MOST_FAULTS = 20

Progress = Callable[[int, int], None]


@dataclass
class Verdict:
    """What was found in one tenant's log."""

    tenant_id: UUID
    events: int = 0
    """Positions that were looked at."""
    checkpoints: int = 0
    pending: int = 0
    """Written, and not sealed yet: nothing can be said of them."""
    remembered: bool = False
    """Redis knows an end of this log, so that a missing end would have been found."""
    faults: list[Fault] = field(default_factory=list[Fault])
    """In the order of the log. Of rows between two checkpoints, usually only the first can be told."""


async def verify(app: App, tenant_id: UUID, *, progress: Progress | None = None) -> Verdict:
    """Check the log of one tenant from its beginning. `progress` is told of positions done, and of all."""
    return await _Verification(app, tenant_id, progress).run()


async def lost_logs(app: App) -> list[tuple[UUID, Fault]]:
    """Logs that Redis remembers, of organisations that are gone without a certificate of their deletion."""
    seen = await witness.known(app.redis)
    async with app.begin(Principal.platform()) as work:
        there = set(await TenantService(work).every_id())
        there |= set((await work.session.scalars(select(Certificate.tenant_id))).all())
    return [
        (tenant_id, Fault("log-removed", 0, f"the organisation {tenant_id} and its whole log are gone"))
        for tenant_id in sorted(seen - there)
    ]


async def accept_lost(app: App, reason: str, operator: str) -> int:
    """Let Redis forget the logs of `lost_logs`, and say so in the platform's log; how many there were."""
    lost = await lost_logs(app)
    async with app.begin(Principal.system(PLATFORM)) as work:
        for tenant_id, _ in lost:
            data = {"reason": reason, "operator": operator}
            work.record("audit.end_accepted", "tenant", tenant_id, data=data)
    for tenant_id, _ in lost:
        await witness.forget(app.redis, tenant_id)
    return len(lost)


class _Verification:
    def __init__(self, app: App, tenant_id: UUID, progress: Progress | None) -> None:
        self._app, self._tenant_id, self._progress = app, tenant_id, progress
        self._keys = Keys(app.keyring)
        self._walker = Walker(self._keys.of_tenant(tenant_id), genesis(tenant_id))
        self._faults = self._walker.faults
        self._previous: bytes | None = genesis(tenant_id)
        """Link of the checkpoint before; None if that one is missing or was changed."""
        self._number = 0
        self._reached: tuple[int, int, int] = (0, 0, 0)
        """Position, xid and seq of the last checkpoint that fits."""
        self._top = 0
        """The highest position there is."""

    async def run(self) -> Verdict:
        # Before the database is read: its end can then only be further on than this one.
        head = await witness.recall(self._app.redis, self._tenant_id)
        async with self._app.begin(Principal.system(self._tenant_id)) as work:
            last, _ = await last_checkpoint(work, self._tenant_id)
            lowest, self._top = await seals_between(work, self._tenant_id)
            waiting = await pending(work, self._tenant_id, last)
        if lowest < 1:
            self._faults.append(Fault("inserted", lowest, f"a seal stands at position {lowest}: none was made there"))
        if last is not None:
            self._walker.short = last.position - self._top
            while batch := await self._checkpoints(last.number):
                await self._stretch(batch, head)
        self._beyond(last)
        await self._rows(self._top, [])
        if head is not None and head.position > self._top:
            self._faults.append(
                Fault("cut-off", self._top + 1, f"the log reached position {head.position} (checkpoint {head.number}), "
                      f"and ends at {self._top} now: its end was cut off")
            )  # fmt: skip
        return Verdict(
            tenant_id=self._tenant_id,
            events=self._walker.position,
            checkpoints=self._number,
            pending=waiting,
            remembered=head is not None,
            faults=sorted(self._faults, key=lambda fault: fault.position),
        )

    def _beyond(self, last: Checkpoint | None) -> None:
        """Seals after the last checkpoint: they are made together, so it was taken away."""
        if self._walker.position >= self._top or any(fault.kind == "checkpoint-changed" for fault in self._faults):
            return
        said = f"the last one is {last.number}, at position {last.position}" if last else "there is none"
        self._faults.append(
            Fault("checkpoint-removed", self._reached[0] + 1, f"checkpoints were removed: {said}, "
                  f"and seals go on to {self._top}")
        )  # fmt: skip

    async def _checkpoints(self, newest: int) -> Sequence[Checkpoint]:
        """The next ones, as many as go over `SPAN` positions, and at least one."""
        async with self._app.begin(Principal.system(self._tenant_id)) as work:
            rows = (
                await work.session.scalars(
                    select(Checkpoint)
                    .where(
                        Checkpoint.tenant_id == self._tenant_id,
                        Checkpoint.number > self._number,
                        Checkpoint.number <= newest,
                    )
                    .order_by(Checkpoint.number)
                    .limit(CHECKPOINTS)
                )
            ).all()
        return [*rows[:1], *takewhile(lambda row: row.position <= self._walker.position + SPAN, rows[1:])]

    async def _stretch(self, batch: Sequence[Checkpoint], head: Head | None) -> None:
        before, known = self._reached, len(self._faults)
        marks: list[Mark] = []
        for found in batch:
            trusted = self._signed(found)
            if trusted is None:
                continue
            marks.append(Mark(found.position, found.link, f"checkpoint {found.number}", trusted))
            self._reached = (found.position, found.xid, found.seq)
        end = self._reached[0]
        if head is not None and before[0] < head.position <= end:
            marks.append(Mark(head.position, head.link, "Redis", trusted=False))
        await self._rows(end, sorted(marks, key=lambda mark: mark.position))
        await self._inserted(before, self._reached, self._faults[known:])

    def _signed(self, found: Checkpoint) -> bool | None:
        """Whether it can be trusted; False if that cannot be told, None if it was changed."""
        expected, self._number = self._number + 1, found.number
        previous, self._previous = self._previous, found.link
        if found.number != expected:
            which = f"{expected}" if found.number == expected + 1 else f"{expected} to {found.number - 1}"
            self._faults.append(Fault("checkpoint-removed", self._reached[0] + 1, f"checkpoint {which} is gone"))
            return False
        if previous is None:
            return False
        if self._keys.signed(found, previous):
            return True
        self._previous = None
        what = "was changed"
        if not self._keys.knows(found.key_id):
            what = (
                f"is signed with the key {found.key_id}, which is not here: it was changed, or a row of tenant_keys is "
                "gone, which only a backup brings back"
            )
        self._faults.append(
            Fault("checkpoint-changed", self._reached[0] + 1, f"checkpoint {found.number} (after position "
                  f"{self._reached[0]}) {what}")
        )  # fmt: skip
        return None

    async def _rows(self, end: int, marks: Sequence[Mark]) -> None:
        """Walk along the seals up to position `end`; PostgreSQL gets the next rows ready meanwhile."""
        starts = range(self._walker.position, end, STEP)
        ahead = [asyncio.create_task(self._fetched(start, min(start + STEP, end))) for start in starts[:1]]
        try:
            for start in starts:
                stop = min(start + STEP, end)
                lines = await ahead.pop()
                if stop < end:
                    ahead.append(asyncio.create_task(self._fetched(stop, min(stop + STEP, end))))
                here = [mark for mark in marks if start < mark.position <= stop]
                await asyncio.to_thread(self._walker.along, lines, stop, here)
                if self._progress is not None:
                    self._progress(self._walker.position, self._top)
        finally:
            for task in ahead:
                task.cancel()

    async def _fetched(self, start: int, stop: int) -> list[bytes]:
        """Seals after position `start`, up to `stop`, each with the row of its event."""
        async with self._app.begin(Principal.system(self._tenant_id)) as work:
            return await copy_out(
                work,
                f"SELECT s.position, encode(s.mac, 'hex'), s.event_id, {ROW} FROM audit_seals s"
                " LEFT JOIN events e ON e.id = s.event_id AND e.tenant_id = s.tenant_id"
                f" WHERE s.tenant_id = '{self._tenant_id}' AND s.position > {start} AND s.position <= {stop}"
                " ORDER BY s.position",
            )

    async def _inserted(
        self, before: tuple[int, int, int], after: tuple[int, int, int], faults: Sequence[Fault]
    ) -> None:
        """Look for events among those of this stretch that no seal in it, or before it, stands for."""
        (start, *low), (end, *high) = before, after
        # Lower than before: between the two, the database was restored and began to count anew.
        again = high < low
        low = [0, 0] if again else low
        here = (
            f"e.tenant_id = '{self._tenant_id}' AND (e.xid, e.seq) > ({low[0]}, {low[1]})"
            f" AND (e.xid, e.seq) <= ({high[0]}, {high[1]})"
        )
        async with self._app.begin(Principal.system(self._tenant_id)) as work:
            count = await work.session.scalar(text(f"SELECT count(*) FROM events e WHERE {here}"))
            if count == end - start and not faults and not again:
                return
            rows = await copy_out(
                work,
                f"SELECT (SELECT s.position FROM events n JOIN audit_seals s"
                " ON s.tenant_id = n.tenant_id AND s.event_id = n.id"
                " WHERE n.tenant_id = e.tenant_id AND (n.xid, n.seq) > (e.xid, e.seq) ORDER BY n.xid, n.seq LIMIT 1)"
                f", e.id, {ROW} FROM events e WHERE {here} AND NOT EXISTS (SELECT FROM audit_seals s"
                f" WHERE s.tenant_id = e.tenant_id AND s.event_id = e.id AND s.position BETWEEN 1 AND {end})"
                f" ORDER BY e.xid, e.seq LIMIT {MOST_FAULTS}",
            )
        for line in rows:
            place, event_id, row = line.split(b"\t", 2)
            position = end + 1 if place == GONE else int(place)
            name = f"event {event_id.decode()} ({told(row)})"
            gap = next((fault for fault in faults if fault.last == position - 1 > 0), None)
            if gap is None:
                said = f"{name} was put in before position {position}: it was never sealed"
                self._faults.append(Fault("inserted", position, said, UUID(event_id.decode())))
                continue
            said = f"the seal of {name} is gone, of positions {gap.position} to {gap.last}"
            if gap in self._faults:
                self._faults.remove(gap)
                self._faults.append(Fault("seal-removed", gap.position, said, UUID(event_id.decode())))
