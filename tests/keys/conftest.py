"""Programs that use keys, from an address and for an origin of one's choice; a second process beside the first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from sqlalchemy import text

from folkmoot.assemble import assemble
from folkmoot.keys.authenticate import Keys
from folkmoot.kit.recorder import Recorder
from folkmoot.main import create_app
from tests.support.people import Person

HOME = "203.0.113.7"


async def until(holds: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Return once `await holds()` is true."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def code(response: httpx.Response | Awaitable[httpx.Response]) -> tuple[int, str]:
    """Status and code of a refusal."""
    answer = response if isinstance(response, httpx.Response) else await response
    return answer.status_code, answer.json().get("code", "")


@pytest.fixture
async def program(api):
    """Makes clients: `program(key, ip=…, on=…, Origin=…)`."""
    made: list[Person] = []

    def make(key: str, *, ip: str = HOME, on=None, **headers: str) -> Person:
        client = Person(
            transport=httpx.ASGITransport(on or api, raise_app_exceptions=False, client=(ip, 4711)),
            base_url="http://folkmoot.test/api/v1",
            headers={"Authorization": f"Bearer {key}", **headers},
            timeout=60,
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.aclose()


@pytest.fixture
async def second(app):
    """Another process on the same engines."""
    async with assemble(app.settings) as other:
        litestar = create_app(other.settings)
        litestar.state.app = other
        yield litestar


@pytest.fixture
async def events(app, superuser):
    """What was recorded of a thing or in a tenant: `await events("key.created", object_id=…)`."""

    async def recorded(action: str, **where) -> list:
        await app.part(Keys).uses.flush()
        recorder = app.part(Recorder)
        await recorder.flush()
        if recorder._writing is not None:
            # It may have taken rows of its own that are not written yet.
            await recorder._writing
        said = " AND ".join(f"{name} = :{name}" for name in where) or "true"
        query = f"SELECT * FROM events WHERE action = :action AND {said} ORDER BY seq"
        async with superuser.connect() as connection:
            return list(await connection.execute(text(query), {"action": action, **where}))

    return recorded


@pytest.fixture
async def row(superuser):
    """A key as it is stored."""

    async def stored(key_id: str):
        async with superuser.connect() as connection:
            return (await connection.execute(text("SELECT * FROM api_keys WHERE id = :id"), {"id": key_id})).one()

    return stored


@pytest.fixture
async def change(superuser):
    """Changes rows behind the product, as time or another process would."""

    async def changing(statement: str, **values) -> None:
        async with superuser.begin() as connection:
            await connection.execute(text(statement), values)

    return changing
