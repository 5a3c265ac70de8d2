"""Citations: from a marker `[n]` in the answer to the exact place in a document. Pure.

A model only says which passage; which words of it support the sentence is found here, and the quote is cut
from the document's own text, so it stands there by construction.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from uuid import UUID

from folkmoot.conversations.citations.sentences import sentences

MARKER = re.compile(r"\[(\d{1,3})\]")
_CITES = re.compile(
    r"\[(?P<one>\d{1,3})\]|\[\^(?P<note>\d{1,3})\]|【(?P<wide>\d{1,3})(?:[:†][^】\n]{0,80})?】"
    r"|\[(?P<list>\d{1,3}(?: ?[,;–-] ?\d{1,3}){1,15})\]"
)
_LISTED = re.compile(r" ?[,;] ?")
# With the space before it, which goes too if the marker cites nothing.
_BEGUN = re.compile(
    r" ?\[(?:\^?\d{0,3}|\d{1,3}(?: ?[,;–-] ?\d{1,3}){0,15} ?(?:[,;–-] ?\d{0,3})?)$"
    r"| ?【(?:\d{0,3}|\d{1,3}[:†][^】\n]{0,80})$| $"
)
_LONGEST_MARKER = 120
_LONGEST_RANGE = 20
_LEAST_PART = 3
"""Words after another marker that are a claim of their own."""
_TICKS = re.compile(r"`+|\n|[^`\n]+")
_WORD = re.compile(r"\w+")
# A full stop ends a sentence only before white space: "1.2 metres" is one.
_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?…]+[\"'”’»)\]]*(?=\s|$)|(?=\n)|$)")
LONGEST_QUOTE = 600
_LOOKED_AT = 2000
"""Characters before a marker in which its sentence is looked for."""


@dataclass(frozen=True)
class CitedPassage:
    """A chunk as the answer's model was given it."""

    n: int
    document_id: UUID
    document_name: str
    chunk_id: UUID
    text: str
    start: int
    """Of the text, in the document."""
    page: int | None
    score: float
    heading: str = ""
    document_hash: str = ""
    """SHA-256 of the document's file, as it was when the passage was found."""
    by_tool: bool = False
    """Whether the model got it as the result of a tool, and not with the question."""

    def reference(self) -> dict[str, object]:
        """As events and messages name it."""
        return {
            "n": self.n,
            "document_id": str(self.document_id),
            "document_name": self.document_name,
            "chunk_id": str(self.chunk_id),
            "page": self.page,
            "score": self.score,
        }


class _Code:
    """Whether text that comes in pieces stands in code, as Markdown has it: between backticks, or in a fenced block."""

    def __init__(self) -> None:
        self._open = 0
        """Backticks that opened it; 0 outside."""
        self._fenced = False
        self._ticks = 0
        """Of a run that may go on."""
        self._blank = True
        """Nothing but space in this line so far."""
        self._led = True
        """The same before the run."""

    def pass_over(self, text: str) -> None:
        if not self._open and not self._ticks and "`" not in text:
            line = text.rpartition("\n")
            self._blank = (bool(line[1]) or self._blank) and not line[2].strip()
            return
        for match in _TICKS.finditer(text):
            part = match.group()
            if part[0] == "`":
                self._led = self._led if self._ticks else self._blank
                self._ticks += len(part)
                self._blank = False
                continue
            self._end_run()
            if part == "\n":
                self._blank = True
                if not self._fenced:
                    self._open = 0
            elif part.strip():
                self._blank = False

    def holds(self) -> bool:
        """Whether what comes next, which is no backtick, stands in code."""
        self._end_run()
        return self._open > 0

    def _end_run(self) -> None:
        run, self._ticks = self._ticks, 0
        if not run:
            return
        if not self._open:
            self._open, self._fenced = run, run >= 3 and self._led
        elif (self._fenced and run >= self._open) or run == self._open:
            self._open, self._fenced = 0, False


class MarkerReader:
    """Finds markers in text that arrives in pieces; holds back only what may become one.

    What models write instead is made into `[n]`: lists as `[1, 2]` and `[1-3]`, footnotes `[^1]`, and `【1】`. Numbers
    in code are no markers.
    """

    def __init__(self, known: Container[int]) -> None:
        self._known = known
        self._held = ""
        self._said = ""
        self._since = 0
        """Characters since the last marker that cites something."""
        self._claim = ""
        self._code = _Code()

    def feed(self, text: str) -> tuple[str, list[tuple[int, str]]]:
        """(text to show now, [(n, what is said before its marker)]). Markers that cite nothing are dropped.

        What is said is the sentence, or its part after another marker.
        """
        text = self._held + text
        begun = _BEGUN.search(text, max(0, len(text) - _LONGEST_MARKER))
        cut = begun.start() if begun else len(text)
        text, self._held = text[:cut], text[cut:]
        return self._read(text)

    def finish(self) -> tuple[str, list[tuple[int, str]]]:
        """What was held back, once nothing more comes."""
        text, self._held = self._held, ""
        return self._read(text)

    def _read(self, text: str) -> tuple[str, list[tuple[int, str]]]:
        shown: list[str] = []
        found: list[tuple[int, str]] = []
        last = 0
        for match in _CITES.finditer(text):
            before = text[last : match.start()]
            last = match.end()
            self._code.pass_over(before)
            numbers = None if self._code.holds() else self._numbers(match)
            if numbers is None:
                before += match.group()
            elif not numbers:
                before = before.removesuffix(" ")
            shown.append(before)
            self._pass_over(before)
            self._code.pass_over(match.group())
            if numbers:
                claim = self._said_last()
                found += [(n, claim) for n in numbers]
                shown += [f"[{n}]" for n in numbers]
        rest = text[last:]
        self._code.pass_over(rest)
        shown.append(rest)
        self._pass_over(rest)
        return "".join(shown), found

    def _pass_over(self, text: str) -> None:
        self._said = (self._said + text)[-_LOOKED_AT:]
        self._since += len(text)

    def _numbers(self, match: re.Match[str]) -> list[int] | None:
        """Which passages a marker cites; None if it is none."""
        if (one := match["one"] or match["wide"]) is not None:
            return [int(one)] if int(one) in self._known else []
        if (note := match["note"]) is not None:
            return [int(note)] if int(note) in self._known else None
        numbers: list[int] = []
        for part in _LISTED.split(match["list"]):
            first, _, to = part.replace("–", "-").partition("-")
            if to and not to.strip().isdecimal():
                return None
            start, end = int(first), int(to or first)
            if not 0 < start <= end <= start + _LONGEST_RANGE:
                return None
            numbers += range(start, end + 1)
        # Numbers of which none is a passage are an interval or the like.
        return [n for n in dict.fromkeys(numbers) if n in self._known] or None

    def _said_last(self) -> str:
        since = (
            self._said[-self._since :] if 0 < self._since <= len(self._said) else "" if not self._since else self._said
        )
        self._since = 0
        if not _WORD.search(since) and self._claim:
            return self._claim
        sentence = _last_sentence(self._said)
        part = since.strip().lstrip(",;:.!?) ")
        if len(part) < len(sentence) and len(_WORD.findall(part)) >= _LEAST_PART and sentence.endswith(part):
            sentence = part
        self._claim = sentence
        return sentence


def markers(content: str) -> Iterator[re.Match[str]]:
    """The markers of a finished answer; numbers in code are none."""
    code, last = _Code(), 0
    for match in MARKER.finditer(content):
        code.pass_over(content[last : match.start()])
        last = match.end()
        if not code.holds():
            yield match
        code.pass_over(match.group())


def _last_sentence(text: str) -> str:
    last = ""
    for span in sentences(text):
        if _WORD.search(text, span.start, span.end):
            last = text[span.start : span.end]
    return last


def quote_for(passage: str, sentence: str) -> tuple[int, int]:
    """(start, end) of the words in `passage` that support `sentence` best; the whole first part if none do.

    The sentence itself where it stands verbatim, else the sentence of the passage that shares most of its
    words (Jaccard over word sets; the first of equals).
    """
    if sentence and (at := passage.find(sentence)) >= 0:
        return at, at + len(sentence)
    wanted = _words(sentence)
    best, place = -1.0, (0, min(len(passage), LONGEST_QUOTE))
    for match in _SENTENCE.finditer(passage):
        words = _words(match.group())
        if not words:
            continue
        share = len(words & wanted) / len(words | wanted)
        if share > best:
            best = share
            lead = len(match.group()) - len(match.group().lstrip())
            end = match.start() + len(match.group().rstrip())
            start = match.start() + lead
            place = (start, min(end, start + LONGEST_QUOTE))
    return place


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def citation(passage: CitedPassage, sentence: str) -> dict[str, object]:
    """The `citation` event for a sentence that names `passage`, with the words that are likeliest to support it."""
    return cited(passage, *quote_for(passage.text, sentence))


def cited(passage: CitedPassage, start: int, end: int) -> dict[str, object]:
    """The `citation` event for the words from `start` to `end` of a passage."""
    return {
        "n": passage.n,
        "document_id": str(passage.document_id),
        "document_name": passage.document_name,
        "chunk_id": str(passage.chunk_id),
        "page": passage.page,
        "start": passage.start + start,
        "end": passage.start + end,
        "quote": passage.text[start:end],
    }
