"""Paragraphs, lists and tables, as they come out of a stretch of RTF.

The body of the document is one such flow; every footnote, header, comment and text box is one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from folkmoot_sdk import Block

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_LIST = 4_000
"""Characters after which a list goes on in a new block."""
DEEPEST_TABLE = 20
MOST_CELLS = 4_096
"""Of one row; Word allows 63."""


class _Rows:
    """A table being built."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.cells: list[str] = []
        self.lines: list[str] = []


class Flow:
    """Blocks of one stretch of text; `ready` is what is finished."""

    def __init__(self, kind: str = "body") -> None:
        self.kind = kind
        self.ready: list[Block] = []
        self.pieces: list[str] = []
        self.label: str | None = None
        """What stands in front of the present paragraph, if it is an item of a list."""
        self._tables: list[_Rows] = []
        self._inner: list[Block] = []
        """Tables inside cells of the present table."""
        self._later: list[Block] = []
        """What hangs on the present paragraph."""

    @property
    def in_table(self) -> bool:
        return bool(self._tables)

    def attach(self, blocks: Iterable[Block]) -> None:
        """Blocks that follow when the present paragraph is over."""
        self._later += blocks

    def text(self) -> str:
        """The whole flow as lines; only once it has ended."""
        return "\n".join(block.text for block in joined(self.ready))

    def paragraph(self, table_level: int, level: int | None, depth: int) -> None:
        """The paragraph ends; `table_level` is 0 outside of tables, `level` that of a heading."""
        text, label = self._take()
        if table_level:
            if text:
                self._table(table_level).lines.append(f"{label} {text}" if label else text)
            return
        self._end_tables()
        if text:
            self.ready.append(_block(text, label, level, depth))
        self._release()

    def cell(self, table_level: int) -> None:
        """A cell of a table of this level ends, and its last paragraph with it."""
        self.paragraph(table_level, None, 0)
        self._fold(table_level)
        table = self._table(table_level)
        if len(table.cells) < MOST_CELLS:
            table.cells.append(" ".join(" ".join(table.lines).split()))
        table.lines = []

    def row(self, table_level: int) -> None:
        table = self._table(table_level)
        if "".join(self.pieces).strip():
            # A text between the last cell and the end of its row belongs to no cell, and is text all the same.
            self.cell(table_level)
        self._take()
        self._fold(table_level)
        if table.cells:
            table.rows.append(table.cells)
        table.cells = []

    def end(self, level: int | None, depth: int) -> None:
        """Nothing more comes."""
        self.paragraph(0, level, depth)

    def _table(self, level: int) -> _Rows:
        level = max(1, min(level, DEEPEST_TABLE))
        while len(self._tables) < level:
            self._tables.append(_Rows())
        return self._tables[level - 1]

    def _fold(self, level: int) -> None:
        """Tables inside a cell that has ended are tables of their own, behind the one around them."""
        while len(self._tables) > max(1, min(level, DEEPEST_TABLE)):
            self._inner += self._finished(self._tables.pop())

    def _end_tables(self) -> None:
        if self._tables:
            self._fold(1)
            self.ready += [*self._finished(self._tables.pop()), *self._inner]
            self._inner = []

    def _finished(self, table: _Rows) -> Iterator[Block]:
        if table.lines:
            table.cells.append(" ".join(" ".join(table.lines).split()))
        if table.cells:
            table.rows.append(table.cells)
        filled = [row for row in table.rows if any(row)]
        if len(filled) == 1 and sum(map(bool, filled[0])) == 1:
            # One cell alone is only a frame around text.
            yield Block(text="".join(filled[0]))
            return
        width = max((len(row) for row in filled), default=0)
        used = [column for column in range(width) if any(column < len(row) and row[column] for row in filled)]
        lines = [" | ".join(row[column] if column < len(row) else "" for column in used).strip() for row in filled]
        if lines:
            yield Block(text="\n".join(lines), kind="table")

    def _take(self) -> tuple[str, str | None]:
        text, label = clean("".join(self.pieces)), self.label
        self.pieces, self.label = [], None
        return text, label

    def _release(self) -> None:
        self.ready += self._later
        self._later = []


def clean(text: str) -> str:
    """Lines without blanks at their ends; halves of a character beyond 16 bits put together."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = text.replace("\u00ad", "").replace("\0", "")
    return "\n".join(line.strip() for line in text.split("\n")).strip()


def _block(text: str, label: str | None, level: int | None, depth: int) -> Block:
    if level is not None:
        numbered = f"{label} {text}" if label and label != "-" else text
        return Block(text=" ".join(numbered.split()), kind="heading", level=level)
    if label is None:
        return Block(text=text)
    # The level of an item travels as its indentation until `joined` has seen the whole list.
    return Block(text="  " * depth + f"{label} " + text.replace("\n", " "), kind="list")


def joined(blocks: Iterable[Block]) -> Iterator[Block]:
    """Items that follow one another as one list, as far indented as the items beside them ask."""
    items: list[str] = []
    length = 0
    for block in blocks:
        if items and (block.kind != "list" or length > _LONGEST_LIST):
            yield _list_block(items)
            items, length = [], 0
        if block.kind == "list":
            items.append(block.text)
            length += len(block.text)
        else:
            yield block
    if items:
        yield _list_block(items)


def _list_block(items: list[str]) -> Block:
    least = min(len(item) - len(item.lstrip(" ")) for item in items)
    return Block(text="\n".join(item[least:] for item in items).strip(), kind="list")
