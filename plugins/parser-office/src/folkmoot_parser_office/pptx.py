"""PowerPoint files: a slide is a page, read from top to bottom and from left to right.

We walk the XML of the parts instead of using python-pptx, for the sake of SmartArt, alternate content,
inherited bullets and strict files, and because the bounds on hostile files are then all ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from folkmoot_sdk import Block, BlockKind, DocumentInfo, Parsed, Progress

from folkmoot_parser_office import comments
from folkmoot_parser_office.drawing import alternative_text, graphic, one_line, paragraph_text, table_text
from folkmoot_parser_office.numbers import counted
from folkmoot_parser_office.package import Package, Relationship, guarded
from folkmoot_parser_office.properties import language_of, title_of
from folkmoot_parser_office.tree import Node, attr, child, children, local, number, topmost

_TITLES = frozenset({"title", "ctrTitle"})
_BULLETED = frozenset({"body", "obj"})
# On every slide again: the date, the page's number, the picture of the slide on its notes page.
_SKIPPED = frozenset({"dt", "sldNum", "sldImg", "hdr"})
_SAME_LINE = 228_600
"""EMU, a quarter of an inch: shapes whose tops differ less stand side by side."""
_BULLET_MARKS = frozenset({"buNone", "buChar", "buAutoNum", "buBlip"})


@guarded
def parse(package: Package) -> Iterator[Parsed]:
    """Blocks of each slide and its notes, hidden slides too."""
    yield from _Deck(package).read()


class _Placeholder(NamedTuple):
    kind: str
    place: str | None


class _Slide:
    """A slide, and what it inherits its places and bullets from."""

    def __init__(self, package: Package, part: str, root: Node, bases: list[Node]) -> None:
        self.root = root
        self.bases = bases
        self.ties: dict[str, Relationship] = package.relationships(part)

    def target(self, identity: str | None) -> str:
        tie = self.ties.get(identity or "")
        return tie.target if tie else ""

    def inherited(self, placeholder: _Placeholder | None) -> Iterator[Node]:
        """The shapes of layout and master that a placeholder is modelled on."""
        if placeholder is None:
            return
        for depth, base in enumerate(self.bases):
            for shape in topmost(base, "sp"):
                other = _placeholder(shape)
                if other is None:
                    continue
                # A master has one body for all; a layout numbers its placeholders.
                same = depth == 0 and placeholder.place is not None and other.place == placeholder.place
                if same or (_family(other.kind) == _family(placeholder.kind) and (depth or not placeholder.place)):
                    yield shape
                    break


class _Deck:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._part, self._root = package.main("ppt", "presentation.xml", "presentation")
        self._ties = package.relationships(self._part)
        self._bases: dict[str, Node | None] = {}
        self._languages: Counter[str] = Counter()
        self._footers: set[str] = set()
        self._authors = comments.authors(package, self._ties.values())

    def read(self) -> Iterator[Parsed]:
        slides = list(self._slides())
        yield DocumentInfo(page_count=len(slides), title=title_of(self._package))
        for page, part in enumerate(slides, start=1):
            root = self._package.find_tree(part, f"Slide {page}")
            if root is not None:
                yield from self._slide(part, root, page)
            yield Progress(done=page, total=len(slides))
        yield DocumentInfo(
            page_count=len(slides),
            title=title_of(self._package),
            language=language_of(self._package, self._languages),
            warnings=tuple(self._package.warnings),
        )

    def _slides(self) -> Iterator[str]:
        seen: set[str] = set()
        order = child(self._root, "sldIdLst")
        for node in order if order is not None else ():
            # `id` is there twice: the slide's own number, and the relationship's id with a namespace.
            for key, value in node.items():
                tie = self._ties.get(value) if key.endswith("}id") else None
                if tie and tie.target in self._package and tie.target not in seen:
                    seen.add(tie.target)
                    yield tie.target

    def _slide(self, part: str, root: Node, page: int) -> Iterator[Block]:
        slide = _Slide(self._package, part, root, self._bases_of(part))
        shapes = list(self._shapes(slide, child(root, "cSld", "spTree")))
        titles = [shape for shape in shapes if _is_title(shape)]
        for shape in titles + [shape for shape in shapes if not _is_title(shape)]:
            yield from self._shape(slide, shape, page)
        notes = next((tie.target for tie in slide.ties.values() if tie.kind == "notesSlide"), "")
        notes_root = self._package.find_tree(notes, f"The notes of slide {page}") if notes else None
        if notes_root is not None:
            yield from self._notes(notes_root, page)
        for text in comments.of_slide(self._package, slide.ties.values(), self._authors):
            yield Block(text=text, kind="note", page=page)

    def _bases_of(self, part: str) -> list[Node]:
        bases: list[Node] = []
        for kind in ("slideLayout", "slideMaster"):
            ties = self._package.relationships(part).values()
            part = next((tie.target for tie in ties if tie.kind == kind), "")
            if not part:
                break
            if part not in self._bases:
                self._bases[part] = self._package.find_tree(part, "A slide layout")
            base = self._bases[part]
            if base is None:
                break
            bases.append(base)
        return bases

    def _shapes(self, slide: _Slide, tree: Node | None) -> Iterator[Node]:
        """Shapes in reading order, groups opened in their place."""
        placed = [
            (*_place(slide, shape), shape)
            for shape in (children(tree) if tree is not None else ())
            if local(shape) in {"sp", "graphicFrame", "grpSp", "pic"}
        ]
        placed.sort(key=lambda each: each[0])
        line: list[tuple[int, int, Node]] = []
        for each in [*placed, None]:
            if line and (each is None or each[0] - line[0][0] > _SAME_LINE):
                for _, _, shape in sorted(line, key=lambda one: one[1]):
                    if local(shape) == "grpSp":
                        yield from self._shapes(slide, shape)
                    else:
                        yield shape
                line = []
            if each is not None:
                line.append(each)

    def _shape(self, slide: _Slide, shape: Node, page: int) -> Iterator[Block]:
        placeholder = _placeholder(shape)
        kind = placeholder.kind if placeholder else ""
        body = child(shape, "txBody")
        if local(shape) == "graphicFrame":
            for table in topmost(shape, "tbl"):
                text = self._table(table)
                if text:
                    yield Block(text=text, kind="table", page=page)
            for graphic_kind, text in graphic(self._package, shape, slide.target):
                yield Block(text=text, kind=_KINDS[graphic_kind], page=page)
        elif local(shape) == "pic":
            text = alternative_text(child(shape, "nvPicPr", "cNvPr"))
            if text:
                yield Block(text=text, page=page)
        elif body is None or kind in _SKIPPED:
            return
        elif kind in _TITLES:
            text = one_line(" ".join(line for line in map(self._line, _paragraphs(body))))
            if text:
                yield Block(text=text, kind="heading", level=1, page=page)
        elif kind == "ftr":
            text = one_line(" ".join(map(self._line, _paragraphs(body))))
            if text and text not in self._footers:
                self._footers.add(text)
                yield Block(text=text, kind="note", page=page)
        else:
            yield from self._body(slide, placeholder, body, page)

    def _notes(self, root: Node, page: int) -> Iterator[Block]:
        for shape in topmost(root, "sp"):
            placeholder = _placeholder(shape)
            body = child(shape, "txBody")
            if body is None or (placeholder and placeholder.kind in {*_SKIPPED, "ftr"}):
                continue
            text = "\n".join(line for line in map(self._line, _paragraphs(body)) if line)
            if text:
                yield Block(text=text, kind="note", page=page)

    def _table(self, table: Node) -> str:
        rows: list[list[str]] = []
        for row in topmost(table, "tr"):
            cells: list[str] = []
            for cell in topmost(row, "tc"):
                merged = attr(cell, "hMerge") in {"1", "true"} or attr(cell, "vMerge") in {"1", "true"}
                body = child(cell, "txBody")
                lines = map(self._line, _paragraphs(body)) if body is not None and not merged else ()
                cells.append(one_line(" ".join(lines)))
            rows.append(cells)
        return table_text(rows)

    def _line(self, paragraph: Node) -> str:
        text = paragraph_text(paragraph)
        run = child(paragraph, "r", "rPr")
        language = attr(run, "lang")
        if language and len(language) < 20:
            self._languages[language] += len(text)
        return text

    def _body(self, slide: _Slide, placeholder: _Placeholder | None, body: Node, page: int) -> Iterator[Block]:
        styles = list(_list_styles(slide, placeholder, body))
        counts: dict[int, int] = {}
        items: list[str] = []
        lines: list[str] = []
        for paragraph in _paragraphs(body):
            text = self._line(paragraph)
            if not text:
                continue
            props = child(paragraph, "pPr")
            depth = max(0, min(number(props, "lvl") or 0, 8))
            label = _label(props, styles, depth, counts)
            if label is None:
                counts.clear()
                if items:
                    yield _list_block(items, page)
                    items = []
                lines.append(text)
                continue
            if lines:
                yield Block(text="\n".join(lines), page=page)
                lines = []
            items.append("  " * depth + f"{label} " + text.replace("\n", " "))
        if lines:
            yield Block(text="\n".join(lines), page=page)
        if items:
            yield _list_block(items, page)


_KINDS: dict[str, BlockKind] = {"paragraph": "paragraph", "table": "table", "list": "list"}


def _list_block(items: list[str], page: int) -> Block:
    least = min(len(item) - len(item.lstrip(" ")) for item in items)
    return Block(text="\n".join(item[least:] for item in items).strip(), kind="list", page=page)


def _paragraphs(body: Node) -> Iterator[Node]:
    return (node for node in children(body) if local(node) == "p")


def _placeholder(shape: Node) -> _Placeholder | None:
    """What a shape is a placeholder for; the default is an object, as the schema says."""
    for node in children(shape):
        if local(node).startswith("nv"):
            found = child(node, "nvPr", "ph")
            if found is not None:
                return _Placeholder(attr(found, "type") or "obj", attr(found, "idx"))
    return None


def _is_title(shape: Node) -> bool:
    placeholder = _placeholder(shape)
    return placeholder is not None and placeholder.kind in _TITLES


def _family(kind: str) -> str:
    if kind in _TITLES:
        return "title"
    return "body" if kind in {"obj", "subTitle", "body"} else kind


def _place(slide: _Slide, shape: Node) -> tuple[int, int]:
    """Top and left of a shape in EMU, its own or inherited; 0, 0 if nobody says."""
    for candidate in (shape, *slide.inherited(_placeholder(shape))):
        frame = child(candidate, "xfrm")
        for props in ("spPr", "grpSpPr"):
            frame = frame if frame is not None else child(candidate, props, "xfrm")
        offset = child(frame, "off")
        if offset is not None:
            return number(offset, "y") or 0, number(offset, "x") or 0
    return 0, 0


def _list_styles(slide: _Slide, placeholder: _Placeholder | None, body: Node) -> Iterator[Node]:
    """Where a paragraph's bullet may be defined, nearest first."""
    own = child(body, "lstStyle")
    if own is not None:
        yield own
    for shape in slide.inherited(placeholder):
        style = child(shape, "txBody", "lstStyle")
        if style is not None:
            yield style
    if placeholder and placeholder.kind in _BULLETED and len(slide.bases) > 1:
        style = child(slide.bases[1], "txStyles", "bodyStyle")
        if style is not None:
            yield style


def _label(props: Node | None, styles: list[Node], depth: int, counts: dict[int, int]) -> str | None:
    """The label of a paragraph, None if it has none; `counts` are the items so far, per level."""
    levels = [props, *(child(style, f"lvl{depth + 1}pPr") for style in styles)]
    marks = (node for level in levels if level is not None for node in children(level))
    mark = next((node for node in marks if local(node) in _BULLET_MARKS), None)
    if mark is None or local(mark) == "buNone":
        return None
    for deeper in [each for each in counts if each > depth]:
        del counts[deeper]
    if local(mark) != "buAutoNum":
        counts.pop(depth, None)
        return "-"
    start = number(mark, "startAt") or 1
    counts[depth] = counts.get(depth, start - 1) + 1
    style = attr(mark, "type") or "arabicPeriod"
    text = counted(counts[depth], style)
    if style.endswith("ParenBoth"):
        return f"({text})"
    return text + (")" if style.endswith("ParenR") else "" if style.endswith("Plain") else ".")
