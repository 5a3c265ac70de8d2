"""Excel files, row by row, each value with the name of its column.

A person remembers a row by what it says ("Ada's year"), not by its cell, so every row is a block of its
own that can be found and understood alone: `Name: Ada; Year: 1843`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from folkmoot_sdk import Block, DocumentInfo, Parsed, Progress

from folkmoot_parser_office import comments
from folkmoot_parser_office.drawing import chart, paragraph_text
from folkmoot_parser_office.package import Package, Relationship, guarded
from folkmoot_parser_office.properties import language_of, title_of
from folkmoot_parser_office.tree import attr, child, children, local, topmost
from folkmoot_parser_office.xlsx_cells import Cell, Row, rows, shared_strings
from folkmoot_parser_office.xlsx_values import formatters

_LOOK_AHEAD = 12
"""Rows of a table that are looked at to find its header."""
_LONGEST_NAME = 120
_TABLE_TOP = re.compile(r"\$?[A-Z]{1,3}\$?(\d{1,7})")


@guarded
def parse(package: Package) -> Iterator[Parsed]:
    """Blocks of each sheet, hidden sheets too."""
    yield from _Workbook(package).read()


class _Workbook:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._part, self._root = package.main("xl", "workbook.xml", "workbook")
        self._ties = package.relationships(self._part)
        epoch = attr(child(self._root, "workbookPr"), "date1904") in {"1", "true"}
        styles = self._target("styles")
        root = package.find_tree(styles, "The formats of numbers") if styles else None
        self._formats = formatters(root, epoch)
        self._authors = comments.authors(package, self._ties.values())
        self._done = 0
        self._total = 0

    def _target(self, kind: str) -> str:
        return next((tie.target for tie in self._ties.values() if tie.kind == kind and tie.target), "")

    def read(self) -> Iterator[Parsed]:
        strings = shared_strings(self._package, self._target("sharedStrings"))
        sheets = list(self._sheets())
        self._total = sum(self._package.size(part) for _, part, _ in sheets)
        for name, part, kind in sheets:
            first = True
            for item in self._sheet(name, part, kind, strings):
                if first and isinstance(item, Block):
                    yield Block(text=name, kind="heading", level=1, sheet=name)
                    first = False
                yield item
            self._done += self._package.size(part)
            if self._total:
                yield Progress(done=self._done, total=self._total)
        yield DocumentInfo(
            title=title_of(self._package),
            language=language_of(self._package, {}),
            warnings=tuple(self._package.warnings),
        )

    def _sheets(self) -> Iterator[tuple[str, str, str]]:
        seen: set[str] = set()
        listed = child(self._root, "sheets")
        for node in children(listed) if listed is not None else ():
            # `sheetId` is the sheet's own number; the relationship's id bears a namespace.
            identity = next((value for key, value in node.items() if key.endswith("}id")), "")
            tie = self._ties.get(identity)
            name = " ".join((attr(node, "name") or "").split())[:200] or f"{len(seen) + 1}"
            if tie and tie.target in self._package and tie.target not in seen:
                seen.add(tie.target)
                yield name, tie.target, tie.kind

    def _sheet(self, name: str, part: str, kind: str, strings: list[str]) -> Iterator[Parsed]:
        ties = self._package.relationships(part)
        if kind == "worksheet":
            yield from self._cells(name, part, ties, strings)
        for tie in ties.values():
            if tie.kind == "drawing" and tie.target in self._package:
                for text in self._drawing(tie.target, with_tables=kind != "worksheet"):
                    yield Block(text=text[1], kind="table" if text[0] == "table" else "paragraph", sheet=name)
        for text in comments.of_sheet(self._package, ties.values(), self._authors):
            yield Block(text=text, kind="note", sheet=name)

    def _cells(self, name: str, part: str, ties: dict[str, Relationship], strings: list[str]) -> Iterator[Parsed]:
        ticks: list[bool] = []
        size = self._package.size(part)
        start = self._package.unpacked
        stream = rows(self._package, part, strings, self._formats, lambda: ticks.append(True))
        table = _Tables(set(self._header_rows(ties)))
        for kind, text in table.read(stream):
            yield Block(text=text, kind="row" if kind == "row" else "paragraph", sheet=name)
            if ticks:
                ticks.clear()
                read = min(self._package.unpacked - start, size)
                yield Progress(done=self._done + read, total=max(self._total, self._done + read))

    def _header_rows(self, ties: dict[str, Relationship]) -> Iterator[int]:
        """Where the author made a table of the cells, its header is known."""
        for tie in ties.values():
            root = self._package.find_tree(tie.target, "A table") if tie.kind == "table" and tie.target else None
            match = _TABLE_TOP.match(attr(root, "ref") or "")
            if match and attr(root, "headerRowCount") != "0":
                yield int(match[1])

    def _drawing(self, part: str, with_tables: bool) -> Iterator[tuple[str, str]]:
        root = self._package.find_tree(part, "A drawing")
        if root is None:
            return
        ties = self._package.relationships(part)
        for node in topmost(root, "sp", "chart"):
            if local(node) == "sp":
                lines = [paragraph_text(each) for each in topmost(node, "p")]
                if any(lines):
                    yield "paragraph", "\n".join(line for line in lines if line)
                continue
            tie = ties.get(attr(node, "id") or "")
            if tie and tie.target:
                # The figures of a chart on a sheet stand in the cells already.
                found = chart(self._package, tie.target)
                yield from (each for each in found if with_tables or each[0] != "table")


class _Tables:
    """Rows that belong together, named by the header above them."""

    def __init__(self, known_headers: set[int]) -> None:
        self._known = known_headers
        self._names: dict[int, str] = {}
        self._used: set[int] = set()
        self._figures: set[int] = set()
        """Columns that held something other than text under the present header."""

    def read(self, stream: Iterator[Row]) -> Iterator[tuple[str, str]]:
        """Pairs of "row" or "title" and text."""
        waiting: list[Row] = []
        last = -1
        open_table = False
        for row in stream:
            if row.number != last + 1:
                yield from self._begin(waiting)
                waiting, open_table = [], False
            last = row.number
            if row.number in self._known and open_table:
                open_table = False
            if open_table:
                yield "row", self._row(row)
                continue
            waiting.append(row)
            if len(waiting) >= _LOOK_AHEAD:
                yield from self._begin(waiting)
                waiting, open_table = [], True
        yield from chain(self._begin(waiting), self._unused())

    def _begin(self, block: list[Row]) -> Iterator[tuple[str, str]]:
        """The first rows of a table: what is title, what header, what the first data."""
        if not block:
            return
        at = self._header(block)
        if at is None and not self._continues(block[0]):
            yield from self._unused()
            self._names = {}
        for row in block[:at] if at is not None else ():
            yield "title", "; ".join(cell.text for cell in row.cells)
        if at is not None:
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
            if row.number in self._known:
                return at
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
