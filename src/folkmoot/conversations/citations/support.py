"""Whether passages bear a sentence out: by its words, and strictly by its figures, names and negations. Pure, no model.

Each sentence of a passage, and each two that follow each other, may support a sentence of the answer. The share of its
words that stand there, weighted by their rarity in the passages, decides; a figure, name, negation or bound that stands
there otherwise overrules it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from folkmoot.conversations.citations.against import OTHERWISE, contradiction, less
from folkmoot.conversations.citations.sentences import LONGEST
from folkmoot.conversations.citations.sources import Sources, Unit
from folkmoot.conversations.citations.wording import Wording, language_of, wording

Verdict = Literal["supported", "weak", "not_found"]

ENOUGH = 0.56
"""Share of a sentence's words, by weight, from which on a passage says it."""
SOME = 0.3
"""From which on a passage says part of it."""
MOST_PARTS = 6
"""Clauses of a sentence that are also looked for by themselves."""
_MARKER = re.compile(r"\[\d{1,3}\]")
_NEARLY = 0.12
_PLAINLY = 0.85


@dataclass(frozen=True, slots=True)
class Found:
    """What the check found for one sentence."""

    support: Verdict
    n: int | None = None
    start: int = 0
    """In the passage."""
    end: int = 0
    share: float = 0.0
    why: str = ""
    """What speaks against it."""

    @property
    def rank(self) -> tuple[int, float]:
        return (_RANKS[self.support], self.share)


_RANKS = {"supported": 2, "weak": 1, "not_found": 0}


def check(
    sources: Sources, sentence: str, language: str = "", *, only: int | None = None, prefer: Container[int] = ()
) -> Found | None:
    """What supports a sentence, of all passages or `only` the one of that number; None if it claims nothing.

    Of passages that support it nearly as well, those to `prefer` are taken.
    """
    plain = _MARKER.sub(lambda match: " " * len(match.group()), sentence)
    spoken = language_of(plain, language or sources.language)
    said = wording(plain, spoken)
    if not said.keys and not any(not figure.soft for figure in said.figures):
        return None
    own: list[Unit] = []
    foreign: list[Unit] = []
    for unit in sources.units:
        if only is None or sources.passages[unit.passage].n == only:
            (foreign if sources.foreign(spoken, unit) else own).append(unit)
    if not foreign and len(said.keys) > 1 and not any(map(sources.near, said.keys)) and not language_of(plain):
        # Not one word in common: whatever language it is in, it is another.
        foreign = own
    found = _found(sources, said, own, foreign, prefer)
    if found.support == "supported":
        return found
    parts = _parts(plain, said)
    if 1 < len(parts) <= MOST_PARTS:
        return _joined(found, [_found(sources, wording(part, spoken), own, foreign) for part in parts])
    return found


def _joined(whole: Found, parts: Sequence[Found]) -> Found:
    """Of a sentence whose clauses stand in several places, or of which only some stand anywhere."""
    best = max(parts, key=lambda part: part.rank)
    if best.support != "supported" or any(part.why in OTHERWISE for part in parts):
        return whole
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    if all(part.support == "supported" and part.n == best.n for part in parts) and end - start <= LONGEST:
        return replace(best, start=start, end=end)
    return replace(best, support="weak", why="joined")


def _found(
    sources: Sources, said: Wording, own: Sequence[Unit], foreign: Sequence[Unit], prefer: Container[int] = ()
) -> Found:
    found: list[Found] = []
    for window in sources.windows(said, own):
        if len(window) > 1 and any(one.support == "supported" and one.share > _PLAINLY for one in found):
            break
        found.append(_weigh(sources, said, window))
    best = max(found, key=lambda one: one.rank, default=Found("not_found"))
    against = max((one for one in found if one.why in OTHERWISE), key=lambda one: one.share, default=None)
    # What the best passage says otherwise is not borne out by another that shares fewer of its words.
    if against is not None and against.share >= best.share + (0.1 if best.support == "supported" else 0.0):
        best = against
    if best.support != "supported" and foreign:
        across = _across(sources, said, foreign)
        best = max(best, across, key=lambda one: one.rank)
    if best.n is not None and best.n not in prefer:
        as_good = [one for one in found if one.support == best.support and one.share > best.share - _NEARLY]
        best = max(
            (one for one in as_good if one.n is not None and one.n in prefer), key=lambda one: one.share, default=best
        )
    return best


def _weigh(sources: Sources, said: Wording, window: Sequence[Unit]) -> Found:
    share = sources.share(said, window)
    if len(window) > 1:
        # One sentence that says it all is the better support.
        share -= 0.06
    place = {
        "n": sources.passages[window[0].passage].n,
        "start": window[0].start,
        "end": window[-1].end,
        "share": share,
    }
    if share < SOME:
        return Found("not_found", share=share)
    if against := contradiction(sources, said, window):
        return Found("not_found", share=share, why=against)
    if share < ENOUGH:
        return Found("weak", why="words", **place)  # type: ignore[arg-type]
    if what := less(sources, said, window):
        return Found("weak", why=what, **place)  # type: ignore[arg-type]
    return Found("supported", **place)  # type: ignore[arg-type]


def _across(sources: Sources, said: Wording, units: Sequence[Unit]) -> Found:
    """In another language only figures and names can be compared, and words that are written alike."""
    hard = [figure for figure in said.figures if not figure.soft]
    names = [token for token in said.tokens if token.name]
    best = Found("not_found")
    for place in dict.fromkeys(unit.passage for unit in units):
        theirs = [unit for unit in units if unit.passage == place]
        if hard and not all(any(one.agrees(o) for unit in theirs for o in unit.said.figures) for one in hard):
            continue
        for unit in theirs:
            met = sum(any(figure.agrees(other) for other in unit.said.figures) for figure in hard)
            met += sum(sources.quality(token.key, [unit]) > 0 for token in names)
            share = sources.share(said, [unit])
            if (met or share >= SOME) and met + share > best.share:
                n = sources.passages[place].n
                best = Found("weak", n, unit.start, unit.end, met + share, "language")
    return replace(best, share=min(best.share, ENOUGH))


def _parts(plain: str, said: Wording) -> list[str]:
    """The clauses of a sentence that say something by themselves; one that does not goes with the one before it."""
    cuts = [0]
    places = [token.start for token in said.tokens if not token.stop]
    places += [figure.start for figure in said.figures if not figure.soft]
    for at in said.breaks:
        if sum(cuts[-1] <= place < at for place in places) >= 2 and sum(place >= at for place in places) >= 2:
            cuts.append(at)
    return [plain[a:b] for a, b in zip(cuts, [*cuts[1:], len(plain)], strict=True)]
