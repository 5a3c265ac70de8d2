"""Passages, ready to look sentences up in: which of their words stand where, how rare and how near they are. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from folkmoot.conversations.citations.cite import CitedPassage
from folkmoot.conversations.citations.sentences import sentences
from folkmoot.conversations.citations.wording import Wording, keys_of, language_of, wording

MOST_UNITS = 3_000
"""Sentences of passages that are looked at in all; what is beyond is not."""
LOOKED_AT = 4
"""Of these the likeliest are taken apart, and their neighbours."""
_MOST_ALIKE = 100
_AROUND = 0.6
"""What a word counts for that stands in the heading or in the sentence before."""


@dataclass(slots=True)
class Unit:
    """One sentence of a passage."""

    number: int
    passage: int
    """Its place in the list."""
    start: int
    end: int
    text: str
    language: str
    keys: set[str]
    around: frozenset[str]
    """Words of the heading and of the sentence before."""
    taken_apart: Wording | None = None

    @property
    def said(self) -> Wording:
        """Taken apart when it is needed first: of most only the words are."""
        if self.taken_apart is None:
            self.taken_apart = wording(self.text, self.language)
        return self.taken_apart


@dataclass(slots=True)
class Sources:
    """Passages, ready to check sentences against."""

    passages: Sequence[CitedPassage]
    units: list[Unit] = field(default_factory=list["Unit"])
    language: str = ""
    """Of most of them."""
    cut: bool = False
    """Whether there is more of them than is looked at."""
    languages: list[str] = field(default_factory=list[str])
    """Of each passage."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    """In how many sentences a word stands."""
    standing: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Which sentences a word stands in."""
    leaning: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Around which it stands."""
    weights: dict[str, float] = field(default_factory=dict[str, float])
    heads: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    tails: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    alike: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])

    @classmethod
    def of(cls, passages: Iterable[CitedPassage], language: str = "") -> Sources:
        """`language` is that of passages that are too short to tell."""
        sources = cls(list(passages))
        spoken = [language_of(passage.text) for passage in sources.passages]
        sources.language = max(set(spoken) - {""}, key=spoken.count, default=language)
        for place, passage in enumerate(sources.passages):
            language = spoken[place] or sources.language
            sources.languages.append(language)
            heading = frozenset(keys_of(passage.heading[:300], language))
            before = frozenset[str]()
            for span in sentences(passage.text):
                number = len(sources.units)
                if number >= MOST_UNITS:
                    sources.cut = True
                    break
                text = passage.text[span.start : span.end]
                keys = keys_of(text, language)
                sources.units.append(
                    Unit(number, place, span.start, span.end, text, language, keys, around := heading | before)
                )
                before = frozenset(keys)
                for key in keys:
                    sources.standing.setdefault(key, []).append(number)
                for key in around:
                    sources.leaning.setdefault(key, []).append(number)
        for key, numbers in sources.standing.items():
            sources.counts[key] = len(numbers)
        for key in sources.counts:
            if len(key) >= 4:
                for index, part in ((sources.heads, key[:4]), (sources.tails, key[-4:])):
                    alike = index.setdefault(part, [])
                    if len(alike) < _MOST_ALIKE:
                        alike.append(key)
        return sources

    def foreign(self, language: str, unit: Unit) -> bool:
        theirs = self.languages[unit.passage]
        return bool(language and theirs and language != theirs)

    def windows(self, said: Wording, units: Sequence[Unit]) -> list[list[Unit]]:
        """The sentences that share most words with this one, each also with its neighbours."""
        allowed = {unit.number for unit in units}
        scores: dict[int, float] = {}
        for key in said.keys:
            weight = self.weight(key)
            best: dict[int, float] = {}
            for other, quality in self.near(key).items():
                for number in self.standing.get(other, ()):
                    best[number] = max(best.get(number, 0.0), quality)
                for number in self.leaning.get(other, ()):
                    best[number] = max(best.get(number, 0.0), quality * _AROUND)
            for number, quality in best.items():
                scores[number] = scores.get(number, 0.0) + weight * quality
        for digits in said.digits:
            for number in self.standing.get(digits, ()):
                scores[number] = scores.get(number, 0.0) + 0.5
        best_first = sorted(((-score, number) for number, score in scores.items() if number in allowed))[:LOOKED_AT]
        windows = [[self.units[number]] for _, number in best_first]
        pairs = {pair for _, number in best_first for pair in ((number - 1, number), (number, number + 1))}
        for first, second in sorted(pairs):
            if first in allowed and second in allowed and self.units[first].passage == self.units[second].passage:
                windows.append([self.units[first], self.units[second]])
        return windows

    def weight(self, key: str) -> float:
        """More for the rare; a word that stands nowhere weighs as one that stands once."""
        weight = self.weights.get(key)
        if weight is None:
            known = max((self.counts.get(other, 0) for other in self.near(key)), default=0)
            size = max(1, len(self.units))
            weight = self.weights[key] = 0.35 + 0.65 * math.log(1 + size / max(1, known)) / math.log(1 + size)
        return weight

    def near(self, key: str) -> dict[str, float]:
        """Words of the passages that mean the same or nearly, and how nearly."""
        known = self.alike.get(key)
        if known is not None:
            return known
        found = {key: 1.0} if key in self.counts else dict[str, float]()
        if len(key) >= 5 and key[0] not in "=@" and key.isalpha():
            for other in self.heads.get(key[:4], ()):
                if other != key and _begins_alike(key, other):
                    found[other] = 0.8
            for other in self.tails.get(key[-4:], ()):
                # A compound and its last part: "avgift" in "felparkeringsavgift".
                if other not in found and (key.endswith(other) or other.endswith(key)):
                    found[other] = 0.75
        self.alike[key] = found
        return found

    def quality(self, key: str, window: Sequence[Unit]) -> float:
        near = self.near(key)
        best = 0.0
        for unit in window:
            for other, quality in near.items():
                if quality > best and other in unit.keys:
                    best = quality
                elif quality * _AROUND > best and other in unit.around:
                    best = quality * _AROUND
        return best

    def share(self, said: Wording, window: Sequence[Unit]) -> float:
        total = got = 0.0
        for key in said.keys:
            weight = self.weight(key)
            total += weight
            got += weight * self.quality(key, window)
        words = got / total if total else 0.0
        for concept in said.concepts:
            if any(concept in unit.said.concepts for unit in window):
                total += 0.5
                got += 0.5
        for figure in said.figures:
            met = any(figure.agrees(other) for unit in window for other in unit.said.figures)
            if figure.soft and not met:
                continue
            total += 1.0
            got += met
        # Figures alone bear nothing out.
        return min(got / total, words + 0.25) if said.keys else got / total

    def among(self, key: str, keys: Container[str]) -> bool:
        return any(other in keys for other in self.near(key))

    def meet(self, one: frozenset[str], other: frozenset[str]) -> bool:
        return any(key in other or self.among(key, other) for key in one)

    def beside(self, window: Sequence[Unit]) -> list[Unit]:
        """The sentences of a passage that are in the window or next to it."""
        first, last = window[0].number, window[-1].number
        near = self.units[max(0, first - 3) : last + 4]
        return [unit for unit in near if unit.passage == window[0].passage]


def _begins_alike(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    common = 0
    for a, b in zip(short, long, strict=False):
        if a != b:
            break
        common += 1
    return common >= 5 and common >= 0.75 * len(short)
