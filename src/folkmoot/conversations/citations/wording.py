"""A sentence taken apart for the check of answers: stems, clauses, figures, negations, duties, bounds. Pure."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import Stemmer

from folkmoot.conversations.citations.figures import Figure, figures
from folkmoot.conversations.citations.vocabulary import (
    AHEAD,
    ALL,
    CLASSES,
    CONCEPTS,
    MORE_STOPS,
    NOT,
    ONLY,
    SOME,
    SYNONYMS,
)
from folkmoot.fulltext.stop_words import STOP_WORDS
from folkmoot.fulltext.words import LONGEST_WORD, SNOWBALL

_TOKEN = re.compile(r"(?:\b[^\W\d_]-)?[^\W_]+(?:['’][^\W_]+)?")
_GENITIVE = re.compile("['’]s?$")
_DENSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]+")

_STOPS = {code: words | MORE_STOPS.get(code, frozenset()) for code, words in STOP_WORDS.items()}

_NOT_NO = re.compile(
    r"\b(?:not (?:only|just)|whether or not|inte (?:bara|enbart|minst)|nicht (?:nur|zuletzt)|no\. ?(?=\d)|no doubt)\b",
    re.IGNORECASE,
)
_HAVE_TO = re.compile(r"\b(?:has|have|had) to\b|\b(?:ist|sind)\b(?=[^.;]{0,80}?\bzu \w+en\b)", re.IGNORECASE)

_MORE = (
    r"more|greater|longer|higher|older|larger|over|above|exceed\w*|mer|fler|längre|högre|äldre|större|över|överstig\w+|mehr|"
    r"länger|höher|älter|größer|über|übersteig\w+"
)
_LESS = (
    r"less|fewer|shorter|lower|younger|smaller|under|below|closer|nearer|mindre|färre|kortare|lägre|yngre|närmare|weniger|"
    r"kürzer|niedriger|jünger|kleiner|unter|näher"
)
_BOUND = re.compile(
    rf"""(?P<most>\b(?:at\ (?:most|the\ most)|up\ to|max(?:imum|imal\w*|imalt)?|högst|som\ (?:mest|längst)|upp\ till
      |höchstens|längstens|bis\ zu|no\ later)\b)
    |(?P<least>\b(?:at\ least|min(?:imum)?|minst|åtminstone|lägst|mindestens|wenigstens|minimal)\b)
    |(?P<more>\b(?:{_MORE})\b(?:[^.;,]{{0,40}}?\b(?:than|än|als|the)\b)?)
    |(?P<less>\b(?:{_LESS})\b(?:[^.;,]{{0,40}}?\b(?:than|än|als|the)\b)?)""",
    re.IGNORECASE | re.VERBOSE,
)
_BOUND_AFTER = re.compile(
    r"\s*\w{0,14}\s*(?:(?P<least>or (?:more|over|older|above)|eller (?:fler|mer|äldre|högre)|oder (?:mehr|älter|höher))"
    r"|(?P<most>or (?:less|fewer|under|younger|below)|eller (?:färre|mindre|yngre)|oder (?:weniger|jünger)))\b",
    re.IGNORECASE,
)

_AHEAD_OF = re.compile(
    r"\s*(?:\w+\s+)?(?:before|ahead|prior|earlier|in advance|innan|före|i förväg|vorher|vor|im voraus)\b", re.IGNORECASE
)

_BREAK = re.compile(
    r"[,;:()–—](?!\d)|\b(?:and|or|but|while|whereas|och|eller|men|medan|und|oder|aber|sondern|während|because|since|if|when|"
    r"unless|except|om|när|eftersom|utom|wenn|falls|weil|außer|sofern)\b|[.!?](?=\s)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word."""

    word: str
    """In small letters."""
    key: str
    """Its stem; a group of synonyms has one."""
    start: int
    part: int
    """Number of its clause."""
    stop: bool
    name: bool
    """In capitals within a sentence, or a code as "E5"."""
    place: tuple[str, str] | None = None
    """In a closed class: a weekday, a colour."""


@dataclass(slots=True)
class Wording:
    """The words of a sentence as they are compared."""

    tokens: list[Token]
    figures: list[Figure]
    parts: list[int]
    """Of each figure."""
    breaks: list[int]
    """Where clauses end."""
    bounds: list[int]
    """Of each figure: 1 at least, -1 at most, 0 neither."""
    denials: tuple[tuple[frozenset[str], frozenset[str]], ...] = ()
    """For each negation what it denies in the first place, and all that stands about it; keys and concepts."""
    concepts: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()
    """`all`, `some`, `only`."""
    only: frozenset[str] = frozenset()
    """Keys and concepts of the clause with "only"."""
    digits: frozenset[str] = frozenset()
    """Of its figures."""
    keys: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Places of the words that say something, by key."""


class _Stems(threading.local):
    """Snowball's state belongs to one thread."""

    def __init__(self) -> None:
        self._stems: dict[str, Any] = {}
        self._groups: dict[str, dict[str, str]] = {}
        self._known: dict[str, dict[str, str]] = {}

    def of(self, language: str) -> Callable[[str], str]:
        """(a word in small letters) -> the key of its stem, or of the synonyms it belongs to."""
        if language not in self._groups:
            # The library has no types.
            library: Any = Stemmer
            stem: Any = library.Stemmer(SNOWBALL[language]).stemWord if language in SNOWBALL else str
            self._stems[language], self._known[language] = stem, {}
            self._groups[language] = {
                stem(word): f"={number}"
                for number, row in enumerate(SYNONYMS.get(language, ()))
                for word in row.split()
            }
        stem, groups, known = self._stems[language], self._groups[language], self._known[language]

        def key(word: str) -> str:
            found = known.get(word)
            if found is None:
                if len(known) >= _MOST_REMEMBERED:
                    known.clear()
                stemmed = stem(word[:LONGEST_WORD])
                place = CLASSES.get(word)
                found = "@" + place[1] if place is not None else str(groups.get(stemmed, stemmed))
                known[word] = found
            return found

        return key


_STEMS = _Stems()
_MOST_REMEMBERED = 50_000


def keys_of(text: str, language: str) -> set[str]:
    """Keys of the words of a text that say something, quickly: for finding out where to look closer."""
    key, stops = _STEMS.of(language), _STOPS.get(language, frozenset[str]())
    found: set[str] = set()
    for word in _TOKEN.findall(text.lower()):
        if word in stops or word in NOT or word in CONCEPTS:
            continue
        if _DENSE.match(word):
            found.update(word[at : at + 2] for at in range(max(1, len(word) - 1)))
        else:
            found.add(key(word))
    return found


def language_of(text: str, otherwise: str = "") -> str:
    """Whose small words a text uses; `otherwise` if none or several do."""
    words = {word for word in _TOKEN.findall(text[:1500].lower()) if len(word) > 1}
    counts = {code: len(words & stops) for code, stops in _STOPS.items()}
    most = max(counts.values())
    # A short sentence shares its small words with other languages.
    if counts.get(otherwise, 0) >= max(1, most - 1):
        return otherwise
    spoken = [code for code, count in counts.items() if count == most]
    return spoken[0] if most and len(spoken) == 1 else otherwise


def wording(text: str, language: str) -> Wording:
    """Take a sentence apart."""
    found = figures(text)
    breaks = [match.start() for match in _BREAK.finditer(text)]
    skipped = [match.span() for match in _NOT_NO.finditer(text)]
    inside = [(figure.start, figure.end) for figure in found if not figure.soft]
    tokens = list(_tokens(text, language, breaks, inside))
    parts = [_part(breaks, figure.start) for figure in found]
    spent: set[int] = set()
    bounds = [_bound(text, figure, spent) for figure in found]
    denials, concepts = _denials(text, tokens, skipped, spent)
    words = {token.word for token in tokens}
    marks = {name for name, list_ in (("all", ALL), ("some", SOME), ("only", ONLY)) if words & list_}
    limited = {token.part for token in tokens if token.word in ONLY}
    only = frozenset(key for token in tokens if token.part in limited and (key := _meant(token)) is not None)
    digits = frozenset(part for figure in found for part in _TOKEN.findall(text[figure.start : figure.end].lower()))
    keys: dict[str, list[int]] = {}
    for place, token in enumerate(tokens):
        if not token.stop:
            keys.setdefault(token.key, []).append(place)
    return Wording(tokens, found, parts, breaks, bounds, denials, concepts, frozenset(marks), only, digits, keys)


def _tokens(text: str, language: str, breaks: list[int], inside: list[tuple[int, int]]) -> Iterator[Token]:
    key_of, stops = _STEMS.of(language), _STOPS.get(language, frozenset[str]())
    first, part = True, 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        while part < len(breaks) and breaks[part] < start:
            part += 1
        if inside and any(a <= start < b for a, b in inside):
            first = False
            continue
        raw = match.group()
        if not raw.isascii() and _DENSE.match(raw):
            for at in range(max(1, len(raw) - 1)):
                pair = raw[at : at + 2]
                yield Token(pair, pair, start + at, 0, stop=False, name=False)
            continue
        word = raw.lower()
        if not word.isalnum():
            if "-" in word:
                word = word.replace("-", "")
            if word.endswith(("n't", "n’t")):
                yield Token(word[:-3], word[:-3], start, part, stop=True, name=False)
                yield Token("not", "not", match.end() - 3, part, stop=True, name=False)
                continue
            word = _GENITIVE.sub("", word)
        code = not word.isalpha() and any(c.isdigit() for c in word)
        capitals = len(raw) > 1 and raw.isupper()
        name = code or capitals or (not first and raw[0].isupper() and language != "de")
        place = CLASSES.get(word)
        stop = not (code or capitals or place) and (word in stops or word in NOT or word in CONCEPTS or len(word) == 1)
        yield Token(word, word if code else key_of(word), start, part, stop=stop, name=name, place=place)
        first = False


def _part(breaks: list[int], at: int) -> int:
    return sum(1 for each in breaks if each < at)


def _bound(text: str, figure: Figure, spent: set[int]) -> int:
    """Whether a figure is the least or the most; a negation that belongs to it is added to `spent`."""
    if _AHEAD_OF.match(text, figure.end):
        # "At least a day before" and "up to a day before" are the same limit.
        return 0
    after = _BOUND_AFTER.match(text, figure.end)
    if after:
        return 1 if after["least"] else -1
    before = text[max(0, figure.start - 70) : figure.start]
    offset = figure.start - len(before)
    cut = max((match.end() for match in re.finditer(r"[.;:]\s|\d", before)), default=0)
    found = None
    for match in _BOUND.finditer(before, cut):
        found = match
    if found is None or len(re.findall(r"\w+", before[found.end() :])) > 4:
        return 0
    if found["most"] or found["least"]:
        return -1 if found["most"] else 1
    value = 1 if found["more"] else -1
    negations = [m for m in _TOKEN.finditer(before, cut, found.start()) if m.group().lower() in NOT]
    if negations and len(re.findall(r"\w+", before[negations[-1].end() : found.start()])) <= 5:
        spent.add(offset + negations[-1].start())
        return -value
    return value


def _denials(
    text: str, tokens: list[Token], skipped: list[tuple[int, int]], spent: set[int]
) -> tuple[tuple[tuple[frozenset[str], frozenset[str]], ...], frozenset[str]]:
    denials: list[tuple[frozenset[str], frozenset[str]]] = []
    concepts: set[str] = set()
    if _HAVE_TO.search(text):
        concepts.add("#oblige")
    for place, token in enumerate(tokens):
        concept = CONCEPTS.get(token.word)
        if concept is not None:
            concepts.add(concept[0])
            if concept[1]:
                denials.append((frozenset({concept[0]}), frozenset({concept[0]})))
        if token.word in NOT and token.start not in spent and not any(a <= token.start < b for a, b in skipped):
            near, nearest = _scope(tokens, place)
            if nearest:
                denials.append((nearest, near))
    return tuple(denials), frozenset(concepts)


def _scope(tokens: list[Token], place: int) -> tuple[frozenset[str], frozenset[str]]:
    """(what stands about a negation, what of it is denied in the first place)."""
    part = tokens[place].part
    before, after = list[str](), list[str]()
    ahead = tokens[place].word in AHEAD
    for token in tokens[place + 1 :]:
        if token.part != part or len(after) >= 3:
            break
        if (key := _meant(token)) is not None:
            after.append(key)
    for token in reversed(tokens[:place]):
        if token.part != part or len(before) >= 3 or ahead:
            break
        if (key := _meant(token)) is not None:
            before.append(key)
    modal = [key for key in before[:1] if key.startswith("#")]
    nearest = modal + after[:1] or before[:1]
    return frozenset({*before, *after}), frozenset(nearest)


def _meant(token: Token) -> str | None:
    concept = CONCEPTS.get(token.word)
    if concept is not None:
        return concept[0]
    return None if token.stop else token.key
