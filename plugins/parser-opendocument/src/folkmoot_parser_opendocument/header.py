"""Rows of a sheet with the names of their columns: `Name: Ada; Year: 1843`.

A person remembers a row by what it says ("Ada's year"), not by its cell. The parser of Excel files gives rows
the same shape by the same rules, so that it does not matter in which program a list was kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_LOOK_AHEAD = 12
"""Rows of a table that are looked at to find its header."""
_LONGEST_NAME = 120


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
    """From 1, as the program shows it."""
    cells: list[Cell]


class Tables:
    """Rows that belong together, named by the header above them; an empty row parts them."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._used: set[int] = set()
        self._figures: set[int] = set()
        """Columns that held something other than text under the present header."""
        self._waiting: list[Row] = []
        self._last = -1
        self._open = False

    def add(self, row: Row) -> Iterator[tuple[str, str]]:
        """Pairs of "row" or "title" and text, as far as they are certain by now."""
        if row.number != self._last + 1:
            yield from self._begin()
            self._open = False
        self._last = row.number
        if self._open:
            yield "row", self._row(row)
            return
        self._waiting.append(row)
        if len(self._waiting) >= _LOOK_AHEAD:
            yield from self._begin()
            self._open = True

    def end(self) -> Iterator[tuple[str, str]]:
        """What was waiting for more."""
        yield from self._begin()
        yield from self._unused()

    def _begin(self) -> Iterator[tuple[str, str]]:
        """The first rows of a table: what is title, what header, what the first data."""
        block, self._waiting = self._waiting, []
        if not block:
            return
        at = self._header(block)
        if at is None and not self._continues(block[0]):
            yield from self._unused()
            self._names = {}
        if at is not None:
            for row in block[:at]:
                yield "title", "; ".join(cell.text for cell in row.cells)
            yield from self._unused()
            named = [*block[at].cells]
            if at and _groups(block[at - 1], block[at], max(len(row.cells) for row in block)):
                # A name that spans both rows of a header stands in the upper one.
                named = [*block[at - 1].cells, *named]
            self._names = {cell.column: cell.text for cell in named if len(cell.text) <= _LONGEST_NAME}
            self._used, self._figures = set(), set()
        for row in block if at is None else block[at + 1 :]:
            alone = len(row.cells) == 1 and row.cells[0].column not in self._names
            yield "title" if alone and at is None else "row", self._row(row)

    def _row(self, row: Row) -> str:
        parts: list[str] = []
        for column, text, is_text in row.cells:
            name = self._names.get(column)
            if name is None:
                parts.append(text)
            else:
                parts.append(f"{name}: {text}")
                self._used.add(column)
                if not is_text:
                    self._figures.add(column)
        return "; ".join(parts)

    def _unused(self) -> Iterator[tuple[str, str]]:
        """Names of columns that stayed empty: they are text of the sheet all the same."""
        names = [name for column, name in self._names.items() if column not in self._used]
        self._used.update(self._names)
        if names:
            yield "title", " | ".join(names)

    def _header(self, block: list[Row]) -> int | None:
        """Which row names the columns, if one does."""
        width = max(len(row.cells) for row in block)
        for at, row in enumerate(block[:-1]):
            if at > _LOOK_AHEAD // 2:
                break
            if len(row.cells) >= max(2, (width + 1) // 2) and _names_columns(row.cells):
                # After a gap the same columns go on, unless this row has words where figures stood.
                if at == 0 and self._continues(row):
                    return None
                return at + 1 if at + 2 < len(block) and _groups(row, block[at + 1], width) else at
            if width == 1 and at == 0 and row.cells[0].is_text and not any(r.cells[0].is_text for r in block[1:]):
                return at
        return None

    def _continues(self, row: Row) -> bool:
        """The row fits under the header we have."""
        columns = {cell.column for cell in row.cells}
        if len(columns) < 2 or not columns <= set(self._names):
            return False
        words = {cell.column for cell in row.cells if cell.is_text}
        if words & self._figures:
            return False
        # All words everywhere tells nothing; then only a row that fills every column goes on.
        return bool(self._figures & columns) or columns == set(self._names)


def _groups(upper: Row, lower: Row, width: int) -> bool:
    """The upper row names groups of the columns that the lower one names."""
    columns = {cell.column for cell in upper.cells}
    finer = any(cell.column not in columns for cell in lower.cells)
    return 1 < len(columns) <= width * 2 / 3 and finer and _names_columns(lower.cells)


def _names_columns(cells: list[Cell]) -> bool:
    words = sum(cell.is_text for cell in cells)
    distinct = len({cell.text for cell in cells})
    short = all(len(cell.text) <= _LONGEST_NAME for cell in cells)
    return short and words * 2 > len(cells) and distinct == len(cells)
