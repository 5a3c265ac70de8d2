"""The reference of `identity`: Litestar on Granian with one route that does one SELECT by primary key."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from litestar import Litestar, get
from litestar.datastructures import State


@get("/users/{user_id:uuid}")
async def user(user_id: UUID, state: State) -> dict[str, Any]:
    row = await state.pool.fetchrow("SELECT id, email, name, role, state FROM users WHERE id = $1", user_id)
    return dict(row)


def application() -> Litestar:
    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        app.state.pool = await asyncpg.create_pool(os.environ["BARE_DATABASE"], min_size=5, max_size=5)
        yield

    return Litestar([user], lifespan=[lifespan], openapi_config=None, logging_config=None)


if __name__ == "__main__":
    Granian(
        "benchmarks.bare:application",
        factory=True,
        interface=Interfaces.ASGI,
        address="127.0.0.1",
        port=int(os.environ["BARE_PORT"]),
        loop=Loops.uvloop,
        log_level=LogLevels.warning,
        log_access=False,
    ).serve()
