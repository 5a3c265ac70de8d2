"""What the tests of signing in share: clients at an address of their own, and what the log says."""

import asyncio
import random
from contextlib import asynccontextmanager

import httpx
from sqlalchemy import text

from tests.support.people import PASSWORD

HOST = "http://folkmoot.test"


def address() -> str:
    """Somewhere in the network for benchmarks, so that no test is locked out by another (RFC 2544)."""
    return f"198.{random.choice((18, 19))}.{random.randrange(256)}.{random.randrange(1, 255)}"


@asynccontextmanager
async def at(api, ip: str = "", base: str = HOST):
    """Somebody who is not signed in, with a cookie jar."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False, client=(ip or address(), 4711))
    async with httpx.AsyncClient(transport=transport, base_url=f"{base}/api/v1", timeout=60) as client:
        yield client


async def login(browser, person, password=PASSWORD, **fields):
    params = {"cookie": "false"} if fields.pop("body", False) else {}
    return await browser.post(
        "/auth/login", json={"email": person.user.email, "password": password, **fields}, params=params
    )


async def me(browser, token):
    return await browser.get("/me", headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def events(superuser, where: str, **values) -> list[tuple[str, dict]]:
    """(action, data) of the events that fit, oldest first."""
    async with superuser.connect() as connection:
        rows = await connection.execute(text(f"SELECT action, data FROM events WHERE {where} ORDER BY seq"), values)
        return [(row.action, row.data) for row in rows]


async def events_of(superuser, person) -> list[tuple[str, dict]]:
    return await events(superuser, "user_id = :user", user=person.user.id)


async def until(found, seconds: float = 10):
    """What `await found()` gives, once it is true."""
    async with asyncio.timeout(seconds):
        while True:
            if value := await found():
                return value
            await asyncio.sleep(0.02)


async def noted(superuser, where: str, **values) -> list[tuple[str, dict]]:
    """As `events`, once there is one: what is noted beside a request is written a moment later."""
    return await until(lambda: events(superuser, where, **values))
