"""Real PostgreSQL and Redis for all tests: a pair of engines of its own for each process of the run.

Tests run in parallel and each makes its own tenant, so they share a database as tenants do. Processes share
nothing: what one leaves open, while tests that do not await have its loop stand still, would hold back what the
feeds of all others tell, because PostgreSQL counts transactions over all databases of a cluster. They connect as
the runtime role; only `as_superuser` looks behind the policies, to prove that they hold.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from h11._readers import READERS, ChunkedReader
from h11._state import SEND_BODY
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
    """Each process that runs tests starts engines; the one that only leads the others does not."""
    global _engines
    leads = not hasattr(config, "workerinput") and config.option.dist != "no"
    if leads or config.option.collectonly:
        return
    folder = Path(tempfile.mkdtemp(prefix="folkmoot-tests-"))
    _engines = Engines(folder)
    migrate.upgrade(_engines.start().owner_url)


def pytest_unconfigure(config):
    global _engines
    if _engines is not None:
        _engines.stop()
        shutil.rmtree(_engines.data, ignore_errors=True)
        _engines = None


def with_database(url: str, name: str) -> str:
    return re.sub(r"@/[^?]+\?", f"@/{name}?", url)


@pytest.fixture(scope="session")
def database():
    """A copy of the migrated database: tests that begin with an empty one copy the original too."""
    assert _engines is not None, "the engines did not start"
    points, name = _engines.endpoints, "tests"

    async def make() -> None:
        connection = await asyncpg.connect(with_database(points.superuser_url, "postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE folkmoot OWNER folkmoot_owner")
        finally:
            await connection.close()

    asyncio.run(make())
    urls = {"superuser": points.superuser_url, "owner": points.owner_url, "runtime": points.runtime_url}
    return {key: with_database(url, name) for key, url in urls.items()} | {"redis": f"{points.redis_url}?db=0"}


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
async def settled(superuser):
    """`await settled()` until feeds can tell all that has happened: none waits for an older transaction to end."""

    async def settle() -> None:
        async with superuser.connect() as connection, asyncio.timeout(20):
            mine = await connection.scalar(text("SELECT pg_current_xact_id()::text::bigint"))
            await connection.commit()
            oldest = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            while await connection.scalar(oldest) <= mine:
                await connection.rollback()
                await asyncio.sleep(0.05)

    return settle


@pytest.fixture
def chunk_by_chunk(monkeypatch):
    """Chunks of a body are read one at a time, as they were sent, however close together they come."""
    monkeypatch.setattr("folkmoot.kit.net.join_chunks", lambda: None)
    monkeypatch.setitem(READERS[SEND_BODY], "chunked", ChunkedReader)


@pytest.fixture
def unique():
    return uuid4().hex[:10]


@pytest.fixture
def changed(app):
    """The application with other settings: `changed(max_upload_bytes=10)`."""

    def change(**fields):
        return replace(app, settings=replace(app.settings, **fields))

    return change
