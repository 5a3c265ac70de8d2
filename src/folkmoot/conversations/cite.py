"""Citations: from a marker `[n]` in the answer to the exact place in a document. Pure.

A model only says which passage; which words of it support the sentence is found here, and the quote is cut
from the document's own text, so it stands there by construction.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from uuid import UUID

MARKER = re.compile(r"\[(\d{1,3})\]")
# With the space before it, which goes too if the marker cites nothing.
_BEGUN = re.compile(r" ?\[\d{0,3}$| $")
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


class MarkerReader:
    """Finds markers in text that arrives in pieces; holds back only what may become one."""

    def __init__(self, known: Container[int]) -> None:
        self._known = known
        self._held = ""
        self._said = ""

    def feed(self, text: str) -> tuple[str, list[tuple[int, str]]]:
        """(text to show now, [(n, the sentence before its marker)]). Markers that cite nothing are dropped."""
        text = self._held + text
        begun = _BEGUN.search(text)
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
        for match in MARKER.finditer(text):
            before = text[last : match.start()]
            last = match.end()
            n = int(match.group(1))
            known = n in self._known
            before = before if known else before.removesuffix(" ")
            self._said += before
            shown.append(before)
            if known:
                found.append((n, _last_sentence(self._said[-_LOOKED_AT:])))
                shown.append(match.group())
        shown.append(text[last:])
        self._said = (self._said + text[last:])[-_LOOKED_AT:]
        return "".join(shown), found


def _last_sentence(text: str) -> str:
    sentences = [part.group().strip() for part in _SENTENCE.finditer(text.rstrip())]
    sentences = [sentence for sentence in sentences if _WORD.search(sentence)]
    return sentences[-1] if sentences else ""


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
    """The `citation` event for a sentence that names `passage`."""
    start, end = quote_for(passage.text, sentence)
    at = passage.start + start
    return {
        "n": passage.n,
        "document_id": str(passage.document_id),
        "document_name": passage.document_name,
        "chunk_id": str(passage.chunk_id),
        "page": passage.page,
        "start": at,
        "end": passage.start + end,
        "quote": passage.text[start:end],
    }
