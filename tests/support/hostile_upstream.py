"""A model service that does every wrong thing there is, in OpenAI's dialect and in Anthropic's: a real server.

    async with HostileUpstream() as upstream:
        ...  # upstream.url answers as it should; what to do wrong is told by any of

        upstream.at("cut=chunk")        an address at which every call fails so
        upstream.failing = "status=500" every call, until it is ""
        upstream.script = ["html", ""]  one call after another, before all else
        "[[stall=60]]"                  in the question, or in a text to embed

Several at once are told with a blank between them. What there is:

    wait=9                  so many seconds of silence before the first byte
    stall=9                 the same after the first word; `beats` sends comments meanwhile
    cut=before|head|body|chunk   the line breaks: unanswered, in the headers, between two words, within one
    split-utf8, cut-utf8    chunks end within characters; the answer ends within one
    status=429 retry-after=2|retry-date=2|reason=…   a refusal; Retry-After in seconds or as a date
    html, empty, error-in-200, error-midway, bad-chunk, short
    long-line=100000000     so many bytes without a line break
    gzip-bomb=1000000000    a small body that unpacks to so many bytes
    no-usage, usage-twice, usage-nonsense, no-end, unknown-events
    redirect=http://…       a 307
    endless-headers, endless
    vectors=few|nan|ragged  of embeddings

It counts requests, answers that are open, and when it saw a client leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.support.hostile_dialects import ANTHROPIC, OPENAI, Dialect, embeddings, text_of
from tests.support.openai_stub import Recorded

WORDS = ("Så ", "här ", "går ", "det ", "till, ", "漢字 ", "och ", "🙂.")
PIECE = 64 * 1024
CHUNKED = "Transfer-Encoding: chunked"
MEGABYTE = 1024 * 1024
_DIRECTIVE = re.compile(r"\[\[([^\[\]]+)\]\]")
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class Cut(Exception):
    """The line is to break here."""


@dataclass
class HostileUpstream:
    """The server; start it with `async with`."""

    failing: str = ""
    script: list[str] = field(default_factory=list)
    words: tuple[str, ...] = WORDS
    delay: float = 0.0
    """Seconds from one word to the next."""
    model: str = "hostile-chat"
    requests: list[Recorded] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """Answers on their way now."""
    most_open: int = 0
    left: list[float] = field(default_factory=list)
    """When, by `time.monotonic`, it saw a client leave before its answer was whole."""
    sent: int = 0
    """Bytes of bodies."""
    _server: asyncio.Server | None = None
    _talking: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> HostileUpstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._talking):
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    @property
    def root(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def at(self, failure: str) -> str:
        """A base URL at which all goes wrong in this way; without `/v1` it is one for Anthropic's clients."""
        # In hexadecimal, as clients disagree on what else of a path they may rewrite.
        return f"{self.root}/fail/{failure.encode().hex()}/v1"

    async def until(self, condition: Callable[[HostileUpstream], bool], seconds: float = 20) -> None:
        """Return once the condition holds, as `lambda upstream: upstream.left`."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talking.add(task)
        self.connections += 1
        early: bytes | None = b""
        try:
            while early is not None and (request := await _read(reader, early)) is not None:
                self.requests.append(request)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                self._changed.set()
                try:
                    early = await self._answer_or_leave(request, reader, writer)
                finally:
                    self.open -= 1
                    self._changed.set()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, asyncio.CancelledError):
            pass  # the client left or talks nonsense, or the server ends
        finally:
            self._talking.discard(task)
            writer.transport.abort()

    async def _answer_or_leave(
        self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Answer, and notice at once if nobody listens any more.

        What came of the next request meanwhile; None if the connection is over.
        """
        answer = asyncio.ensure_future(_Answer(self, request, writer).send())
        listening = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answer, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and listening.exception() is None and listening.result():
                await asyncio.wait({answer})
            if answer.done() and not isinstance(answer.exception(), ConnectionError):
                if answer.exception() is not None:
                    return None
                listening.cancel()
                await asyncio.wait({listening})
                return b"" if listening.cancelled() or listening.exception() else listening.result()
            self.left.append(time.monotonic())
            return None
        finally:
            for task in (answer, listening):
                task.cancel()
            await asyncio.gather(answer, listening, return_exceptions=True)

    def told(self, request: Recorded) -> dict[str, str]:
        """What to do wrong with this request."""
        said = [self.script.pop(0)] if self.script else [self.failing]
        if request.path.startswith("/fail/"):
            said.append(bytes.fromhex(request.path.split("/")[2]).decode())
        if isinstance(request.body, dict):
            said += _DIRECTIVE.findall(text_of(request.body))
        pairs = (item.partition("=") for item in " ".join(said).split())
        return {name: value for name, _, value in pairs}


class _Answer:
    """One answer. Raises `Cut` where the line is to break."""

    def __init__(self, upstream: HostileUpstream, request: Recorded, writer: asyncio.StreamWriter) -> None:
        self.upstream, self.request, self.writer = upstream, request, writer
        self.told = upstream.told(request)
        self.path = "/" + request.path.partition("?")[0].partition("/v1/")[2]
        self.body: dict[str, Any] = request.body if isinstance(request.body, dict) else {}
        self.dialect: Dialect = ANTHROPIC if self.path == "/messages" else OPENAI
        streams = bool(self.body.get("stream"))
        self.kind, self.opening = ("text/event-stream", b'data: {"x":"') if streams else ("application/json", b'{"x":"')

    async def send(self) -> None:
        if "wait" in self.told:
            await asyncio.sleep(float(self.told["wait"]))
        for name, fail in FAILURES.items():
            if name in self.told and await fail(self):
                return
        if self.path == "/models":
            names = (self.upstream.model, "hostile-embed")
            await self.json({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        elif self.path == "/embeddings":
            await self.json(embeddings(self.body, self.told.get("vectors"), counted="no-usage" not in self.told))
        elif self.path not in ("/chat/completions", "/messages"):
            await self.json(self.dialect.error(404, "no such address"), 404)
        elif self.body.get("stream"):
            await self._stream()
        else:
            await self._whole()

    async def head(self, status: int = 200, kind: str = "application/json", *more: str) -> None:
        lines = [f"HTTP/1.1 {status} Told", f"Content-Type: {kind}", *more]
        if self.told.get("cut") == "head":
            await self.raw("\r\n".join(lines)[:-4].encode())
            raise Cut
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        self.upstream.sent += len(data)
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def json(self, value: object, status: int = 200, *more: str) -> None:
        data = json.dumps(value).encode()
        missing = 100 if "short" in self.told else 0
        await self.head(status, "application/json", f"Content-Length: {len(data) + missing}", *more)
        cut = self.told.get("cut") in ("body", "chunk")
        await self.raw(data[: len(data) // 2] if cut else data)
        if cut or missing:
            raise Cut

    async def _whole(self) -> None:
        await self.json(self.dialect.whole(self.upstream.model, "".join(self.upstream.words), self._usages()))

    def _usages(self) -> list[Any]:
        """What the answer says of its tokens, each time that it says so."""
        usage = self.dialect.usage(10, len(self.upstream.words))
        if "no-usage" in self.told:
            return []
        if "usage-twice" in self.told:
            return [self.dialect.usage(1, 1), usage]
        if "usage-nonsense" in self.told:
            return [dict.fromkeys(usage, -5), dict.fromkeys(usage, "many"), "none", [7]]
        return [usage]

    async def _stream(self) -> None:
        await self.head(200, "text/event-stream", CHUNKED)
        async with contextlib.aclosing(self._frames()) as frames:
            async for frame in frames:
                size = 1 if "split-utf8" in self.told else len(frame)
                for start in range(0, len(frame), size):
                    await self.chunk(frame[start : start + size])
        await self.raw(b"0\r\n\r\n")

    async def _frames(self) -> AsyncIterator[bytes]:
        """Events, until the end or what comes in place of it."""
        told, dialect, model = self.told, self.dialect, self.upstream.model
        for frame in dialect.begin(model, self._usages()):
            yield frame
        place = 0
        while place < len(self.upstream.words) or "endless" in told:
            yield dialect.word(model, self.upstream.words[place % len(self.upstream.words)])
            place += 1
            if place == 1 and "stall" in told:
                await self._silence(float(told["stall"]))
            if place == 2:
                await self._break(dialect.word(model, "漢字"))
                if "error-midway" in told:
                    yield dialect.failure("overloaded in the middle")
                    return
            if "unknown-events" in told:
                for frame in dialect.unknown(model):
                    yield frame
            if "endless" in told or self.upstream.delay:
                await asyncio.sleep(self.upstream.delay or 0.001)
        if "no-end" not in told:
            for frame in dialect.end(model, self._usages()):
                yield frame

    async def _silence(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            if "beats" in self.told:
                await self.chunk(b": still here\n\n")
            await asyncio.sleep(min(rest, 0.02) if "beats" in self.told else rest)

    async def _break(self, frame: bytes) -> None:
        """Break the line here, if it is to break."""
        if self.told.get("cut") == "body":
            raise Cut
        if self.told.get("cut") == "chunk":
            await self.raw(b"%x\r\n%b" % (len(frame), frame[: len(frame) // 2]))
            raise Cut
        if "cut-utf8" in self.told:
            await self.chunk(frame[: frame.index("漢".encode()) + 1])
            await self.raw(b"0\r\n\r\n")
            raise Cut
        if "bad-chunk" in self.told:
            await self.raw(b"this is not a length\r\n")
            raise Cut

    # What comes in place of an answer: True if that was all.

    async def refuse(self) -> bool:
        status, more = int(self.told["status"]), list[str]()
        if "retry-after" in self.told:
            more.append(f"Retry-After: {self.told['retry-after']}")
        if "retry-date" in self.told:
            later = datetime.now(UTC) + timedelta(seconds=float(self.told["retry-date"]))
            more.append(f"Retry-After: {format_datetime(later, usegmt=True)}")
        if "html" in self.told:
            return await self.page(status)
        await self.json(self.dialect.error(status, self.told.get("reason", "told to fail")), status, *more)
        return True

    async def page(self, status: int = 200) -> bool:
        data = b"<!doctype html><title>Sign in</title><p>This network wants you to sign in.</p>"
        await self.head(status, "text/html", f"Content-Length: {len(data)}")
        await self.raw(data)
        return True

    async def nothing(self) -> bool:
        await self.head(200, self.kind, "Content-Length: 0")
        return True

    async def cut_before(self) -> bool:
        if self.told["cut"] == "before":
            raise Cut
        return False

    async def failure_in_200(self) -> bool:
        if self.body.get("stream"):
            await self.head(200, "text/event-stream", CHUNKED)
            await self.chunk(self.dialect.failure("an error inside"))
            await self.raw(b"0\r\n\r\n")
        else:
            await self.json(self.dialect.error(500, "an error inside"))
        return True

    async def long_line(self) -> bool:
        """Bounded memory here, whatever the length."""
        await self.head(200, self.kind, CHUNKED)
        await self.chunk(self.opening)
        for _ in range(0, int(self.told["long-line"]), PIECE):
            await self.chunk(b"x" * PIECE)
        await self.raw(b"0\r\n\r\n")
        return True

    async def bomb(self) -> bool:
        """One packed megabyte again and again: each ends with a full flush, so that it stands by itself."""
        await self.head(200, self.kind, CHUNKED, "Content-Encoding: gzip")
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        await self.chunk(_GZIP_HEAD + packer.compress(self.opening) + packer.flush(zlib.Z_FULL_FLUSH))
        packed = packer.compress(b"x" * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
        for _ in range(0, int(self.told["gzip-bomb"]), MEGABYTE):
            await self.chunk(packed)
        await self.raw(b"0\r\n\r\n")
        return True

    async def redirect(self) -> bool:
        await self.head(307, "text/plain", f"Location: {self.told['redirect']}", "Content-Length: 0")
        return True

    async def endless_headers(self) -> bool:
        await self.raw(b"HTTP/1.1 200 OK\r\n")
        while True:
            await self.raw(b"X-More: and more, and more, and more\r\n" * 100)


FAILURES: dict[str, Callable[[_Answer], Awaitable[bool]]] = {
    "cut": _Answer.cut_before,
    "endless-headers": _Answer.endless_headers,
    "redirect": _Answer.redirect,
    "status": _Answer.refuse,
    "html": _Answer.page,
    "empty": _Answer.nothing,
    "error-in-200": _Answer.failure_in_200,
    "long-line": _Answer.long_line,
    "gzip-bomb": _Answer.bomb,
}


async def _read(reader: asyncio.StreamReader, early: bytes) -> Recorded | None:
    """The next request of a connection, of which `early` was read already; None at its end."""
    try:
        head = early + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = None
    return Recorded(method, path, headers, body)
