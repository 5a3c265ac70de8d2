"""The process that reads one document after another behind `parse_sandbox`'s walls.

`python -m folkmoot.parsing.process MEMORY PARENT`, started by `parse.ParserPool`. Standard input is
a socket on which each message is a `Request` with the opened document beside it; standard output carries
the answers, each four bytes of length and then msgpack. The process ends when the socket does.

It loads the plugins that it is asked for, each when it is first needed. Text is cleaned here, and its
language found here, so that neither costs the host anything.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, Literal

import msgspec
from folkmoot_sdk import (
    MEMBER_PIECE,
    Block,
    DocumentInfo,
    Member,
    Parsed,
    ParserError,
    ParserSpec,
    ParserUnavailable,
    Progress,
    Source,
    member_path,
)

from folkmoot.parsing import sandbox as parse_sandbox
from folkmoot.plugins.manager import GROUP, BrokenPlugin, call_hooks

LONGEST_FRAME = 16 * 1024 * 1024
"""Bytes. The host hangs up on a longer one."""
LONGEST_BLOCK = 500_000
"""Characters. A longer block goes on in the next one."""

_BATCH_CHARACTERS = 200_000
_BATCH_SECONDS = 0.2
_SAMPLE = 10_000
"""Characters that the language is found by."""
_RELIABLE = 200
"""Characters from which on the words of a document are believed over what it says of itself."""
_BALLAST = 1024 * 1024
_GROWN = 150 << 20
"""Bytes that are resident: more is what a document left behind."""
_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NORTHERN = {"no", "nb", "nn", "da", "sv"}


class Request(msgspec.Struct, frozen=True):
    """One document to read."""

    plugin: str
    entry_point: str
    """What the plugin's entry point says: the module that holds its hooks."""
    kind: str
    name: str
    media_type: str
    password: str | None
    cpu_seconds: float
    options: dict[str, Any] = {}


class Ready(msgspec.Struct, frozen=True, tag="ready", tag_field="type"):
    """Sent once, at the start."""

    missing: list[str]
    """Walls that this machine does not have."""


class Batch(msgspec.Struct, frozen=True, tag="batch", tag_field="type"):
    items: list[Parsed]


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="type"):
    """The document could not be read, and this process ends."""

    reason: Literal["parser", "memory", "contract", "bug"]
    """The parser said so; no memory; the parser broke its contract; it raised what it should not."""
    code: str
    """Of the `ParserError`, or the name of another exception."""
    message: str


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="type"):
    grown: bool = False
    """It has held so much that the next document had better have a new process, and all of its memory."""


Answer = Ready | Batch | Failed | Done


class _ContractBroken(Exception):
    """The parser yielded what no parser yields."""


def main() -> None:
    memory, parent = int(sys.argv[1]), int(sys.argv[2])
    channel = socket.socket(fileno=os.dup(0))
    out = os.dup(1)
    # What a library prints must not get between the answers, nor its reads between the requests.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    send = _sender(out)
    # Opened before the walls, behind which it cannot be.
    held = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform.startswith("linux") else -1
    send(Ready(parse_sandbox.enter(memory, parent)))
    decoder = msgspec.msgpack.Decoder(Request)
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 1 << 20, 1)
        if not message or not descriptors:
            return
        if not _read(decoder.decode(message), descriptors[0], send, held):
            return


def _resident(statm: int) -> int:
    if statm < 0:
        return 0
    return int(os.pread(statm, 100, 0).split()[1]) * resource.getpagesize()


def _sender(out: int) -> Callable[[Answer], None]:
    encoder = msgspec.msgpack.Encoder()

    def send(answer: Answer) -> None:
        payload = encoder.encode(answer)
        view = memoryview(struct.pack("!I", len(payload)) + payload)
        while view:
            view = view[os.write(out, view) :]

    return send


def _read(request: Request, descriptor: int, send: Callable[[Answer], None], held: int) -> bool:
    """Read one document; False if this process had better not read another."""
    ballast = bytearray(_BALLAST)
    try:
        parse_sandbox.allow_cpu(request.cpu_seconds)
        with os.fdopen(descriptor, "rb") as file:
            source = Source(
                name=request.name,
                media_type=request.media_type,
                size=os.fstat(descriptor).st_size,
                file=file,
                password=request.password,
                options=request.options,
            )
            spec = _spec(request.plugin, request.entry_point, request.kind)
            for batch in _batches(_cleaned(spec, source)):
                send(Batch(batch))
        grown = _resident(held) > _GROWN
        send(Done(grown))
        return not grown
    except MemoryError:
        failed = Failed("memory", "MemoryError", "")
    except ParserError as error:
        failed = Failed("parser", _code(error), str(error)[:2000])
    except (BrokenPlugin, ImportError) as error:
        failed = Failed("parser", ParserUnavailable.code, f"the plugin {request.plugin!r} cannot read: {error}"[:2000])
    except _ContractBroken as error:
        failed = Failed("contract", "contract", str(error)[:500])
    except BaseException as error:  # noqa: BLE001 - whatever a parser raises is told to the parent
        failed = Failed("bug", type(error).__name__, str(error)[:500])
    del ballast  # room for the last words of a process without memory
    send(failed)
    return False


def _code(error: ParserError) -> str:
    """The code of the nearest error of the SDK: a plugin may derive its own."""
    known = next(c for c in type(error).__mro__ if c.__module__ == ParserError.__module__)
    return str(getattr(known, "code", ParserError.code))


@cache
def _spec(plugin: str, entry_point: str, kind: str) -> ParserSpec:
    loaded = call_hooks(EntryPoint(plugin, entry_point, GROUP))
    for spec in loaded.specs.get("register_parsers", []):
        if spec.kind == kind:
            return spec
    raise ParserUnavailable(f"the plugin {plugin!r} has no parser {kind!r} any more")


def _cleaned(spec: ParserSpec, source: Source) -> Iterator[Parsed]:
    """What the parser yields, fit to store, and at the end what is known of the whole."""
    info = DocumentInfo()
    sample: list[str] = []
    room = _SAMPLE
    inside: str | None = None
    for item in spec.parse(source):
        if inside is not None and not isinstance(item, Member | Progress):
            raise _ContractBroken(f"it yielded a {type(item).__name__} before the end of {inside!r}")
        if isinstance(item, Block):
            text = _storable(item.text).strip()
            if room > 0 and item.kind != "code":
                sample.append(text[:room])
                room -= len(text)
            sheet = _storable(item.sheet) if item.sheet else item.sheet
            for start in range(0, len(text), LONGEST_BLOCK):
                yield Block(
                    text=text[start : start + LONGEST_BLOCK],
                    kind=item.kind,
                    level=item.level,
                    page=item.page,
                    sheet=sheet,
                )
        elif isinstance(item, DocumentInfo):
            info = _storable_info(item)
            yield info
        elif isinstance(item, Member):
            if inside is not None and item.name != inside:
                raise _ContractBroken(f"it yielded {item.name!r} before the end of {inside!r}")
            inside = None if item.last else item.name
            yield from _pieces(item)
        elif isinstance(item, Progress):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin may do anything
            yield item
        else:
            raise _ContractBroken(f"it yielded a {type(item).__name__}")
    if inside is not None:
        raise _ContractBroken(f"it ended before the end of {inside!r}")
    yield msgspec.structs.replace(info, language=_language("\n".join(sample), info.language))


def _pieces(member: Member) -> Iterator[Member]:
    """A piece as the host takes it: in the agreed size, under a name that stays inside its document."""
    name = member_path(member.name) or "unnamed"
    media_type = _storable(member.media_type)[:200]
    for start in range(0, len(member.data) or 1, MEMBER_PIECE):
        end = start + MEMBER_PIECE
        last = member.last and end >= len(member.data)
        yield Member(
            name=name,
            data=member.data[start:end],
            last=last,
            media_type=media_type,
            modified_at=member.modified_at,
            problem=_storable(member.problem)[:1000] if last else "",
        )


def _storable(text: str) -> str:
    """Without what PostgreSQL, UTF-8 or a screen cannot hold; line ends as `\\n`."""
    if not _UNSTORABLE.search(text):
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\v", "\n")
    return _UNSTORABLE.sub("", text)


def _storable_info(info: DocumentInfo) -> DocumentInfo:
    return DocumentInfo(
        page_count=info.page_count,
        title=_storable(info.title).strip()[:1000] or None if info.title else None,
        language=_storable(info.language)[:35] if info.language else None,
        warnings=tuple(_storable(warning)[:1000] for warning in info.warnings[:100]),
    )


def _language(sample: str, stated: str | None) -> str | None:
    """What the words say, if there are enough of them; else what the file says, which is often a template's."""
    from folkmoot.parsing import language

    stated = (stated or "").replace("_", "-").split("-")[0].lower() or None
    try:
        found = language.detect(sample)
    except MemoryError:
        found = ""
    if stated is not None:
        stated = language.normalise(stated)
        neighbours = found in _NORTHERN and stated in _NORTHERN
        if not found or neighbours or len(sample) < _RELIABLE:
            return stated
    return found or None


def _batches(items: Iterator[Parsed]) -> Iterator[list[Parsed]]:
    """Few large messages instead of many small ones, yet none kept back for long."""
    batch: list[Parsed] = []
    length = 0
    sent = time.monotonic()
    for item in items:
        batch.append(item)
        length += 50 + (len(item.text) if isinstance(item, Block) else 0)
        length += len(item.data) if isinstance(item, Member) else 0
        if length > _BATCH_CHARACTERS or time.monotonic() - sent > _BATCH_SECONDS:
            yield batch
            batch, length, sent = [], 0, time.monotonic()
    if batch:
        yield batch


if __name__ == "__main__":
    main()
