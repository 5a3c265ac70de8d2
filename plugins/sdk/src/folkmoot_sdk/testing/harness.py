"""What the conformance kit lends a plugin in the host's place, and what it watches meanwhile.

Nothing here needs pytest: the promises are plain `assert`s in plain methods.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import httpx
import msgspec

from folkmoot_sdk.config import Secret, config_schema, decode_config
from folkmoot_sdk.context import PluginContext

T = TypeVar("T")

Handler = Callable[[httpx.Request], httpx.Response]
"""How a broken upstream answers; it may raise an `httpx` exception, as a broken line does."""

NOW = datetime(2030, 5, 6, 12, 0, 0, tzinfo=UTC)
"""The time on the lent clock: a plugin that reads the machine's own clock shows it."""


class FixedClock:
    """Stands still at `NOW`; only the monotonic part runs."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Reply:
    """One answer of a broken upstream: what it sends, or the exception that the line gives instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    raises: Callable[[httpx.Request], Exception] | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.raises is not None:
            raise self.raises(request)
        return httpx.Response(self.status, headers=dict(self.headers), content=self.body, request=request)


class Upstream(httpx.AsyncBaseTransport):
    """Stands between a plugin and the author's fake upstream: counts, cuts, withholds, sees what is closed.

    Bodies go out in small pieces, so that a parser which expects whole lines or whole characters in one
    read is found out.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        piece: int = 23,
        hold: bool = False,
        keep: float = 1.0,
        lose: bool = False,
        sign_in: Callable[[httpx.Request], bool] | None = None,
        door: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Requests that `sign_in` knows go to `door` untouched and do not count."""
        self._inner = inner
        self._sign_in = sign_in
        self._door = door or inner
        self.piece = piece
        self.hold = hold
        """Never send the last piece."""
        self.keep = keep
        """The share of a body that is sent before it ends."""
        self.lose = lose
        """Break the line at that point instead of ending politely."""
        self.requests = 0
        self.open = 0
        self.closed = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._sign_in is not None and self._sign_in(request):
            return await self._door.handle_async_request(request)
        self.requests += 1
        response = await self._inner.handle_async_request(request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        body = b"".join([part async for part in stream])
        await stream.aclose()
        self.open += 1
        return httpx.Response(
            response.status_code, headers=response.headers, stream=_Pieces(self, body), request=request
        )


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, upstream: Upstream, body: bytes) -> None:
        self._upstream = upstream
        self._body = body[: int(len(body) * upstream.keep)]
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body, size = self._body, self._upstream.piece
        for start in range(0, len(body), size):
            if self._upstream.hold and start + size >= len(body):
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            yield body[start : start + size]
        if self._upstream.lose:
            raise httpx.ReadError("the connection was reset")

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._upstream.open -= 1
            self._upstream.closed.set()


class LogCapture(logging.Handler):
    """Keeps every line that is written anywhere while a test runs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.__dict__!r} {record.exc_text or ''}")
        if record.exc_info and record.exc_info[1]:
            self.lines.append("".join(traceback.format_exception(record.exc_info[1])))

    @contextmanager
    def listening(self) -> Generator[LogCapture]:
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        try:
            yield self
        finally:
            root.setLevel(level)
            root.removeHandler(self)


@contextmanager
def watched_sockets() -> Generator[list[str]]:
    """Refuse and note every connection or name look-up that does not go through the lent client."""
    seen: list[str] = []
    real = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(*arguments: Any, **_: Any) -> Any:
        seen.append(" ".join(repr(a) for a in arguments if not isinstance(a, socket.socket)))
        raise OSError("the conformance kit lets no plugin open a connection of its own")

    socket.socket.connect = refuse
    socket.socket.connect_ex = refuse
    socket.getaddrinfo = refuse
    try:
        yield seen
    finally:
        socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = real


def told(error: BaseException) -> str:
    """All that an error shows: its words, its repr, its causes, its traceback."""
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


class SpecConformance:
    """What is promised of every spec, whatever it registers: its kind, its configuration, its secrets."""

    spec: Any
    """The spec that the plugin's hook returns."""

    timeout: float = 10.0
    """Seconds that one promise may take before it counts as broken."""

    def config(self) -> dict[str, Any]:
        """A working configuration as builtins, with made-up secrets of at least eight characters."""
        return {}

    def transport(self) -> httpx.AsyncBaseTransport | None:
        """A fake upstream that answers correctly, or None if the plugin uses no network."""
        return None

    def test_the_kind_is_well_formed(self) -> None:
        kind = self.spec.kind
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind), (
            f"kind {kind!r} must be lower-case letters, digits and hyphens: it is stored and stands in URLs"
        )
        assert self.spec.title.strip(), "title is empty: it is what people choose by"

    def test_the_configuration_has_a_json_schema_with_write_only_secrets(self) -> None:
        schema = config_schema(self.spec.config)
        assert "$ref" in schema or schema.get("type") == "object", f"not the schema of an object: {schema}"
        definition = schema.get("$defs", {}).get(self.spec.config.__name__, schema)
        for name, described in definition.get("properties", {}).items():
            options = [described, *described.get("anyOf", [])]
            sounds_secret = re.search(r"secret|password|api_?key|(?<!max_)token$", name)
            assert not sounds_secret or any(option.get("writeOnly") for option in options), (
                f"field {name!r} sounds like a secret and is not one: make its type Secret"
            )

    def test_the_configuration_hides_its_secrets(self) -> None:
        config = self.configured()
        for secret in self.secrets():
            assert secret not in f"{config!r} {config}", f"repr of {type(config).__name__} shows a secret"

    def configured(self) -> msgspec.Struct:
        """`config()` as the plugin's own Struct."""
        return decode_config(cast("type[msgspec.Struct]", self.spec.config), self.config())

    def secrets(self) -> list[str]:
        """The values that must not appear anywhere."""
        config = self.configured()
        values = (getattr(config, name) for name in config.__struct_fields__)
        return [value.reveal() for value in values if isinstance(value, Secret)]

    def run(self, promise: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run an async test body in an event loop of its own, with a time limit."""

        async def limited() -> T:
            try:
                async with asyncio.timeout(self.timeout):
                    return await promise()
            except TimeoutError:
                raise AssertionError(f"no end after {self.timeout:g} s: the plugin hangs") from None

        return asyncio.run(limited())

    @asynccontextmanager
    async def connection(self, transport: httpx.AsyncBaseTransport | None) -> AsyncGenerator[Any]:
        """A connection over a lent client that ends in `transport`; must not close what it was lent."""

        def nowhere(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("transport() is None, yet the plugin asked for a URL", request=request)

        log = logging.getLogger(f"folkmoot.plugins.{self.spec.kind}")
        async with httpx.AsyncClient(transport=transport or httpx.MockTransport(nowhere)) as http:
            context = PluginContext(http=http, log=log, clock=FixedClock())
            async with self.spec.connect(self.configured(), context) as connected:
                yield connected
            assert not http.is_closed, "the plugin closed the client that the host lent it"
