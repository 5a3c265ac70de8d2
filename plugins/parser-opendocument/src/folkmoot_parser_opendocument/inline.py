"""From one paragraph to the text that a reader sees, and what hangs on it.

Deletions that are tracked stand outside the text, so leaving them out costs nothing here. Text that is
formatted or marked as hidden is left out, because the person who opens the file does not see it.
"""

from __future__ import annotations

import re

from folkmoot_parser_opendocument.styles import Styles
from folkmoot_parser_opendocument.tree import Node, attr, name, number

_BLANKS = re.compile(r"[ \t\r\n]+")
_MOST_BLANKS = 200
# What is anchored in a paragraph and has paragraphs of its own.
SHAPES = frozenset(
    {
        "draw:frame", "draw:custom-shape", "draw:rect", "draw:ellipse", "draw:circle", "draw:line", "draw:path",
        "draw:polygon", "draw:polyline", "draw:regular-polygon", "draw:connector", "draw:caption", "draw:g",
        "draw:measure", "draw:page-thumbnail",
    }
)  # fmt: skip
_SPACED = {"text:tab": "\t", "text:line-break": "\n"}
_DROPPED = frozenset({"text:ruby-text", "office:annotation-end", "text:script", "office:forms"})


class Pages:
    """Which page we are on, as far as the program that made the file left word of it."""

    def __init__(self, known: bool) -> None:
        self._known = known
        self._number = 1
        self._started = False
        self._pending = False

    @property
    def current(self) -> int | None:
        return self._number if self._known else None

    def text(self) -> None:
        """Something stands on the page we are on."""
        self._started, self._pending = True, False

    def soft(self) -> None:
        """A page that was full."""
        self._number += 1
        self._pending = True

    def hard(self) -> None:
        """A break that the author made; at the top of a page it changes nothing."""
        if self._started and not self._pending:
            self.soft()


class Inline:
    """The content of one paragraph, taken apart."""

    def __init__(self, styles: Styles, pages: Pages) -> None:
        self._styles, self._pages = styles, pages
        self._pieces: list[str] = []
        self._blank = True
        self.page = pages.current
        self.label: str | None = None
        """The number that the program itself noted for this paragraph."""
        self.notes: list[Node] = []
        self.comments: list[Node] = []
        self.shapes: list[Node] = []

    def read(self, paragraph: Node) -> Inline:
        self._walk(paragraph)
        return self

    @property
    def text(self) -> str:
        text = "".join(self._pieces).replace("\u00ad", "")
        return "\n".join(line.strip(" ") for line in text.split("\n")).strip()

    def _add(self, text: str | None) -> None:
        if not text:
            return
        if self._blank and not text.isspace():
            self._blank = False
            self.page = self._pages.current
            self._pages.text()
        self._pieces.append(text)

    def _spaced(self, text: str | None) -> None:
        """White space in the XML is one space; more of it has elements of its own."""
        self._add(_BLANKS.sub(" ", text) if text else None)

    def _walk(self, node: Node) -> None:
        self._spaced(node.text)
        for each in node:
            self._element(each)
            self._spaced(each.tail)

    def _element(self, node: Node) -> None:
        kind = name(node)
        if kind == "text:span":
            if not self._styles.hides("text", attr(node, "text:style-name")):
                self._walk(node)
        elif kind == "text:s":
            self._add(" " * min(number(node, "text:c") or 1, _MOST_BLANKS))
        elif kind in _SPACED:
            self._add(_SPACED[kind])
        elif kind == "text:soft-page-break":
            self._pages.soft()
        elif kind == "text:note":
            self.notes.append(node)
        elif kind == "office:annotation":
            self.comments.append(node)
        elif kind in SHAPES:
            self.shapes.append(node)
        elif kind == "text:number":
            self.label = (node.text or "").strip()[:60] or None
        elif kind not in _DROPPED and attr(node, "text:is-hidden") != "true":
            self._walk(node)
