"""Stretches of a list by key, and guards against editing what somebody else changed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from folkmoot.kit import errors

T = TypeVar("T")


async def page(
    session: AsyncSession,
    query: Select[T],
    *,
    by: Any,
    limit: int,
    cursor: str | None,
    newest_first: bool = True,
) -> tuple[Sequence[T], str | None]:
    """A keyset page of `query` ordered by the UUIDv7 column `by`. Raises `BadRequest` for a foreign cursor."""
    if cursor is not None:
        last = decode_cursor(cursor)
        query = query.where(by < last if newest_first else by > last)
    query = query.order_by(by.desc() if newest_first else by.asc()).limit(limit + 1)
    rows = (await session.scalars(query)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, encode_cursor(getattr(rows[-1], by.key)) if more else None


def encode_cursor(key: UUID) -> str:
    return base64.urlsafe_b64encode(key.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except ValueError:
        raise errors.BadRequest(
            "`cursor` is not one of ours: leave it out to start from the beginning", code="invalid-cursor"
        ) from None


def etag(revision: int) -> str:
    return f'"{revision}"'


def check_match(if_match: str | None, revision: int) -> None:
    """Raise `Stale` if the client last saw another revision (RFC 9110, 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return
    tags = {part.strip().removeprefix("W/") for part in if_match.split(",")}
    if etag(revision) not in tags:
        raise errors.Stale("this was changed since you read it: read it again and repeat your change")
