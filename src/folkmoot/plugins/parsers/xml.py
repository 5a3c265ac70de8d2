"""XML: what the elements say, as records and paragraphs; a feed as its entries.

The parser never makes a tree, asks for no other file and expands no entity. One that an entity of the document's
own could blow up, or that wants to be read from elsewhere, is refused before its first element; libxml2 has limits
of its own for what is nested too deeply or grows too fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, Source, TooLarge, UnsupportedFile

from folkmoot.plugins.parsers.records import Records
from folkmoot.plugins.parsers.text import detect_encoding, open_text, refuse_larger

etree: Any = import_module("lxml.etree")  # it comes without types

_PIECE = 1 << 16
_PROLOG = 1 << 18
"""Characters in which the first element has to begin."""
_ELEMENT = re.compile(r"<[A-Za-z_\u00c0-\uffff]")
_DECLARATION = re.compile(r"\A[\s\ufeff]*<\?xml[^>]{0,500}?\?>")
_ENTITY = re.compile(r"<!ENTITY\s+(%\s+)?([^\s>\"']{1,200})\s+(?:(?:SYSTEM|PUBLIC)\b|[\"']([^\"']{0,1000})[\"']\s*>)?")
_FEEDS = frozenset(("rss", "feed", "rdf"))
_ENTRIES = frozenset(("item", "entry"))
_STORIES = frozenset(("description", "summary", "content", "encoded"))
_LONGEST_STORY = 5_000_000
_LIMITS = ("depth", "huge", "too long", "amplification", "Memory", "Resource limit")


class _Target:
    """What lxml's parser tells, noted down until the next piece of the file."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []

    def start(self, tag: str, attributes: Any) -> None:
        self.events.append(("start", _local(tag), {_local(name): value for name, value in attributes.items()}))

    def end(self, tag: str) -> None:
        self.events.append(("end", _local(tag), None))

    def data(self, text: str) -> None:
        self.events.append(("text", text, None))

    def close(self) -> None:
        pass


def parse(source: Source) -> Iterator[Parsed]:
    """Records are rows, `name: Ada; born.year: 1815`; what holds them is a heading; texts are paragraphs.

    RSS and Atom are read as their entries. Raises `UnsupportedFile` if it is not text or declares entities that are
    read from elsewhere or of one another, `CorruptFile` if it is not XML to its end, `TooLarge` beyond the limits.
    """
    refuse_larger(source)
    encoding = _declared(source) or detect_encoding(source.file, source.name).name
    with open_text(source, encoding) as stream:
        prolog = stream.read(_PROLOG)
        _refuse_entities(prolog, source.name)
    events = _events(source, encoding)
    try:
        first = next(events)
        root = first[1].lower()
        yield from (_feed if root in _FEEDS else _records)(_chain(first, events))
    except etree.XMLSyntaxError as error:
        raise _refused(error, source.name) from None


def _declared(source: Source) -> str | None:
    """The encoding that the file names in ASCII, where its bytes agree."""
    detected = detect_encoding(source.file, source.name).name
    if detected.startswith("utf"):
        return detected
    source.file.seek(0)
    match = re.search(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{1,40})", source.file.read(1024))
    try:
        "".encode(match[1].decode("ascii")) if match else None
    except LookupError:
        return None
    return match[1].decode("ascii") if match else None


def _refuse_entities(prolog: str, name: str) -> None:
    if len(prolog) >= _PROLOG and _ELEMENT.search(prolog) is None:
        raise CorruptFile(f"{name} is not sound XML: there is no element in its first {_PROLOG:,} characters")
    if "<!DOCTYPE" not in prolog:
        return
    # Anywhere, not only before the first element: what looks like one may stand in a comment or in an entity.
    for entity in _ENTITY.finditer(prolog):
        if entity[1] or entity[3] is None or "&" in entity[3] or "%" in entity[3]:
            raise UnsupportedFile(
                f"{name} declares the entity {entity[2][:50]!r}, which is made of others or read from elsewhere: such "
                "a file can be a bomb and is not read; export it without a document type"
            )


def _events(source: Source, encoding: str) -> Iterator[tuple[str, str, Any]]:
    target = _Target()
    parser = etree.XMLParser(
        target=target, encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    with open_text(source, encoding) as stream:
        # The file may name another encoding than that of what is handed over.
        begin = _DECLARATION.sub("", stream.read(_PIECE)).lstrip("\ufeff \t\r\n")
        piece = begin
        while piece:
            parser.feed(piece.encode("utf-8", "replace"))
            yield from target.events
            target.events.clear()
            piece = stream.read(_PIECE)
        parser.close()
        yield from target.events


def _chain(first: tuple[str, str, Any], rest: Iterator[tuple[str, str, Any]]) -> Iterator[tuple[str, str, Any]]:
    yield first
    yield from rest


def _refused(error: Any, name: str) -> CorruptFile | TooLarge:
    said = str(error)
    if any(word in said for word in _LIMITS):
        return TooLarge(f"{name} goes beyond what is read of XML ({said[:150]}): split it and upload the parts")
    return CorruptFile(f"{name} is not sound XML: {said[:150]}; export it again from where it was made")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _records(events: Iterator[tuple[str, str, Any]]) -> Iterator[Parsed]:
    records = Records()
    for kind, said, attributes in events:
        if kind == "start":
            records.start(said)
            for name, value in attributes.items():
                if name not in {"schemaLocation", "space"}:
                    yield from records.leaf(f"@{name}", value)
        elif kind == "text":
            yield from records.text(said)
        else:
            yield from records.end()
    yield from records.rest()


def _feed(events: Iterator[tuple[str, str, Any]]) -> Iterator[Parsed]:
    """The title of the feed, then each entry: its title as a heading, its facts as a row, its story as HTML."""
    path: list[str] = []
    title: str | None = None
    language: str | None = None
    facts: list[tuple[str, str]] = []
    told = False
    said: list[str] = []
    for kind, name, attributes in events:
        if kind == "start":
            language = language or (attributes.get("lang") if len(path) < 2 else None)
            if not _STORIES.intersection(path):
                said.clear()  # a story may be made of elements
            if name in _ENTRIES and not told:
                told = True
                title = next((value for label, value in facts if label == "title"), None)
                language = next((value for label, value in facts if label == "language"), language)
                yield from _entry(facts, 1)
                facts = []
            path.append(name)
        elif kind == "text":
            said.append(name)
        else:
            path.pop()
            if name in _ENTRIES:
                yield from _entry(facts, 2)
                facts = []
            elif not _STORIES.intersection(path) and (value := "".join(said).strip()):
                facts.append((name, value))
                said.clear()
    yield from _entry(facts, 2 if told else 1)
    if not told:
        title = next((value for label, value in facts if label == "title"), None)
    yield DocumentInfo(title=title, language=language)


def _entry(facts: list[tuple[str, str]], level: int) -> Iterator[Block]:
    from folkmoot.plugins.parsers.html import fragment

    title = next((value for label, value in facts if label == "title"), None)
    if title is not None:
        yield Block(text=" ".join(block.text for block in fragment(title)) or title, kind="heading", level=level)
    stories = [value for label, value in facts if label in _STORIES]
    row = [f"{label}: {' '.join(value.split())}" for label, value in facts if label not in {"title", *_STORIES}]
    if row:
        yield Block(text="; ".join(row), kind="row")
    # The whole text and its summary often say the same.
    longest = max(stories, key=len, default="")
    for story in stories:
        if story == longest or story not in longest:
            yield from fragment(story[:_LONGEST_STORY])
