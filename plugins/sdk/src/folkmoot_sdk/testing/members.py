"""What a parser promises of the files that it finds inside a file, and putting their pieces together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from folkmoot_sdk.parsers import MEMBER_PIECE, Member, Parsed, Progress, member_path


def whole(events: Iterable[Parsed]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member that came in whole; those with a `problem` are left out."""
    pieces: list[bytes] = []
    for event in events:
        if not isinstance(event, Member):
            continue
        pieces.append(event.data)
        if event.last:
            if not event.problem:
                yield event.name, b"".join(pieces)
            pieces = []


def complaints(events: Iterable[Parsed]) -> list[str]:
    """Which promises of `Member` are broken, each named once."""
    found: dict[str, None] = {}
    begun: str | None = None
    for event in events:
        if isinstance(event, Progress):
            continue
        if not isinstance(event, Member):
            if begun is not None:
                found.setdefault(f"a {type(event).__name__} stands between the pieces of the member {begun!r}")
            continue
        if begun is not None and event.name != begun:
            found.setdefault(f"a piece of {event.name!r} stands between those of the member {begun!r}")
        for what, wrong in (
            (f"the member {event.name!r} should be called {member_path(event.name)!r}", not _is_clean(event.name)),
            (f"a piece of {event.name!r} has more than {MEMBER_PIECE} bytes", len(event.data) > MEMBER_PIECE),
            (f"the time of {event.name!r} has no time zone", not _has_zone(event)),
            (f"{event.name!r} goes on after its problem", bool(event.problem) and not event.last),
            (f"the problem of a member does not name it: {event.problem!r}", not _names(event)),
        ):
            if wrong:
                found.setdefault(what)
        begun = None if event.last else event.name
    if begun is not None:
        found.setdefault(f"the member {begun!r} has no last piece")
    return list(found)


def _is_clean(name: str) -> bool:
    return bool(name) and member_path(name) == name


def _has_zone(member: Member) -> bool:
    return member.modified_at is None or member.modified_at.tzinfo is not None


def _names(member: Member) -> bool:
    return not member.problem or member.name in member.problem
