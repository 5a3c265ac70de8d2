"""Real PostgreSQL and Redis for all tests: one pair of engines a run, a database of its own for each process.

Tests run in parallel and each makes its own tenant, so they share a database as tenants do. They connect as
the runtime role; only `as_superuser` looks behind the policies, to prove that they hold.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from folkmoot import migrate
from folkmoot.assemble import assemble
from folkmoot.embedded import Engines
from folkmoot.identity import passwords
from folkmoot.kit.db import make_engine
from folkmoot.kit.log import configure
from folkmoot.main import create_app
from folkmoot.settings import Settings
from folkmoot.worker import working
from tests.support.people import Tenancy

passwords.ROUNDS = 4
configure("warning", "text")
_engines: Engines | None = None


def pytest_configure(config):
    """The process that leads the run starts the engines; its helpers find them in the environment."""
    global _engines
    if hasattr(config, "workerinput") or config.option.collectonly or "FOLKMOOT_TEST_SUPERUSER" in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="folkmoot-tests-"))
    _engines = Engines(folder)
    points = _engines.start()
    migrate.upgrade(points.owner_url)
    os.environ["FOLKMOOT_TEST_SUPERUSER"] = points.superuser_url
    os.environ["FOLKMOOT_TEST_RUNTIME"] = points.runtime_url
    os.environ["FOLKMOOT_TEST_OWNER"] = points.owner_url
    os.environ["FOLKMOOT_TEST_REDIS"] = points.redis_url


def pytest_unconfigure(config):
    global _engines
    if _engines is not None:
        _engines.stop()
        shutil.rmtree(_engines.data, ignore_errors=True)
        _engines = None
        for name in ("SUPERUSER", "RUNTIME", "OWNER", "REDIS"):
            os.environ.pop(f"FOLKMOOT_TEST_{name}", None)


def with_database(url: str, name: str) -> str:
    assert "/folkmoot?" in url, "the database is not called folkmoot"
    return url.replace("/folkmoot?", f"/{name}?")


@pytest.fixture(scope="session")
def database(worker_id):
    """A copy of the migrated database for this process."""
    number = 0 if worker_id == "master" else int(worker_id.removeprefix("gw")) + 1
    name = f"test_{number}_{os.getpid()}"
    urls = {key: os.environ[f"FOLKMOOT_TEST_{key}"] for key in ("SUPERUSER", "RUNTIME", "OWNER", "REDIS")}

    async def make() -> None:
        connection = await asyncpg.connect(with_database(urls["SUPERUSER"], "postgres"))
        try:
            for attempt in range(20):
                try:
                    await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE folkmoot OWNER folkmoot_owner')
                    # A process whose tests do not await has its loop stand still, and with it whatever its worker was
                    # at: a transaction left open so would hold back what the feeds of all processes tell.
                    await connection.execute(
                        f"ALTER DATABASE \"{name}\" SET idle_in_transaction_session_timeout = '4s'"
                    )
                    break
                except asyncpg.ObjectInUseError:
                    await asyncio.sleep(0.2 * (attempt + 1))
        finally:
            await connection.close()

    asyncio.run(make())
    redis = urls.pop("REDIS")
    found = {key.lower(): with_database(url, name) for key, url in urls.items()}
    joiner = "&" if "?" in redis else "?"
    return found | {"redis": f"{redis}{joiner}db={number}" if "db=" not in redis else redis}


@pytest.fixture(scope="session")
def settings(database, tmp_path_factory):
    return Settings(
        database_url=database["runtime"],
        owner_database_url=database["owner"],
        redis_url=database["redis"],
        secret_key=(base64.b64encode(hashlib.sha256(b"the tests").digest()).decode(),),
        storage_url=tmp_path_factory.mktemp("files").as_uri(),
        net_allow=("127.0.0.1",),
        max_upload_bytes=5 * 1024 * 1024,
        parser_seconds=20,
        log_level="warning",
    )


@pytest.fixture(scope="session")
async def app(settings):
    """The assembled application with a real worker beside it, in this process."""
    async with assemble(settings) as made, working(made):
        yield made


@pytest.fixture(scope="session")
async def api(app):
    litestar = create_app(app.settings)
    litestar.state.app = app
    return litestar


@pytest.fixture(scope="session")
async def superuser(database):
    """Behind the policies. Never for what the product does."""
    engine = make_engine(database["superuser"], pool=2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def stranger(api):
    """A client that is not signed in."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://folkmoot.test") as client:
        yield client


@pytest.fixture
async def tenancy(app, api):
    """Makes tenants, people and signed-in clients for one test."""
    made = Tenancy(app, api)
    yield made
    await made.close()


@pytest.fixture
async def owner(tenancy):
    """A client signed in as the owner of a new tenant."""
    return await tenancy.owner()


@pytest.fixture
async def count(superuser):
    """Counts the rows of a table, policies aside: `await count("spaces", "name = 'x'")`."""

    async def counting(table: str, where: str = "true") -> int:
        async with superuser.connect() as connection:
            return await connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}"))

    return counting


@pytest.fixture
def unique():
    return uuid4().hex[:10]


@pytest.fixture
def changed(app):
    """The application with other settings: `changed(max_upload_bytes=10)`."""

    def change(**fields):
        return replace(app, settings=replace(app.settings, **fields))

    return change
