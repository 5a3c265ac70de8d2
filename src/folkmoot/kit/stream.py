"""A stream of events that survives its reader: written once into Redis, read from anywhere, any time.

One writer numbers the events from 1. A reader begins at the beginning or after the last number it saw, on
any process. All readers of a process share one blocking read, and all writers one pipeline, so a hundred
answers at once cost about as many round trips as one. Text deltas that come close together are joined; the
first one is never delayed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import msgspec
from redis.exceptions import RedisError, ResponseError

from folkmoot.kit.log import get_logger
from folkmoot.kit.redis import Redis

log = get_logger(__name__)

JOIN_SECONDS = 0.015
JOIN_SECONDS_EACH = 0.0007
"""How long deltas gather once the first has gone out: longer by this for each stream that is being written, so
that many answers at once cost about as many events a second as a few."""
FEW = 32
"""Streams that are read at the same time, up to which each event is handed on as it comes."""
GATHER_SECONDS_EACH = 0.0001
"""With more, events gather for so long for each of them before the next read."""
MOST_GATHER_SECONDS = 0.05
KEEP_SECONDS = 3600
"""How long a finished stream can be read again; after that the stored message tells the end."""
OPEN_SECONDS = 24 * 3600
HEARTBEAT_SECONDS = 15.0
BEYOND = 5_000_000
"""More events than one writer writes."""
ENDS = frozenset({b"message.completed", b"message.failed"})
encode = msgspec.json.encode


@dataclass(frozen=True)
class Entry:
    """One event of a stream."""

    number: int
    event: bytes
    data: bytes
    """One JSON object."""

    def sse(self) -> bytes:
        """As server-sent event (WHATWG HTML, 9.2). JSON has no raw line breaks, so one `data:` line holds it."""
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self.number, self.event, self.data)


def key_of(stream: str) -> str:
    return f"folkmoot:stream:{stream}"


class StreamWriter:
    """The one writer of one stream."""

    def __init__(self, streams: Streams, stream: str, last: int) -> None:
        self._streams, self.key, self._last = streams, key_of(stream), last
        self._pending: list[tuple[bytes, Any]] = []
        self._begun: set[bytes] = set()
        self._expires = False
        self.ended = False

    @property
    def last(self) -> int:
        """Number of the newest event that was written; `flush` first."""
        return self._last

    def write(self, event: str, data: Any) -> None:
        """Append an event. It goes out at once, after what was written before it."""
        self._pending.append((event.encode(), data))
        self._streams.flush_soon(self, urgent=True)

    def text(self, event: str, text: str) -> None:
        """Append text. The first goes out at once; later ones gather for `JOIN_SECONDS`."""
        name = event.encode()
        if self._pending and self._pending[-1][0] == name:
            self._pending[-1][1]["text"] += text
        else:
            self._pending.append((name, {"text": text}))
        self._streams.flush_soon(self, urgent=name not in self._begun)
        self._begun.add(name)

    async def flush(self) -> None:
        """Return when all that was written so far can be read."""
        while self._pending:
            self._streams.flush_soon(self, urgent=True)
            await self._streams.flushed()

    def take(self, pipe: Any) -> None:
        """Move what is pending into a Redis pipeline."""
        pending, self._pending = self._pending, []
        for event, data in pending:
            self._last += 1
            pipe.xadd(self.key, {b"e": event, b"d": encode(data)}, id=f"{self._last}-0")
            self.ended = self.ended or event in ENDS
        if self.ended or not self._expires:
            pipe.expire(self.key, KEEP_SECONDS if self.ended else OPEN_SECONDS)
            self._expires = True


@dataclass(eq=False)
class _Reader:
    after: int
    queue: asyncio.Queue[Entry] = field(default_factory=asyncio.Queue[Entry])


class Streams:
    """All streams that this process writes or reads."""

    def __init__(self, redis: Redis, blocking: Redis) -> None:
        self._redis = redis
        self._blocking = blocking
        """A client of its own: its connection sits in a blocking read."""
        self._dirty: set[StreamWriter] = set()
        self._hurried: set[StreamWriter] = set()
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._round: asyncio.Future[None] | None = None
        self._readers: dict[bytes, set[_Reader]] = {}
        self._bell = f"folkmoot:bell:{uuid4()}".encode()
        self._has_rung = False
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # writing

    async def writer(self, stream: str, *, fresh: bool = False, least: int = 0) -> StreamWriter:
        """Write `stream`, going on after what an earlier writer left, unless it is `fresh`.

        `least` is the number of the last event that the caller knows of: Redis may have lost it since.
        """
        newest: Any = [] if fresh else await self._redis.xrevrange(key_of(stream), count=1)
        last = int(newest[0][0].split(b"-")[0]) if newest else 0
        return StreamWriter(self, stream, max(last, least))

    async def take_over(self, stream: str, *, least: int = 0) -> StreamWriter:
        """Write `stream` in the place of a writer that seems dead, and that Redis refuses from now on if it is not.

        Numbers only grow, so ours go on far beyond any that it can come to.
        """
        writer = await self.writer(stream, least=least)
        ours = StreamWriter(self, stream, writer.last + BEYOND)
        with contextlib.suppress(ResponseError):  # there is no such stream (any more)
            await self._redis.execute_command("XSETID", key_of(stream), f"{ours.last}-0")
        return ours

    async def end(self, stream: str, event: str, data: Any) -> None:
        """End a stream in the place of its writer, and leave nothing else of it."""
        writer = await self.take_over(stream)
        writer.write(event, data)
        await writer.flush()
        await self._redis.xtrim(key_of(stream), maxlen=1, approximate=False)

    async def forget(self, streams: Sequence[str]) -> None:
        """Take streams away that nobody writes any more."""
        if streams:
            await self._redis.delete(*map(key_of, streams))

    def flush_soon(self, writer: StreamWriter, *, urgent: bool) -> None:
        if urgent:
            self._hurried.add(writer)
            self._urgent.set()
        else:
            self._dirty.add(writer)
        self._wake.set()
        self._run("flush", self._flush_all)

    async def flushed(self) -> None:
        if self._round is None or self._round.done():
            self._round = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._round)

    async def _flush_all(self) -> None:
        """Write what is urgent at once, and the rest of all streams together now and then."""
        loop, due = asyncio.get_running_loop(), 0.0
        while True:
            if not self._hurried and not self._dirty:
                self._wake.clear()
                await self._wake.wait()
            if self._hurried:
                batch, self._hurried = self._hurried, set()
                self._urgent.clear()
                self._dirty -= batch
            elif loop.time() >= due:
                batch, self._dirty = self._dirty, set()
                due = loop.time() + JOIN_SECONDS + JOIN_SECONDS_EACH * len(batch)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._urgent.wait()
                continue
            done, self._round = self._round, None
            pipe = self._redis.pipeline(transaction=False)
            for writer in batch:
                writer.take(pipe)
            try:
                await pipe.execute()
            except RedisError as error:
                # The message row is the truth and holds the text in the end; only watching it live is lost.
                log.warning("stream.not_written", error=str(error))
            if done is not None and not done.done():
                done.set_result(None)

    # reading

    async def exists(self, stream: str) -> bool:
        return bool(await self._redis.exists(key_of(stream)))

    async def so_far(self, stream: str) -> list[Entry]:
        """What was written until now, as far as Redis has it."""
        rows: Any = await self._redis.xrange(key_of(stream))
        return [Entry(int(entry_id.split(b"-")[0]), fields[b"e"], fields[b"d"]) for entry_id, fields in rows]

    async def read(self, stream: str, after: int = 0) -> AsyncGenerator[Entry | None]:
        """The events after number `after`, up to and with the one that ends the stream.

        None is a heart-beat: `HEARTBEAT_SECONDS` went by in silence.
        """
        key, reader = key_of(stream).encode(), _Reader(after)
        self._readers.setdefault(key, set()).add(reader)
        self._run("read", self._read_all)
        try:
            await self._ring()
            while True:
                try:
                    # Not `wait_for`: before Python 3.12 it loses a cancellation that comes with an entry.
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        entry = await reader.queue.get()
                except TimeoutError:
                    yield None
                    continue
                yield entry
                if entry.event in ENDS:
                    return
        finally:
            left = self._readers.get(key, set())
            left.discard(reader)
            if not left:
                self._readers.pop(key, None)

    async def _ring(self) -> None:
        """Make the shared read look at its list of streams again."""
        await self._redis.xadd(self._bell, {b"r": b""}, maxlen=1, approximate=False)
        if not self._has_rung:
            self._has_rung = True
            # What a process that was killed leaves goes away by itself.
            await self._redis.expire(self._bell, 30 * OPEN_SECONDS)

    async def _read_all(self) -> None:
        heard = b"0"
        while True:
            wanted: dict[Any, Any] = {self._bell: heard}
            for key, readers in self._readers.items():
                wanted[key] = b"%d" % min(reader.after for reader in readers)
            if len(wanted) > FEW:
                # Naming hundreds of streams costs about as much as reading from them: let more of them have something.
                await asyncio.sleep(min(MOST_GATHER_SECONDS, GATHER_SECONDS_EACH * len(wanted)))
            try:
                found: Any = await self._blocking.xread(wanted, block=20_000)
            except RedisError as error:
                log.warning("stream.not_read", error=str(error))
                await asyncio.sleep(0.5)
                continue
            for key, rows in _pairs(found):
                if key == self._bell:
                    heard = rows[-1][0]
                    continue
                # A reader that came while this read was under way may want what lies before it: next round.
                asked = int(wanted[key])
                readers = [reader for reader in self._readers.get(key, ()) if reader.after >= asked]
                for entry_id, fields in rows:
                    entry = Entry(int(entry_id.split(b"-")[0]), fields[b"e"], fields[b"d"])
                    for reader in readers:
                        if entry.number > reader.after:
                            reader.after = entry.number
                            reader.queue.put_nowait(entry)

    def _run(self, name: str, loop: Any) -> None:
        running = self._tasks.get(name)
        if running is None or running.done():
            self._tasks[name] = asyncio.get_running_loop().create_task(loop())

    async def close(self) -> None:
        for running in self._tasks.values():
            running.cancel()
        for running in self._tasks.values():
            with contextlib.suppress(asyncio.CancelledError):
                await running
        with contextlib.suppress(RedisError):
            await self._redis.delete(self._bell)


def _pairs(found: Any) -> list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]:
    """What XREAD gives over RESP2, None for nothing."""
    return found or []
