"""A person's conversations in the order in which they look for them: pinned ones first, then the newest activity."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, literal, tuple_

from folkmoot.conversations.models import Conversation
from folkmoot.kit.errors import BadRequest
from folkmoot.kit.work import Work

_PLACE = struct.Struct(">?q16s")
"""Whether it is pinned, microseconds since 1970, and the id: what a list is ordered by."""
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


async def recent(
    work: Work, query: Select[Conversation], limit: int, cursor: str | None
) -> tuple[Sequence[Conversation], str | None]:
    """A keyset page of `query`. Raises `BadRequest` (`invalid-cursor`) for a foreign cursor.

    One person's rows are few enough to be sorted each time; an index on what changes with each question would make
    every question dearer.
    """
    place = (Conversation.pinned_at.is_not(None), Conversation.updated_at, Conversation.id)
    if cursor is not None:
        pinned, at, last = _decoded(cursor)
        query = query.where(tuple_(*place) < tuple_(literal(pinned), literal(at), literal(last)))
    query = query.order_by(*(part.desc() for part in place)).limit(limit + 1)
    rows = (await work.session.scalars(query)).all()
    more, rows = len(rows) > limit, rows[:limit]
    return rows, _encoded(rows[-1]) if more else None


def _encoded(row: Conversation) -> str:
    since = (row.updated_at - _BEGIN) // timedelta(microseconds=1)
    packed = _PLACE.pack(row.pinned_at is not None, since, row.id.bytes)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[bool, datetime, UUID]:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        pinned, since, last = _PLACE.unpack(packed)
        return pinned, _BEGIN + timedelta(microseconds=since), UUID(bytes=last)
    except (ValueError, struct.error, OverflowError):
        raise BadRequest(
            "`cursor` is not one of ours: leave it out to start from the beginning", code="invalid-cursor"
        ) from None
