"""A load of requests over kept connections, light enough not to be what is measured."""

from __future__ import annotations

import asyncio
import time

import uvloop


class _Connection(asyncio.Protocol):
    """Sends the next request when an answer is whole; answers must have a Content-Length."""

    def __init__(self, request: bytes, until: float) -> None:
        self._request, self._until = request, until
        self._buffer = b""
        self.answered = 0
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            at = head.lower().index(b"content-length:") + 15
            length = int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else len(head)])
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self.answered += 1
            self.failed += not head.startswith(b"HTTP/1.1 200")
            if time.perf_counter() >= self._until:
                self._transport.close()
                return
            self._transport.write(self._request)  # type: ignore[attr-defined]

    def connection_lost(self, _error: Exception | None) -> None:
        self.failed += time.perf_counter() < self._until
        if not self.done.done():
            self.done.set_result(None)


def requests_per_second(
    port: int,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    *,
    connections: int = 16,
    seconds: float = 4,
) -> float:
    """Answers with status 200 in a second, over so many connections; with a body by POST, as JSON.

    Raises if any answer is another, or a connection breaks.
    """
    told = headers or {}
    if body is not None:
        told = {**told, "Content-Type": "application/json", "Content-Length": str(len(body))}
    method = "GET" if body is None else "POST"

    async def run() -> float:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{k}: {v}" for k, v in told.items())]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        made = [
            (await loop.create_connection(lambda: _Connection(request, begun + seconds), "127.0.0.1", port))[1]
            for _ in range(connections)
        ]
        await asyncio.gather(*(item.done for item in made))
        if failed := sum(item.failed for item in made):
            raise RuntimeError(f"{failed} of {sum(item.answered for item in made)} answers were not 200")
        return sum(item.answered for item in made) / (time.perf_counter() - begun)

    return uvloop.run(run())
