"""Sending an answer while it comes, and noticing at once that nobody listens any more.

An answer is made in the task of its request, from the first event to the last: what providers' clients keep open
belongs to one task. Beside it one task waits for the client to leave, and one sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from litestar import Request, Response
from litestar.response.base import ASGIResponse

from folkmoot.gateway.chunks import DONE
from folkmoot.gateway.errors import ClientGone, told
from folkmoot.kit.log import get_logger

log = get_logger(__name__)

KEEP_ALIVE_SECONDS = 15.0
"""Of silence, before the first event too: something in between may take a silent connection for a dead one."""
COMMENT = b": keep-alive\n\n"
MOST_WAITING = 256 * 1024
"""Bytes that a slow reader may be behind, before its answer waits for it."""
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]
Frames = AsyncGenerator[bytes]


@asynccontextmanager
async def while_heard(receive: Receive) -> AsyncGenerator[None]:
    """Cancel what runs inside as soon as the client leaves, and raise `ClientGone`.

    The body of the request must have been read.
    """
    doing = asyncio.current_task()
    assert doing is not None
    inside, left = True, False

    def leave(done: asyncio.Task[None]) -> None:
        nonlocal left
        # It may have been on its way already when the inside was left.
        if inside and not done.cancelled() and done.exception() is None:
            left = True
            doing.cancel()

    watching = asyncio.create_task(_left(receive))
    watching.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if not left or doing.uncancel() > 0:
            raise
        raise ClientGone from None
    finally:
        inside = False
        watching.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Sending(Response[bytes]):
    """A response that is made while it is sent."""

    def __init__(self, frames: Frames) -> None:
        super().__init__(b"", status_code=200)
        self._frames = frames

    def to_asgi_response(self, *_: Any, request: Request[Any, Any, Any], **__: Any) -> ASGIResponse:
        async def respond(_scope: Any, receive: Any, send: Any) -> None:
            async with aclosing(self._frames) as frames:
                await self.respond(request, frames, receive, send)

        return cast("ASGIResponse", respond)

    async def respond(self, request: Request[Any, Any, Any], frames: Frames, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class WholeAnswer(_Sending):
    """The one JSON document that `frames` give. What follows it, such as entering its cost, keeps nobody waiting."""

    async def respond(self, request: Request[Any, Any, Any], frames: Frames, receive: Receive, send: Send) -> None:
        async with while_heard(receive):
            body = await anext(frames)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        await _finish(request, frames)


class EventStream(_Sending):
    """Server-sent events from `frames`; what goes wrong before the first is an answer with its own status."""

    async def respond(self, request: Request[Any, Any, Any], frames: Frames, receive: Receive, send: Send) -> None:
        outlet = Outlet(send)
        try:
            async with while_heard(receive):
                try:
                    async for frame in frames:
                        outlet.write(frame)
                        if frame.endswith(DONE):
                            break
                        if outlet.waiting > MOST_WAITING:
                            await outlet.written()
                except Exception as error:
                    if not outlet.begun:
                        raise
                    outlet.write(b"data: " + told(request, error).content + b"\n\n")
                await outlet.end()
            await _finish(request, frames)
        except ClientGone:
            pass
        finally:
            await outlet.close()


async def _finish(request: Request[Any, Any, Any], frames: Frames) -> None:
    """What is left to do once the client has all. It can be told of nothing that goes wrong now."""
    try:
        async for _ in frames:
            pass
    except Exception:
        log.exception("gateway.not_finished", path=request.url.path)


class Outlet:
    """Sends what is written. What comes while one part is on its way leaves together in the next."""

    def __init__(self, send: Send, silence: float = KEEP_ALIVE_SECONDS) -> None:
        self._send, self._silence = send, silence
        self._parts: list[bytes] = []
        self.waiting = 0
        """Bytes that were written and not sent yet."""
        self.begun = False
        """Whether the client was told a status, so that it can change no more."""
        self._ended = False
        self._wake = asyncio.Event()
        self._sent = asyncio.Event()
        self._sending = asyncio.create_task(self._send_all())
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(silence, self._keep_alive)
        self._last = self._loop.time()
        """When something was sent last."""

    def write(self, data: bytes) -> None:
        """Does not wait. Raises `ClientGone` if nothing can be sent any more."""
        if self._sending.done():
            raise ClientGone
        self.begun = True
        self._parts.append(data)
        self.waiting += len(data)
        self._wake.set()

    async def written(self) -> None:
        """Wait until all that was written is sent."""
        while self.waiting and not self._sending.done():
            self._sent.clear()
            await self._sent.wait()

    async def end(self) -> None:
        """Send what is left, and the end."""
        self._ended = True
        self._wake.set()
        await self._sending

    async def close(self) -> None:
        """Stop, wherever it is."""
        self._timer.cancel()
        if not self._sending.done():
            self._sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sending

    def _keep_alive(self) -> None:
        if self._sending.done():
            return
        silent = self._loop.time() - self._last
        if silent >= self._silence and not self.waiting:
            self.write(COMMENT)
            silent = 0.0
        self._timer = self._loop.call_later(self._silence - silent, self._keep_alive)

    async def _send_all(self) -> None:
        started = False
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                parts, self._parts = self._parts, []
                if not started:
                    started = True
                    await self._send({"type": "http.response.start", "status": 200, "headers": [*HEADERS]})
                if parts:
                    data = parts[0] if len(parts) == 1 else b"".join(parts)
                    await self._send({"type": "http.response.body", "body": data, "more_body": True})
                    self.waiting -= len(data)
                    self._last = self._loop.time()
                    self._sent.set()
                if self._ended and not self._parts:
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
        except OSError:
            # As ASGI tells that nobody is there any more.
            return
        finally:
            self._sent.set()
