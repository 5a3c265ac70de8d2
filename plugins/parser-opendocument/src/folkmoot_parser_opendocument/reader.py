"""From headings, paragraphs, lists, tables and shapes to blocks, in the order a person reads them.

Texts, slides and the shapes on a sheet are all made of the same elements, and read by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from folkmoot_sdk import Block

from folkmoot_parser_opendocument.inline import SHAPES, Inline, Pages
from folkmoot_parser_opendocument.package import Package
from folkmoot_parser_opendocument.styles import DEEPEST, Counter, Styles
from folkmoot_parser_opendocument.tables import cells, only_cell, rows, table_text
from folkmoot_parser_opendocument.tree import Node, attr, child, name, number, one_line, text_of, topmost

_LONGEST_LIST = 4_000
"""Characters after which a list goes on in a new block, so that its pages stay right."""
_DEEPEST_OBJECT = 3
"""Documents inside documents."""
_NO_TEXT = frozenset(
    {"text:tracked-changes", "office:forms", "office:scripts", "office:event-listeners", "svg:title", "svg:desc"}
)


class Reader:
    """Reads one part with its styles; `page` is put on every block where it does not come from the text."""

    def __init__(self, package: Package, styles: Styles, pages: Pages | None = None, depth: int = 0) -> None:
        self._package, self._styles = package, styles
        self._pages = pages or Pages(known=False)
        self._depth = depth
        self._outline = Counter()
        self._by_style: dict[str, Counter] = {}
        self._by_id: dict[str, Counter] = {}

    def read(self, container: Iterable[Node]) -> list[Block]:
        """All blocks of a container, its lists joined."""
        return list(joined(self.blocks(container)))

    def blocks(self, container: Iterable[Node]) -> Iterator[Block]:
        """Blocks of a container; each item of a list is still a block of its own, see `joined`."""
        for node in container:
            kind = name(node)
            if kind in {"text:p", "text:h"}:
                yield from self._paragraph(node)
            elif kind == "text:list":
                yield from self._list(node)
            elif kind == "text:numbered-paragraph":
                yield from self._numbered(node)
            elif kind == "table:table":
                yield from self._table(node)
            elif kind in SHAPES:
                yield from self.shape(node)
            elif kind == "office:annotation":
                yield from self.comment(node)
            elif kind == "text:soft-page-break":
                self._pages.soft()
            elif kind == "text:section" and (
                attr(node, "text:display") == "none" or self._styles.hides("section", attr(node, "text:style-name"))
            ):
                continue
            elif kind not in _NO_TEXT:
                yield from self.blocks(node)

    def _paragraph(self, node: Node, label: str | None = None, depth: int | None = None) -> Iterator[Block]:
        """One paragraph; with a `depth`, it is an item of a list."""
        style = attr(node, "text:style-name")
        if self._styles.hides("paragraph", style):
            return
        if self._styles.breaks_before(style):
            self._pages.hard()
        inline = Inline(self._styles, self._pages).read(node)
        text = inline.text
        level = self._level(node, style)
        if level is not None and depth is None:
            label = inline.label or self._heading_label(node, style, level)
        if text:
            yield _text_block(text, inline.page, level, inline.label or label, depth)
        yield from self._attached(inline)
        if self._styles.breaks_after(style):
            self._pages.hard()

    def _level(self, node: Node, style: str | None) -> int | None:
        if name(node) == "text:h":
            return max(1, min(number(node, "text:outline-level") or 1, DEEPEST))
        return self._styles.heading_level(style)

    def _heading_label(self, node: Node, style: str | None, level: int) -> str | None:
        if name(node) != "text:h" or attr(node, "text:is-list-header") == "true":
            return None
        own = self._styles.list_style(style)
        levels = self._styles.outline if own is None else self._styles.levels(own)
        start = number(node, "text:start-value") if attr(node, "text:restart-numbering") == "true" else None
        found = self._outline.label(levels, level - 1, start) if levels else None
        return None if found == "-" else found

    def _attached(self, inline: Inline) -> Iterator[Block]:
        """What hangs on a paragraph: frames and shapes, notes, comments."""
        for node in inline.shapes:
            for block in self.shape(node):
                yield msgspec.structs.replace(block, page=inline.page)
        for node in inline.notes:
            body = child(node, "text:note-body")
            text = self._aside(body) if body is not None else ""
            if text:
                yield Block(text=text, kind="note", page=inline.page)
        for node in inline.comments:
            for block in self.comment(node):
                yield msgspec.structs.replace(block, page=inline.page)

    def comment(self, node: Node) -> Iterator[Block]:
        """What somebody wrote in the margin, with the name."""
        author = text_of(node, "dc:creator")
        text = "\n".join(block.text for block in self._apart().read(node))
        if text:
            yield Block(text=f"{author}: {text}" if author else text, kind="note", page=self._pages.current)

    def _apart(self, styles: Styles | None = None, depth: int = 0) -> Reader:
        """For what stands outside the flow of pages and numbers."""
        return Reader(self._package, styles or self._styles, None, self._depth + depth)

    def _aside(self, node: Node) -> str:
        return "\n".join(block.text for block in self._apart().read(node))

    def _list(
        self, node: Node, outer: str | None = None, depth: int = 0, counter: Counter | None = None
    ) -> Iterator[Block]:
        style = attr(node, "text:style-name") or outer
        if style is None:
            first = next(topmost(node, "text:p", "text:h"), None)
            style = self._styles.list_style(attr(first, "text:style-name")) or None
        if counter is None:
            counter = self._counter(node, style)
        elif attr(node, "text:continue-numbering") != "true":
            counter.restart(depth - 1)
        for item in node:
            if name(item) in {"text:list-item", "text:list-header"}:
                yield from self._item(item, style, depth, counter)

    def _counter(self, node: Node, style: str | None) -> Counter:
        """A list starts anew, unless it says which other one it goes on with."""
        goes_on = attr(node, "text:continue-list")
        if goes_on is not None:
            counter = self._by_id.get(goes_on) or Counter()
        elif attr(node, "text:continue-numbering") == "true":
            counter = self._by_style.get(style or "") or Counter()
        else:
            counter = Counter()
        identity = attr(node, "xml:id")
        if identity:
            self._by_id[identity] = counter
        self._by_style[style or ""] = counter
        return counter

    def _item(self, item: Node, style: str | None, depth: int, counter: Counter) -> Iterator[Block]:
        levels = self._styles.levels(style)
        at = min(depth, DEEPEST - 1)
        label: str | None = None
        own = child(item, "text:number")
        waiting = name(item) == "text:list-item"
        for node in item:
            kind = name(node)
            if kind in {"text:p", "text:h"}:
                if waiting:
                    label = counter.label(levels, at, number(item, "text:start-value")) if levels is not None else "-"
                    label = (own.text or "").strip()[:60] if own is not None and own.text else label
                    waiting = False
                    yield from self._paragraph(node, label, depth if label else None)
                else:
                    yield from self._paragraph(node, "", depth + 1 if label else None)
            elif kind == "text:list":
                yield from self._list(node, style, depth + 1, counter)
            elif kind == "text:soft-page-break":
                self._pages.soft()
            elif kind != "text:number":
                yield from self.blocks([node])

    def _numbered(self, node: Node) -> Iterator[Block]:
        depth = max(0, min((number(node, "text:level") or 1) - 1, DEEPEST - 1))
        style = attr(node, "text:style-name")
        counter = self._by_id.setdefault(attr(node, "text:list-id") or "", Counter())
        levels = self._styles.levels(style)
        label = counter.label(levels, depth, number(node, "text:start-value")) if levels is not None else None
        own = child(node, "text:number")
        label = (own.text or "").strip()[:60] if own is not None and own.text else label
        for paragraph in node:
            if name(paragraph) in {"text:p", "text:h"}:
                yield from self._paragraph(paragraph, label, depth if label else None)

    def _table(self, table: Node) -> Iterator[Block]:
        only = only_cell(table)
        if only is not None:
            yield from self.blocks(only)
            return
        # A break is noted in a cell of the row that it stands before; the table is cited by its first page.
        page = self._pages.current
        found: list[list[str]] = []
        later: list[Block] = []
        for row in rows(table):
            line: list[str] = []
            for cell, times in cells(row):
                text = self._cell(cell, later) if cell is not None else ""
                line += [text] * times
            while line and not line[-1]:
                line.pop()
            if line and not found:
                page = self._pages.current
            if line:
                found.append(line)
        text = table_text(found)
        if text:
            yield Block(text=text, kind="table", page=page)
        yield from later

    def _cell(self, cell: Node, later: list[Block]) -> str:
        lines: list[Block] = []
        for block in self.blocks(cell):
            (later if block.kind in {"table", "note"} else lines).append(block)
        if len(lines) == 1 and lines[0].kind == "list":
            # One bullet alone in a cell lists nothing: Impress puts it there by itself.
            return one_line(lines[0].text).removeprefix("- ")
        return one_line(" ".join(block.text for block in lines))

    def shape(self, node: Node) -> Iterator[Block]:
        """What a frame or shape says: its text, table, chart, formula, or what its picture is said to show."""
        kind = name(node)
        if kind == "draw:g":
            for each in node:
                if name(each) in SHAPES:
                    yield from self.shape(each)
            return
        found = False
        for each in node:
            for block in self._inside(each):
                found = True
                yield block
            if found and kind == "draw:frame":
                break  # what follows is the same thing again, for programs that cannot show the first
        if not found:
            text = text_of(node, "svg:desc") or text_of(node, "svg:title")
            if text:
                yield Block(text=text[:10_000], page=self._pages.current)

    def _inside(self, node: Node) -> Iterator[Block]:
        kind = name(node)
        if kind == "table:table":
            yield from self._table(node)
        elif kind in {"draw:object", "draw:object-ole"}:
            yield from self._object(node)
        elif kind in {"text:p", "text:h", "text:list", "draw:text-box", "draw:image"} or kind in SHAPES:
            yield from self.blocks([node])

    def _object(self, node: Node) -> Iterator[Block]:
        """A chart's title and figures, a formula, or another document."""
        root = self._package.object(node) if self._depth < _DEEPEST_OBJECT else None
        if root is None:
            return
        page = self._pages.current
        if name(root) == "math:math":
            text = _formula(root)
            if text:
                yield Block(text=text, page=page)
            return
        inner = self._apart(Styles(root), depth=1)
        chart = child(root, "office:body", "office:chart", "chart:chart")
        body = child(root, "office:body")
        if chart is not None:
            parts = [each for each in chart if name(each) in {"chart:title", "chart:subtitle", "table:table"}]
            blocks = [block for part in parts for block in inner.chart_part(part)]
        else:
            blocks = [block for part in (body if body is not None else ()) for block in inner.read(part)]
        for block in blocks:
            yield msgspec.structs.replace(block, page=page)

    def chart_part(self, node: Node) -> Iterator[Block]:
        """The title of a chart, or its figures."""
        if name(node) == "table:table":
            yield from self._table(node)
        else:
            yield from self.read(node)


def joined(blocks: Iterable[Block]) -> Iterator[Block]:
    """Items that follow one another as one list, as far indented as the items beside them ask."""
    items: list[str] = []
    page: int | None = None
    length = 0
    for block in blocks:
        item = block.kind == "list" and "\n" not in block.text
        if items and (not item or block.page != page or length > _LONGEST_LIST):
            yield _list_block(items, page)
            items, length = [], 0
        if item:
            items.append(block.text)
            page = block.page
            length += len(block.text)
        else:
            yield block
    if items:
        yield _list_block(items, page)


def _list_block(items: list[str], page: int | None) -> Block:
    least = min(len(item) - len(item.lstrip(" ")) for item in items)
    return Block(text="\n".join(item[least:] for item in items).strip(), kind="list", page=page)


def _text_block(text: str, page: int | None, level: int | None, label: str | None, depth: int | None) -> Block:
    if level is not None:
        numbered = f"{label} {text}" if label and label != "-" else text
        return Block(text=one_line(numbered), kind="heading", level=level, page=page)
    if depth is None:
        return Block(text=text, page=page)
    # The level of an item travels as its indentation until `joined` has seen the whole list.
    item = f"{label} {text}" if label else text
    return Block(text="  " * depth + item.replace("\n", " "), kind="list", page=page)


def _formula(root: Node) -> str:
    """The formula as its author typed it, else its signs one after the other."""
    for node in root.iter():
        if name(node) == "math:annotation" and node.text:
            return one_line(node.text)[:10_000]
    return one_line(" ".join(node.text for node in root.iter() if node.text))[:10_000]
