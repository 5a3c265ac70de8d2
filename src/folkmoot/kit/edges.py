"""What stands around every request: its id, its true address, security headers, other origins, slow bodies."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from folkmoot.kit.caller import Caller, called_by
from folkmoot.kit.errors import RequestTimeout
from folkmoot.settings import Settings

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = list[tuple[bytes, bytes]]
MayCall = Callable[[str], Awaitable[bool]]
"""Whether any organisation lets pages of this origin call."""

SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
POLICY = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For everything that is not a page of ours; a page sends its own."""
HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
SLOWEST = 1_000
"""Bytes a second of a body, on average, after the first silence that is allowed: less is somebody who holds us."""
SENT = (
    b"authorization, content-type, idempotency-key, if-match, last-event-id, x-request-id,"
    # What OpenAI's client for browsers says of itself.
    b" openai-organization, openai-project, x-stainless-arch, x-stainless-helper-method, x-stainless-lang,"
    b" x-stainless-os, x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime,"
    b" x-stainless-runtime-version, x-stainless-timeout"
)
SHOWN = (
    b"etag, retry-after, ratelimit, ratelimit-policy, ratelimit-limit, ratelimit-remaining, ratelimit-reset,"
    b" x-request-id, content-disposition"
)


def edges(app: ASGIApp, settings: Settings, may_call: Callable[[], MayCall]) -> ASGIApp:
    """Wrap the whole service: an address that leads nowhere has its id and its headers too."""
    proxies = settings.proxies()

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        state = cast("dict[str, Any]", scope)
        headers = dict(scope["headers"])
        ip = _client(state, headers, proxies)
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        origin = headers.get(b"origin", b"").decode("latin-1")
        foreign = bool(origin) and not same_origin(origin, headers, state)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower() for name, _ in message["headers"]}
                more = [*SECURITY, (b"x-request-id", request_id.encode())]
                if b"content-security-policy" not in named:
                    more.append((b"content-security-policy", POLICY))
                if state.get("scheme") in ("https", "wss"):
                    more.append(HSTS)
                if foreign:
                    more += await _cross_origin(state, origin, may_call)
                message["headers"] = [*message["headers"], *more]
            await send(message)

        with called_by(Caller(request_id, ip, headers.get(b"user-agent", b"").decode("latin-1"))):
            if foreign and state.get("method") == "OPTIONS" and b"access-control-request-method" in headers:
                await _preflight(origin, may_call, answer)
            elif scope["type"] == "http" and _has_body(headers):
                await app(scope, _hurried(receive, settings.body_seconds), answer)
            else:
                await app(scope, receive, answer)

    return middleware


def client_address(peer: str, forwarded: str, proxies: tuple[Network, ...]) -> str:
    """Who is asking: the last address in X-Forwarded-For that is not a proxy of ours, if the peer is one.

    What stands before it was written by whoever asked, and is not believed.
    """
    found = peer
    if not _within(peer, proxies):
        return found
    for part in reversed(forwarded.split(",")):
        address = _without_port(part.strip())
        if not _is_address(address):
            break
        found = address
        if not _within(address, proxies):
            break
    return found


def same_origin(origin: str, headers: dict[bytes, bytes], scope: dict[str, Any]) -> bool:
    """Whether a browser's `Origin` is where this request went to."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", ""), scope.get("scheme", ""))
    return (parts.scheme, parts.netloc) == (scheme, headers.get(b"host", b"").decode("latin-1"))


def _client(scope: dict[str, Any], headers: dict[bytes, bytes], proxies: tuple[Network, ...]) -> str:
    peer = scope.get("client")
    ip = str(peer[0]) if peer else ""
    if not proxies or not _within(ip, proxies):
        return ip
    proto = headers.get(b"x-forwarded-proto", b"").decode("latin-1").rpartition(",")[2].strip()
    if proto in ("http", "https"):
        secure = proto == "https"
        scope["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else proto
    return client_address(ip, headers.get(b"x-forwarded-for", b"").decode("latin-1"), proxies)


@lru_cache(maxsize=4096)
def _within(address: str, proxies: tuple[Network, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip.version == network.version and ip in network for network in proxies)


def _without_port(text: str) -> str:
    """Some gateways write the client's port as well: without this, all clients would be the gateway."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def _cross_origin(scope: dict[str, Any], origin: str, may_call: Callable[[], MayCall]) -> Headers:
    """Never with credentials: another origin signs in by a token of its own, and cookies stay ours."""
    vary = [(b"vary", b"Origin")]
    standing = scope.get("standing")
    allowed = (
        origin in standing.settings.get("allowed_origins", ()) if standing is not None else await may_call()(origin)
    )
    if not allowed:
        return vary
    return [
        *vary,
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", SHOWN),
    ]


async def _preflight(origin: str, may_call: Callable[[], MayCall], answer: Send) -> None:
    headers: Headers = []
    if await may_call()(origin):
        headers = [
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", SENT),
            (b"access-control-max-age", b"600"),
        ]
    await answer({"type": "http.response.start", "status": 204, "headers": headers})
    await answer({"type": "http.response.body", "body": b"", "more_body": False})


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _hurried(receive: Receive, seconds: float) -> Receive:
    """`receive` that gives up on a body which stands still or drips, so that nobody holds us by sending nothing."""
    clock = asyncio.get_running_loop().time
    done, came, waited = False, 0, 0.0

    async def hurried() -> Any:
        nonlocal done, came, waited
        if done:
            return await receive()
        began = clock()
        try:
            async with asyncio.timeout(min(seconds, seconds + came / SLOWEST - waited)):
                message = await receive()
        except TimeoutError:
            raise RequestTimeout(
                f"the body stood still for {seconds:g} seconds, or came in slower than {SLOWEST} bytes a second: "
                "send it again"
            ) from None
        # Only what we wait: that we are slow to take it is not the sender's doing.
        waited += clock() - began
        came += len(message.get("body", b""))
        done = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return hurried
