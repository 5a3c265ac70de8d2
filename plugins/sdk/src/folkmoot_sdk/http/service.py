"""One service over the client that the host lends.

A `Service` knows where it is and how we show who we are. It sends one request a call, never repeats one (but
for a token that ran out), and turns whatever goes wrong into a `ProviderError` that names the field to change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import httpx
import msgspec

from folkmoot_sdk.config import Secret
from folkmoot_sdk.context import PluginContext
from folkmoot_sdk.errors import AuthenticationFailed, BadResponse, InvalidRequest, ProviderError, Unavailable
from folkmoot_sdk.http.failures import (
    NOBODY,
    USUAL,
    Asked,
    FailureRule,
    Fields,
    Said,
    Teller,
    cleaned,
    failure,
    inside_answer,
    read_body,
)
from folkmoot_sdk.http.sse import LINE_LIMIT, EventParser, LineParser, TooLong

_ERROR_BODY_LIMIT = 64 * 1024
_ERROR_BODY_SECONDS = 5.0
_DRAIN_SECONDS = 0.05
_encoder = msgspec.json.Encoder()

Files = Mapping[str, tuple[str, bytes, str]]
"""Parts of a multipart form: field to file name, bytes, media type."""


class Credentials(Protocol):
    """How a service knows us."""

    async def headers(self) -> Mapping[str, str]:
        """Asked before every request, so that a token can be fetched or renewed. Raises `ProviderError`."""
        ...

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """After a 401 on these headers: whether others may help, so that the request is sent once more."""
        ...

    def secrets(self) -> Sequence[str]:
        """What must never be shown, even if the service repeats it."""
        ...


class ApiKey:
    """A key in one header, and headers that never change beside it."""

    def __init__(
        self,
        key: Secret | None,
        *,
        header: str = "authorization",
        prefix: str = "Bearer ",
        field: str = "api_key",
        more: Mapping[str, str | None] | None = None,
    ) -> None:
        """`more` maps a header to its value, None for one that is not sent."""
        self._key = key.reveal().strip() if key else ""
        self._header = header
        self._prefix = prefix
        self._field = field
        self._more = {name: value.strip() for name, value in (more or {}).items() if value}

    async def headers(self) -> Mapping[str, str]:
        """Raises `AuthenticationFailed` for a key with characters that no header can carry."""
        if not (self._key.isascii() and self._key.isprintable()):
            raise AuthenticationFailed(
                f"{self._field} has characters that no key has: copy it again", field=self._field
            )
        for name, value in self._more.items():
            if not (value.isascii() and value.isprintable()):
                raise AuthenticationFailed(f"the value for {name} has characters that none has: copy it again")
        return {**({self._header: self._prefix + self._key} if self._key else {}), **self._more}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Never: a key that was refused stays refused."""
        del refused
        return False

    def secrets(self) -> Sequence[str]:
        return (self._key,) if self._key else ()


class Service:
    """One address and who we are there."""

    def __init__(
        self,
        context: PluginContext,
        address: str,
        credentials: Credentials,
        *,
        query: Mapping[str, str] | None = None,
        silence_limit: float = 180.0,
        fields: Fields = USUAL,
        rules: tuple[FailureRule, ...] = (),
    ) -> None:
        """`address` up to and including the version; `query` goes with every request; `silence_limit` in seconds.

        Raises `InvalidRequest` for an address that is none.
        """
        self._context = context
        self._credentials = credentials
        self._silence_limit = silence_limit
        self.fields = fields
        """What the configuration calls the address and the key."""
        self._rules = rules
        self.url = read_address(address, fields.address)
        """The address, `query` included."""
        if query:
            self.url = self.url.copy_merge_params(query)
        self.where = self.url.netloc.decode("ascii", "replace")
        """The service as errors name it."""

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        form: Mapping[str, Any] | None = None,
        files: Files | None = None,
        query: Mapping[str, str] | None = None,
        asked: Asked = NOBODY,
    ) -> AsyncGenerator[httpx.Response]:
        """A response that went well, its body still to come; whatever goes wrong meanwhile is a `ProviderError`.

        `path` follows the address. With `json` the body is JSON, with `files` it is multipart with `form` beside.
        `query` goes in beside what every request carries.
        """
        try:
            response = await self._send(method, self._url(path, query), json, form, files)
            try:
                if not response.is_success:
                    raise await self._refusal(response, asked)
                yield response
            finally:
                await response.aclose()
        except httpx.ConnectTimeout:
            raise Unavailable(
                f"{self.where} does not take the connection: is the service running?", field=self.fields.address
            ) from None
        except httpx.PoolTimeout:
            raise Unavailable(f"too many calls to {self.where} are under way: try again later") from None
        except httpx.TimeoutException:
            raise Unavailable(
                f"{self.where} said nothing for {self._silence_limit:g} s: try again, or raise the limit"
            ) from None
        except httpx.DecodingError:
            raise BadResponse(f"{self.where} sent a body that does not unpack: is a proxy in between?") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            fact = cleaned(str(error) or type(error).__name__, self._credentials.secrets())
            unreachable = isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol | httpx.InvalidURL)
            raise Unavailable(
                f"the connection to {self.where} failed: {fact}. Try again later",
                field=self.fields.address if unreachable else None,
            ) from None

    async def whole(self, response: httpx.Response, *, limit: int, asked: Asked = NOBODY) -> bytes:
        """The body, at most `limit` bytes. Raises `ProviderError` for more, for a web page, for an error inside."""
        parts: list[bytes] = []
        size = 0
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size > limit:
                raise BadResponse(f"{self.where} sent more than {limit} bytes")
            parts.append(piece)
        body = b"".join(parts)
        head = body[:64].lstrip()
        if head.startswith(b"<"):
            raise self._web_page()
        packed = head.replace(b" ", b"")
        failed = packed.startswith(b'{"error":') and not packed.startswith(b'{"error":null')
        told = read_body(body) if failed else None
        if told and (told.sentence or told.codes):
            raise self.inside(told, asked)
        return body

    async def events(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The data of each server-sent event in `response.aiter_bytes()`; a body of one JSON document is one event."""
        async for batch in self.batches(pieces):
            for data in batch:
                yield data

    async def batches(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes]]:
        """As `events`, but those that came together come together."""
        parser = EventParser()
        head = b""
        whole: list[bytes] | None = None
        size = 0
        try:
            async for piece in pieces:
                if not head:
                    head = piece.lstrip()[:1]
                    if head in (b"{", b"["):
                        whole = []
                    elif head == b"<":
                        raise self._web_page()
                if whole is None:
                    if batch := parser.feed(piece):
                        yield batch
                else:
                    size += len(piece)
                    if size > LINE_LIMIT:
                        raise TooLong
                    whole.append(piece)
        except TooLong:
            raise self._too_long() from None
        yield parser.end() if whole is None else [b"".join(whole)]

    async def lines(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Each line that is not blank, for services that stream one JSON document a line."""
        parser = LineParser()
        head = b""
        try:
            async for piece in pieces:
                if not head:
                    head = piece.lstrip()[:1]
                    if head == b"<":
                        raise self._web_page()
                for line in parser.feed(piece):
                    if line.strip():
                        yield line
        except TooLong:
            raise self._too_long() from None
        for line in parser.end():
            if line.strip():
                yield line

    def inside(self, said: Said, asked: Asked = NOBODY) -> ProviderError:
        """The error that came in place of an answer, under a 200."""
        return inside_answer(self._teller(), said, asked)

    async def _send(
        self, method: str, url: httpx.URL, json: object, form: Mapping[str, Any] | None, files: Files | None
    ) -> httpx.Response:
        http, limit = self._context.http, self._silence_limit
        try:
            content = None if json is None else _encoder.encode(json)
        except UnicodeEncodeError:
            raise InvalidRequest(
                f"there is half a character in what should go to {self.where}: write it anew"
            ) from None
        renewed = False
        while True:
            ours = await self._credentials.headers()
            headers = {"accept": "text/event-stream, application/json", **ours}
            if content is not None:
                headers["content-type"] = "application/json"
            request = http.build_request(
                method,
                url,
                headers=headers,
                content=content,
                data=form,
                files=files,
                timeout=httpx.Timeout(limit, connect=min(10.0, limit)),
            )
            response = await http.send(request, stream=True)
            if response.status_code != 401 or renewed:
                return response
            renewed = True
            try:
                again = await self._credentials.renew(ours)
            except BaseException:
                await response.aclose()
                raise
            if not again:
                return response
            await response.aclose()

    def _url(self, path: str, query: Mapping[str, str] | None) -> httpx.URL:
        # The raw path, for a name in it may have been quoted: `path` would undo that.
        base = self.url.raw_path.partition(b"?")[0].decode("ascii").rstrip("/")
        url = self.url.copy_with(path=base + path)
        return url.copy_merge_params(query) if query else url

    async def _refusal(self, response: httpx.Response, asked: Asked) -> ProviderError:
        body = b""
        with suppress(httpx.HTTPError, httpx.StreamError, TimeoutError):
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _ERROR_BODY_LIMIT:
                        break
        return failure(self._teller(), response.status_code, response.headers, read_body(body), asked)

    def _teller(self) -> Teller:
        return Teller(self.where, self._context.clock, self._credentials.secrets(), self.fields, self._rules)

    def _web_page(self) -> BadResponse:
        return BadResponse(
            f"{self.where} sent a web page in place of an answer: check the connection's address, "
            "and whether a proxy or a sign-in page stands in between",
            field=self.fields.address,
        )

    def _too_long(self) -> BadResponse:
        return BadResponse(f"{self.where} sent more than {LINE_LIMIT} bytes in one event")


async def drain(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end of a body that is nearly always here already, for at most 50 ms.

    A response that is closed before its end takes its connection with it, and the next answer would pay
    for a new one.
    """
    with suppress(httpx.HTTPError, httpx.StreamError, TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass


def read_address(address: str, field: str = "base_url") -> httpx.URL:
    """A service's address without what people paste along with it. Raises `InvalidRequest` if it is none."""
    text = address.strip()
    for ending in ("/", "/chat/completions", "/completions", "/embeddings", "/models"):
        text = text.removesuffix(ending)
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidRequest(
            f"{cleaned(address)!r} is not the address of a service: it looks like https://host/v1", field=field
        )
    return url
