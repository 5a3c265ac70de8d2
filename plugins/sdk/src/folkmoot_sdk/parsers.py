"""File formats: bytes in, blocks of text with their place out.

A parser runs in a process of its own with limits on memory and time, without network and without the
host's secrets. It may crash or hang; the document then says so and everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Literal

import msgspec

BlockKind = Literal["heading", "paragraph", "list", "table", "row", "code", "note"]


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


Parsed = Block | DocumentInfo | Progress


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
