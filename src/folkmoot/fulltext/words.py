"""What the full-text index knows of a text: its words, stemmed as its language has it.

A word is lower-cased, left out if it is a stop word, stemmed by Snowball (Porter 2001), and kept as a key: the first
64 bits of its BLAKE2 hash, so that postings sort and merge as plain numbers. Scripts that write without spaces, and
Korean, whose particles cling to their nouns, are cut into overlapping pairs of characters (Ogawa & Matsuda 1997).
A word in capitals of at least two letters is kept whatever it means in small ones: "IT" is a department.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import Stemmer

from folkmoot.fulltext.stop_words import STOP_WORDS

SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish",
    "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""Snowball's algorithm by ISO 639-1 code; other languages are not stemmed."""

LONGEST_WORD = 64
"""Characters; what is longer is no word that anybody types."""
MOST_REMEMBERED = 200_000

_DENSE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Japanese, Chinese
    "\u1100-\u11ff\uac00-\ud7af"  # Korean
)
# Marks that Python does not count as parts of words, though Arabic, Hebrew and India's scripts write with them.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0970-\u0dff"
)
_TOKEN = re.compile(f"[{_DENSE}]+|[^\\W_{_DENSE}][^\\W_{_DENSE}{_MARKS}]*(?:[{_MARKS}]+[^\\W_{_DENSE}]*)*")
_IS_DENSE = re.compile(f"[{_DENSE}]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_PHRASE = re.compile(
    '["\u201c\u201d\u201e\u00ab\u00bb]([^"\u201c\u201d\u201e\u00ab\u00bb]{2,200})["\u201c\u201d\u201e\u00ab\u00bb]'
)


@dataclass(frozen=True)
class Terms:
    """The words of one text as keys, each once."""

    counts: dict[int, int]
    """How often each stands there."""
    length: int
    """Words in all, as BM25 counts them."""


@dataclass(frozen=True)
class Word:
    """One word of a question."""

    text: str
    keys: tuple[int, ...]
    """As the languages of what is searched would have it; often one."""


@dataclass(frozen=True)
class Question:
    """A question as the index is asked it."""

    words: tuple[Word, ...]
    phrases: tuple[str, ...]
    """What stood in quotation marks, folded: a passage must hold it just so."""


class _Language:
    """The words of one language, each looked up once. Snowball's state belongs to one thread."""

    def __init__(self, code: str) -> None:
        self._stop = STOP_WORDS.get(code, frozenset())
        self._stem = _stemmer(code)
        self._known: dict[str, tuple[int, ...]] = {}

    def keys(self, token: str) -> tuple[int, ...]:
        """Of a token as it stands in the text; none for a stop word, several for a dense script."""
        known = self._known.get(token)
        if known is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            known = self._known[token] = tuple(key_of(term) for term in self._terms(token))
        return known

    def is_stop(self, token: str) -> bool:
        return token.lower() in self._stop and not (len(token) > 1 and token.isupper())

    def _terms(self, token: str) -> Iterable[str]:
        if _IS_DENSE.match(token):
            return [token[at : at + 2] for at in range(len(token) - 1)] or [token]
        if self.is_stop(token):
            return ()
        word = token.lower()[:LONGEST_WORD]
        return (self._stem(word) if self._stem is not None else word,)


def _stemmer(code: str) -> Callable[[str], str] | None:
    # The library has no types.
    library: Any = Stemmer
    return library.Stemmer(SNOWBALL[code]).stemWord if code in SNOWBALL else None


class _Languages(threading.local):
    def __init__(self) -> None:
        self._known: dict[str, _Language] = {}

    def __getitem__(self, code: str) -> _Language:
        found = self._known.get(code)
        if found is None:
            found = self._known[code] = _Language(code)
        return found


_LANGUAGES = _Languages()


def key_of(term: str) -> int:
    """The key of a term: 64 bits, signed as PostgreSQL's bigint is."""
    return int.from_bytes(blake2b(term.encode(errors="surrogatepass"), digest_size=8).digest(), signed=True)


def fold(text: str) -> str:
    """Text as phrases are compared in it: one form of each character, small letters, single spaces."""
    return " ".join(_clean(text).lower().split())


def terms(language: str, *texts: str) -> Terms:
    """The words of a chunk in `language` (ISO 639-1, or ""), from its parts."""
    keys_of = _LANGUAGES[language].keys
    tokens: Counter[str] = Counter()
    for text in texts:
        tokens.update(_TOKEN.findall(_clean(text)))
    counts: dict[int, int] = {}
    length = 0
    for token, times in tokens.items():
        for key in keys_of(token):
            counts[key] = counts.get(key, 0) + times
            length += times
    return Terms(counts, length)


def ask(query: str, languages: Sequence[str]) -> Question:
    """The words of a question, as documents in each of `languages` would have them."""
    clean = _clean(query)
    if clean.isupper():
        clean = clean.lower()
    tokens: list[str] = list(dict.fromkeys(_TOKEN.findall(clean)))
    spoken = [_LANGUAGES[code] for code in dict.fromkeys(languages or ("",))]
    # The one whose small words it uses is the one it is asked in: they mean nothing in the others either.
    small = {language: sum(language.is_stop(token) for token in tokens) for language in spoken}
    own = [language for language in spoken if small[language] and small[language] == max(small.values())]
    words: dict[tuple[int, ...], Word] = {}
    for token in tokens:
        if any(language.is_stop(token) for language in own):
            continue
        if _IS_DENSE.match(token):
            # Each pair of characters weighs as a word of its own.
            for key in dict.fromkeys(spoken[0].keys(token)):
                words.setdefault((key,), Word(token, (key,)))
            continue
        keys = tuple(dict.fromkeys(key for language in spoken for key in language.keys(token)))
        if keys:
            words.setdefault(keys, Word(token, keys))
    phrases = tuple(dict.fromkeys(fold(found) for found in _PHRASE.findall(query) if len(fold(found).split()) > 1))
    return Question(tuple(words.values()), phrases)


def _clean(text: str) -> str:
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
