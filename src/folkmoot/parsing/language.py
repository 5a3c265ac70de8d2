"""Which language a text is in."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from io import BytesIO
from itertools import islice
from types import SimpleNamespace
from typing import Any

_LANGUAGES = (
    "af am ar az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id is it ja ka kk km kn "
    "ko ku ky la lo lt lv mk ml mn mr ms mt my ne nl nn no pa pl ps pt ro ru se si sk sl so sq sr sv sw ta te th tl tr "
    "uk ur uz vi zh"
)
"""Those that an organisation's documents are likely to be in. py3langid knows twice as many, and on three words
of Swedish would sooner find one of those."""
_SAME = {"nb": "no", "nn": "no", "nor": "no", "nob": "no", "nno": "no", "swe": "sv", "dan": "da", "fin": "fi"} | {
    "eng": "en",
    "deu": "de",
    "ger": "de",
}
_FEWEST_LETTERS, _MANY = 12, 100
_NOT_WORDS = re.compile(r"https?://\S+|\S+@\S+|[\d_]+")
_LONGEST = 10_000


def detect(text: str) -> str:
    """The ISO 639-1 code of the text's language, or "" if it is too short or of no one language.

    Bokmål and Nynorsk are both "no". The first call loads the model: 0.7 s and 110 MB, so call it where the
    document is read, not in the worker.
    """
    words = _NOT_WORDS.sub(" ", text[:_LONGEST])
    letters = sum(1 for _ in islice(filter(str.isalpha, words), _MANY))
    # Characters of Chinese, Japanese and Korean say more each.
    if letters < _FEWEST_LETTERS and letters + 3 * sum(letter > "\u2e80" for letter in words) < _FEWEST_LETTERS:
        return ""
    language, probability = _identifier().classify(words)
    return normalise(language) if probability >= _least(letters) else ""


def normalise(language: str) -> str:
    """The code under which a language is kept: one for Norwegian, two letters where there are two."""
    return _SAME.get(language, language)


def _least(letters: int) -> float:
    """The probability asked for: of a long text the model is sure or there is a reason why not."""
    return 0.5 if letters < _MANY else 0.6


def _in_memory(**_: object) -> BytesIO:
    return BytesIO()


@cache
def _identifier() -> Any:
    py3langid: Any = import_module("py3langid.langid")
    modelio: Any = import_module("py3langid.modelio")
    # It unpacks its model into a temporary file, and the process that reads documents may write no file.
    modelio.tempfile = SimpleNamespace(TemporaryFile=_in_memory)
    identifier = py3langid.LanguageIdentifier.from_model_file("data/model.npz.xz", norm_probs=True)
    identifier.set_languages(_LANGUAGES.split())
    return identifier
