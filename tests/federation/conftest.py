"""An organisation with login methods whose backends do what the test says."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from folkmoot.federation.backends import Backends
from folkmoot.kit.access import Principal
from folkmoot.kit.recorder import Recorder
from folkmoot.plugins.manager import PluginManager
from tests.federation.fakes import CLIENT_SECRET, Browser, World, specs


@pytest.fixture
async def world(app):
    """Its kinds are installed while the test runs."""
    made = World()
    installed = app.part(PluginManager).auth_backends
    installed.update(specs(made))
    yield made
    made.faults.clear()
    for kind in specs(made):
        installed.pop(kind)
        app.part(Backends)._types.pop(kind, None)


@pytest.fixture
async def browsers(app, api, world):
    """Makes browsers, each with a jar of its own."""
    made = []

    def open_one() -> Browser:
        browser = Browser(
            transport=httpx.ASGITransport(api, raise_app_exceptions=False),
            base_url=f"{app.settings.url()}/api/v1",
            timeout=60,
        )
        browser.world = world
        made.append(browser)
        return browser

    yield open_one
    for browser in made:
        await browser.aclose()


@pytest.fixture
async def browser(browsers):
    return browsers()


@dataclass
class Method:
    id: str
    issuer: str
    etag: str
    body: dict


@pytest.fixture
async def method(owner, world):
    """Makes a login method of the owner's organisation: `await method(create=True)`."""

    async def making(by=None, kind="fake-id", issuer="", enabled=True, name="", **provisioning) -> Method:
        issuer = issuer or f"https://{uuid4().hex[:8]}.example"
        world.people.setdefault(issuer, {})
        answer = await (by or owner).post(
            "/login-methods",
            json={
                "kind": kind,
                "name": name or f"Sign in {uuid4().hex[:6]}",
                "config": {"issuer": issuer, "client_secret": CLIENT_SECRET},
                "enabled": enabled,
                "provisioning": provisioning,
            },
        )
        assert answer.status_code == 201, answer.text
        return Method(answer.json()["id"], issuer, answer.headers["etag"], answer.json())

    return making


@pytest.fixture
async def events(app, superuser):
    """What the log of a tenant has: `await events(tenant_id, "session.failed")`, oldest first."""

    async def reading(tenant_id, action):
        await app.part(Recorder).flush()
        async with superuser.connect() as connection:
            rows = await connection.execute(
                text("SELECT data, user_id, object_id FROM events WHERE tenant_id = :t AND action = :a ORDER BY seq"),
                {"t": tenant_id, "a": action},
            )
            return [dict(row._mapping) for row in rows]

    return reading


@pytest.fixture
async def system(app):
    """A unit of work in a tenant: `async with system(tenant_id) as work`."""
    return lambda tenant_id: app.begin(Principal.system(tenant_id))
