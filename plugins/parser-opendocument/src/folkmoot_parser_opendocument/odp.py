"""OpenDocument presentations and drawings: a slide is a page, read from top to bottom and left to right."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from folkmoot_sdk import Block, DocumentInfo, Parsed, Progress

from folkmoot_parser_opendocument.inline import SHAPES
from folkmoot_parser_opendocument.package import Package, guarded
from folkmoot_parser_opendocument.reader import Reader, joined
from folkmoot_parser_opendocument.styles import Styles
from folkmoot_parser_opendocument.tree import Node, attr, child, name, one_line, topmost

# On every slide again: the date, the page's number, the picture of the slide on its notes page.
_SKIPPED = frozenset({"date-time", "page-number", "page", "header", "handout"})
_SAME_LINE = 0.635
"""Centimetres, a quarter of an inch: shapes whose tops differ less stand side by side."""
_LENGTH = re.compile(r"(-?\d{1,9}(?:\.\d{0,9})?)(cm|mm|in|pt|pc|px)?")
_CENTIMETRES = {"cm": 1.0, "mm": 0.1, "in": 2.54, "pt": 2.54 / 72, "pc": 2.54 / 6, "px": 2.54 / 96}
_MOVED = re.compile(r"translate\s{0,9}\(\s{0,9}([\d.a-z-]{1,30})[\s,]{1,9}([\d.a-z-]{1,30})\s{0,9}\)")


@guarded
def parse(package: Package) -> Iterator[Parsed]:
    """Blocks of each slide and its notes, hidden slides too."""
    body = package.body("office:presentation", "office:drawing")
    slides = [node for node in body if name(node) == "draw:page"]
    deck = _Deck(package, body)
    yield DocumentInfo(page_count=len(slides), title=package.title)
    for page, slide in enumerate(slides, start=1):
        for block in joined(deck.slide(slide)):
            yield msgspec.structs.replace(block, page=page)
        yield Progress(done=page, total=len(slides))
    yield DocumentInfo(
        page_count=len(slides),
        title=package.title,
        language=package.language,
        warnings=tuple(package.warnings),
    )


class _Deck:
    def __init__(self, package: Package, body: Node) -> None:
        self._reader = Reader(package, Styles(package.content(), package.styles()))
        self._declared: dict[str, str] = {}
        for node in body:
            if name(node) == "presentation:footer-decl":
                self._declared[attr(node, "presentation:name") or ""] = one_line(node.text or "")
        self._footers: set[str] = set()

    def slide(self, slide: Node) -> Iterator[Block]:
        shapes = list(_in_order(slide))
        titles = [shape for shape in shapes if _role(shape) == "title"]
        for shape in titles + [shape for shape in shapes if _role(shape) != "title"]:
            yield from self._shape(shape)
        footer = self._declared.get(attr(slide, "presentation:use-footer-name") or "", "")
        yield from self._footer(footer)
        notes = child(slide, "presentation:notes")
        for shape in _in_order(notes) if notes is not None else ():
            if _role(shape) in _SKIPPED | {"footer"} or attr(shape, "presentation:placeholder") == "true":
                continue
            text = "\n".join(block.text for block in joined(self._reader.shape(shape)))
            if text:
                yield Block(text=text, kind="note")
        for node in slide:
            if name(node) == "office:annotation":
                yield from self._reader.comment(node)

    def _shape(self, shape: Node) -> Iterator[Block]:
        role = _role(shape)
        if role in _SKIPPED or attr(shape, "presentation:placeholder") == "true":
            return
        if role == "title":
            text = one_line(" ".join(block.text.lstrip("- ") for block in self._reader.shape(shape)))
            if text:
                yield Block(text=text, kind="heading", level=1)
        elif role == "footer":
            yield from self._footer(one_line(" ".join(block.text for block in self._reader.shape(shape))))
        else:
            yield from _paragraphs_together(self._reader.shape(shape))

    def _footer(self, text: str) -> Iterator[Block]:
        if text and text not in self._footers:
            self._footers.add(text)
            yield Block(text=text, kind="note")


def _paragraphs_together(blocks: Iterator[Block]) -> Iterator[Block]:
    """The lines of a box that are no list are one paragraph: on a slide a line is rarely a thought."""
    lines: list[str] = []
    for block in blocks:
        if block.kind == "paragraph":
            lines.append(block.text)
            continue
        if lines:
            yield Block(text="\n".join(lines))
            lines = []
        yield block
    if lines:
        yield Block(text="\n".join(lines))


def _role(shape: Node) -> str:
    return attr(shape, "presentation:class") or ""


def _in_order(container: Node) -> Iterator[Node]:
    """Shapes in reading order, groups opened in their place."""
    placed = [(*_place(shape), shape) for shape in topmost(container, *SHAPES, "presentation:notes")]
    placed = [each for each in placed if name(each[2]) != "presentation:notes"]
    placed.sort(key=lambda each: each[0])
    line: list[tuple[float, float, Node]] = []
    for each in [*placed, None]:
        if line and (each is None or each[0] - line[0][0] > _SAME_LINE):
            for _, _, shape in sorted(line, key=lambda one: one[1]):
                if name(shape) == "draw:g":
                    yield from _in_order(shape)
                else:
                    yield shape
            line = []
        if each is not None:
            line.append(each)


def _place(shape: Node) -> tuple[float, float]:
    """Top and left in centimetres; of a group, where its first shape stands."""
    top, left = attr(shape, "svg:y") or attr(shape, "svg:y1"), attr(shape, "svg:x") or attr(shape, "svg:x1")
    if top is None and name(shape) == "draw:g":
        inner = [_place(each) for each in topmost(shape, *SHAPES - {"draw:g"})]
        return min(inner, default=(0.0, 0.0))
    moved = _MOVED.search((attr(shape, "draw:transform") or "")[:500]) if top is None else None
    if moved:
        left, top = moved[1], moved[2]
    return _length(top), _length(left)


def _length(text: str | None) -> float:
    match = _LENGTH.match(text or "")
    return float(match[1]) * _CENTIMETRES[match[2] or "cm"] if match else 0.0
