"""In which order the parts of a page are read.

Top-down cuts along white space, after Nagy & Seth, "Hierarchical representation of optically scanned
documents" (ICPR 1984), on boxes instead of pixels as Ha, Haralick & Phillips, "Recursive X-Y cut using
bounding boxes of connected components" (ICDAR 1995). One thing differs: a cut down the page is looked for
in the longest stretch of lines that leaves it white, not in the page as a whole, so that a title or a
wide table across two columns does not hide them.
"""

from __future__ import annotations

from itertools import pairwise

from folkmoot_parser_pdf.pdfium import Fragment

GUTTER = 0.8
"""In letter sizes: columns are at least this far apart."""
PROSE = 20
"""Characters of a line of prose; most cells of a table have fewer."""
MIN_LINES = 3
MAX_DEPTH = 5
MAX_FRAGMENTS = 5000
"""On one page; beyond that it is no page that somebody reads, and comparing each with each takes too long."""


def regions(fragments: list[Fragment], depth: int = 0) -> list[list[Fragment]]:
    """`fragments` parted into stretches without columns, in reading order; each sorted from the top."""
    ordered = sorted(fragments, key=lambda one: (one.top, one.x0))
    if depth >= MAX_DEPTH or len(ordered) > MAX_FRAGMENTS or not _side_by_side(ordered):
        return [ordered] if ordered else []
    found: list[list[Fragment]] = []
    plain: list[Fragment] = []
    for run, gutters in _runs(ordered):
        parts = _parted(run, gutters) if gutters else []
        if not parts:
            plain += run
            continue
        if plain:
            found.append(plain)
            plain = []
        for part in parts:
            found += regions(part, depth + 1)
    return [*found, plain] if plain else found


def _side_by_side(ordered: list[Fragment]) -> bool:
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 : index + 20]:
            if other.top > one.bottom - 0.3 * one.height:
                break
            if other.x0 > one.x1 or other.x1 < one.x0:
                return True
    return False


def _runs(ordered: list[Fragment]) -> list[tuple[list[Fragment], list[tuple[float, float]]]]:
    """Stretches from top to bottom, each with the white strips that run through all of it."""
    found: list[tuple[list[Fragment], list[tuple[float, float]]]] = []
    run: list[Fragment] = []
    cover: list[tuple[float, float]] = []
    bottom = 0.0
    waiting = list(reversed(ordered))
    while waiting:
        one = waiting.pop()
        now = _with(cover, one)
        if run and len(cover) < 2 and one.top >= bottom - 0.3 * one.height:
            # Nothing beside it so far: a cut across the page is always free here.
            found.append((run, []))
            run, now = [], [(one.x0, one.x1)]
        elif run and len(cover) > 1 and len(now) < 2:
            tail = _tail(run, cover)
            found.append((run[: len(run) - len(tail)], _gaps(cover)))
            # What hung on below only one of the columns may belong to the wide line that ended them.
            waiting.append(one)
            waiting.extend(reversed(tail))
            run, cover, bottom = [], [], 0.0
            continue
        run.append(one)
        cover, bottom = now, max(bottom, one.bottom)
    if run:
        tail = _tail(run, cover) if len(cover) > 1 else []
        found.append((run[: len(run) - len(tail)], _gaps(cover)))
        if tail:
            found.append((tail, []))
    return found


def _with(cover: list[tuple[float, float]], one: Fragment) -> list[tuple[float, float]]:
    """The stretches of x that are covered; closer than a gutter counts as one."""
    x0, x1, reach = one.x0, one.x1, GUTTER * min(one.size, one.height)
    kept: list[tuple[float, float]] = []
    for left, right in cover:
        if right + reach < x0 or left - reach > x1:
            kept.append((left, right))
        else:
            x0, x1 = min(x0, left), max(x1, right)
    return sorted([*kept, (x0, x1)])


def _gaps(cover: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(left[1], right[0]) for left, right in pairwise(cover)]


def _tail(run: list[Fragment], cover: list[tuple[float, float]]) -> list[Fragment]:
    """The end of `run` that stands under one column only, after a wide gap; never all of it."""
    last: dict[int, float] = {}
    for one in run:
        column = next((i for i, (left, right) in enumerate(cover) if left <= one.x0 <= right), 0)
        last[column] = max(last.get(column, 0.0), one.bottom)
    if len(last) < 2:
        return []
    ends = sorted(last.values())[-2]
    for index in range(1, len(run)):
        one, before = run[index], max(other.bottom for other in run[max(0, index - 8) : index])
        if one.top >= ends - 1 and one.top - before > one.size:
            return run[index:]
    return []


def _parted(run: list[Fragment], gutters: list[tuple[float, float]]) -> list[list[Fragment]]:
    """The columns of `run` from left to right, or nothing if they are rather those of a table."""
    columns: list[list[Fragment]] = [[] for _ in range(len(gutters) + 1)]
    for one in run:
        columns[sum(one.x0 >= right for _, right in gutters)].append(one)
    columns = [column for column in columns if column]
    if len(columns) < 2 or min(map(_lines, columns)) < MIN_LINES:
        return []
    shares = [_prose(column) for column in columns]
    # Cells are written row by row, columns one after the other; a few programs write them line by line.
    if min(shares) < 0.6 and not (_one_by_one(columns) and (min(shares) > 0.3 or not _aligned(columns))):
        return []
    rtl = sum(one.rtl for one in run) * 2 > len(run)
    return columns[::-1] if rtl else columns


def _lines(column: list[Fragment]) -> int:
    return 1 + sum(later.top > one.top + 0.5 * one.height for one, later in pairwise(column))


def _prose(column: list[Fragment]) -> float:
    """The share of lines that are long and fill the column."""
    width = max(one.x1 for one in column) - min(one.x0 for one in column)
    return sum(len(one.text) >= PROSE and one.x1 - one.x0 >= 0.6 * width for one in column) / len(column)


def _one_by_one(columns: list[list[Fragment]]) -> bool:
    """Whether the file has (nearly) all of one column before the next."""
    owner = sorted((one.order, index) for index, column in enumerate(columns) for one in column)
    switches = sum(one[1] != other[1] for one, other in pairwise(owner))
    return switches <= len(columns) + 0.2 * min(map(len, columns))


def _aligned(columns: list[list[Fragment]]) -> bool:
    """Whether the lines of the shortest column stand beside lines of its neighbours, as in the rows of a table."""
    shortest = min(columns, key=len)
    others = [one for column in columns if column is not shortest for one in column]
    level = sum(any(abs(one.bottom - two.bottom) < 0.25 * one.height for two in others) for one in shortest)
    return level >= 0.6 * len(shortest)
