"""Making what a PDF calls text into what a person would type."""

from __future__ import annotations

import re
import unicodedata

HYPHEN_AT_END = re.compile("[-\u00ad\u2010]$")

# Control characters, noncharacters, the replacement character, half surrogate pairs and the private use
# areas: what a font without a Unicode map leaves behind. Marks of direction and joiners stay.
_UNREADABLE = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufeff\ufff0-\uffff\U000f0000-\U0010ffff]"
)
# Latin ligatures and the Arabic presentation forms: the shape of a letter, not the letter.
_SHAPES = re.compile("[\ufb00-\ufb06\ufb50-\ufdcf\ufdf0-\ufdfb\ufe70-\ufefc]+")
_SPACES = re.compile("[\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_WORD = re.compile(r"[^\W\d_]{2,}(?:-[^\W\d_]+)*")
RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
"""For a character class: Hebrew, Arabic and their neighbours."""
_RTL = re.compile(f"[{RTL}]")
_CJK = re.compile("[\u2e80-\u312f\u3190-\ua4cf\uf900-\ufaff\uff00-\uffef]")
# "in- och utflöde", "Vor- und Nachteile": the hyphen stands for a word that comes later.
_SHARED = re.compile(r"(?:och|eller|samt|respektive|og|eller|and|or|to|und|oder|bis|ja|tai|sekä)\b")

REMEMBERED_WORDS = 100_000


def clean(text: str) -> str:
    """NFC, without ligatures, control characters and glyphs that have no Unicode."""
    if text.isascii() and text.isprintable():
        return text
    text = _SHAPES.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    text = _SPACES.sub(" ", text)
    return unicodedata.normalize("NFC", _UNREADABLE.sub("", text))


def unreadable(code: int) -> bool:
    """Whether a character code stands for no letter that anybody knows; the hyphen of PDFium is none of these."""
    return code not in {2, 0xAD, 0xFFFE} and (code == 0 or _UNREADABLE.match(chr(min(code, 0x10FFFF))) is not None)


def is_rtl(text: str) -> bool:
    """Written from right to left, most of it."""
    return not text.isascii() and len(_RTL.findall(text)) * 2 > sum(map(str.isalpha, text))


class Joiner:
    """Joins the lines of a paragraph, and knows which hyphens at their ends are only there to break a word.

    It remembers the words of the document so far: one seen with its hyphen keeps it at a line's end too.
    """

    def __init__(self) -> None:
        self._words: set[str] = set()

    def remember(self, line: str) -> None:
        """Take note of the words inside a line; those at its ends may be broken."""
        if len(self._words) < REMEMBERED_WORDS:
            self._words.update(_WORD.findall(line.lower())[1:-1])

    def join(self, lines: list[str]) -> str:
        """One string with single spaces, words broken at a line's end whole again."""
        text = ""
        for line in filter(None, lines):
            text += self._between(text, line) if text else ""
            text = self._drop_hyphen(text, line) + line
        return text.replace("\u00ad", "")

    def _between(self, before: str, line: str) -> str:
        if HYPHEN_AT_END.search(before) and before[-2:-1].isalnum():
            return " " if _SHARED.match(line) else ""
        return "" if _CJK.match(before[-1]) and _CJK.match(line[0]) else " "

    def _drop_hyphen(self, before: str, line: str) -> str:
        if before.endswith("\u00ad"):
            return before[:-1]
        if not HYPHEN_AT_END.search(before) or not line[0].islower():
            return before
        first = re.search(r"[^\W_]+(?:-[^\W_]+)*$", before[-80:-1])
        second = re.match(r"[^\W\d_]+", line)
        if first is None or second is None or first[0].isupper() or any(map(str.isdigit, first[0])):
            return before
        whole, parted = (first[0] + second[0]).lower(), f"{first[0]}-{second[0]}".lower()
        keep = parted in self._words and whole not in self._words
        # A word that has a hyphen already is more likely broken at another of its own.
        return before if keep or ("-" in first[0] and whole not in self._words) else before[:-1]
