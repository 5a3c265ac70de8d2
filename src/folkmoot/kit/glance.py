"""One read in one round trip, for the guard, which every request passes; all else comes through `begin()`.

It goes to asyncpg directly, on a few connections of its own: SQLAlchemy's share of so small a read was larger
than PostgreSQL's. The statement says its tenant by itself, and each runs alone, so nothing of it is left.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Sequence
from functools import lru_cache
from typing import Any

import asyncpg
import msgspec

from folkmoot.kit.errors import NotAvailable
from folkmoot.kit.log import get_logger

log = get_logger(__name__)
Pool = Any
"""An `asyncpg.Pool`; its own types are not complete."""
_GONE = (
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    OSError,
)
_PARAMETER = re.compile(r"(?<!:):(\w+)")


@contextlib.asynccontextmanager
async def glances(url: str, connections: int) -> AsyncGenerator[Pool]:
    """The pool that `glance` reads on. `url` as `postgresql://…`."""
    pool: Pool = await asyncpg.create_pool(  # pyright: ignore[reportUnknownMemberType]
        url,
        min_size=1,
        max_size=connections,
        init=_prepare,
        reset=_nothing,
        command_timeout=10,
        timeout=10,
        server_settings={"application_name": "folkmoot", "jit": "off", "timezone": "UTC"},
    )
    try:
        yield pool
    finally:
        pool.terminate()


async def glance(pool: Pool, statement: str, **parameters: Any) -> Sequence[Any] | None:
    """The first row of `statement`, whose parameters stand in it as `:name`; None if there is no row.

    Raises `NotAvailable` if PostgreSQL does not answer, after trying a second time on another connection.
    """
    query, names = _numbered(statement)
    values = [parameters[name] for name in names]
    try:
        return await pool.fetchrow(query, *values)
    except _GONE as error:
        # It was restarted, or somebody in between ended a connection that stood idle.
        log.info("glance.again", error=repr(error))
    try:
        return await pool.fetchrow(query, *values)
    except _GONE as error:
        raise NotAvailable("PostgreSQL does not answer: try again in a moment") from error


@lru_cache(maxsize=64)
def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    query = _PARAMETER.sub(number, statement)
    return query, tuple(names)


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=msgspec.json.decode)


async def _nothing(_connection: Any) -> None:
    """What asyncpg does here otherwise is a round trip, and there is nothing to undo."""
