"""The two tables at the head of a file: fonts, for what bytes mean, and styles, for what is a heading."""

from __future__ import annotations

import re
from typing import NamedTuple

from folkmoot_parser_rtf.charsets import of_charset, of_page
from folkmoot_parser_rtf.words import State

# Word stores the names of its own styles in English whatever language it speaks; others do not.
_HEADING = re.compile(
    r"(?:heading|rubrik|überschrift|overskrift|otsikko|titre|título|titolo|kop|nagłówek)[ _]?([1-9])", re.IGNORECASE
)
_TITLES = frozenset({"title", "titel"})
_MOST = 20_000
"""Fonts or styles; more is somebody trying something."""
_LONGEST_CHAIN = 20
_LONGEST_NAME = 100
_OUTLINE_LEVELS = 9


class FontTable:
    """Fonts by number, as far as it matters here: the codec of their bytes."""

    def __init__(self) -> None:
        self.default = "cp1252"
        """The codec of the document."""
        self.first: int | None = None
        """The font of text that names none."""
        self._codecs: dict[int, str | None] = {}
        self._western: set[int] = set()
        self._several = False
        self._font = 0

    def codec(self, font: int | None) -> str:
        number = self.first if font is None else font
        if number is None:
            return self.default
        # Character set 0 is Western; programs that know no other sets write it for the document's own.
        if self._several and number in self._western:
            return "cp1252"
        return self._codecs.get(number) or self.default

    def word(self, word: str, number: int | None) -> bool:
        """A word inside the table; False if it is none of the table's own."""
        if word == "f":
            self._font = number or 0
        elif word == "fcharset" and len(self._codecs) < _MOST:
            codec = of_charset(number or 0)
            self._codecs[self._font] = codec
            if number == 0:
                self._western.add(self._font)
            self._several = self._several or (codec is not None and number != 2)
        elif word == "cpg" and len(self._codecs) < _MOST:
            self._codecs[self._font] = of_page(number or 0) or self._codecs.get(self._font)
            self._western.discard(self._font)
        else:
            return False
        return True

    def text(self, text: str) -> None:
        """The name of a font; the older Word tells by it alone that a font has pictures for letters."""
        if text.strip("; ") == "Symbol":
            self._codecs[self._font] = of_charset(2)


class _Style(NamedTuple):
    name: str
    outline: int | None
    based_on: int | None


class StyleSheet:
    """Paragraph styles by number."""

    def __init__(self) -> None:
        self._styles: dict[int, _Style] = {}
        self._begin()

    def _begin(self) -> None:
        self._number = 0
        self._name = ""
        self._outline: int | None = None
        self._based_on: int | None = None

    def word(self, word: str, number: int | None) -> bool:
        """A word inside the sheet; False if it is none of the sheet's own."""
        if word == "s":
            self._number = number or 0
        elif word == "outlinelevel":
            self._outline = number
        elif word == "sbasedon":
            self._based_on = number
        else:
            return False
        return True

    def text(self, text: str) -> None:
        """The name of a style, which ends with a semicolon."""
        name, semicolon, _ = text.partition(";")
        self._name = (self._name + name)[:_LONGEST_NAME]
        if semicolon:
            if len(self._styles) < _MOST:
                self._styles[self._number] = _Style(self._name.strip(), self._outline, self._based_on)
            self._begin()

    def level(self, state: State) -> int | None:
        """1 for the highest heading or a title, None for body text; the paragraph's own outline level wins."""
        if state.outline is not None:
            return state.outline + 1 if 0 <= state.outline < _OUTLINE_LEVELS else None
        number: int | None = state.style
        for _ in range(_LONGEST_CHAIN):
            style = self._styles.get(number) if number is not None else None
            if style is None:
                return None
            if style.name.lower() in _TITLES:
                return 1
            match = _HEADING.fullmatch(style.name)
            if match:
                return int(match[1])
            if style.outline is not None:
                return style.outline + 1 if 0 <= style.outline < _OUTLINE_LEVELS else None
            number = style.based_on
        return None
