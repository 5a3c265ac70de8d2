"""The cells of tables, whose repetitions must cost nothing."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_parser_opendocument.tree import Node, attr, name, number

MOST_COLUMNS = 1_024
"""Cells of a row that are looked at; a sheet may claim 16,384 in five bytes."""
_GROUPS = frozenset({"table:table-rows", "table:table-header-rows", "table:table-row-group"})
_CELLS = {"table:table-cell": True, "table:covered-table-cell": False}


def rows(table: Node) -> Iterator[Node]:
    """Rows of a table, those in groups too; one that is said to repeat comes once."""
    for node in table:
        kind = name(node)
        if kind == "table:table-row":
            yield node
        elif kind in _GROUPS:
            yield from rows(node)


def cells(row: Node) -> Iterator[tuple[Node | None, int]]:
    """Cells and how often each stands there; None for one that a merged cell covers."""
    width = 0
    for node in row:
        own = _CELLS.get(name(node))
        if own is None:
            continue
        times = min(number(node, "table:number-columns-repeated") or 1, MOST_COLUMNS - width)
        if times <= 0:
            return
        width += times
        yield (node if own and len(node) else None), times


def only_cell(table: Node) -> Node | None:
    """The cell of a table that is only a frame around text."""
    found: Node | None = None
    for row in rows(table):
        for node in row:
            if name(node) not in _CELLS:
                continue
            if found is not None or (number(node, "table:number-columns-repeated") or 1) > 1:
                return None
            found = node
    return found if found is not None and attr(found, "office:value-type") in {None, "string"} else None


def table_text(lines: list[list[str]]) -> str:
    """Rows as lines, cells joined by ` | `; empty rows and columns that are empty throughout left out."""
    filled = [row for row in lines if any(row)]
    width = max((len(row) for row in filled), default=0)
    used = [column for column in range(width) if any(column < len(row) and row[column] for row in filled)]
    text = [" | ".join(row[column] if column < len(row) else "" for column in used) for row in filled]
    return "\n".join(line.strip() for line in text)
