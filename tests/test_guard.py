"""What every request passes, when the engines behind it fail or somebody comes from everywhere at once."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from redis.asyncio import Redis

from folkmoot.assemble import assemble
from folkmoot.kit.limits import Limits
from folkmoot.main import create_app
from tests.identity.browsing import at, bearer, login

ORIGIN = {"Origin": "https://pages.example"}


class Line:
    """A line to PostgreSQL that can be cut."""

    def __init__(self, folder, path):
        self.folder, self._path = folder, path
        self._writers = set()
        self.up = True

    async def __aenter__(self):
        self._server = await asyncio.start_unix_server(self._connected, self.folder / self._path.name)
        return self

    async def __aexit__(self, *_error):
        self.cut()
        self._server.close()

    def cut(self):
        self.up = False
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader, writer):
        self._writers.add(writer)
        if not self.up:
            writer.transport.abort()
            return
        there, back = await asyncio.open_unix_connection(self._path)
        self._writers.add(back)
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest.fixture
async def line(settings, tmp_path):
    folder = Path(parse_qs(urlsplit(settings.database_url).query)["host"][0])
    async with Line(tmp_path, folder / ".s.PGSQL.5432") as made:
        yield made


@pytest.fixture
async def process(settings, line):
    """A process of its own, at the other end of the line."""
    there = parse_qs(urlsplit(settings.database_url).query)["host"][0]
    own = replace(settings, database_url=settings.database_url.replace(there, str(line.folder)))
    async with assemble(own) as app:
        litestar = create_app(own)
        litestar.state.app = app
        yield litestar


async def test_without_postgresql_one_is_told_to_try_again_and_nothing_crashes(process, line, owner):
    async with at(process) as client:
        client.headers["Authorization"] = owner.headers["Authorization"]
        assert (await client.get("/me")).status_code == 200
        line.cut()
        for _ in range(2):
            for answer in (
                await client.get("/me"),
                await client.get("/spaces"),
                await client.post("/spaces", json={"name": "Permits"}),
                await login(client, owner),
                await client.post("/auth/refresh", json={"refresh_token": "fmr_x"}),
                await client.get("/me", headers=ORIGIN),
                await client.get("/me", headers=bearer("fmk_" + "0" * 43) | ORIGIN),
            ):
                expected = (401,) if answer.request.url.path.endswith("refresh") else (401, 503)
                assert answer.status_code in expected, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                if answer.status_code == 503:
                    assert answer.json()["code"] == "not-available"
        assert (await client.get("/me")).status_code == 503
        assert (await login(client, owner)).status_code == 503
        line.up = True
        assert (await client.get("/me")).status_code == 200
        assert (await login(client, owner)).status_code == 200


async def test_an_answer_to_a_page_elsewhere_does_not_wait_for_postgresql(process, line, owner):
    line.cut()
    async with at(process) as client:
        preflight = await client.options("/me", headers=ORIGIN | {"Access-Control-Request-Method": "GET"})
        assert preflight.status_code == 204
        assert "access-control-allow-origin" not in preflight.headers
        assert (await client.get("/me", headers=ORIGIN)).status_code == 401
        line.up = True
        # What was not known is asked again, not remembered as a no.
        assert (await client.get("/me", headers=ORIGIN)).headers["vary"] == "Origin"


@pytest.mark.parametrize("silent", [False, True])
async def test_without_redis_what_needs_it_says_so_and_the_rest_goes_on(app, owner, tmp_path, silent):
    async def listen(reader, _writer):
        await reader.read()

    litestar = create_app(app.settings)
    async with contextlib.AsyncExitStack() as stack:
        if silent:
            await stack.enter_async_context(await asyncio.start_unix_server(listen, tmp_path / "redis.sock"))
        gone = Redis.from_url(f"unix://{tmp_path}/redis.sock", protocol=2, socket_timeout=0.1)
        stack.push_async_callback(gone.aclose)
        litestar.state.app = replace(app, redis=gone, parts=app.parts | {Limits: Limits(gone)})
        client = await stack.enter_async_context(at(litestar))
        client.headers["Authorization"] = owner.headers["Authorization"]
        assert (await client.get("/me")).status_code == 200
        assert (await login(client, owner)).status_code == 200
        kept = await client.post("/spaces", json={"name": "Permits"}, headers={"Idempotency-Key": "once"})
        assert (kept.status_code, kept.json()["code"]) == (503, "not-available")
        assert (await client.post("/spaces", json={"name": "Permits"})).status_code == 201


async def test_who_has_a_whole_ipv6_network_has_the_limit_of_one_address(app, api):
    litestar = create_app(replace(app.settings, requests_per_address=5))
    litestar.state.app = replace(app, settings=replace(app.settings, requests_per_address=5))
    codes = []
    for end in range(12):
        async with at(litestar, ip=f"2001:db8:99:1::{end + 1:x}") as client:
            codes.append((await client.get("/auth/methods", params={"tenant": "nobody"})).status_code)
    assert codes == [200] * 5 + [429] * 7
    async with at(litestar, ip="2001:db8:99:2::1") as client:
        assert (await client.get("/auth/methods", params={"tenant": "nobody"})).status_code == 200
