"""OpenDocument spreadsheets, streamed row by row, each value with the name of its column.

A sheet claims a million rows and thousands of columns in a few bytes of repetition: what repeats and is
empty is counted and never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from folkmoot_sdk import Block, DocumentInfo, Parsed, Progress

from folkmoot_parser_opendocument.header import Cell, Row, Tables
from folkmoot_parser_opendocument.inline import SHAPES, Inline, Pages
from folkmoot_parser_opendocument.package import Package, guarded
from folkmoot_parser_opendocument.reader import Reader
from folkmoot_parser_opendocument.styles import Styles
from folkmoot_parser_opendocument.tables import cells
from folkmoot_parser_opendocument.tree import Node, attr, name, number, one_line

_MOST_REPEATS = 100
"""Of a row that is not empty; what stands there more often is a filling, not a fact."""
_LONGEST_CELL = 32_767
_ROWS_PER_TICK = 2_000
_ROW, _TABLE, _SHAPES = "table:table-row", "table:table", "table:shapes"
# A date shown in figures alone may mean two days; a shown month or weekday tells more than the figures.
_FIGURES = re.compile(r"\d{1,4}[./ -]{1,2}\d{1,2}[./ -]{1,2}\d{1,4}\.?(\s+\d{1,2}[:.]\d\d([:.]\d\d)?)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")
_DURATION = re.compile(r"PT(\d{1,9})H(\d{1,2})M(\d{1,2})")


@guarded
def parse(package: Package) -> Iterator[Parsed]:
    """Blocks of each sheet, hidden sheets too."""
    yield from _Workbook(package).read()
    yield DocumentInfo(title=package.title, language=package.language, warnings=tuple(package.warnings))


class _Workbook:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._styles = Styles(None)
        self._reader = Reader(package, self._styles)
        self._sheet = ""
        self._sheets = 0
        self._row = 0
        self._tables = Tables()
        self._headed = False

    def read(self) -> Iterator[Parsed]:
        """Follow the elements as they are read; nothing is kept but the row at hand."""
        depth = shapes = count = 0
        total = max(self._package.content_size, 1)
        for event, node in self._package.stream("office:spreadsheet", _TABLE, _ROW, _SHAPES):
            kind = name(node)
            if event == "start":
                depth += kind == _TABLE
                shapes += kind == _SHAPES
                if kind == _TABLE and depth == 1 and not shapes:
                    self._begin(node)
            elif kind == "office:spreadsheet":
                self._sheets = max(self._sheets, 1)
            elif kind == _ROW and depth == 1 and not shapes:
                yield from self._named(self._read_row(node))
                _forget(node)
                count += 1
                if count % _ROWS_PER_TICK == 0:
                    yield Progress(done=min(self._package.unpacked, total), total=total)
            elif kind == _SHAPES:
                shapes -= 1
                if depth == 1 and not shapes:
                    yield from self._named(self._reader.blocks(node))
                    _forget(node)
            elif kind == _TABLE:
                depth -= 1
                if depth == 0 and not shapes:
                    yield from self._named(self._rows_to_blocks(self._tables.end()))
                    _forget(node)
        if not self._sheets:
            # Not a spreadsheet at all: `body` says what it is instead.
            self._package.body("office:spreadsheet")

    def _begin(self, node: Node) -> None:
        self._sheets += 1
        self._sheet = one_line(attr(node, "table:name") or "")[:200] or str(self._sheets)
        self._row, self._tables, self._headed = 0, Tables(), False

    def _named(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Blocks with their sheet, its name above them; an empty sheet is passed over in silence."""
        for block in blocks:
            if not self._headed:
                self._headed = True
                yield Block(text=self._sheet, kind="heading", level=1, sheet=self._sheet)
            yield Block(text=block.text, kind=block.kind, level=block.level, sheet=self._sheet)

    def _rows_to_blocks(self, found: Iterator[tuple[str, str]]) -> Iterator[Block]:
        for kind, text in found:
            yield Block(text=text, kind="row" if kind == "row" else "paragraph")

    def _read_row(self, node: Node) -> Iterator[Block]:
        times = number(node, "table:number-rows-repeated") or 1
        found, later = self._cells(node)
        if found:
            if times > _MOST_REPEATS:
                self._package.warn(
                    f"Row {self._row + 1} of the sheet {self._sheet!r} stands there {times} times: "
                    f"it was read {_MOST_REPEATS} times."
                )
            for again in range(min(times, _MOST_REPEATS)):
                yield from self._rows_to_blocks(self._tables.add(Row(self._row + again + 1, found)))
        self._row += times
        yield from later

    def _cells(self, row: Node) -> tuple[list[Cell], list[Block]]:
        """Cells of a row that hold something, and what hangs on them."""
        found: list[Cell] = []
        later: list[Block] = []
        column = 0
        for node, times in cells(row):
            if node is not None:
                cell = self._cell(node, column, later)
                if cell.text:
                    found += [cell._replace(column=column + again) for again in range(times)]
            column += times
        return found, later

    def _cell(self, node: Node, column: int, later: list[Block]) -> Cell:
        lines: list[str] = []
        # Nearly every cell is one plain paragraph, and a sheet has a million of them.
        plain = len(node) == 1 and name(node[0]) == "text:p" and not len(node[0])
        if plain:
            lines.append((node[0].text or "").replace("\u00ad", ""))
        for each in node if not plain else ():
            kind = name(each)
            if kind == "text:p":
                inline = Inline(self._styles, Pages(known=False)).read(each)
                lines.append(inline.text)
                shapes = inline.shapes
            elif kind == "office:annotation":
                later += self._reader.comment(each)
                continue
            else:
                shapes = [each] if kind in SHAPES else []
                if kind in {"table:table", "text:list"}:
                    lines += [block.text for block in self._reader.blocks([each])]
            for shape in shapes:
                later += self._reader.shape(shape)
        text = one_line(" ".join(lines))[:_LONGEST_CELL]
        kind = attr(node, "office:value-type") or "string"
        if attr(node, "calcext:value-type") == "error":
            return Cell(column, "", True)
        return Cell(column, _shown(node, kind, text), kind == "string")


def _shown(node: Node, kind: str, text: str) -> str:
    """The value as people see it; what they cannot see for the width of the column comes from the value."""
    hidden = not text or set(text) == {"#"}
    if kind == "date":
        value = attr(node, "office:date-value") or ""
        if (hidden or _FIGURES.fullmatch(text)) and _DATE.match(value):
            return value[:19].replace("T00:00:00", "").replace("T", " ")
    elif kind == "time" and hidden:
        match = _DURATION.match(attr(node, "office:time-value") or "")
        return f"{int(match[1])}:{match[2]}:{match[3]}" if match else text
    elif kind == "boolean" and hidden:
        return (attr(node, "office:boolean-value") or "").upper()[:5]
    elif kind in {"float", "percentage", "currency"} and hidden:
        return (attr(node, "office:value") or "")[:40]
    return text


def _forget(node: Node) -> None:
    """Free an element that was read, and those before it."""
    node.clear()
    parent = node.getparent()
    while parent is not None and len(parent) and parent[0] is not node:
        del parent[0]
