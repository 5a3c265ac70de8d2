"""Going along a chain, and telling what happened where it does not fit. It sees rows and no database."""

from __future__ import annotations

import hmac
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from folkmoot.audit.chain import COLUMNS, GONE, follow, seal_of

LOOK_AHEAD = 2_000
"""Rows after one that does not fit, among which the one that would is looked for."""
_ACTION = COLUMNS.index("action")
_SEQ = COLUMNS.index("seq")
_TIME = COLUMNS.index("created_at")


@dataclass(frozen=True)
class Fault:
    """Something that was tampered with."""

    kind: str
    """`changed`, `removed`, `inserted`, `moved`, `seal-changed`, `seal-removed`, `checkpoint-changed`,
    `checkpoint-removed`, `rewritten`, `cut-off` or `log-removed`."""
    position: int
    """In the log; of what has none, where it would be."""
    detail: str
    """A sentence that names the row."""
    event_id: UUID | None = None
    last: int = 0
    """Of a gap, its last position."""


@dataclass(frozen=True)
class Mark:
    """A link that somebody vouches for."""

    position: int
    link: bytes
    what: str
    trusted: bool
    """Its signature was checked, so that one can go on from here after a fault."""


@dataclass
class Entry:
    """One seal, and the row of its event as it is now."""

    position: int
    mac: bytes
    """In hex, as it was read."""
    event_id: str
    row: bytes

    @property
    def gone(self) -> bool:
        return self.row.startswith(GONE + b"\t")

    @property
    def name(self) -> str:
        """As `event 0199… (position 7, seq 12, 2026-11-22 09:30:00 UTC, session.started)`."""
        if self.gone:
            return f"event {self.event_id} (position {self.position}, made {_made(self.event_id)})"
        return f"event {self.event_id} (position {self.position}, {told(self.row)})"


@dataclass
class Walker:
    """Where in the chain one is. `faults` grows; after one, it goes on from the next mark that can be trusted."""

    keys: Sequence[bytes]
    link: bytes
    position: int = 0
    lost: bool = False
    """After a fault, until a mark tells the link again."""
    short: int = 0
    """By how many positions the log is shorter (or, below zero, longer) than its checkpoints say."""
    faults: list[Fault] = field(default_factory=list[Fault])

    def __post_init__(self) -> None:
        self._key = self.keys[0]

    def along(self, lines: Sequence[bytes], end: int, marks: Sequence[Mark]) -> None:
        """Check the seals up to position `end`; each line is position, mac in hex, event id, and the event's row."""
        at: dict[int, list[Mark]] = {}
        for mark in marks:
            at.setdefault(mark.position, []).append(mark)
        known = [mark for mark in marks if mark.trusted]
        link, position, key = self.link, self.position, self._key
        for number, line in enumerate(lines):
            place, mac, _, row = line.split(b"\t", 3)
            position += 1
            if not self.lost and int(place) == position:
                following = follow(link, row)
                if seal_of(key, following).hex().encode() == mac:
                    link = following
                    if position in at:
                        self._compare(at[position], link)
                    continue
            # The rare way: something does not fit, or did not before.
            self.link, self.position = link, position - 1
            self._stumble(lines, number, known)
            link, position, key = self.link, self.position, self._key
            if not self.lost and position in at:
                self._compare(at[position], link)
        self.link, self.position = link, position
        if not self.lost and position < end:
            self._gap(end, "")
        self._find_way(end + 1, known)
        self.position = end

    def _stumble(self, lines: Sequence[bytes], number: int, known: Sequence[Mark]) -> None:
        entry = _entry(lines[number])
        self._find_way(entry.position, known)
        if self.lost:
            self.position = entry.position
            return
        if entry.position > self.position + 1:
            self._gap(entry.position - 1, entry.name)
            self._find_way(entry.position, known)
            if self.lost:
                self.position = entry.position
                return
        following = follow(self.link, entry.row)
        for key in self.keys:
            # An older key sealed this, or a newer one from here on.
            if self._fits(entry.mac, following, key):
                self._key = key
                self.link, self.position = following, entry.position
                return
        self.position = entry.position
        fault = self._wrong(entry, [_entry(line) for line in lines[number + 1 : number + 1 + LOOK_AHEAD]])
        self.faults.append(fault)
        self.link = following
        # A seal that was changed alone leaves the chain whole; all else leaves us without a link.
        self.lost = fault.kind != "seal-changed"

    def _wrong(self, entry: Entry, later: Sequence[Entry]) -> Fault:
        """Why this row does not follow from the link before it."""
        event_id = UUID(entry.event_id)
        following = follow(self.link, entry.row)
        after = later[0] if later else None
        if entry.gone:
            return Fault("removed", entry.position, f"{entry.name} is gone", event_id)
        if after and self._fits(after.mac, follow(following, after.row)):
            return Fault("seal-changed", entry.position, f"the seal of {entry.name} was changed; the event is intact",
                         event_id)  # fmt: skip
        for index, other in enumerate(later):
            instead = follow(self.link, other.row)
            if not (self._fits(other.mac, instead) or self._fits(entry.mac, instead)):
                continue
            beyond = later[index + 1] if index + 1 < len(later) else None
            pushed = beyond is not None and self._fits(beyond.mac, follow(instead, beyond.row))
            if index == 0 and (pushed or (beyond is None and self.short < 0)):
                return Fault("inserted", entry.position, f"{entry.name} was put in: it was never sealed", event_id)
            said = f"{other.name} belongs at position {entry.position}, where {entry.name} stands"
            return Fault("moved", entry.position, said, UUID(other.event_id))
        if self.short > 0:
            return Fault(
                "removed", entry.position,
                f"what stood before {entry.name} is gone, and the rest was numbered anew", event_id,
            )  # fmt: skip
        return Fault("changed", entry.position, f"{entry.name} is not what was sealed there", event_id)

    def _fits(self, mac: bytes, link: bytes, key: bytes | None = None) -> bool:
        keys = [key] if key is not None else self.keys
        return any(hmac.compare_digest(seal_of(one, link).hex().encode(), mac) for one in keys)

    def _gap(self, end: int, before: str) -> None:
        start = self.position + 1
        which = f"position {start} is" if start == end else f"positions {start} to {end} are"
        where = f", before {before}" if before else ""
        self.faults.append(Fault("removed", start, f"{which} gone, seal and all{where}", last=end))
        self.position, self.lost = end, True

    def _compare(self, marks: Sequence[Mark], link: bytes) -> None:
        self.faults += [
            Fault("rewritten", mark.position, f"the log up to position {mark.position} is not what {mark.what} says")
            for mark in marks
            if mark.link != link
        ]

    def _find_way(self, before: int, known: Sequence[Mark]) -> None:
        """Take up the chain at the last trusted mark that comes before a position, if we have not passed it."""
        if not self.lost:
            return
        place = bisect_left(known, before, key=lambda mark: mark.position) - 1
        if place >= 0 and known[place].position >= self.position:
            self.link, self.position, self.lost = known[place].link, known[place].position, False


def told(row: bytes) -> str:
    """What people know an event by: its number, time and action."""
    cells = row.decode(errors="replace").split("\t")
    return f"seq {cells[_SEQ]}, {_when(cells[_TIME])}, {cells[_ACTION]}"


def _entry(line: bytes) -> Entry:
    place, mac, event_id, row = line.split(b"\t", 3)
    return Entry(int(place), mac, event_id.decode(), row)


def _when(seconds: str) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"time {seconds}"


def _made(event_id: str) -> str:
    """The moment that a UUIDv7 was made (RFC 9562, 5.7)."""
    return _when(str((UUID(event_id).int >> 80) / 1000))
