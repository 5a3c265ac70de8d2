"""The plugin against a certified provider, with a browser that has cookies and fills in forms."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from folkmoot_auth_oidc import Config, connect
from folkmoot_sdk import AccountNotAllowed, AuthError, LoginExpired, PluginContext, decode_config

from tests.support import oidc_provider
from tests.support.oidc_provider import Browser, client

pytestmark = pytest.mark.slow

# Nobody listens there: the browser stops before it goes.
BACK = "http://127.0.0.1:9/callback"
HOME = "http://127.0.0.1:9/signed-out"
SECRET = "made-up client+secret:%2F&=/"
USERS = {
    "ada": {
        "name": "Ada Lind",
        "email": "ada@town.example",
        "email_verified": True,
        "groups": ["staff", "roads"],
    },
    "bo": {"name": "Bo", "email": "bo@town.example", "email_verified": False},
}


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class BackChannel:
    """A listener that takes logout tokens as a host would."""

    def __init__(self) -> None:
        self.tokens: asyncio.Queue[str] = asyncio.Queue()
        self.url = ""

    async def __aenter__(self) -> BackChannel:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/backchannel"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r")[0])
        form = parse_qs((await reader.readexactly(length)).decode())
        self.tokens.put_nowait(form["logout_token"][0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
async def listener():
    async with BackChannel() as listener:
        yield listener


@pytest.fixture(scope="module")
def provider(listener):
    oidc_provider.require()
    known = {"redirect_uris": [BACK], "post_logout_redirect_uris": [HOME]}
    back_channel = {"backchannel_logout_uri": listener.url, "backchannel_logout_session_required": True}
    clients = [
        client("town", SECRET, **known, **back_channel),
        client("posting", "made-up-secret", token_endpoint_auth_method="client_secret_post", **known),
        client("public", None, id_token_signed_response_alg="ES256", **known),
        client("edwards", "made-up-secret", id_token_signed_response_alg="EdDSA", **known),
        client("pss", "made-up-secret", id_token_signed_response_alg="PS256", **known),
    ]
    with oidc_provider.start(clients=clients, users=USERS, lean=True) as provider:
        yield provider


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def connected(provider, clock):
    """The plugin, over one client for all its connections."""
    async with httpx.AsyncClient(trust_env=False) as http:

        @asynccontextmanager
        async def connected(**config):
            settings = {"issuer": provider.issuer, "client_id": "town", "client_secret": SECRET} | config
            context = PluginContext(http=http, log=logging.getLogger("test"), clock=clock)
            async with connect(decode_config(Config, settings), context) as backend:
                yield backend

        yield connected


@pytest.fixture
async def browser():
    async with Browser() as browser:
        yield browser


async def sign_in(backend, browser, login="ada"):
    start = await backend.begin(BACK)
    back = await browser.sign_in(start.url, login, stop=BACK)
    return await backend.complete(BACK, dict(parse_qsl(urlsplit(back).query)), start.kept)


async def test_a_person_signs_in_and_what_the_token_lacks_comes_from_userinfo(connected, browser, provider):
    async with connected() as backend:
        person = await sign_in(backend, browser)
    assert (person.issuer, person.subject) == (provider.issuer, "ada")
    assert (person.email, person.email_verified, person.name) == ("ada@town.example", True, "Ada Lind")
    assert person.groups == ("staff", "roads")
    assert person.session


@pytest.mark.parametrize(
    "config",
    [
        {"client_id": "posting", "client_secret": "made-up-secret", "token_endpoint_auth_method": "client_secret_post"},
        {"client_id": "public", "client_secret": None},
        {"client_id": "edwards", "client_secret": "made-up-secret"},
        {"client_id": "pss", "client_secret": "made-up-secret"},
    ],
    ids=lambda config: config["client_id"],
)
async def test_every_kind_of_client_and_signature_is_understood(connected, browser, config):
    async with connected(**config) as backend:
        person = await sign_in(backend, browser, "bo")
    assert (person.subject, person.email, person.email_verified) == ("bo", "bo@town.example", False)


async def test_the_second_sign_in_asks_for_no_password(connected, browser):
    async with connected() as backend:
        first = await sign_in(backend, browser)
        browser.visited.clear()
        again = await sign_in(backend, browser)
    assert not any("/interaction/" in url for url in browser.visited)
    assert (again.subject, again.session) == (first.subject, first.session)


async def test_a_code_is_good_once_and_only_with_its_verifier(connected, browser):
    async with connected() as backend:
        start, other = await backend.begin(BACK), await backend.begin(BACK)
        answer = dict(parse_qsl(urlsplit(await browser.sign_in(start.url, "ada", stop=BACK)).query))
        with pytest.raises(LoginExpired):
            await backend.complete(BACK, answer | {"state": other.state}, other.kept)
        start = await backend.begin(BACK)
        answer = dict(parse_qsl(urlsplit(await browser.sign_in(start.url, "ada", stop=BACK)).query))
        assert (await backend.complete(BACK, answer, start.kept)).subject == "ada"
        with pytest.raises(LoginExpired, match="no longer good"):
            await backend.complete(BACK, answer, start.kept)


async def test_a_person_who_turns_back_is_not_let_in(connected, browser):
    async with connected() as backend:
        start = await backend.begin(BACK)
        first = await browser.http.get(start.url)
        page = await browser.http.get(httpx.URL(start.url).join(first.headers["location"]))
        back = await browser.walk(f"{page.url}/abort", {}, stop=BACK)
        with pytest.raises(AccountNotAllowed, match="access_denied"):
            await backend.complete(BACK, dict(parse_qsl(urlsplit(back).query)), start.kept)


async def test_a_wrong_client_secret_is_told_as_that(connected, browser):
    async with connected(client_secret="another-secret") as backend:
        with pytest.raises(AuthError, match="client id and client secret"):
            await sign_in(backend, browser)


async def test_signing_out_at_the_provider_is_heard_here(connected, browser, listener):
    async with connected() as backend:
        person = await sign_in(backend, browser)
        url = await backend.end_session_url(HOME, person.logout_hint)
        assert await browser.walk(url, {}, stop=HOME) == HOME
        token = await asyncio.wait_for(listener.tokens.get(), 20)
        notice = await backend.read_logout(token)
        assert (notice.issuer, notice.session) == (person.issuer, person.session)
        assert notice.token_id
        # Signed out means asked again.
        browser.visited.clear()
        assert (await sign_in(backend, browser)).session != person.session
        assert any("/interaction/" in url for url in browser.visited)
    async with connected(client_id="public", client_secret=None) as another:
        with pytest.raises(AuthError, match="another application"):
            await another.read_logout(token)


async def test_new_keys_are_taken_without_a_restart_here(connected, browser, provider, clock):
    async with connected() as backend:
        before = await sign_in(backend, browser)
        provider.stop()
        provider.start()
        assert provider.issuer == before.issuer
        browser.http.cookies.clear()
        clock.ahead += 5
        after = await sign_in(backend, browser)
        assert (after.issuer, after.subject) == (before.issuer, before.subject)


async def test_a_provider_that_is_another_than_it_was_entered_as_is_found_out(connected, provider):
    async with connected(issuer=provider.issuer.replace("127.0.0.1", "localhost")) as backend:
        with pytest.raises(AuthError, match="answers as"):
            await backend.begin(BACK)
