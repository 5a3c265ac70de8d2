"""Streamed answers over kept connections, and how long each takes to its first word; light, as `load` is."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import uvloop

FIRST = b"word0"
END = b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Asked:
    """Where streams are asked for, and how."""

    port: int
    key: str
    model: str

    def request(self, tokens: int, delay: float) -> bytes:
        question = f"[[tokens={tokens} delay={delay}]]"
        asked = {"model": self.model, "stream": True, "messages": [{"role": "user", "content": question}]}
        body = json.dumps(asked).encode()
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class _Connection(asyncio.Protocol):
    """Asks again as soon as a stream has ended."""

    def __init__(self, request: bytes, times: int) -> None:
        self._request, self._left = request, times
        self.took: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._seen, self._heard, self._asked = b"", False, time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._seen = (self._seen if not self._heard else self._seen[-64:]) + data
        if not self._heard and FIRST in self._seen:
            self._heard = True
            self.took.append(now - self._asked)
        if not self._seen.endswith(END):
            return
        self._left -= 1
        if self._left:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._left:
            self.done.set_exception(RuntimeError(f"a stream broke off: {error} {self._seen[-300:]!r}"))
        else:
            self.done.set_result(None)


def first_words(asked: Asked, *, together: int, times: int, tokens: int, delay: float) -> list[float]:
    """Seconds to the first word of each of `together` × `times` streams, so many at once.

    They do not begin in the same moment, but spread over the time that one takes. Raises if one breaks off.
    """

    async def run() -> list[float]:
        loop, request = asyncio.get_running_loop(), asked.request(tokens, delay)

        async def one(number: int) -> list[float]:
            await asyncio.sleep(number * tokens * delay / together)
            _, made = await loop.create_connection(lambda: _Connection(request, times), "127.0.0.1", asked.port)
            await made.done
            return made.took

        return [took for found in await asyncio.gather(*(one(n) for n in range(together))) for took in found]

    return uvloop.run(run())
