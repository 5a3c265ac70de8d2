"""A chapter as blocks of text.

Chapters are XHTML by the rules and anything in practice, so they go through lxml's HTML parser, which forgives
everything, expands no entity of the book's own, and stops at a depth; the walk below never recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from folkmoot_sdk import Block

from folkmoot_parser_epub.outline import attribute, page_number


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_DROPPED = _names("script style head title template noscript iframe object embed audio video canvas nav button input")
_BLOCKS = _names(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer "
    "form header hr html li main ol p pre section summary table tbody td tfoot th thead tr ul"
)
_DECLARED = re.compile(rb"""(?:encoding|charset)\s{0,9}=\s{0,9}["']?\s{0,9}([A-Za-z0-9_:.-]{1,40})""")
_BREAK = "\u2028"
"""Stands for <br> until white space is squeezed."""
_LONGEST = 20_000
"""Characters of a list or table in one block."""
_PAGE_BREAKS = frozenset(("pagebreak", "doc-pagebreak"))


class Chapter:
    """One part of a book; `page` is where it ends in print, if the book tells."""

    def __init__(self, data: bytes, places: Mapping[str, int], page: int | None) -> None:
        self.page = page
        self._places = places
        self._block_page = page
        self._etree: Any = import_module("lxml.etree")
        self._said: list[str] = []
        self._lines: list[str] = []
        self._lines_page = page
        self._length = self._depth = 0
        self._marker = ""
        parser = self._etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
        try:
            self._root = self._etree.fromstring(_decoded(data).encode("utf-8", "replace"), parser)
        except self._etree.XMLSyntaxError:
            self._root = None
        self.is_cut = any("depth" in entry.message for entry in parser.error_log)
        """Whether the parser stopped at its greatest depth and left the rest out."""

    def blocks(self) -> Iterator[Block]:
        if self._root is None:
            return
        walk = self._etree.iterwalk(self._root, events=("start", "end"))
        for event, element in walk:
            tag = element.tag
            if event == "end":
                yield from self._end(element, tag)
                if element is not self._root:
                    self._said.append(element.tail or "")
                continue
            yield from self._turn(element)
            table = self._table(element) if tag == "table" else None
            if table is not None:
                yield from self._flush()
                yield from table
            if table is not None or tag in _DROPPED or element.get("hidden") is not None or _is_page_break(element):
                walk.skip_subtree()
                continue
            if tag in _BLOCKS or tag in _HEADINGS:
                yield from self._flush()
            self._begin(element, tag)
        yield from self._flush()
        yield from self._flush_lines()

    def _begin(self, element: Any, tag: str) -> None:
        if tag in {"ul", "ol"}:
            self._depth += 1
        elif tag == "li":
            self._marker = "  " * max(0, self._depth - 1) + "- "
        if tag == "br":
            self._said.append(_BREAK)
        elif tag == "img":
            self._said.append(element.get("alt") or "")
        else:
            self._said.append(element.text or "")

    def _end(self, element: Any, tag: str) -> Iterator[Block]:
        if tag in _HEADINGS:
            page, text = self._block_page, " ".join(self._text().split())
            if text:
                yield from self._flush_lines()
                yield Block(text=text, kind="heading", level=_HEADINGS[tag], page=page)
        elif tag == "pre":
            text = "".join(element.itertext()).strip()
            self._said.clear()
            if text:
                yield from self._flush_lines()
                yield Block(text=text, kind="code", page=self._block_page)
        elif tag in _BLOCKS:
            yield from self._flush()
        if tag in {"ul", "ol"}:
            self._depth = max(0, self._depth - 1)
            if not self._depth:
                yield from self._flush_lines()

    def _turn(self, element: Any) -> Iterator[Block]:
        """Go on to the next page where one begins; pages never go back, whatever the book says."""
        page = self._places.get(element.get("id") or "")
        if page is None and _is_page_break(element):
            said = element.get("title") or element.get("aria-label") or "".join(element.itertext())
            page = page_number(said[:100])
        if page is None or (self.page is not None and page <= self.page):
            return
        self.page = page
        if not "".join(self._said).strip():
            yield from self._flush_lines()
            self._block_page = page

    def _table(self, table: Any) -> Iterator[Block] | None:
        """The rows of a table; None for one that only lays out a page."""
        if any(below is not table and below.tag in {"table", *_HEADINGS} for below in table.iter()):
            return None
        rows = list(table.iter("tr"))
        if len(rows) < 2:
            return None
        lines = [" | ".join(_cell(cell) for cell in row if cell.tag in {"td", "th"}) for row in rows]
        return self._rows([line for line in lines if line.strip(" |")])

    def _rows(self, lines: list[str]) -> Iterator[Block]:
        start = length = 0
        for at, line in enumerate(lines):
            length += len(line)
            if length > _LONGEST or at == len(lines) - 1:
                yield Block(text="\n".join(lines[start : at + 1]).strip(), kind="table", page=self._block_page)
                start, length = at + 1, 0

    def _text(self) -> str:
        self._block_page, said = self.page, "".join(self._said)
        self._said.clear()
        said = said.replace("\u200b", "").replace("\u00ad", "")
        return "\n".join(line for part in said.split(_BREAK) if (line := " ".join(part.split())))

    def _flush(self) -> Iterator[Block]:
        page, text = self._block_page, self._text()
        if not text:
            return
        if not self._depth:
            yield from self._flush_lines()
            yield Block(text=text, page=page)
            return
        self._lines_page = self._lines_page if self._lines else page
        for line in text.splitlines():
            self._lines.append((self._marker or "  ") + line)
            self._length += len(line)
            self._marker = ""
        if self._length > _LONGEST:
            yield from self._flush_lines()

    def _flush_lines(self) -> Iterator[Block]:
        text = "\n".join(self._lines).strip()
        self._lines, self._length = [], 0
        if text:
            yield Block(text=text, kind="list", page=self._lines_page)


def _cell(cell: Any) -> str:
    return " ".join(" ".join(cell.itertext()).split())


def _is_page_break(element: Any) -> bool:
    words = {*(attribute(element, "type") or "").split(), *(element.get("role") or "").split()}
    return bool(words & _PAGE_BREAKS)


def _decoded(data: bytes) -> str:
    """The text of a chapter: UTF-8 unless it says otherwise and it fits."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace").replace("\x00", "")
    match = _DECLARED.search(data[:1024])
    for encoding in ("utf-8-sig", match[1].decode("ascii") if match else "cp1252"):
        try:
            return data.decode(encoding).replace("\x00", "")
        except (LookupError, UnicodeError):
            continue
    return data.decode("cp1252", "replace").replace("\x00", "")
