"""The cells of a worksheet, streamed row by row, so that a hundred thousand rows fit in little memory.

The sheet's own claim of its size is never asked: it is often wrong, and sometimes a million rows too
large. openpyxl takes half as long again for the same cells, and finds no sheets in strict files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from folkmoot_sdk import TooLarge

from folkmoot_parser_office.package import Package
from folkmoot_parser_office.tree import Node, child, local
from folkmoot_parser_office.xlsx_values import Formatter, general

_MOST_STRINGS = 5_000_000
_LONGEST_CELL = 32_767
"""Characters; Excel allows no more."""
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_TRUE = frozenset({"1", "true"})


class Cell(NamedTuple):
    """One cell that holds something."""

    column: int
    """From 0."""
    text: str
    is_text: bool
    """False for numbers, dates and truth values."""


class Row(NamedTuple):
    """One row that holds something."""

    number: int
    """From 1, as Excel shows it."""
    cells: list[Cell]


def shared_strings(package: Package, part: str) -> list[str]:
    """The texts that cells refer to by number."""
    strings: list[str] = []
    if part in package:
        for node in package.rows(part, "si"):
            strings.append(_rich(node))
            if len(strings) > _MOST_STRINGS:
                raise TooLarge(f"{package.name!r} holds more texts than are read here: split it into smaller files")
    return strings


def rows(
    package: Package, part: str, strings: list[str], formats: list[Formatter], advance: Callable[[], None]
) -> Iterator[Row]:
    """Rows with something in them, in the order of the file; `advance` is called now and then."""
    columns: dict[str, int] = {}
    last = 0
    for count, row in enumerate(package.rows(part, "row")):
        if count % 2_000 == 1_999:
            advance()
        named = row.get("r")
        last = int(named) if named and named.isdigit() and len(named) < 9 else last + 1
        cells: list[Cell] = []
        column = -1
        for node in row:
            reference = node.get("r")
            column = _column(reference, columns) if reference else column + 1
            if len(node) == 0:
                continue
            kind = node.get("t")
            if kind == "s":
                value = node[len(node) - 1].text
                index = int(value) if value and value.strip().isdigit() and len(value) < 12 else -1
                text = strings[index] if 0 <= index < len(strings) else ""
                if text:
                    cells.append(Cell(column, text, True))
            else:
                cell = _other(node, kind, column, formats)
                if cell is not None and cell.text:
                    cells.append(cell)
        if cells:
            yield Row(last, cells)


def _other(node: Node, kind: str | None, column: int, formats: list[Formatter]) -> Cell | None:
    if kind == "e":
        return None
    if kind == "inlineStr":
        inline = child(node, "is")
        return Cell(column, _rich(inline), True) if inline is not None else None
    value = next((each.text for each in node if local(each) == "v"), None)
    if not value:
        return None
    if kind == "str":
        return Cell(column, _clean(value), True)
    if kind == "b":
        return Cell(column, "TRUE" if value.strip() in _TRUE else "FALSE", False)
    if kind == "d":
        return Cell(column, _clean(value).replace("T00:00:00", "").replace("T", " "), False)
    style = node.get("s")
    index = int(style) if style and style.isdigit() and len(style) < 9 else 0
    form = formats[index] if index < len(formats) else general
    try:
        return Cell(column, form(value.strip()), False)
    except (ValueError, OverflowError):
        return Cell(column, _clean(value), False)


def _column(reference: str, known: dict[str, int]) -> int:
    letters = reference.rstrip("0123456789")
    column = known.get(letters)
    if column is None:
        column = 0
        for sign in letters[:3].upper():
            column = column * 26 + max(1, min(26, ord(sign) - 64))
        column -= 1
        if len(known) < 20_000:
            known[letters] = column
    return column


def _rich(node: Node) -> str:
    """The text of a string item: plain, or in runs; without the phonetic guides of Japanese."""
    pieces: list[str] = []
    for each in node:
        name = local(each)
        if name == "t":
            pieces.append(each.text or "")
        elif name == "r":
            pieces.extend(text.text or "" for text in each if local(text) == "t")
    return _clean("".join(pieces))


def _clean(text: str) -> str:
    """One line, with Excel's escapes for control characters undone."""
    text = text[:_LONGEST_CELL]
    if "_x" in text:
        text = _ESCAPED.sub(_unescaped, text)
    return " ".join(text.replace("\u00ad", "").split())


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return " " if code < 0x20 or 0xD800 <= code <= 0xDFFF or code >= 0xFFFE else chr(code)
