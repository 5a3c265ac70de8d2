"""From fragments in reading order to lines, paragraphs, lists and tables."""

from __future__ import annotations

import re
from itertools import pairwise
from statistics import median

from folkmoot_sdk import Block

from folkmoot_parser_pdf.pdfium import Fragment
from folkmoot_parser_pdf.text import Joiner

BULLET = re.compile(r"(?:[•‣◦▪▫●○■□◆❖➢➤✓✔·∙⁃–—*-]|\(?(?:\d{1,2}|[a-zA-Z])[.)])\s+(?=\S)")
CELL_GAP = 0.9
"""In letter sizes: a gap this wide inside a line parts two cells."""
LOOSE_GAP = 2.0
"""This wide, it is no word space of a justified line either."""
MIN_ROWS = 3


class Line:
    """One line of a region; it has several cells where wide gaps part it."""

    __slots__ = ("bottom", "cells", "fragments", "level", "loose", "size", "text", "top", "x0", "x1")

    def __init__(self, fragments: list[Fragment]) -> None:
        self.fragments = fragments
        weight = [len(one.text) for one in fragments]
        rtl = sum(w for one, w in zip(fragments, weight, strict=True) if one.rtl) * 2 > sum(weight)
        main = max(fragments, key=lambda one: len(one.text))
        self.size, self.top, self.bottom = main.size, main.top, main.bottom
        self.x0, self.x1 = min(one.x0 for one in fragments), max(one.x1 for one in fragments)
        self.level: int | None = None
        """Of a heading."""
        self.cells: list[tuple[float, float, str]] = []
        for one in sorted(fragments, key=lambda one: -one.x1 if rtl else one.x0):
            if not self.cells:
                self.cells.append((one.x0, one.x1, one.text))
                continue
            x0, x1, text = self.cells[-1]
            gap = max(one.x0 - x1, x0 - one.x1)
            if gap > CELL_GAP * self.size:
                self.cells.append((one.x0, one.x1, one.text))
            else:
                glue = "" if gap < 0.12 * self.size else " "
                self.cells[-1] = (min(x0, one.x0), max(x1, one.x1), text + glue + one.text)
        self.text = " ".join(cell[2] for cell in self.cells)
        gaps = [max(b[0] - a[1], a[0] - b[1]) for a, b in pairwise(self.cells)]
        self.loose = max(gaps, default=0.0) > LOOSE_GAP * self.size
        """Of fields rather than of words."""


def lines(region: list[Fragment]) -> list[Line]:
    """The lines of a region without columns, from the top."""
    found: list[list[Fragment]] = []
    for one in region:
        for row in reversed(found[-3:]):
            other = row[0]
            shared = min(one.bottom, other.bottom) - max(one.top, other.top)
            if shared > 0.5 * min(one.height, other.height):
                row.append(one)
                break
        else:
            found.append([one])
    return sorted(map(Line, found), key=lambda line: line.top)


def blocks(region: list[Line], page: int, joiner: Joiner) -> list[Block]:
    """What `region` says: headings where lines have a level, tables where they line up, else paragraphs."""
    found: list[Block] = []
    pitch, right = _pitch(region), max((line.x1 for line in region), default=0.0)
    index = 0
    while index < len(region):
        if rows := _table(region, index):
            found.append(Block(_as_text(rows), "table", page=page))
            index += sum(map(len, rows))
            continue
        end = index + 1
        while end < len(region) and not _parts(region[index:end], region[end], pitch, right):
            if len(region[end].cells) > 1 and _table(region, end):
                break
            end += 1
        found += _paragraph(region[index:end], page, joiner, found)
        index = end
    return found


def _pitch(region: list[Line]) -> float:
    """From one line to the next inside paragraphs, in letter sizes: small print lies closer."""
    steps = [(b.top - a.top) / max(a.size, b.size, 1.0) for a, b in pairwise(region)]
    return median([step for step in steps if 0 < step < 2.5] or [0.0])


def _parts(before: list[Line], line: Line, pitch: float, right: float) -> bool:
    """Whether a new paragraph begins with `line`."""
    last = before[-1]
    size = max(last.size, line.size)
    if last.level != line.level or abs(last.size - line.size) > 0.12 * size:
        return True
    if line.level is not None:
        return line.top - last.top > 2 * size
    step = line.top - last.top
    if step > size * max(1.25 * min(pitch or 1.36, 1.7), 1.05) or step < -size:
        return True
    if BULLET.match(line.text):
        return True
    ended = last.text[-1] in '.:!?…"”»' and right - last.x1 > 0.1 * (right - last.x0)
    indented = line.x0 - last.x0 > 0.8 * size and not BULLET.match(before[0].text)
    if indented and len(before) > 1:
        return True
    return ended and (line.text[0].isupper() or indented)


def _paragraph(group: list[Line], page: int, joiner: Joiner, found: list[Block]) -> list[Block]:
    first = group[0]
    if first.level is not None:
        return [Block(joiner.join([line.text for line in group]), "heading", level=first.level, page=page)]
    parts: list[list[str]] = [[]]
    for index, line in enumerate(group):
        # A line with gaps is one of a form or a loose table: running it on would mix its fields.
        if index and (line.loose or group[index - 1].loose):
            parts.append([])
        parts[-1].append(line.text)
    text = "\n".join(joiner.join(part) for part in parts).strip()
    if not text:
        return []
    if not BULLET.match(text):
        return [Block(text, page=page)]
    if found and found[-1].kind == "list":
        text = f"{found.pop().text}\n{text}"
    return [Block(text, "list", page=page)]


def _table(region: list[Line], start: int) -> list[list[Line]]:
    """The rows of a table that begins at `start`, each with the lines it takes; nothing if there is none.

    At least three rows, and white strips through all of them where most rows have their gaps.
    """
    if len(region[start].cells) < 2:
        return []
    cover: list[tuple[float, float]] = []
    rows: list[list[Line]] = []
    loose = 0
    for line in region[start:]:
        if line.level is not None or (rows and line.top - rows[-1][-1].top > 4 * line.size):
            break
        grown = _cover(cover, line)
        if len(grown) < 2:
            break
        if len(line.cells) > 1:
            cover, loose = grown, 0
            rows.append([line])
        elif line.x0 > grown[0][1] and line.top - rows[-1][-1].top < 1.8 * line.size:
            # Below a cell that is not the first: what did not fit into its line.
            cover = grown
            rows[-1].append(line)
        else:
            cover = grown
            loose += 1
            rows.append([line])
            if loose > 2:
                break
    while rows and len(rows[-1][0].cells) < 2:
        rows.pop()
    full = sum(len(row[0].cells) > 1 for row in rows)
    return rows if full >= MIN_ROWS and len(_columns(rows)) > 1 else []


def _cover(cover: list[tuple[float, float]], line: Line) -> list[tuple[float, float]]:
    for x0, x1, _ in line.cells:
        kept: list[tuple[float, float]] = []
        for left, right in cover:
            if right + 0.3 * line.size < x0 or left - 0.3 * line.size > x1:
                kept.append((left, right))
            else:
                x0, x1 = min(x0, left), max(x1, right)  # noqa: PLW2901 - it grows
        cover = sorted([*kept, (x0, x1)])
    return cover


def _columns(rows: list[list[Line]]) -> list[tuple[float, float]]:
    cover: list[tuple[float, float]] = []
    for row in rows:
        for line in row:
            cover = _cover(cover, line)
    return cover


def _as_text(rows: list[list[Line]]) -> str:
    columns = _columns(rows)
    found: list[str] = []
    for row in rows:
        cells: list[list[str]] = [[] for _ in columns]
        for line in row:
            for x0, _, text in line.cells:
                cells[max(0, sum(x0 >= left - 0.01 for left, _ in columns) - 1)].append(text)
        found.append(" | ".join(" ".join(cell) for cell in cells).strip())
    return "\n".join(found).strip()
