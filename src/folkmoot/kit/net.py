"""The only way out: an HTTP client that reaches the internet, and inside only what the operator listed.

Users name addresses (a model service, a page to read), so an address is hostile: it may lead to the database,
to a neighbour's router or to a cloud's metadata service. The check stands where the connection is made, below
httpx and its pool, so each redirect and each pooled connection passes it:

1. The name is looked up once, by us. Odd spellings (`127.1`, `0x7f.1`, `2130706433`) become addresses here.
2. One forbidden address among those found refuses the whole name.
3. The connection goes to an address that was checked. There is no second look-up that could answer otherwise
   (DNS rebinding). TLS and the Host header keep the name.

Several addresses are tried in turn, families alternating, the next after 250 ms (RFC 8305, "happy eyeballs").
Cookies are not kept: one client serves all tenants.

    httpx.TransportError
    ├── AddressRefused (ConnectError)    inside a network, and not on the list
    ├── RedirectRefused                  from https to http, with something secret
    └── BodyRefused                      packed in an unknown way, or cut off
        └── BodyTooLarge                 larger than the caller takes
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import zip_longest
from typing import Any, cast

import httpcore
import httpx

from folkmoot.kit import tcp
from folkmoot.kit.chunked import join_chunks

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str, int], Awaitable[list[str]]]

_INSIDE_4 = tuple(
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
"""IANA IPv4 Special-Purpose Address Registry and multicast. Python's own list differs between its releases."""

_OUTSIDE_6 = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given out as global unicast. Mapped IPv4 (::ffff:0:0/96) and NAT64 (64:ff9b::/96) are not."""

_INSIDE_6 = tuple(ipaddress.IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
"""Inside 2000::/3 and yet not global: Teredo and other protocol assignments, documentation, 6to4."""

MOST_IN_POOL = 50
"""Connections of one pool: httpcore looks through all of a pool at each request, and there may be hundreds."""
_STAGGER_SECONDS = 0.25
_MAX_REDIRECTS = 5
_HOP = "folkmoot.hop"
_PIECE = 256 * 1024
_HARMLESS = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "cache-control", "connection", "content-length",
        "content-type", "host", "if-modified-since", "if-none-match", "range", "transfer-encoding", "user-agent",
    }
)  # fmt: skip
"""Headers that another host may see. Model services each name their key's header differently."""


class AddressRefused(httpx.ConnectError):
    """A name that leads inside a network; `address` is for the log, not for who asked."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(
            f"{host!r} has an address that is not on the public internet, so it is not connected to: "
            f"if it should be, the operator of the platform adds it to FOLKMOOT_NET_ALLOW"
        )
        self.host = host
        self.address = address


class RedirectRefused(httpx.TransportError):
    """A redirect that would send something secret without encryption."""


class BodyRefused(httpx.TransportError):
    """A body that is larger than the caller takes, or packed in a way that is not read."""


class BodyTooLarge(BodyRefused):
    """A body that is larger than the caller takes."""


@dataclass(frozen=True)
class NetPolicy:
    """What may be reached inside the network."""

    allow: tuple[str, ...] = ()
    """Entries as `host`, `host:port`, an address, a network as `10.1.0.0/16`, each with a port or for all ports.

    A host is trusted by its name, wherever that leads; an address or network by what a name leads to.
    """
    _names: frozenset[tuple[str, int | None]] = field(init=False, repr=False, compare=False)
    _networks: tuple[tuple[Network, int | None], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: set[tuple[str, int | None]] = set()
        networks: list[tuple[Network, int | None]] = []
        for entry in self.allow:
            match _parse(entry):
                case str() as name, port:
                    names.add((name, port))
                case network, port:
                    networks.append((network, port))
        object.__setattr__(self, "_names", frozenset(names))
        object.__setattr__(self, "_networks", tuple(networks))

    def permits(self, host: str, address: str, port: int) -> bool:
        """Whether `host`, being at `address`, may be connected to."""
        parsed = ipaddress.ip_address(address)
        return (
            is_public(parsed)
            or not self._names.isdisjoint({(_normal(host), port), (_normal(host), None)})
            or any(parsed in network and allowed in {port, None} for network, allowed in self._networks)
        )


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet, and carries no other address within it."""
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _INSIDE_4)
    return address in _OUTSIDE_6 and not any(address in network for network in _INSIDE_6)


def outbound_client(
    policy: NetPolicy,
    *,
    connect: float = 10.0,
    read: float = 120.0,
    write: float = 60.0,
    pool: float = 30.0,
    max_connections: int = 1000,
    follow_redirects: bool = False,
    tls: ssl.SSLContext | None = None,
    lookup: Lookup | None = None,
) -> httpx.AsyncClient:
    """An `httpx.AsyncClient` that follows `policy`; times in seconds. Keep one and share it: it pools connections.

    `tls` replaces the public certificate authorities, for a network with its own. Redirects are followed only
    if asked for, here or by request, five at most. Nothing is read from the environment, no proxy either.
    """
    backend = CheckedBackend(policy, lookup or look_up)
    join_chunks()
    return httpx.AsyncClient(
        transport=CheckedTransport(backend, tls or httpx.create_ssl_context(trust_env=False), max_connections),
        timeout=httpx.Timeout(connect=connect, read=read, write=write, pool=pool),
        follow_redirects=follow_redirects,
        max_redirects=_MAX_REDIRECTS,
        trust_env=False,
        headers={"user-agent": "Folkmoot", "accept-encoding": "gzip, deflate"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )


async def read_limited(response: httpx.Response, limit: int) -> bytes:
    """The body of a streamed response, unpacked, if it has at most `limit` bytes; raises `BodyRefused`."""
    body = bytearray()
    async for piece in unpacked(response, limit):
        body += piece
    return bytes(body)


async def unpacked(response: httpx.Response, limit: int) -> AsyncGenerator[bytes]:
    """The body of a streamed response piece by piece, unpacked: at most `limit` bytes, each piece at most 256 KiB.

    It stops at the limit also within one packed chunk, where httpx would unpack a thousandfold first. Raises
    `BodyTooLarge`, or another `BodyRefused` for a body that is cut off or packed in a way that was not asked for.
    """
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in {"identity", "", "gzip", "x-gzip", "deflate"}:
        raise BodyRefused(f"{response.url.host!r} packs its answer as {packing!r}, which was not asked for")
    refusal = BodyTooLarge(f"{response.url.host!r} answers with more than {limit} bytes, the most that is taken")
    # 32 + 15: gzip or zlib, whichever the first bytes say (zlib manual, inflateInit2).
    inflate = None if packing in {"identity", ""} else zlib.decompressobj(wbits=47)
    size = 0
    async for chunk in response.aiter_raw():
        waiting = chunk
        while waiting:
            try:
                piece = waiting if inflate is None else inflate.decompress(waiting, _PIECE)
            except zlib.error as error:
                raise BodyRefused(
                    f"{response.url.host!r} answers with a body that cannot be unpacked: {error}"
                ) from None
            size += len(piece)
            if size > limit:
                raise refusal
            if piece:
                yield piece
            waiting = b"" if inflate is None else inflate.unconsumed_tail
    if inflate is not None and response.num_bytes_downloaded and not inflate.eof:
        raise BodyRefused(f"{response.url.host!r} answers with a packed body that is cut off")


def reach(policy: NetPolicy, lookup: Lookup | None = None) -> Callable[[str, int], Awaitable[list[str]]]:
    """For plugins that speak another protocol than HTTP: the addresses of a host, as far as `policy` permits them.

    What it gives raises `OSError` for a name without an address, and for an address that is refused.
    """
    backend = CheckedBackend(policy, lookup or look_up)

    async def addresses(host: str, port: int) -> list[str]:
        try:
            return await backend.addresses(host, port)
        except (httpcore.ConnectError, httpx.ConnectError) as error:
            raise OSError(str(error)) from error

    return addresses


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class CheckedTransport(httpx.AsyncBaseTransport):
    """httpx's own transports on pools that connect by our backend.

    httpx has no public way to hand a backend to its pool, so the pools are made here, with the arguments that
    `AsyncHTTPTransport.__init__` of httpx 0.28 gives it; that is not called, as it would make another.
    """

    def __init__(self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext, max_connections: int) -> None:
        count = -(-max_connections // MOST_IN_POOL)
        self._pools = [
            _Counted(
                httpcore.AsyncConnectionPool(
                    ssl_context=tls,
                    max_connections=-(-max_connections // count),
                    keepalive_expiry=30.0,
                    http1=True,
                    http2=False,
                    network_backend=backend,
                )
            )
            for _ in range(count)
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol(f"{request.url.scheme!r} is not spoken here: use https", request=request)
        _guard_redirect(request)
        # The first with room, so that few requests share what connections are kept.
        chosen = next((pool for pool in self._pools if pool.active < MOST_IN_POOL), None)
        return await (chosen or min(self._pools, key=lambda pool: pool.active)).handle_async_request(request)

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


class _Counted(httpx.AsyncHTTPTransport):
    """One pool, and how many of its requests are under way."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool
        self.active = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.active += 1
        try:
            response = await super().handle_async_request(request)
        except BaseException:
            self.active -= 1
            raise
        response.stream = _Body(cast("httpx.AsyncByteStream", response.stream), self)
        return response


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, pool: _Counted) -> None:
        self._stream, self._pool, self._open = stream, pool, True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if self._open:
                self._open = False
                self._pool.active -= 1


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the policy permits, by the rules on top of this file."""

    def __init__(self, policy: NetPolicy, lookup: Lookup) -> None:
        self._policy = policy
        self._lookup = lookup

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async def connect(address: str) -> httpcore.AsyncNetworkStream:
            return await tcp.connect(address, port, local_address, socket_options)

        try:
            async with asyncio.timeout(timeout):
                addresses = await self.addresses(host, port)
                return await (connect(addresses[0]) if len(addresses) == 1 else _first(connect, addresses))
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host!r} did not take a connection within {timeout} s") from None

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where `host` is. Raises `httpcore.ConnectError`, or `AddressRefused` if any address is not permitted."""
        try:
            addresses = [str(ipaddress.ip_address(host))]
        except ValueError:
            try:
                addresses = await self._lookup(host, port)
            except (OSError, ValueError) as error:
                raise httpcore.ConnectError(f"{host!r} has no address that can be found: {error}") from error
        if not addresses:
            raise httpcore.ConnectError(f"{host!r} has no address")
        for address in addresses:
            if not self._policy.permits(host, address, port):
                raise AddressRefused(host, address)
        version_6, version_4 = [a for a in addresses if ":" in a], [a for a in addresses if ":" not in a]
        pairs = zip_longest(version_6, version_4) if ":" in addresses[0] else zip_longest(version_4, version_6)
        return [address for pair in pairs for address in pair if address is not None]


async def _first(
    connect: Callable[[str], Awaitable[httpcore.AsyncNetworkStream]], addresses: list[str]
) -> httpcore.AsyncNetworkStream:
    """The first connection that comes up; the others are closed. Raises what the first address to fail said."""
    running: set[asyncio.Task[httpcore.AsyncNetworkStream]] = set()
    waiting = list(addresses)
    won: httpcore.AsyncNetworkStream | None = None
    failure: BaseException | None = None

    async def attempt(address: str) -> httpcore.AsyncNetworkStream:
        return await connect(address)

    try:
        while won is None and (waiting or running):
            if waiting:
                running.add(asyncio.create_task(attempt(waiting.pop(0))))
            delay = _STAGGER_SECONDS if waiting else None
            done, _ = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is None and won is None:
                    won = task.result()
                    running.discard(task)
                elif task.exception() is not None:
                    failure = failure or task.exception()
                    running.discard(task)
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if not isinstance(late, BaseException):
                await late.aclose()
    if won is None:
        raise failure or httpcore.ConnectError("no address answers")
    return won


@dataclass(frozen=True)
class _Hop:
    """Where a request went before it was redirected here; httpx hands the extensions on from hop to hop."""

    url: httpx.URL
    secret: bool


def _guard_redirect(request: httpx.Request) -> None:
    """Drop what only the first host may see, or refuse.

    httpx drops `Authorization` on the way to another host; keys in headers of another name it passes on.
    """
    before: _Hop | None = request.extensions.get(_HOP)
    url = request.url
    secret = request.method not in {"GET", "HEAD", "OPTIONS"} or any(name not in _HARMLESS for name in request.headers)
    if before is not None:
        secret = secret or before.secret
        if before.url.scheme == "https" and url.scheme == "http" and secret:
            raise RedirectRefused(
                f"{before.url.host!r} redirects from https to http, where anybody could read along: "
                "use the https address that it should be",
                request=request,
            )
        same_host = before.url.host == url.host
        upgraded = same_host and before.url.scheme == "http" and url.scheme == "https"
        if not upgraded and (before.url.scheme, before.url.host, before.url.port) != (url.scheme, url.host, url.port):
            for name in [name for name in request.headers if name not in _HARMLESS]:
                del request.headers[name]
    request.extensions[_HOP] = _Hop(url, secret)


def _normal(host: str) -> str:
    """A host name as httpx spells it on the wire: small letters, punycode; and without the dot at the end."""
    return httpx.URL(scheme="http", host=host.strip("[]")).raw_host.decode().rstrip(".")


def _parse(entry: str) -> tuple[str | Network, int | None]:
    host, colon, port = entry.rpartition(":")
    for name, number in ((entry, None), (host, port)):
        if number is not None and not (colon and number.isascii() and number.isdigit() and 0 < int(number) < 65536):
            continue
        try:
            return ipaddress.ip_network(name.strip("[]"), strict=False), int(number) if number else None
        except ValueError:
            pass
        if name and not set(name) & set(" /:@*?#[]\\"):
            try:
                return _normal(name), int(number) if number else None
            except httpx.InvalidURL:
                continue
    raise ValueError(
        f"FOLKMOOT_NET_ALLOW has {entry!r}, which is neither a host, an address nor a network: "
        "write for instance models.example.org, models.example.org:8080 or 10.1.0.0/16"
    )
