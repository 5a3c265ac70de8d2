"""Word files, in the order a person reads them.

We walk the XML of the parts instead of using python-docx: that library knows paragraphs and tables, and
passes over text boxes, content controls, notes, numbering, page breaks and tracked changes, which hold
much of what people ask about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
from folkmoot_sdk import Block, BlockKind, DocumentInfo, Parsed

from folkmoot_parser_office.docx_styles import Numbering, Styles
from folkmoot_parser_office.docx_text import Inline, Pages
from folkmoot_parser_office.drawing import alternative_text, graphic, one_line, table_text
from folkmoot_parser_office.package import Package, guarded
from folkmoot_parser_office.properties import language_of, title_of
from folkmoot_parser_office.tree import Node, attr, child, children, is_on, local, number, topmost

_WRAPPERS = frozenset({"sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag", "body"})
_LONGEST_LIST = 4_000
"""Characters after which a list goes on in a new block, so that its pages stay right."""
_MOST_COLUMNS = 63
"""Word allows no more."""


@guarded
def parse(package: Package) -> Iterator[Parsed]:
    """Blocks of the document, then what is known of it."""
    yield from _Document(package).read()


class _Document:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._part, self._root = package.main("word", "document.xml", "document")
        self._ties = package.relationships(self._part)
        self._styles = Styles(self._tree_of("styles", "The styles"))
        self._numbering = Numbering(self._tree_of("numbering", "The numbering of lists"), self._styles)
        self._pages = Pages(self._root)
        self._languages: Counter[str] = Counter()
        self._notes = {
            "footnote": self._note_nodes("footnotes", "The footnotes"),
            "endnote": self._note_nodes("endnotes", "The endnotes"),
            "comment": self._note_nodes("comments", "The comments"),
        }
        self._sections = [node for node in self._root.iter() if _is_section(node)]
        self._section = 0

    def _tree_of(self, kind: str, what: str) -> Node | None:
        target = next((tie.target for tie in self._ties.values() if tie.kind == kind and tie.target), "")
        return self._package.find_tree(target, what) if target else None

    def _note_nodes(self, kind: str, what: str) -> dict[str, Node]:
        root = self._tree_of(kind, what)
        found: dict[str, Node] = {}
        for node in root if root is not None else ():
            if (attr(node, "type") or "normal") == "normal":
                found[attr(node, "id") or ""] = node
        return found

    def read(self) -> Iterator[Parsed]:
        seen: set[str] = set()
        yield from self._margins("headerReference", seen)
        body = child(self._root, "body")
        if body is not None:
            yield from _forward(_joined(self._blocks(body)))
        # What a reference was lost for is still in the file.
        for notes in self._notes.values():
            for identity in list(notes):
                yield from self._note(notes, identity, None)
        yield from self._margins("footerReference", seen)
        yield DocumentInfo(
            page_count=self._pages.current,
            title=title_of(self._package),
            language=language_of(self._package, self._languages),
            warnings=tuple(self._package.warnings),
        )

    def _margins(self, reference: str, seen: set[str]) -> Iterator[Block]:
        parts: dict[str, None] = {}
        for section in self._sections:
            for node in children(section):
                tie = self._ties.get(attr(node, "id") or "")
                if local(node) == reference and tie and tie.target:
                    parts[tie.target] = None
        for part in parts:
            root = self._package.find_tree(part, "A header or footer")
            if root is None:
                continue
            text = "\n".join(block.text for block in self._aside(root, part))
            # A page number alone tells nothing.
            if text not in seen and any(map(str.isalpha, text)):
                seen.add(text)
                yield Block(text=text, kind="note")

    def _aside(self, root: Node, part: str = "") -> list[Block]:
        """Blocks of something that stands outside the pages of the body."""
        ties, pages = self._ties, self._pages
        self._pages = Pages(None)
        if part:
            self._ties = self._package.relationships(part)
        try:
            return list(_joined(self._blocks(root)))
        finally:
            self._ties, self._pages = ties, pages

    def _note(self, notes: dict[str, Node], identity: str, page: int | None) -> Iterator[Block]:
        node = notes.pop(identity, None)
        if node is None:
            return
        text = "\n".join(block.text for block in self._aside(node))
        # Of a comment it matters who says so.
        author = one_line(attr(node, "author") or "")[:200]
        if text:
            yield Block(text=f"{author}: {text}" if author else text, kind="note", page=page)

    def _blocks(self, container: Node) -> Iterator[Block]:
        for node in children(container):
            name = local(node)
            if name == "p":
                yield from self._paragraph(node)
            elif name == "tbl":
                yield from self._table(node)
            elif name in _WRAPPERS:
                yield from self._blocks(node)
            elif name == "altChunk":
                warning = "A document embedded in this one was not read."
                if warning not in self._package.warnings:
                    self._package.warnings.append(warning)

    def _paragraph(self, node: Node) -> Iterator[Block]:
        props = child(node, "pPr")
        style = attr(child(props, "pStyle"), "val") or self._styles.default
        own_break = child(props, "pageBreakBefore")
        if is_on(own_break) if own_break is not None else self._styles.breaks_page(style):
            self._pages.before_paragraph()
        inline = self._inline(node)
        level = self._styles.heading_level(style, number(child(props, "outlineLvl")))
        label, depth = self._label(props, style) if inline.segments else (None, 0)
        for position, (text, page) in enumerate(inline.segments):
            yield _text_block(text, page, level, label if position == 0 else None, depth)
        yield from self._attached(inline)
        if child(props, "sectPr") is not None:
            self._end_section()

    def _inline(self, node: Node) -> Inline:
        inline = Inline(self._pages, self._styles).read(node)
        self._languages.update(inline.languages)
        return inline

    def _attached(self, inline: Inline) -> Iterator[Block]:
        """What hangs on a paragraph: text boxes, charts, notes."""
        page = inline.segments[-1][1] if inline.segments else self._pages.current
        for box in inline.boxes:
            for block in self._aside(box):
                yield msgspec.structs.replace(block, page=page)
        for frame in inline.graphics:
            for properties in topmost(frame, "docPr"):
                text = alternative_text(properties)
                if text and not inline.boxes:
                    yield Block(text=text, page=page)
            for kind, text in graphic(self._package, frame, self._target):
                yield Block(text=text, kind=_kind(kind), page=page)
        for kind, identity in inline.notes:
            yield from self._note(self._notes[kind], identity, page)

    def _target(self, identity: str | None) -> str:
        tie = self._ties.get(identity or "")
        return tie.target if tie else ""

    def _end_section(self) -> None:
        # The type of a section says how that section begins, so the next one's counts here.
        self._section += 1
        if self._section < len(self._sections):
            kind = attr(child(self._sections[self._section], "type"), "val") or "nextPage"
            if kind not in {"continuous", "nextColumn"}:
                self._pages.before_paragraph()

    def _label(self, props: Node | None, style: str | None) -> tuple[str | None, int]:
        numbered = child(props, "numPr")
        list_id, depth = number(child(numbered, "numId")), number(child(numbered, "ilvl"))
        if list_id is None:
            found = self._styles.numbering(style)
            if found is None:
                return None, 0
            name, list_id, styled = found
            if depth is None:
                depth = styled if styled is not None else self._numbering.level_of_style(list_id, name)
        depth = max(0, min(depth or 0, 8))
        return self._numbering.label(list_id, depth), depth

    def _table(self, table: Node) -> Iterator[Block]:
        rows: list[list[str]] = []
        later: list[Block] = []
        page = self._pages.current
        only = _only_cell(table)
        if only is not None:
            yield from self._blocks(only)
            return
        for row in _rows(table):
            cells, start, blocks = self._row(row)
            if any(cells):
                if start != page and len(rows) > 1:
                    yield from _table_block(rows, page)
                    yield from later
                    rows, later = rows[:1], []
                if len(rows) < 2:
                    page = start
                rows.append(cells)
            later += blocks
        yield from _table_block(rows, page)
        yield from later

    def _row(self, row: Node) -> tuple[list[str], int | None, list[Block]]:
        """Cells of a row, the page it begins on, and what stands in it that is not a line of text."""
        cells: list[str] = []
        later: list[Block] = []
        start = furthest = self._pages.current
        first: int | None = None
        before = number(child(row, "trPr", "gridBefore")) or 0
        cells += [""] * max(0, min(before, _MOST_COLUMNS))
        for cell in topmost(row, "tc"):
            # Each cell that runs over a page's end notes the break: it is one break all the same.
            self._pages.move_to(start)
            props = child(cell, "tcPr")
            merge = child(props, "vMerge")
            continued = merge is not None and (attr(merge, "val") or "continue") == "continue"
            lines = list(self._cell_lines(cell, later))
            if lines and first is None:
                first = lines[0][1]
            cells.append("" if continued else one_line(" ".join(line for line, _ in lines)))
            span = number(child(props, "gridSpan")) or 1
            cells += [""] * max(0, min(span, _MOST_COLUMNS) - 1)
            furthest = max(furthest or 0, self._pages.current or 0) or None
        self._pages.move_to(furthest)
        return cells, first or start, later

    def _cell_lines(self, container: Node, later: list[Block]) -> Iterator[tuple[str, int | None]]:
        for node in children(container):
            name = local(node)
            if name == "p":
                inline = self._inline(node)
                if inline.segments:
                    props = child(node, "pPr")
                    label, _ = self._label(props, attr(child(props, "pStyle"), "val") or self._styles.default)
                    yield f"{label} {inline.text}" if label else inline.text, inline.segments[0][1]
                later += self._attached(inline)
            elif name == "tbl":
                later += self._table(node)
            elif name in _WRAPPERS:
                yield from self._cell_lines(node, later)


def _text_block(text: str, page: int | None, level: int | None, label: str | None, depth: int) -> Block:
    if level is not None:
        numbered = f"{label} {text}" if label and label != "-" else text
        return Block(text=one_line(numbered), kind="heading", level=level, page=page)
    if label is None:
        return Block(text=text, page=page)
    # The level of an item travels as its indentation until `_joined` has seen the whole list.
    return Block(text="  " * depth + f"{label} " + text.replace("\n", " "), kind="list", page=page)


def _joined(blocks: Iterable[Block]) -> Iterator[Block]:
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


def _forward(blocks: Iterable[Block]) -> Iterator[Block]:
    """What hangs on a table stands behind it here, and may have stood before the break in its middle."""
    page = 0
    for block in blocks:
        page = max(page, block.page or 0)
        yield block if block.page in {None, page} else msgspec.structs.replace(block, page=page)


def _table_block(rows: list[list[str]], page: int | None) -> Iterator[Block]:
    text = table_text(rows)
    if text:
        yield Block(text=text, kind="table", page=page)


def _is_section(node: Node) -> bool:
    if local(node) != "sectPr":
        return False
    parent = node.getparent()
    return parent is not None and local(parent) != "sectPrChange"


def _rows(table: Node) -> Iterator[Node]:
    for node in topmost(table, "tr"):
        if child(node, "trPr", "del") is None:
            yield node


def _only_cell(table: Node) -> Node | None:
    """The cell of a table that is only a frame around text."""
    found: Node | None = None
    for row in _rows(table):
        for cell in topmost(row, "tc"):
            if found is not None:
                return None
            found = cell
    return found


def _kind(kind: str) -> BlockKind:
    return "table" if kind == "table" else "list" if kind == "list" else "paragraph"
