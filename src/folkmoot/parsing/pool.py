"""Reading a document in a process that can be killed.

A file is hostile and a parser is somebody else's C library: what they can do is bounded here. A process
reads one document at a time behind the walls of `parse_sandbox`, has so much memory and so much time, and
may yield so much text. Whatever happens to it, the caller gets a `ParserError` with a sentence for the
person who uploaded the file, and the next document is read as if nothing had been.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from uuid import UUID

import msgspec
from folkmoot_sdk import (
    MEMBER_PIECE,
    Block,
    CorruptFile,
    DocumentInfo,
    Member,
    Parsed,
    ParserError,
    ParserUnavailable,
    Progress,
    TooLarge,
    member_path,
)

from folkmoot.parsing.child import Child
from folkmoot.parsing.process import Batch, Done, Failed, Request
from folkmoot.plugins.manager import PluginManager

log = logging.getLogger(__name__)

_NO_MEMORY = (b"MemoryError", b"bad_alloc", b"out of memory", b"Out of memory", b"Cannot allocate memory")


@dataclass(frozen=True)
class Limits:
    """How much one document may hold."""

    characters: int = 50_000_000
    blocks: int = 2_000_000
    members: int = 2_000
    """Files inside it."""
    member_bytes: int = 2 << 30
    """Of all files inside it, unpacked."""
    member_ratio: int = 200
    """Times its own size that they may unpack to; deflate's best is about 1,000, text's usual 3 to 10."""
    any_ratio_bytes: int = 100 << 20
    """Up to here the ratio does not matter: a bomb of this size does no harm."""

    def room(self, size: int) -> int:
        """Bytes that the files inside a document of `size` bytes may take together."""
        return min(self.member_bytes, max(self.any_ratio_bytes, self.member_ratio * size))


class ParserPool:
    """Up to `max_processes` documents at once; a process stays warm for the next document of its organisation.

    A document that took its process over could tell what is read there later, or change it: so no process ever reads
    for two organisations.
    """

    def __init__(
        self,
        plugins: PluginManager,
        *,
        max_processes: int = 2,
        memory: int = 1 << 30,
        seconds: float = 300.0,
        idle_seconds: float = 30.0,
        documents_per_process: int = 500,
        limits: Limits | None = None,
    ) -> None:
        self._plugins = plugins
        self._max_processes = max_processes
        self._memory = memory
        """Bytes of address space of one process, the interpreter's own 100 MB among them."""
        self._seconds = seconds
        """For one document, not counting the time that the caller takes with what it gets."""
        self._idle_seconds = idle_seconds
        self._documents_per_process = documents_per_process
        self._limits = limits or Limits()
        self._slots = asyncio.Semaphore(max_processes)
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._starting = 0
        self._none_starts = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all processes; whoever still iterates gets an error. Returns when none is left."""
        self._closed = True
        while self._idle:
            self._end(self._unpark(self._idle[0]))
        for process in list(self._busy):
            self._end(process)
        if self._starting:
            await self._none_starts.wait()
        if self._ending:
            await asyncio.wait(self._ending)

    async def parse(
        self,
        file: Path | BinaryIO,
        *,
        name: str,
        parser_kind: str,
        media_type: str,
        tenant_id: UUID | None = None,
        password: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> AsyncGenerator[Parsed, None]:
        """Yield what the parser yields, in order; a `DocumentInfo` with the language comes last.

        A file inside the file is one or several `Member` after each other, of 1 MiB at most, with a clean path.

        The process waits for the caller, so nothing piles up; leaving the iterator (`aclose`, or the task
        is cancelled) kills it. Use `contextlib.aclosing`. `file` is read from its beginning. Raises
        `ParserError`, and `ParserUnavailable` in particular if no loaded plugin has the kind.
        """
        point = self._plugins.entry_points.get(parser_kind)
        if point is None:
            raise ParserUnavailable(f"no loaded plugin reads {parser_kind!r}: install or allow one that does")
        request = Request(
            plugin=point.name,
            entry_point=point.value,
            kind=parser_kind,
            name=name,
            media_type=media_type,
            password=password,
            cpu_seconds=self._seconds + 5,
            options=options or {},
        )
        descriptor = await asyncio.to_thread(_open, file)
        try:
            async with self._slots:
                process = await self._ask(tenant_id, request, descriptor)
                try:
                    measure = _Measure(self._limits, name, os.fstat(descriptor).st_size)
                    async for item in self._answers(process, request, measure):
                        yield item
                    process.documents += 1
                    self._keep(process)
                finally:
                    if process not in self._idle:
                        self._end(process)
        finally:
            os.close(descriptor)

    async def _ask(self, tenant_id: UUID | None, request: Request, descriptor: int) -> Child:
        """A process that has got the request: a warm one of this organisation, else a new one."""
        payload = msgspec.msgpack.encode(request)
        while (warm := next((p for p in self._idle if p.tenant_id == tenant_id), None)) is not None:
            self._busy.add(self._unpark(warm))
            with suppress(OSError):  # it may have died while it waited
                warm.send(payload, descriptor)
                return warm
            self._end(warm)
        # Never more processes than slots: one that waits for documents of another organisation makes room.
        while self._idle and len(self._idle) + len(self._busy) >= self._max_processes:
            await asyncio.wait([self._end(self._unpark(self._idle[0]))])
        process = await self._begin(tenant_id)
        try:
            await process.ready()
            process.send(payload, descriptor)
        except BaseException as error:
            self._end(process)
            if self._closed and isinstance(error, ParserUnavailable):
                raise _shutting_down() from None
            raise
        return process

    async def _begin(self, tenant_id: UUID | None) -> Child:
        """Start a process; one that starts while the pool closes is ended before `close` returns."""
        if self._closed:
            raise _shutting_down()
        self._starting += 1
        self._none_starts.clear()
        try:
            process = await Child.start(tenant_id, self._memory)
            self._busy.add(process)
        finally:
            self._starting -= 1
            if not self._starting:
                self._none_starts.set()
        if self._closed:
            self._end(process)
            raise _shutting_down()
        return process

    async def _answers(self, process: Child, request: Request, measure: _Measure) -> AsyncGenerator[Parsed, None]:
        name, remaining = request.name, self._seconds
        clock = asyncio.get_running_loop().time
        while True:
            begun = clock()
            try:
                async with asyncio.timeout(remaining):
                    answer = await process.receive()
            except TimeoutError:
                raise self._too_slow(name) from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise await self._crashed(process, request) from None
            except msgspec.DecodeError as error:
                raise CorruptFile(f"{name} could not be read: its reader answered nonsense ({error})") from error
            remaining -= clock() - begun
            if isinstance(answer, Failed):
                raise self._failed(answer, name, request.plugin)
            if not isinstance(answer, Batch):
                measure.end()
                process.grown = isinstance(answer, Done) and answer.grown
                return
            for item in answer.items:
                yield measure.check(item)

    def _failed(self, failed: Failed, name: str, plugin: str) -> ParserError:
        match failed.reason:
            case "parser":
                return _error_class(failed.code)(failed.message)
            case "memory":
                return self._too_much_memory(name)
            case "contract":
                return ParserError(f"{name} could not be read: the plugin {plugin!r} is broken: {failed.message}")
            case _:
                log.warning("plugin %s failed on a document: %s: %s", plugin, failed.code, failed.message)
                return CorruptFile(
                    f"{name} could not be read: its reader failed ({failed.code}). The file is probably damaged: "
                    "open it where it was made and save it again"
                )

    async def _crashed(self, process: Child, request: Request) -> ParserError:
        name = request.name
        code, said = await process.ended()
        if self._closed:
            return _shutting_down()
        if code == -signal.SIGXCPU:
            return self._too_slow(name)
        if code == -signal.SIGKILL or any(words in said for words in _NO_MEMORY):
            return self._too_much_memory(name)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        log.warning("the process of plugin %s crashed: %s", request.plugin, how)
        log.debug("its last words: %s", said.decode("utf-8", errors="replace"))
        return CorruptFile(
            f"{name} could not be read: the reader crashed ({how}). The file is probably damaged: "
            "open it where it was made and save it again"
        )

    def _too_slow(self, name: str) -> TooLarge:
        return TooLarge(f"{name} took longer than {self._seconds:g} s to read: split it and upload the parts")

    def _too_much_memory(self, name: str) -> TooLarge:
        size = f"{self._memory / 2**30:g} GiB" if self._memory >= 2**30 else f"{self._memory / 2**20:g} MiB"
        return TooLarge(f"{name} needs more than {size} of memory to read: split it and upload the parts")

    def _keep(self, process: Child) -> None:
        if self._closed or process.grown or process.documents >= self._documents_per_process:
            return
        self._busy.discard(process)
        self._idle.append(process)
        loop = asyncio.get_running_loop()
        process.timer = loop.call_later(self._idle_seconds, lambda: self._end(self._unpark(process)))

    def _unpark(self, process: Child) -> Child:
        self._idle.remove(process)
        if process.timer is not None:
            process.timer.cancel()
        return process

    def _end(self, process: Child) -> asyncio.Task[None]:
        """Kill now, clean up in the background: nobody who was cancelled waits for it."""
        self._busy.discard(process)
        process.kill()
        task = asyncio.get_running_loop().create_task(process.bury())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


class _Measure:
    """Sees that one document stays within its limits, and that its reader keeps to the contract.

    The process has cleaned what it sends; one that somebody has taken over has not.
    """

    def __init__(self, limits: Limits, name: str, size: int) -> None:
        self._limits, self._name = limits, name
        self._room = limits.room(size)
        self._characters = self._blocks = self._members = self._bytes = 0
        self._begun: str | None = None

    def check(self, item: Parsed) -> Parsed:
        """The item itself. Raises `TooLarge` or `CorruptFile`."""
        words: Iterable[str | None] = ()
        if isinstance(item, Member):
            self._check_member(item)
            words = (item.name, item.media_type, item.problem)
        elif self._begun is not None and not isinstance(item, Progress):
            raise self._nonsense("words in the middle of a file inside it")
        if isinstance(item, Block):
            self._count(item)
            words = (item.text, item.sheet)
        elif isinstance(item, DocumentInfo):
            words = (item.title, item.language, *item.warnings)
        if any(word is not None and "\x00" in word for word in words):  # which PostgreSQL does not take
            raise self._nonsense("bytes that are not text")
        return item

    def end(self) -> None:
        if self._begun is not None:
            raise self._nonsense("half of a file inside it")

    def _count(self, block: Block) -> None:
        limits = self._limits
        self._blocks += 1
        self._characters += len(block.text)
        if self._characters > limits.characters or self._blocks > limits.blocks:
            raise TooLarge(
                f"{self._name} holds more than {limits.characters:,} characters or {limits.blocks:,} "
                "blocks of text: split it and upload the parts"
            )

    def _check_member(self, member: Member) -> None:
        if self._begun is None:
            self._members += 1
            if self._members > self._limits.members:
                raise TooLarge(
                    f"{self._name} holds more than {self._limits.members:,} files: unpack it and upload the files "
                    "themselves, or pack them into several archives"
                )
            if not member.name or member_path(member.name) != member.name:
                raise self._nonsense("a file inside it whose name is none")
        elif member.name != self._begun:
            raise self._nonsense("two files inside it at once")
        self._begun = None if member.last else member.name
        self._bytes += len(member.data)
        if len(member.data) > MEMBER_PIECE or (member.problem and not member.last):
            raise self._nonsense("a file inside it in a shape that is not agreed")
        if self._bytes > self._room:
            raise TooLarge(
                f"{self._name} unpacks to more than {self._room / 2**20:,.0f} MB, as a zip bomb does: "
                "unpack it and upload the files themselves"
            )

    def _nonsense(self, what: str) -> CorruptFile:
        return CorruptFile(f"{self._name} could not be read: its reader answered with {what}")


def _open(file: Path | BinaryIO) -> int:
    """A descriptor of its own, read-only, at the beginning of the file."""
    if isinstance(file, Path):
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        number = file.fileno()
    except OSError:
        with tempfile.TemporaryFile() as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy)
            copy.flush()
            return os.open(f"/proc/self/fd/{copy.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    file.flush()
    return os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)


def _shutting_down() -> ParserUnavailable:
    return ParserUnavailable("the worker is shutting down: the document is read when it is back")


def _error_class(code: str) -> type[ParserError]:
    return next((known for known in ParserError.__subclasses__() if known.code == code), ParserError)
