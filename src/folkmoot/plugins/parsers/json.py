"""JSON and JSON Lines, read as they stream: no file is too large, and no value held that is not shown.

The tokens are found here, not by a library, for what is a mistake to them is daily bread in exports: `NaN`, a
number of ten thousand digits, the same key twice, half a surrogate pair, a value as long as the file. msgspec
and the standard library want all of the file in memory; ijson ends at the first of those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import TextIOBase

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, Source, TooLarge

from folkmoot.plugins.parsers.records import Records
from folkmoot.plugins.parsers.text import detect_encoding, open_text, refuse_larger

DEEPEST = 1_000
"""Levels; nobody writes so many, and bombs are made of more."""

LINES = "application/jsonl"

_PIECE = 1 << 16
_LONGEST_TEXT = 1 << 20
"""Characters. What a string has beyond them is left out."""
_LONGEST_WORD = 1_000
"""Digits that are shown of a number."""
_INSIDE = r'[^"\\]*(?:\\.[^"\\]*)*'
_TOKEN = re.compile(rf'\s*([{{}}\[\],:]|"{_INSIDE}"|[^\s{{}}\[\],:"]+)', re.DOTALL)
_TEXT = re.compile(_INSIDE, re.DOTALL)
_WORD = re.compile(r'[^\s{}\[\],:"]*')
_CUT = f"texts of more than {_LONGEST_TEXT:,} characters and numbers of more than {_LONGEST_WORD:,} digits are cut off"
_SPACE = re.compile(r"\s*")
_SCALAR = re.compile(r"[+-]?(?:\.?\d[\d.eE+-]*|Infinity|NaN|nan|inf)\Z|true\Z|false\Z|null\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)


class _Broken(Exception):
    """What is wrong, as the end of a sentence."""


class _TooDeep(Exception):
    pass


def parse(source: Source) -> Iterator[Parsed]:
    """Records are rows, `name: Ada; born.year: 1815`; what holds them is a heading; long texts are paragraphs.

    Raises `UnsupportedFile` if it is not text, `CorruptFile` if it is not JSON to its end, `TooLarge` beyond 1 GiB
    or 1,000 levels.
    """
    refuse_larger(source)
    encoding = detect_encoding(source.file, source.name).name
    try:
        with open_text(source, encoding) as stream:
            if source.media_type == LINES:
                yield from _lines(stream)
            else:
                records, tokens = Records(), _Tokens(_pieces(stream))
                yield from _values(tokens, records)
                yield from records.rest()
                if tokens.cut:
                    yield DocumentInfo(warnings=(_CUT,))
    except _Broken as error:
        raise CorruptFile(f"{source.name} is not sound JSON: {error}; export it again from where it was made") from None
    except _TooDeep:
        raise TooLarge(f"{source.name} is nested more than {DEEPEST:,} levels deep, which is read no further") from None


def _pieces(stream: TextIOBase) -> Iterator[str]:
    while piece := stream.read(_PIECE):
        yield piece


def _lines(stream: TextIOBase) -> Iterator[Parsed]:
    """Each line is a value of its own, and a broken one no reason to lose the others."""
    records = Records()
    broken: list[int] = []
    number = count = 0
    cut = False
    while line := stream.readline(_PIECE):
        number += 1
        if not line.strip() and line.endswith("\n"):
            continue
        rest = _rest_of_line(stream, line)
        count += 1
        try:
            records.start("", element=True)
            tokens = _Tokens(rest)
            yield from _values(tokens, records)
            yield from records.end()
            yield from records.rest()
            cut = cut or tokens.cut
        except (_Broken, _TooDeep):
            broken.append(number)
            for _ in rest:
                pass
            records = Records()
    if broken and len(broken) == count:
        raise _Broken(f"none of its {count:,} lines is a value")
    warnings = [_CUT] if cut else []
    if broken:
        first = ", ".join(map(str, broken[:10])) + (", ..." if len(broken) > 10 else "")
        lines = f"line {first} is" if len(broken) == 1 else f"{len(broken):,} lines ({first}) are"
        warnings.append(f"{lines} not sound JSON and left out")
    if warnings:
        yield DocumentInfo(warnings=tuple(warnings))


def _rest_of_line(stream: TextIOBase, line: str) -> Iterator[str]:
    yield line
    while not line.endswith("\n") and (line := stream.readline(_PIECE)):
        yield line


class _Tokens:
    """Punctuation, strings with their quotes and bare words, however the text is cut into pieces."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._buffer = ""
        self._at = self._passed = 0
        self.cut = False
        """A value was longer than any that is kept whole."""

    @property
    def place(self) -> int:
        """Characters read so far."""
        return self._passed + self._at

    def __iter__(self) -> Iterator[str]:
        while True:
            match = _TOKEN.match(self._buffer, self._at)
            if match is not None and match.end() < len(self._buffer):
                self._at = match.end()
                yield match[1]
                continue
            # What touches the end of the piece may go on in the next.
            self._at = self._run(_SPACE)
            if self._at == len(self._buffer):
                if not self._more():
                    return
            elif self._buffer[self._at] in "{}[],:":
                self._at += 1
                yield self._buffer[self._at - 1]
            elif self._buffer[self._at] == '"':
                self._at += 1
                yield f'"{self._long(_TEXT, _LONGEST_TEXT)}"'
                self._at += 1
            else:
                yield self._long(_WORD, _LONGEST_WORD)

    def _run(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._buffer, self._at)
        return self._at if match is None else match.end()

    def _long(self, pattern: re.Pattern[str], longest: int) -> str:
        """What `pattern` matches from here on through as many pieces as it takes; `longest` characters are kept."""
        kept: list[str] = []
        room = longest
        while True:
            begin, self._at = self._at, self._run(pattern)
            kept.append(self._buffer[begin : min(self._at, begin + room)])
            room -= len(kept[-1])
            if self._at < len(self._buffer) and self._buffer[self._at] != "\\":
                break
            if not self._more():
                if pattern is _TEXT:
                    raise _Broken(f"a text does not end before character {self.place:,}")
                break
        said = "".join(kept)
        if room > 0:
            return said
        self.cut = True
        return f"{said[: longest - 8].rstrip(chr(92))}…"

    def _more(self) -> bool:
        """Another piece behind what is not read yet."""
        piece = next(self._pieces, "")
        self._passed += self._at
        self._buffer, self._at = self._buffer[self._at :] + piece, 0
        return bool(piece)


def _values(tokens: _Tokens, records: Records) -> Iterator[Block]:
    """Put the values of a text into `records`: one, or several one after the other."""
    inside: list[str] = []
    name = ""
    wanted = "value"
    found = False
    for mark in tokens:
        first = mark[0]
        if first in "]}" and wanted != "colon":
            if not inside or inside.pop() != first or (wanted == "value" and first == "}"):
                raise _Broken(f"there is a {first} too many at character {tokens.place:,}")
            yield from records.end()
            wanted = "comma" if inside else "value"
        elif wanted == "name" and first == '"':
            name, wanted = _said(mark), "colon"
        elif wanted == "colon" and first == ":":
            wanted = "value"
        elif wanted == "comma" and first == ",":
            wanted = "name" if inside[-1] == "}" else "value"
        elif wanted == "value" and first in "[{":
            found = True
            listed = bool(inside) and inside[-1] == "]"
            records.start("" if listed or not inside else name, element=listed)
            inside.append("}" if first == "{" else "]")
            if len(inside) > DEEPEST:
                raise _TooDeep
            wanted = "name" if first == "{" else "value"
        elif wanted == "value" and (first == '"' or _SCALAR.match(mark.removesuffix("…"))):
            found = True
            said = "" if mark == "null" else _said(mark) if first == '"' else mark
            yield from records.leaf("" if not inside or inside[-1] == "]" else name, said)
            wanted = "comma" if inside else "value"
        else:
            raise _Broken(f"{mark[:20]!r} at character {tokens.place:,} stands where no such thing can")
    if inside or not found:
        raise _Broken(f"it breaks off at character {tokens.place:,}" if found else "there is no value in it")


def _said(mark: str) -> str:
    """What a string says; half a surrogate pair is no character."""
    if "\\" not in mark:
        return mark[1:-1]
    try:
        said: str = json.loads(mark, strict=False)
    except ValueError:
        said = _ESCAPE.sub(" ", mark[1:-1])
    return _SURROGATE.sub("\ufffd", said)
