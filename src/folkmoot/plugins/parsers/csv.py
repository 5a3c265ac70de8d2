"""Comma-separated values, whatever the comma is: each row becomes a sentence of names and values.

The dialect is found by trying: the delimiter under which most rows of the beginning have the same number
of columns. `csv.Sniffer` is not used: it takes letters for delimiters, and minutes for hostile input.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, Source

from folkmoot.plugins.parsers.text import detect_encoding, open_text, refuse_larger

LONGEST_FIELD = 1_000_000
"""Characters. A longer one is a quote that was never closed, and would swallow the rest of the file."""

_DELIMITERS = ",;\t|"
_SAMPLE = 1 << 16
_NUMBER = re.compile(r"[-+(]?[\s\d.,'’]*\d[\d.,\s]*\)?\s?(?:%|kr|€|\$|£)?\Z|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.{0,14}\Z")
_YEAR = re.compile(r"(?:1[89]|20)\d\d\Z")


def parse(source: Source) -> Iterator[Parsed]:
    """One block of kind "row" for each row: `Name: Ada; Year: 1843`. Empty cells are left out.

    Raises `UnsupportedFile` if it is not text, `CorruptFile` if it is empty or a quote is never closed,
    `TooLarge` beyond 1 GiB.
    """
    refuse_larger(source)
    encoding = detect_encoding(source.file, source.name).name
    with open_text(source, encoding) as stream:
        start = stream.read(_SAMPLE)
    delimiter, skip = _delimiter(start)
    names = _header(start, delimiter, skip)
    ragged = 0
    with open_text(source, encoding) as stream:
        rows = _rows(stream, delimiter, source.name)
        for _ in range(skip + (names is not None)):
            next(rows, None)
        columns = list(names or ())
        for row in rows:
            while len(columns) < len(row):
                columns.append(f"Column {len(columns) + 1}")
            ragged += names is not None and len(row) != len(names)
            cells = (f"{name}: {value}" for name, cell in zip(columns, row, strict=False) if (value := _squeeze(cell)))
            if text := "; ".join(cells):
                yield Block(text=text, kind="row")
    if names is not None and ragged:
        few = "1 row has" if ragged == 1 else f"{ragged} rows have"
        yield DocumentInfo(warnings=(f"{few} more or fewer cells than the first row has names",))


def _squeeze(cell: str) -> str:
    return " ".join(cell.split())


def _reader(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    # The limit is the module's, not the reader's; this process reads one file at a time.
    csv.field_size_limit(LONGEST_FIELD)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _rows(stream: io.TextIOWrapper, delimiter: str, name: str) -> Iterator[list[str]]:
    """Rows that hold anything. A line is never read whole beyond twice the longest field."""

    def lines() -> Iterator[str]:
        while line := stream.readline(2 * LONGEST_FIELD):
            yield line.replace("\x00", "")

    rows = _reader(lines(), delimiter)
    for number in itertools.count(1):
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise CorruptFile(
                f"row {number} of {name} has a field of more than {LONGEST_FIELD:,} characters: "
                "a quote is probably never closed; correct the file and upload it again"
            ) from error
        if any(row) and any(cell.strip() for cell in row):
            yield row


def _sample_rows(start: str, delimiter: str) -> list[list[str]]:
    lines = io.StringIO(start.replace("\x00", ""))
    rows: list[list[str]] = []
    try:
        rows.extend(row for row in itertools.islice(_reader(lines, delimiter), 200) if any(c.strip() for c in row))
    except csv.Error:
        return rows
    if len(start) == _SAMPLE and len(rows) > 1:
        rows.pop()  # cut in two by the end of the sample
    return rows


def _delimiter(start: str) -> tuple[str, int]:
    """The delimiter, and how many rows to skip before the table: the `sep=;` that Excel writes."""
    first = start.split("\n", 1)[0].strip().strip('"')
    if (named := re.match(r"sep=(.)\Z", first)) or first == "sep=":
        return (named[1] if named else "\t"), 1
    best, most = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        widths = Counter(len(row) for row in _sample_rows(start, delimiter))
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
        if width > 1 and (score := (round(count / widths.total(), 1), width)) > most:
            best, most = delimiter, score
    return best, 0


def _header(start: str, delimiter: str, skip: int) -> tuple[str, ...] | None:
    """The names of the columns, or None if the first row is data.

    Names are words, each once, and above columns of numbers; years may be names among words.
    """
    rows = _sample_rows(start, delimiter)[skip:]
    if not rows:
        return None
    first = [_squeeze(cell) for cell in rows[0]]
    filled = [cell for cell in first if cell]
    # No number is long, and the expression would take its time over one.
    numbers = [cell for cell in filled if len(cell) < 40 and _NUMBER.match(cell)]
    words = [cell for cell in filled if cell not in numbers]
    if not words or len(set(filled)) < len(filled) or max(map(len, filled)) > 200:
        return None
    if any(not _YEAR.match(cell) for cell in numbers):
        return None
    if len(rows) == 1 and len(start) < _SAMPLE:
        return None
    if numbers and all(_same_kind(first, row) for row in rows[1:20]):
        return None
    return tuple(cell or f"Column {number}" for number, cell in enumerate(first, 1))


def _same_kind(first: Sequence[str], row: Sequence[str]) -> bool:
    """Whether the years of the first row stand above years, which makes it a row like the others."""
    return all(_YEAR.match(_squeeze(below)) for above, below in zip(first, row, strict=False) if _YEAR.match(above))
