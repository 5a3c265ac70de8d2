"""File formats: bytes in, blocks of text with their place out.

A parser runs in a process of its own with limits on memory and time, without network and without the
host's secrets. It may crash or hang; the document then says so and everything else goes on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, BinaryIO, Literal

import msgspec

BlockKind = Literal["heading", "paragraph", "list", "table", "row", "code", "note"]
MEMBER_PIECE = 1 << 20
"""Bytes that one `Member` may carry; a longer file comes in several."""

_LONGEST_PART = 255
_LONGEST_PATH = 1000
_DRIVE = re.compile(r"[A-Za-z]:")


class Source(msgspec.Struct, frozen=True):
    """The file to read."""

    name: str
    """As uploaded, without folders."""
    media_type: str
    """As `sniff` found it, else as the suffix says."""
    size: int
    """Bytes."""
    file: BinaryIO
    """At the beginning, seekable, read-only."""
    password: str | None = None
    options: dict[str, Any] = {}


class DocumentInfo(msgspec.Struct, frozen=True, tag="info", tag_field="type"):
    """What is known of the whole; may come at any time, the last one holds."""

    page_count: int | None = None
    title: str | None = None
    language: str | None = None
    """BCP 47, if the file itself says so."""
    warnings: tuple[str, ...] = ()
    """What could not be read, in sentences for people ("pages 3 to 9 are pictures without text")."""


class Progress(msgspec.Struct, frozen=True, tag="progress", tag_field="type"):
    done: int
    total: int


class Block(msgspec.Struct, frozen=True, tag="block", tag_field="type"):
    """A stretch of text that belongs together, in reading order."""

    text: str
    """Without leading or trailing blank lines, `\\n` between lines. A `table` is one row a line, cells
    joined by ` | `, its header row first; a `row` is one row with its column names, `Name: Ada; Year: 1843`."""
    kind: BlockKind = "paragraph"
    level: int | None = None
    """Of a heading: 1 is the highest."""
    page: int | None = None
    """From 1; a slide is a page too."""
    sheet: str | None = None
    """Of a workbook; shown in place of a page."""


class Member(msgspec.Struct, frozen=True, tag="member", tag_field="type"):
    """A piece of a file that was found inside this one: in an archive, at a letter.

    The pieces of one member come one after another, nothing but `Progress` between them, and the last one
    says so; an empty file is one empty piece. The host makes each member a document of its own, with its own
    state, and reads it with whatever parser knows it: yield the bytes as they are. Two members may have one
    name. Since version 1.3.
    """

    name: str
    """Its path inside this file, as `member_path` makes it."""
    data: bytes
    """`MEMBER_PIECE` bytes (1 MiB) at most."""
    last: bool
    media_type: str = ""
    """As the outer file says, if it does; the host finds out by the bytes."""
    modified_at: datetime | None = None
    """With a time zone; UTC for a file that keeps none."""
    problem: str = ""
    """Why it could not be read, in a sentence that names it: its bytes are damaged, it needs a password. This
    piece is then its last; the host drops the others, shows the sentence, and goes on with the next member."""


Parsed = Block | DocumentInfo | Progress | Member


def member_path(name: str) -> str:
    """The name of a member as a path that stays inside: `C:\\a\\..\\b.txt` becomes `a/b.txt`, `/etc/x` `etc/x`.

    Forward slashes, NFC, no drive, no `.` or `..`, no control or invisible characters; parts of at most 255
    characters, 1,000 in all, for which folders are left out from the top. Empty if nothing is left; what has
    been through it once stays as it is.
    """
    name = "".join(" " if char.isspace() else char for char in name)
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [_part(part) for part in name.split("/")]
    parts = [part for part in parts if part not in ("", ".", "..")]
    length = 0
    for at in range(len(parts) - 1, -1, -1):
        length += len(parts[at]) + 1
        if length > _LONGEST_PATH:
            del parts[: at + 1]
            break
    while parts and (parts[0] in (".", "..", "") or _DRIVE.match(parts[0])):
        parts[0] = parts[0][2:].strip()
        if not parts[0]:
            del parts[0]
    return "/".join(parts)


def _part(part: str) -> str:
    """One folder or file name; a long one keeps its suffix, which tells what it is."""
    part = " ".join(part.split())
    if len(part) <= _LONGEST_PART:
        return part
    stem, dot, suffix = part.rpartition(".")
    if not dot or len(suffix) > 20:
        return part[:_LONGEST_PART].strip()
    return f"{stem[: _LONGEST_PART - len(suffix) - 1].strip()}.{suffix}"


class ParserSpec(msgspec.Struct, frozen=True):
    """A kind of parser, as `register_parsers` returns it."""

    kind: str
    """Stored with every document that it read: lower-case letters, digits and hyphens."""
    title: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    """With the dot, lower case."""
    parse: Callable[[Source], Iterable[Parsed]]
    """Yields blocks. Raises `ParserError`."""
    sniff: Callable[[bytes], str | None]
    """The media type, if the first bytes (up to 64 KiB) are of this parser's formats for certain, else None."""
    priority: int = 0
    """The highest of those that match reads the file; bundled parsers have 0."""
