"""HTML as somebody reads it: the main text, without menus, scripts, forms and what the page hides.

lxml's parser forgives everything, expands no entity of the page's own and stops at a depth, so neither bomb
goes off; the walks below never recurse, for the depth it does allow is beyond Python's.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, Source, TooLarge

from folkmoot.plugins.parsers.html_page import BREAK, names, reading_part
from folkmoot.plugins.parsers.text import LARGEST_WHOLE, detect_encoding, refuse_larger

etree: Any = import_module("lxml.etree")  # it comes without types

_CHARSET = re.compile(rb"<meta[^>]{0,300}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)


_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = names(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hr html li main nav ol p pre section summary table tbody td tfoot th "
    "thead tr ul"
)
_STRUCTURE = frozenset(("table", "pre", "figure", "article", "section", *_HEADINGS))
_LONGEST_LIST = 20_000
_WIDEST = 100
"""Cells that one colspan or rowspan may claim."""


def parse(source: Source) -> Iterator[Parsed]:
    """Blocks in reading order, without menus, banners and what else stands around the text.

    Takes the option `main_only` (default true); with false everything that is shown is read. Raises
    `UnsupportedFile` if it is not text, `CorruptFile` if it is empty, `TooLarge` beyond 32 MiB.
    """
    refuse_larger(source, LARGEST_WHOLE)
    encoding = _declared(source) or detect_encoding(source.file, source.name).name
    source.file.seek(0)
    root, cut = _tree(source.file.read().decode(encoding, errors="replace"))
    if root is None and cut:
        raise TooLarge(f"{source.name} takes more memory than there is to read it: split it and upload the parts")
    if root is None:
        raise CorruptFile(f"{source.name} cannot be read as HTML: there is not one element in it")
    found = root.find(".//title")
    title = " ".join("".join(found.itertext()).split()) if found is not None else ""
    language = root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang")
    body = root.find("body")
    yield from _read(root if body is None else body, main_only=source.options.get("main_only") is not False)
    yield DocumentInfo(
        title=title or None,
        language=(language or "").strip() or None,
        warnings=(cut,) if cut else (),
    )


def fragment(html: str) -> Iterator[Block]:
    """The blocks of a piece of HTML, as it stands in Markdown."""
    root, _ = _tree(html)
    if root is not None:
        yield from _read(root)


def _read(body: Any, *, main_only: bool = True) -> Iterator[Block]:
    for part in reading_part(body, main_only=main_only):
        yield from _blocks(part)


def _tree(html: str) -> tuple[Any, str]:
    """The root element, and what kept the parser from reading to the end, as a sentence; empty if nothing did."""
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(html.replace("\x00", "").encode("utf-8", errors="replace"), parser)
    except etree.XMLSyntaxError:
        root = None
    fatal = [entry.message for entry in parser.error_log if entry.level == etree.ErrorLevels.FATAL]
    if not fatal:
        return root, ""
    if any("depth" in message for message in fatal):
        return root, "parts of the page are nested too deeply to be read"
    return root, "the page was read only in part: something in it is larger than its reader can hold"


def _declared(source: Source) -> str | None:
    """The charset that the page names, if its bytes are not Unicode by themselves and fit it."""
    detected = detect_encoding(source.file, source.name).name
    if detected.startswith("utf"):
        return detected
    source.file.seek(0)
    match = _CHARSET.search(source.file.read(8192))
    try:
        return codecs.lookup(match[1].decode("ascii")).name if match else None
    except LookupError:
        return None


def _squeeze(text: str) -> str:
    """White space as a browser shows it: runs are one space, only <br> begins a line."""
    text = text.replace("\xad", "").replace("\u200b", "")
    return "\n".join(line for part in text.split(BREAK) if (line := " ".join(part.split())))


def _blocks(root: Any) -> Iterator[Block]:
    said: list[str] = []

    def flush() -> Iterator[Block]:
        text = _squeeze("".join(said))
        said.clear()
        if text:
            yield Block(text=text)

    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if event == "end":
            if tag in _BLOCKS:
                yield from flush()
            if element is not root:
                said.append(element.tail or "")
            continue
        whole = _whole(element)
        if whole is not None:
            yield from flush()
            yield from whole
            walk.skip_subtree()
            continue
        if tag in _BLOCKS:
            yield from flush()
        said.append(element.get("alt", "") if tag == "img" else element.text or "")
    yield from flush()


def _whole(element: Any) -> Iterator[Block] | None:
    """The blocks of an element that is read as one, or None if its children speak for themselves."""
    tag = element.tag
    if tag in _HEADINGS:
        text = " ".join(_text(element).split())
        return iter([Block(text=text, kind="heading", level=_HEADINGS[tag])] if text else [])
    if tag == "pre":
        code = "".join(element.itertext()).replace(BREAK, "\n").strip()
        return iter([Block(text=code, kind="code")] if code else [])
    if tag in {"ul", "ol"} and not any(below.tag in _STRUCTURE for below in element.iter()):
        return _list(element)
    if tag == "table" and _is_data(element):
        return _table(element)
    return None


def _text(element: Any) -> str:
    """All the text below, with a space where a block begins or ends."""
    parts: list[str] = []
    for event, node in etree.iterwalk(element, events=("start", "end")):
        inside = node is not element
        if inside and node.tag in _BLOCKS:
            parts.append(" ")
        if event == "start":
            parts.append(node.get("alt", "") if node.tag == "img" else node.text or "")
        elif inside:
            parts.append(node.tail or "")
    return _squeeze("".join(parts))


def _list(element: Any) -> Iterator[Block]:
    """One line an item, deeper ones indented."""
    lines: list[str] = []
    length = depth = 0
    said: list[str] = []
    marker = ""
    numbers: list[int | None] = []

    def flush() -> None:
        nonlocal marker, length
        for line in _squeeze("".join(said)).splitlines():
            lines.append("  " * max(0, depth - 1) + (marker or "  ") + line)
            length += len(lines[-1])
            marker = ""
        said.clear()

    for event, node in etree.iterwalk(element, events=("start", "end")):
        if node.tag in _BLOCKS:
            flush()
        if event == "end":
            depth -= node.tag in {"ul", "ol"}
            if node.tag in {"ul", "ol"}:
                numbers.pop()
            if node is not element:
                said.append(node.tail or "")
            continue
        if node.tag in {"ul", "ol"}:
            depth += 1
            start = node.get("start", "1")
            numbers.append(
                int(start[:9]) if node.tag == "ol" and start[:9].isdecimal() else 1 if node.tag == "ol" else None
            )
        elif node.tag == "li" and numbers:
            number = numbers[-1]
            marker = "- " if number is None else f"{number}. "
            if number is not None:
                numbers[-1] = number + 1
            if length > _LONGEST_LIST:
                yield Block(text="\n".join(lines).strip(), kind="list")
                lines, length = [], 0
        said.append(node.get("alt", "") if node.tag == "img" else node.text or "")
    flush()
    if text := "\n".join(lines).strip():
        yield Block(text=text, kind="list")


def _is_data(table: Any) -> bool:
    """A table that lays out a page holds tables and headings of its own, or has but one cell a row."""
    rows = widest = 0
    for below in table.iter():
        if below is not table and (below.tag == "table" or below.tag in _HEADINGS):
            return False
        if below.tag == "tr":
            rows += 1
            widest = max(widest, sum(cell.tag in {"td", "th"} for cell in below))
    return rows > 1 and widest > 1


def _table(table: Any) -> Iterator[Block]:
    caption = table.find(".//caption")
    if caption is not None and (text := _text(caption)):
        yield Block(text=text)
    lines: list[str] = []
    below: dict[int, tuple[int, str]] = {}
    # A header may be written last and still be shown first.
    rows = sorted(table.iter("tr"), key=lambda row: row.getparent().tag != "thead")
    for row in rows:
        cells: list[str] = []

        def from_above(cells: list[str] = cells) -> None:
            while (held := below.get(len(cells))) is not None:
                left, text = held
                if left > 1:
                    below[len(cells)] = (left - 1, text)
                else:
                    del below[len(cells)]
                cells.append(text)

        for cell in row:
            if cell.tag not in {"td", "th"}:
                continue
            from_above()
            text = " ".join(_text(cell).split())
            down, across = _span(cell, "rowspan"), _span(cell, "colspan")
            for extra in range(across):
                if down > 1:
                    below[len(cells)] = (down - 1, text)
                cells.append("" if extra else text)
        from_above()
        if any(cells):
            lines.append(" | ".join(cells).strip(" "))
    if text := "\n".join(lines).strip():
        yield Block(text=text, kind="table")


def _span(cell: Any, name: str) -> int:
    value = (cell.get(name) or "").strip()
    return min(max(int(value), 1), _WIDEST) if value.isascii() and value.isdecimal() and len(value) < 9 else 1
