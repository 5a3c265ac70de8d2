"""A provider and a directory that do what a test says, as a plugin would offer them; and a browser."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
from folkmoot_sdk import (
    AuthBackendSpec,
    AuthError,
    BackendUnavailable,
    ExternalIdentity,
    InvalidCredentials,
    LoginExpired,
    LogoutNotice,
    RedirectStart,
    Secret,
)

CLIENT_SECRET = "not-for-anybody-to-see"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    client_secret: Secret | None = None
    scopes: list[str] = []


@dataclass
class World:
    """What the providers know, by issuer; and what goes wrong, by name."""

    people: dict[str, dict[str, tuple[str, object]]] = field(default_factory=dict)
    """issuer → name → (password, identity)."""
    codes: dict[str, tuple[str, object]] = field(default_factory=dict)
    """What a browser brings back → the nonce of its sign-in, and who it is."""
    faults: dict[str, object] = field(default_factory=dict)
    """Name of a method → what it does instead: an exception to raise, or an awaitable function to call."""
    seen: list[tuple[str, tuple]] = field(default_factory=list)
    connected: int = 0
    closed: int = 0

    def add(self, issuer, name, identity=None, /, password="open sesame", **fields):
        made = identity or ExternalIdentity(issuer, f"subject-of-{name}", **fields)
        self.people.setdefault(issuer, {})[name] = (password, made)
        return made

    async def until(self, holds, seconds=10):
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - what happens there rings no bell
                await asyncio.sleep(0.01)

    async def do(self, method: str, *arguments):
        self.seen.append((method, arguments))
        fault = self.faults.get(method)
        if isinstance(fault, BaseException):
            raise fault
        if fault is not None:
            return True, await fault(*arguments)
        return False, None


class Provider:
    def __init__(self, world: World, config: Config):
        self.world, self.config = world, config

    async def begin(self, redirect_uri: str):
        done, value = await self.world.do("begin", redirect_uri)
        if done:
            return value
        state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(12)
        url = f"https://id.example/authorize?state={state}&redirect_uri={redirect_uri}&iss={self.config.issuer}"
        return RedirectStart(url, state, {"nonce": nonce, "issuer": self.config.issuer})

    async def complete(self, redirect_uri: str, parameters, kept):
        done, value = await self.world.do("complete", redirect_uri, dict(parameters), dict(kept))
        if done:
            return value
        if "error" in parameters:
            raise InvalidCredentials("the provider let nobody in")
        found = self.world.codes.pop(parameters.get("code", ""), None)
        if found is None or found[0] != self.config.issuer:
            raise LoginExpired("this code is not good, or was used")
        return found[1]

    async def end_session_url(self, return_to: str, logout_hint: str | None):
        done, value = await self.world.do("end_session_url", return_to, logout_hint)
        return value if done else f"https://id.example/logout?hint={logout_hint}&to={return_to}"

    async def read_logout(self, token: str):
        done, value = await self.world.do("read_logout", token)
        if done:
            return value
        kind, _, rest = token.partition(":")
        if kind != "genuine":
            raise AuthError("the signature is wrong")
        token_id, session, subject = rest.split(",")
        return LogoutNotice(self.config.issuer, subject or None, session or None, token_id)


class Directory:
    def __init__(self, world: World, config: Config):
        self.world, self.config = world, config

    async def authenticate(self, identifier: str, password: Secret):
        done, value = await self.world.do("authenticate", identifier)
        if done:
            return value
        known = self.world.people.get(self.config.issuer, {}).get(identifier)
        if known is None or known[0] != password.reveal():
            raise InvalidCredentials("the name or the password is wrong")
        return known[1]


def specs(world: World) -> dict[str, AuthBackendSpec]:
    def connecting(kind):
        @asynccontextmanager
        async def connect(config, context):
            done, value = await world.do("connect", config)
            world.connected += 1
            try:
                yield value if done else kind(world, config)
            finally:
                world.closed += 1

        return connect

    return {
        "fake-id": AuthBackendSpec("fake-id", "Fake identity", Config, connecting(Provider)),
        "fake-directory": AuthBackendSpec("fake-directory", "Fake directory", Config, connecting(Directory)),
    }


async def never(*_arguments):
    """Hangs, and does not even let itself be told to stop."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if never_again.is_set():
                raise


never_again = asyncio.Event()
down = BackendUnavailable("no route to 10.9.8.7")


class Browser(httpx.AsyncClient):
    """Keeps cookies, follows no redirect by itself, and has a person in front of it."""

    world: World

    async def goes_to(self, start: httpx.Response, name: str, **more) -> httpx.Response:
        """The redirect to the provider is followed, `name` signs in there, and the browser comes back."""
        assert start.status_code in (200, 302), start.text
        url = start.headers.get("location") or start.json()["url"]
        query = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        code = secrets.token_urlsafe(8)
        self.world.codes[code] = (query["iss"], self.world.people[query["iss"]][name][1])
        return await self.get("/auth/callback", params={"state": query["state"], "code": code} | more)

    async def signs_in(self, method_id: str, name: str, **params) -> httpx.Response:
        start = await self.get(f"/auth/methods/{method_id}/start", params=params)
        return await self.goes_to(start, name)

    async def token(self) -> str:
        """A fresh access token by the cookie."""
        answer = await self.post("/auth/refresh")
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    async def me(self) -> dict:
        answer = await self.get("/me", headers={"Authorization": f"Bearer {await self.token()}"})
        assert answer.status_code == 200, answer.text
        return answer.json()
