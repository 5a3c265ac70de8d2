"""What is known of a provider: its endpoints and its keys, asked for once and asked again when they age.

The knowledge belongs to the lent client, not to a connection: a host may connect anew for every sign-in, and two
organisations with one provider share what is public anyhow. Each issuer is believed only about itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, cast
from weakref import WeakKeyDictionary

import httpx
from folkmoot_sdk import AuthError, BackendUnavailable, Clock
from msgspec import Struct

from folkmoot_auth_oidc.address import check_address, is_loopback
from folkmoot_auth_oidc.keys import Key, read_keys
from folkmoot_auth_oidc.wire import ask

METADATA_SECONDS = 3600.0
KEYS_SECONDS = 900.0
"""After this a key that the provider took back is no longer believed."""
PAUSE = 5.0
"""Seconds between two questions that somebody outside can cause: by a token with an invented key id, or by trying
to sign in while the provider is down."""

_MOST_ISSUERS = 1000


class Metadata(Struct, frozen=True, kw_only=True):
    """What discovery says, as far as it is used here (OpenID Connect Discovery 1.0, 3; RFC 8414; RFC 9207)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    auth_methods: tuple[str, ...]
    algorithms: tuple[str, ...]
    """For ID tokens; empty if it does not say."""
    sends_issuer: bool
    """The answer that the browser brings always names the issuer."""


class Provider:
    """One issuer, and what it last said of itself."""

    def __init__(self, issuer: str, clock: Clock) -> None:
        self.issuer = issuer
        self._clock = clock
        self._metadata: Metadata | None = None
        self._metadata_until = 0.0
        self._keys: tuple[Key, ...] = ()
        self._keys_at: float | None = None
        self._failed: tuple[float, type[AuthError], str] | None = None
        self._lock = asyncio.Lock()

    async def metadata(self, http: httpx.AsyncClient) -> Metadata:
        """The endpoints. Raises `AuthError` if they cannot be had or are not this issuer's."""
        if self._metadata is None or self._clock.monotonic() >= self._metadata_until:
            async with self._lock:
                await self._discover(http)
        assert self._metadata is not None
        return self._metadata

    async def _discover(self, http: httpx.AsyncClient) -> None:
        now = self._clock.monotonic()
        if self._metadata is not None and now < self._metadata_until:
            return
        if self._failed and now < self._failed[0] + PAUSE:
            # Whoever waited for the lock meanwhile would otherwise wait for the same silence, one after another.
            raise self._failed[1](self._failed[2])
        try:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            answer = await ask(http, url, "discovery document")
            if answer.status != 200:
                raise AuthError(
                    f"{self.issuer} has no discovery document (status {answer.status}): "
                    "an administrator must check the issuer of this login method"
                )
            self._metadata = read_metadata(answer.body, self.issuer)
        except AuthError as error:
            self._failed = (self._clock.monotonic(), type(error), str(error))
            raise
        self._failed = None
        self._metadata_until = self._clock.monotonic() + METADATA_SECONDS

    async def keys(self, http: httpx.AsyncClient) -> tuple[Key, ...]:
        """The provider's keys, at most `KEYS_SECONDS` old."""
        await self.metadata(http)
        if not self._fresh(KEYS_SECONDS):
            async with self._lock:
                if not self._fresh(KEYS_SECONDS):
                    await self._fetch_keys(http)
        return self._keys

    async def newer_keys(self, http: httpx.AsyncClient) -> tuple[Key, ...]:
        """The keys asked for again, unless that was done within the last `PAUSE` seconds: then as they are."""
        await self.metadata(http)
        async with self._lock:
            if not self._fresh(PAUSE):
                await self._fetch_keys(http)
        return self._keys

    def _fresh(self, seconds: float) -> bool:
        return self._keys_at is not None and self._clock.monotonic() < self._keys_at + seconds

    async def _fetch_keys(self, http: httpx.AsyncClient) -> None:
        assert self._metadata is not None
        now = self._clock.monotonic()
        if self._failed and now < self._failed[0] + PAUSE:
            raise self._failed[1](self._failed[2])
        try:
            answer = await ask(http, self._metadata.jwks_uri, "key set")
            if answer.status != 200:
                raise BackendUnavailable(f"{self.issuer} does not hand out its keys (status {answer.status})")
            keys = read_keys(answer.body)
            if not keys:
                raise AuthError(f"{self.issuer} has no key in its key set that a signature can be checked with")
        except AuthError as error:
            self._failed = (self._clock.monotonic(), type(error), str(error))
            raise
        self._keys, self._keys_at, self._failed = keys, self._clock.monotonic(), None


_known: WeakKeyDictionary[httpx.AsyncClient, OrderedDict[str, Provider]] = WeakKeyDictionary()


def known(issuer: str, http: httpx.AsyncClient, clock: Clock) -> Provider:
    """The provider of this issuer, with what was learnt of it through this client."""
    providers = _known.setdefault(http, OrderedDict())
    provider = providers.pop(issuer, None) or Provider(issuer, clock)
    providers[issuer] = provider
    if len(providers) > _MOST_ISSUERS:
        providers.popitem(last=False)
    return provider


def read_metadata(body: dict[str, Any], issuer: str) -> Metadata:
    """Check a discovery document. Raises `AuthError`."""
    said = body.get("issuer")
    if said != issuer:
        raise AuthError(_another_issuer(said, issuer))
    local = is_loopback(check_address(issuer, "issuer").hostname or "")

    def endpoint(name: str, *, needed: bool = False) -> str | None:
        url = body.get(name)
        if url is None and not needed:
            return None
        try:
            parts = check_address(url if isinstance(url, str) else "", name)
        except ValueError as error:
            raise AuthError(f"the discovery document of {issuer} is not usable: {error}") from None
        if parts.scheme == "http" and not local:
            # A provider elsewhere has no business with this machine's own ports.
            raise AuthError(f"the discovery document of {issuer} is not usable: {name} is not https")
        return url

    if "code" not in _strings(body, "response_types_supported", ("code",)):
        raise AuthError(f"{issuer} does not offer the authorization code flow, the only one that is used here")
    return Metadata(
        authorization_endpoint=endpoint("authorization_endpoint", needed=True) or "",
        token_endpoint=endpoint("token_endpoint", needed=True) or "",
        jwks_uri=endpoint("jwks_uri", needed=True) or "",
        userinfo_endpoint=endpoint("userinfo_endpoint"),
        end_session_endpoint=endpoint("end_session_endpoint"),
        auth_methods=_strings(body, "token_endpoint_auth_methods_supported", ("client_secret_basic",)),
        algorithms=_strings(body, "id_token_signing_alg_values_supported", ()),
        sends_issuer=body.get("authorization_response_iss_parameter_supported") is True,
    )


def _strings(body: dict[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    found = body.get(name)
    if not isinstance(found, list):
        return default
    return tuple(item for item in cast("list[object]", found) if isinstance(item, str))


def _another_issuer(said: object, issuer: str) -> str:
    if not isinstance(said, str) or not said.isprintable():
        return f"{issuer} does not name itself in its discovery document: an administrator must check the issuer"
    if "{tenantid}" in said:
        return f"{issuer} stands for every directory at once: enter the issuer of your own, with its directory id in it"
    if said.rstrip("/") == issuer.rstrip("/"):
        return f"the provider calls itself {said!r}: enter it as the issuer, with the slash at its end as it is there"
    return (
        f"{issuer} answers as {said[:200]!r}: it is a different provider, or an administrator must "
        "enter the issuer exactly so"
    )
