"""HTML of a letter as blocks of text.

Letters are laid out with tables and styles rather than with headings; what is hidden (the preview text of
newsletters, tracking pictures) is left out. lxml's HTML parser forgives everything, expands no entity of the
page's own, and stops at a depth; the walk below never recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from folkmoot_sdk import Block

_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DROPPED = _names("script style head title template noscript iframe object embed svg button input select")
_BLOCKS = _names(
    "address article aside blockquote body center dd details div dl dt figcaption figure footer form header hr "
    "html li main nav ol p pre section table tbody td tfoot th thead tr ul"
)
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all)\b", re.IGNORECASE)
_BREAK = "\u2028"
"""Stands for <br> until white space is squeezed."""
_LONGEST = 20_000


def blocks(html: str) -> Iterator[Block]:
    """Headings, paragraphs, lists and rows of tables in reading order."""
    etree: Any = import_module("lxml.etree")
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(html.replace("\x00", "").encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        return
    if root is not None:
        yield from _Walk().read(etree.iterwalk(root, events=("start", "end")), root)


class _Walk:
    """Gathers text until a block ends; what belongs together in a list or a table is one block."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._lines: list[str] = []
        self._length = 0
        self._marker = ""
        self._depth = 0

    def read(self, walk: Any, root: Any) -> Iterator[Block]:
        for event, element in walk:
            tag = element.tag
            if event == "start":
                if tag in _DROPPED or _is_hidden(element):
                    walk.skip_subtree()
                    continue
                yield from self._begin(element, tag)
            else:
                yield from self._end(tag)
                if element is not root:
                    self._said.append(element.tail or "")
        yield from self._flush()
        yield from self._flush_lines()

    def _begin(self, element: Any, tag: str) -> Iterator[Block]:
        if tag in _HEADINGS or tag in _BLOCKS:
            yield from self._flush()
        if tag in {"ul", "ol"}:
            self._depth += 1
        elif tag == "li":
            self._marker = "  " * max(0, self._depth - 1) + "- "
        if tag == "br":
            self._said.append(_BREAK)
        elif tag == "img":
            self._said.append(element.get("alt") or "")
        else:
            self._said.append(element.text or "")

    def _end(self, tag: str) -> Iterator[Block]:
        if tag in _HEADINGS:
            text = " ".join(self._text().split())
            if text:
                yield from self._flush_lines()
                yield Block(text=text, kind="heading", level=_HEADINGS[tag])
        elif tag in _BLOCKS:
            yield from self._flush()
        if tag in {"ul", "ol"}:
            self._depth = max(0, self._depth - 1)
            if not self._depth:
                yield from self._flush_lines()

    def _text(self) -> str:
        text = "".join(self._said).replace("\u200b", "").replace("\u00ad", "").replace("\u200c", "")
        self._said.clear()
        return "\n".join(line for part in text.split(_BREAK) if (line := " ".join(part.split())))

    def _flush(self) -> Iterator[Block]:
        text = self._text()
        if not text:
            return
        if not self._depth:
            yield from self._flush_lines()
            yield Block(text=text)
            return
        for line in text.splitlines():
            self._lines.append((self._marker or "  ") + line)
            self._length += len(line)
            self._marker = ""
        if self._length > _LONGEST:
            yield from self._flush_lines()

    def _flush_lines(self) -> Iterator[Block]:
        text = "\n".join(self._lines).strip()
        self._lines, self._length = [], 0
        if text:
            yield Block(text=text, kind="list")


def _is_hidden(element: Any) -> bool:
    return element.get("hidden") is not None or _HIDDEN.search(element.get("style") or "") is not None
