"""Checking what an answer says against its passages: each citation as it is made, each sentence once it is finished.

The check is `support.py`, which needs no model. Its work is bounded: a long answer is checked beside the loop, and what
goes beyond the most that is checked stays without a verdict, which is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.citations.cite import CitedPassage, cited, markers, quote_for
from folkmoot.conversations.citations.sentences import claims, is_claim
from folkmoot.conversations.citations.sources import Sources
from folkmoot.conversations.citations.support import Found, check
from folkmoot.conversations.citations.wording import language_of
from folkmoot.kit.stream import StreamWriter

MOST_SENTENCES = 400
"""Of one answer that are checked."""
MOST_CITATIONS = 400
"""Of one answer that are checked; those after them have no `support`."""
LONG = 3_000
"""Characters of an answer from which on it is checked in a thread."""
LONG_SOURCES = 60_000
"""Of the passages."""


def cite(run: Run, n: int, sentence: str) -> dict[str, Any]:
    """The `citation` event for a sentence that names passage `n`, with how far the passage supports it."""
    passage = run.passages[n]
    if len(run.citations) >= MOST_CITATIONS:
        return cited(passage, *quote_for(passage.text, sentence))
    found = check(_sources(run, sentence), sentence, only=n) if is_claim(sentence) else None
    place = quote_for(passage.text, sentence)
    if found is None:
        return cited(passage, *place)
    verbatim = sentence and passage.text[slice(*place)] == sentence
    if found.n is not None and not verbatim:
        place = found.start, found.end
    return cited(passage, *place) | {"support": found.support}


async def verify(run: Run, writer: StreamWriter) -> None:
    """Fill `run.sentences` and tell the reader, if the answer had passages to rest on, or looked for some in vain."""
    if not run.passages and (not run.grounded or any(turn.role == "tool" for turn in run.turns)):
        return
    content = "".join(run.text)
    if len(content) > LONG or sum(len(passage.text) for passage in run.passages.values()) > LONG_SOURCES:
        found, unchecked = await asyncio.to_thread(checked, content, list(run.passages.values()))
    else:
        found, unchecked = checked(content, list(run.passages.values()), _sources(run, content))
    run.sentences = found
    if unchecked:
        run.trace["unchecked_sentences"] = unchecked
    writer.write("verification.completed", {"sentences": found, "unchecked": unchecked})


def checked(
    content: str, passages: Sequence[CitedPassage], sources: Sources | None = None
) -> tuple[list[dict[str, Any]], int]:
    """(what was found of each sentence that claims something, how many more there are without a verdict)."""
    language = language_of(content)
    sources = sources or Sources.of(passages, language)
    by_number = {passage.n: passage for passage in passages}
    named = [(match.start(), int(match.group(1))) for match in markers(content)]
    found: list[dict[str, Any]] = []
    unchecked = place = 0
    for span in claims(content):
        if len(found) >= MOST_SENTENCES:
            unchecked += 1
            continue
        while place < len(named) and named[place][0] < span.start:
            place += 1
        theirs = frozenset(n for at, n in named[place : place + 40] if at < span.end)
        support = check(sources, content[span.start : span.end], language, prefer=theirs)
        if support is not None and support.support == "not_found" and sources.cut:
            # It may stand in what was not looked at.
            unchecked += 1
        elif support is not None:
            found.append(_told(span.start, span.end, support, by_number))
    return found, unchecked


def _told(start: int, end: int, found: Found, passages: dict[int, CitedPassage]) -> dict[str, Any]:
    told: dict[str, Any] = {"start": start, "end": end, "support": found.support, "n": found.n}
    passage = passages.get(found.n) if found.n is not None else None
    if passage is None:
        return told | {"document_id": None, "quote": "", "source_start": None, "source_end": None}
    return told | {
        "document_id": str(passage.document_id),
        "quote": passage.text[found.start : found.end],
        "source_start": passage.start + found.start,
        "source_end": passage.start + found.end,
    }


def _sources(run: Run, said: str) -> Sources:
    if run.sources is None or len(run.sources.passages) != len(run.passages):
        run.sources = Sources.of(run.passages.values(), language_of(said))
    return run.sources
