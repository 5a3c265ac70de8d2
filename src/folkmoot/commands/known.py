"""Reading a set of documents and questions with known answers, and saying which line of which file is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, cast

import msgspec

LONGEST_LINE = 64 << 20
"""Bytes."""


class SetError(Exception):
    """A file of the set cannot be used; the sentence names file, line and fact."""


@dataclass(frozen=True)
class Row:
    """One document of the corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Known:
    """Documents, questions, and which of them belong together."""

    name: str
    rows: list[Row]
    queries: dict[str, str]
    """Those that have a relevant document; text by id."""
    grades: dict[str, dict[str, float]]
    """Of each query, how relevant documents are; only grades above 0."""
    remarks: list[str] = field(default_factory=list[str])
    """What is odd and does no harm, in sentences."""


def read_set(corpus: Path, queries: Path, qrels: Path) -> Known:
    """Read a set in the simple format. Raises `SetError`."""
    rows = [Row(row_id, _text(line, "title", ""), _text(line, "text")) for row_id, line in _by_id(corpus)]
    if not rows:
        raise SetError(f"{corpus.name} has no documents: write one JSON object with id, title and text on each line")
    asked = {query_id: _text(line, "text") for query_id, line in _by_id(queries)}
    grades = _grades(qrels)
    remarks: list[str] = []
    wanted = {query_id: text for query_id, text in asked.items() if any(grades.get(query_id, {}).values())}
    if not wanted:
        raise SetError(
            f"{qrels.name} gives no query of {queries.name} a grade above 0: there is nothing to measure. Are the ids "
            "of both files the same?"
        )
    if left := len(asked) - len(wanted):
        remarks.append(f"{left} of {len(asked)} queries have no relevant document and are left out")
    kept = {query_id: {doc: grade for doc, grade in grades[query_id].items() if grade > 0} for query_id in wanted}
    there = {row.id for row in rows}
    if lost := sum(doc not in there for of_query in kept.values() for doc in of_query):
        remarks.append(f"{lost} relevant documents are not in {corpus.name} and count as not found")
    return Known(corpus.parent.name, rows, wanted, kept, remarks)


@dataclass(frozen=True)
class _Line:
    file: str
    number: int
    values: dict[str, Any]

    def wrong(self, fact: str) -> SetError:
        return SetError(f"{self.file}, line {self.number}: {fact}")


def _by_id(path: Path) -> Iterator[tuple[str, _Line]]:
    seen: dict[str, int] = {}
    for line in _lines(path):
        row_id = _id(line)
        if row_id in seen:
            raise line.wrong(f"the id {row_id!r} is on line {seen[row_id]} already: each may be there once")
        seen[row_id] = line.number
        yield row_id, line


def _lines(path: Path) -> Iterator[_Line]:
    for number, raw in _raw(path):
        try:
            values = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SetError(f"{path.name}, line {number}: not JSON ({error})") from error
        if not isinstance(values, dict):
            raise SetError(f"{path.name}, line {number}: not an object with an id and a text")
        yield _Line(path.name, number, cast("dict[str, Any]", values))


def _raw(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers from 1."""
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise SetError(f"{path.name}, line {number}: longer than {LONGEST_LINE >> 20} MB")
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if raw.strip():
                    yield number, raw.strip(b"\r\n")
    except OSError as error:
        raise SetError(f"{path.name} cannot be read: {error.strerror or error}") from error


def _id(line: _Line) -> str:
    value = line.values.get("id", line.values.get("_id"))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise line.wrong("no id: give each line one, as text or a whole number")
    return value


def _text(line: _Line, name: str, default: str | None = None) -> str:
    value = line.values.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise line.wrong(f"no {name}: it must be there, and be text")
    return value.replace("\x00", "")


def _grades(path: Path) -> dict[str, dict[str, float]]:
    """By query, the grade of each document that has one. A first line that ends in no number is the header."""
    grades: dict[str, dict[str, float]] = {}
    first = True
    for number, raw in _raw(path):
        parts = raw.decode(errors="replace").split("\t")
        header, first = first, False
        if len(parts) == 1:
            parts = parts[0].split()
        if len(parts) not in (3, 4):
            raise SetError(
                f"{path.name}, line {number}: {len(parts)} columns; write query_id, doc_id and grade, with tabs between"
            )
        # As trec_eval has it, with an iteration in the middle.
        query_id, doc_id, said = parts[0].strip(), parts[-2].strip(), parts[-1].strip()
        try:
            grade = float(said)
        except ValueError:
            if header:
                continue
            raise SetError(f"{path.name}, line {number}: the grade is {said!r}, which is no number") from None
        if not isfinite(grade):
            raise SetError(f"{path.name}, line {number}: the grade is {said!r}, which is no grade")
        grades.setdefault(query_id, {})[doc_id] = grade
    return grades
