"""The line to one tool server, for as long as one conversation with it lasts: what may go over it, and what broke it.

A server is hostile: it may say nothing, or for ever, or lead elsewhere. The SDK keeps some of what goes wrong to itself
and goes on waiting; so whatever ends a conversation is noted here, and ends it at once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol

import httpx

from folkmoot.kit.net import AddressRefused, BodyRefused, BodyTooLarge

MOST_REQUESTS = 60
"""In one conversation. A server may ask back, and each of its questions costs us a request."""
GOODBYE_SECONDS = 2.0


class ServerFailed(Exception):
    """A tool server that could not be used. The message is for those who administer it, and holds no secret."""

    def __init__(self, message: str, *, code: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        """The field of its configuration that this is about, if it is about one."""


class Cancellable(Protocol):
    def cancel(self) -> None: ...


class Line:
    """One conversation."""

    def __init__(self, name: str, most_bytes: int) -> None:
        self.name = name
        """Of the host or command, for people."""
        self.trouble: ServerFailed | None = None
        """What broke it first."""
        self.ends: Cancellable | None = None
        """Ends the conversation."""
        self._most_bytes = self._left = most_bytes
        self._requests = 0

    def broken(self, error: ServerFailed) -> ServerFailed:
        """Note what went wrong, and end the conversation."""
        self.trouble = self.trouble or error
        if self.ends is not None:
            self.ends.cancel()
        return error

    def took(self, size: int) -> None:
        """So many bytes came in."""
        self._left -= size
        if self._left < 0:
            words = f"{self.name} answers with more than {self._most_bytes} bytes, the most that is taken"
            raise self.broken(ServerFailed(words, code="too-large"))

    def asks(self) -> None:
        """A request goes out."""
        self._requests += 1
        if self._requests > MOST_REQUESTS:
            words = f"{self.name} asks back more often than a tool server may"
            raise self.broken(ServerFailed(words, code="bad-answer"))


def client(shared: httpx.AsyncClient, line: Line, headers: dict[str, str], seconds: float) -> httpx.AsyncClient:
    """A client for one conversation, over the connections of `shared`. It need not be closed."""
    return httpx.AsyncClient(
        transport=_Transport(shared, line),
        headers={"user-agent": "Folkmoot", **headers, "accept-encoding": "identity"},
        timeout=httpx.Timeout(seconds, connect=min(10.0, seconds)),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        trust_env=False,
    )


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, shared: httpx.AsyncClient, line: Line) -> None:
        self._shared, self._line = shared, line

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and "last-event-id" not in request.headers:
            # The SDK opens a line for what the server says by itself. Nothing that it could say is wanted.
            return httpx.Response(405)
        self._line.asks()
        if request.method == "DELETE":
            async with asyncio.timeout(GOODBYE_SECONDS):
                response = await self._shared.send(request, stream=True, follow_redirects=False)
            await response.aclose()
            return httpx.Response(response.status_code)
        try:
            response = await self._shared.send(request, stream=True, follow_redirects=False)
        except Exception as error:
            raise self._line.broken(told(error, self._line.name)) from error
        refusal = _refusal(response, self._line.name)
        if refusal is not None:
            await response.aclose()
            raise self._line.broken(refusal)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Body(response, self._line, asked=request.method == "POST"),
            extensions=response.extensions,
        )


class _Body(httpx.AsyncByteStream):
    """What comes in, counted."""

    def __init__(self, response: httpx.Response, line: Line, *, asked: bool) -> None:
        self._response, self._line = response, line
        self._events = asked and response.headers.get("content-type", "").lower().startswith("text/event-stream")

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        resumable = False
        try:
            async for piece in self._response.aiter_raw():
                self._line.took(len(piece))
                resumable = resumable or piece.startswith(b"id:") or b"\nid:" in piece
                yield piece
        except httpx.HTTPError as error:
            raise self._line.broken(told(error, self._line.name)) from error
        if self._events and not resumable:
            # Who has its answer reads no further, so it did not come.
            words = f"{self._line.name} stopped before it had answered"
            raise self._line.broken(ServerFailed(words, code="bad-answer"))

    async def aclose(self) -> None:
        await self._response.aclose()


def _refusal(response: httpx.Response, name: str) -> ServerFailed | None:
    status = response.status_code
    if status < 400:
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return ServerFailed(f"{name} packs its answer, which was not asked for", code="bad-answer")
        return None
    if status == 401:
        words = f"{name} does not accept the token: give another"
        return ServerFailed(words, code="unauthorised", field="config.token")
    if status == 403:
        words = f"{name} refuses us (403): the token may not do this"
        return ServerFailed(words, code="access-denied", field="config.token")
    if status in (404, 405, 410):
        words = f"there is no tool server at this address of {name} ({status}): it often ends in /mcp"
        return ServerFailed(words, code="nothing-there", field="config.url")
    if status == 429:
        return ServerFailed(f"{name} asks for patience (429)", code="rate-limited")
    if status >= 500:
        return ServerFailed(f"{name} failed ({status})", code="server-error")
    return ServerFailed(f"{name} answers with the status {status}", code="http-error")


def told(error: BaseException, name: str) -> ServerFailed:
    """Any error of a line, in words."""
    match error:
        case ServerFailed():
            return error
        case AddressRefused():
            return ServerFailed(str(error), code="address-refused", field="config.url")
        case BodyTooLarge():
            return ServerFailed(str(error), code="too-large")
        case BodyRefused():
            return ServerFailed(str(error), code="bad-answer")
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return ServerFailed(f"{name} does not take a connection", code="unreachable", field="config.url")
        case httpx.TimeoutException() | TimeoutError():
            return ServerFailed(f"{name} was silent for too long", code="too-slow")
        case httpx.ConnectError() if (broken := _tls_error(error)) is not None:
            words = f"the certificate or encryption of {name} does not hold: {broken}"
            return ServerFailed(words, code="tls-failed", field="config.url")
        case httpx.ConnectError():
            return ServerFailed(f"{name} cannot be reached: {error}", code="unreachable", field="config.url")
        case httpx.HTTPStatusError() if error.response.is_redirect:
            words = f"{name} leads elsewhere, which is not followed: use the address that it leads to"
            return ServerFailed(words, code="leads-elsewhere", field="config.url")
        case _:
            return ServerFailed(f"{name} gave an answer that is not of a tool server", code="bad-answer")


def _tls_error(error: BaseException | None) -> str | None:
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or "the certificate is not valid"
        if isinstance(error, ssl.SSLError):
            return error.reason or "no common protocol"
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
