"""Which sentences of the passages answer a question, without understanding any of them.

Okapi BM25 over sentences (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), with what a
single sentence needs besides: its heading and the sentence before it lend it their words, words that stand
close count more, and a question that asks for a number likes a sentence that has one. The picks are spread
by maximal marginal relevance (Carbonell and Goldstein, 1998), so that the same fact does not come twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple, Protocol, cast

from folkmoot_sdk import Passage

from folkmoot_provider_extractive.sentences import split
from folkmoot_provider_extractive.words import COMPOUNDING, WORD, Language

_K1, _B = 1.2, 0.3
_FROM_HEADING = 0.5
_FROM_BEFORE = 0.25
_COMPOUND = 0.6
_KIND_BONUS = 0.45
_NEAR_BONUS = 0.25
_RANK_PRIOR = 0.35
_MOST_WORDS = 48
_ENOUGH = 0.55
"""A further sentence is shown if it has this share of the best one's score."""

_FOLD = str.maketrans("äöüåéèáàøæß", "aouaeeaaoas")
_NUMBER = re.compile(
    r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|två|tre|fyra|fem|sex|sju|åtta|nio|tio|tolv|to|fire|"
    r"seks|syv|åtte|otte|ni|ti|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|zwölf|kaksi|kolme|neljä|viisi|kuusi|"
    r"seitsemän|kahdeksan|yhdeksän|kymmenen)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\b(?:1[5-9]|20)\d\d\b|\b\d{1,2}[.:]\d\d\b|\b\d{1,2}[./]\s?\d{1,2}\b|\b(?:kl|klo)\b|\b\d{1,2}\s?(?:am|pm|uhr)\b|"
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b(?:mån|tis|ons|tors|fre|lör|sön|man|tirs|lør)dag\w*|"
    r"\b\w+tag\b|\b\w+kuu\w*|\b(?:januar|februar|mars\b|marts\b|march\b|märz|april|ma[ij]\b|(?-i:May\b)|june?\b|juni|jul[iy]|august|septem|"
    r"o[kc]tob|novemb|de[sczk]emb)\w*",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=[\w,;:)] )[A-ZÅÄÖÆØÜ][\w'’-]+(?: [A-ZÅÄÖÆØÜ][\w'’.-]+)*|^[A-ZÅÄÖÆØÜ]\w+ [A-ZÅÄÖÆØÜ]\w+|@")
_PLACE = re.compile(
    r"(?<=[\w,;:)] )[A-ZÅÄÖÆØÜ][\w'’-]+|\b\d{1,4} ?[A-Z]?\b"
    r"|\b\w+(?:gatan|vägen|gata|veien|vej|katu|straße)\b"
)
_KINDS = {"number": _NUMBER, "time": _TIME, "person": _NAME, "place": _PLACE}


class Picked(NamedTuple):
    """A sentence as it stands in its passage."""

    n: int
    """The passage's marker."""
    start: int
    end: int
    text: str


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802


@dataclass(slots=True, eq=False)
class _Candidate:
    """A sentence with what of the question it has."""

    n: int
    rank: int
    start: int
    end: int
    text: str
    heading: bool
    words: list[str]
    has: dict[int, float]
    """How much (0 to 1) of each question word."""
    places: list[int]
    score: float = 0.0


def content_words(question: str, language: Language) -> list[str]:
    """The words of a question that say what it is about, each once."""
    words = (word for word in WORD.findall(question.lower()) if word not in language.small)
    return [word for word in dict.fromkeys(words) if len(word) > 1 or word.isdigit()][:_MOST_WORDS]


def pick(
    question: str, passages: Iterable[Passage], language: Language, *, words: list[str] | None = None
) -> list[Picked]:
    """One to three sentences in the order in which they stand; none if nothing shares a word of content.

    `words` are the question's words of content, if the caller knows better.
    """
    terms = content_words(question, language) if words is None else words
    if not terms:
        return []
    candidates = _candidates(passages, terms, language)
    if not any(candidate.has for candidate in candidates):
        return []
    _score(candidates, terms, question, language)
    chosen = _choose([candidate for candidate in candidates if candidate.has and candidate.score > 0])
    chosen.sort(key=lambda candidate: (candidate.rank, candidate.start))
    return [Picked(candidate.n, candidate.start, candidate.end, candidate.text) for candidate in chosen]


def _candidates(passages: Iterable[Passage], terms: list[str], language: Language) -> list[_Candidate]:
    found: list[_Candidate] = []
    matcher = _Matcher(terms, language)
    for rank, passage in enumerate(passages):
        heading = matcher.has(WORD.findall((passage.heading or "").lower()))[0]
        before: dict[int, float] = {}
        for sentence in split(passage.text):
            text = passage.text[sentence.start : sentence.end]
            words = WORD.findall(text.lower())
            own, places = matcher.has(words)
            lent = {term: weight * _FROM_BEFORE for term, weight in before.items()}
            lent |= {term: weight * _FROM_HEADING for term, weight in heading.items()}
            found.append(
                _Candidate(
                    n=passage.n,
                    rank=rank,
                    start=sentence.start,
                    end=sentence.end,
                    text=text,
                    heading=sentence.heading,
                    words=words,
                    has=lent | own,
                    places=places,
                )
            )
            before = own
            if sentence.heading and own:
                heading = heading | own
    return found


def _score(candidates: list[_Candidate], terms: list[str], question: str, language: Language) -> None:
    count = len(candidates)
    average = sum(len(candidate.words) for candidate in candidates) / count or 1.0
    frequency = [0.0] * len(terms)
    for candidate in candidates:
        for term, weight in candidate.has.items():
            frequency[term] += weight
    idf = [math.log(1 + (count - df + 0.5) / (df + 0.5)) for df in frequency]
    total = sum(idf)
    lowered = question.lower()
    kinds = [_KINDS[kind] for kind, asks in language.asks.items() if _asks(asks).search(lowered)]
    for candidate in candidates:
        if not candidate.has:
            continue
        norm = _K1 * (1 - _B + _B * len(candidate.words) / average)
        score = sum(idf[term] * weight * (_K1 + 1) / (weight + norm) for term, weight in candidate.has.items())
        own = len(candidate.places)
        if own > 1:
            span = candidate.places[-1] - candidate.places[0] + 1
            score *= 1 + _NEAR_BONUS * min(1.0, own / span)
        if any(kind.search(candidate.text) for kind in kinds):
            score += _KIND_BONUS * total / len(terms) + 0.15 * score
        if candidate.heading or len(candidate.words) < 4:
            score *= 0.45
        if candidate.text.endswith("?"):
            score *= 0.6
        candidate.score = score * (1 + _RANK_PRIOR / (1 + candidate.rank))


def _choose(candidates: list[_Candidate]) -> list[_Candidate]:
    ranked = sorted(candidates, key=lambda candidate: -candidate.score)[:24]
    chosen = [ranked[0]]
    floor = ranked[0].score * _ENOUGH
    bags = {id(candidate): set(candidate.words) for candidate in ranked}
    rest = ranked[1:]
    while rest and len(chosen) < 3:
        best, value = None, 0.0
        for candidate in rest:
            alike = max(_alike(bags[id(candidate)], bags[id(taken)]) for taken in chosen)
            worth = candidate.score * (1 - alike) if alike < 0.6 else 0.0
            if candidate.places and candidate.score >= floor and worth > value:
                best, value = candidate, worth
        if best is None:
            break
        chosen.append(best)
        rest.remove(best)
    return chosen


def _alike(one: set[str], other: set[str]) -> float:
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 1.0


class _Matcher:
    """Says which question words a sentence has.

    A stemmer in Python costs 30 µs a word, so only words that could match are stemmed: those that begin as a
    question word does, and each only once.
    """

    def __init__(self, terms: list[str], language: Language) -> None:
        self._code = language.code
        self._stemmer_name = language.stemmer
        self._stems = [_stem(language.stemmer, term) for term in terms]
        self._by_stem = {stem: place for place, stem in enumerate(self._stems)}
        self._beginnings = {term.translate(_FOLD)[:3] for term in terms}
        self._parts = [
            (place, term, stem)
            for place, (term, stem) in enumerate(zip(terms, self._stems, strict=True))
            if language.code in COMPOUNDING and len(stem) >= 4
        ]
        self._known: dict[str, tuple[int, float] | None] = {}

    def has(self, words: list[str]) -> tuple[dict[int, float], list[int]]:
        """How much of each question word is there, and at which places in `words`."""
        has: dict[int, float] = {}
        places: list[int] = []
        known = self._known
        for place, word in enumerate(words):
            if word not in known:
                known[word] = self._match(word)
            match = known[word]
            if match is not None:
                places.append(place)
                if match[1] > has.get(match[0], 0.0):
                    has[match[0]] = match[1]
        return has, places

    def _match(self, word: str) -> tuple[int, float] | None:
        begins_alike = word.translate(_FOLD)[:3] in self._beginnings
        stem = _stem(self._stemmer_name, word) if begins_alike else word
        exact = self._by_stem.get(stem)
        if exact is not None:
            return exact, 1.0
        if len(word) < 4:
            return None
        for place, term, own in self._parts:
            # A part at either end of a compound, on either side.
            if (len(word) > len(own) + 2 and (word.startswith(own) or word.endswith((term, own)))) or (
                len(stem) >= 4 and len(term) > len(stem) + 2 and (term.startswith(stem) or term.endswith(word))
            ):
                return place, _COMPOUND
        return None


@cache
def _asks(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@cache
def _stemmer(name: str) -> _Stemmer:
    import snowballstemmer

    return cast("_Stemmer", snowballstemmer.stemmer(name))  # pyright: ignore[reportUnknownMemberType]


@lru_cache(maxsize=20_000)
def _stem(name: str, word: str) -> str:
    return _stemmer(name).stemWord(word)
