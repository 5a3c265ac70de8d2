"""Where sentences begin and end, as places in the text: what is shown must stand there byte for byte."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from folkmoot_provider_extractive.words import LANGUAGES

LONGEST = 500
"""Characters; what runs on without a full stop is cut at a smaller mark."""

_NORDIC = (
    "t.ex bl.a m.m m.fl d.v.s dvs s.k o.s.v osv f.d fr.o.m t.o.m f.n p.g.a pga resp ca kl nr tel milj mkr tkr kap jfr "
    "obs enl inkl exkl avd f.eks bl.a.m ifm ift mv m.v o.l o.a pr iht jf hhv evt f.kr e.kr"
)
_GERMAN = "z.b u.a d.h bzw usw ggf vgl s.o s.u i.d.r o.g str dr.med prof dipl hr fr zzgl mio mrd"
_FINNISH = "esim ts ym yms ks vrt noin klo puh eaa jaa"
_ENGLISH = "e.g i.e etc vs approx dept vol pp dr mr mrs ms st jr sr inc ltd co corp al a.m p.m u.s"

ABBREVIATIONS = frozenset(f"{_NORDIC} {_GERMAN} {_FINNISH} {_ENGLISH}".split())

_OFTEN_LAST = "a.m p.m etc osv o.s.v m.m m.fl mv m.v usw ym yms inc ltd"
OFTEN_LAST = frozenset(_OFTEN_LAST.split())
"""Abbreviations that end a sentence as often as not: they do where a capital follows."""

BEFORE_NUMBERS = frozenset(("no", "art", "abs", "sec", "ch", "fig", "mom", "st", "pos"))
"""Words of their own, but abbreviations where a number follows: `No. 5`, `Art. 6`."""

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_BULLET = re.compile(r"[^\S\n]*(?:[-*•–‣▪◦]|\d{1,3}[.)]|[a-zA-Z][.)]|#{1,6})[^\S\n]+")
# Possessive throughout: tables of contents have dots by the thousand.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s++[\"'“‘«»(\[]*+[^\W_a-zåäöæøü]|\s*+$)|[。！？]")
_LAST_WORD = re.compile(r"[\w.]+$")
_SMALLER = re.compile(r"[;:]\s+|,\s+|\s+")
_FIRST_WORD = re.compile(r"\s*(\w+)")


class Sentence(NamedTuple):
    """A stretch of a passage, without blanks around it."""

    start: int
    end: int
    heading: bool = False
    """A line of its own that does not end as a sentence does."""


def split(text: str) -> list[Sentence]:
    """The sentences, table rows, list items and headings of `text`, in order."""
    found: list[Sentence] = []
    start = 0
    for gap in _PARAGRAPH.finditer(text):
        _paragraph(text, start, gap.start(), found)
        start = gap.end()
    _paragraph(text, start, len(text), found)
    return found


def _paragraph(text: str, start: int, end: int, found: list[Sentence]) -> None:
    """Lines that only wrap belong together; rows, items and headings stand alone."""
    begin = start
    newline = text.find("\n", start, end)
    while newline != -1:
        if _stands_alone(text, begin, newline, end):
            _stretch(text, begin, newline, found)
            begin = newline + 1
        newline = text.find("\n", newline + 1, end)
    _stretch(text, begin, end, found)


def _stands_alone(text: str, begin: int, newline: int, end: int) -> bool:
    """Whether the line break at `newline` ends something."""
    line = text.rfind("\n", begin, newline) + 1 or begin
    if _is_row(text, line, newline) or _BULLET.match(text, newline + 1, end):
        return True
    stop = text.find("\n", newline + 1, end)
    following = newline + 1, end if stop == -1 else stop
    if _is_row(text, *following):
        return True
    first = text[newline + 1 : following[1]].lstrip()[:1]
    if newline - line > 60 or first.islower():
        return False
    # A short line before a capital: a heading or a line of an address, unless the sentence goes on.
    return text[line:newline].rstrip()[-1:] not in ",-–"


def _is_row(text: str, start: int, end: int) -> bool:
    return text.find(" | ", start, end) != -1 or text.find("\t", start, end) != -1


def _stretch(text: str, start: int, end: int, found: list[Sentence]) -> None:
    if _is_row(text, start, end):
        _add(text, start, end, found, row=True)
        return
    begin = start
    for mark in _END.finditer(text, start, end):
        if not _is_abbreviation(text, begin, mark.start(), mark.end(), end):
            _add(text, begin, mark.end(), found)
            begin = mark.end()
    _add(text, begin, end, found)


def _is_abbreviation(text: str, begin: int, dot: int, after: int, end: int) -> bool:
    if text[dot : dot + 1] != "." or after >= end:
        return False
    last = _LAST_WORD.search(text, max(begin, dot - 16), dot)
    if last is None:
        return False
    word = last.group().lower().lstrip(".")
    first = _FIRST_WORD.match(text, after, end)
    following = first.group(1).lower() if first else ""
    if word in OFTEN_LAST and not following[:1].isdigit():
        return False
    if word in ABBREVIATIONS or (len(word) == 1 and word.isalpha()):
        return True
    if word in BEFORE_NUMBERS and following.isdigit():
        return True
    if word.isdigit() and len(word) <= 3:
        if not text[begin : last.start()].strip():
            return True  # "3. Leave": the number of an item, not the end of one
        return following.startswith(_months())
    return "." in word and all(len(part) <= 2 for part in word.split("."))


@cache
def _months() -> tuple[str, ...]:
    return tuple({month for language in LANGUAGES for month in language.months.split()})


def _add(text: str, start: int, end: int, found: list[Sentence], *, row: bool = False) -> None:
    """Note a stretch without the blanks around it; one that is too long becomes several."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > LONGEST:
        cut = _best_cut(text, start, end)
        _add(text, start, cut, found, row=row)
        start = cut
    if end > start:
        heading = not row and text[end - 1] not in '.!?…"”’»)]:;。！？' and end - start < 80
        found.append(Sentence(start, end, heading))


def _best_cut(text: str, start: int, end: int) -> int:
    """Where a stretch that is too long is cut: after the last larger mark that leaves a fair piece."""
    limit = min(start + LONGEST, end)
    best, rank = limit, 4
    for mark in _SMALLER.finditer(text, start + LONGEST // 3, limit):
        weight = {";": 1, ":": 1, ",": 2}.get(mark.group()[0], 3)
        if weight <= rank:
            best, rank = mark.end(), weight
    return best
