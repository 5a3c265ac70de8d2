"""OpenDocument texts, in the order a person reads them."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Block, DocumentInfo, Parsed

from folkmoot_parser_opendocument.inline import Pages
from folkmoot_parser_opendocument.package import Package, guarded
from folkmoot_parser_opendocument.reader import Reader, joined
from folkmoot_parser_opendocument.styles import Styles
from folkmoot_parser_opendocument.tree import Node, attr, child, name, qualified

_FIRST = "Standard"
"""The page layout that a text begins with, unless its first paragraph asks for another."""
_HEADERS = ("style:header", "style:header-first", "style:header-left")
_FOOTERS = ("style:footer", "style:footer-first", "style:footer-left")


@guarded
def parse(package: Package) -> Iterator[Parsed]:
    """Headers, the text with its notes, footers; then what is known of the whole."""
    body = package.body("office:text")
    content, common = package.content(), package.styles()
    styles = Styles(content, common)
    # Page breaks are counted only where the program noted them all, else a number would be a guess.
    mark = qualified("text:soft-page-break")
    known = attr(body, "text:use-soft-page-breaks") == "true" or any(node.tag == mark for node in body.iter())
    pages = Pages(known)
    margins = _Margins(package, styles, common)
    yield from margins.read(_HEADERS)
    yield from _forward(joined(Reader(package, styles, pages).blocks(body)))
    yield from margins.read(_FOOTERS)
    yield DocumentInfo(
        page_count=max(pages.current or 0, package.page_count or 0) or None,
        title=package.title,
        language=package.language,
        warnings=tuple(package.warnings),
    )


def _forward(blocks: Iterator[Block]) -> Iterator[Block]:
    """Notes of a paragraph that runs over a page's end keep to the page that it begins on, others go on."""
    page = 0
    for block in blocks:
        page = max(page, block.page or 0)
        yield (
            block
            if block.page in {None, page}
            else Block(text=block.text, kind=block.kind, level=block.level, page=page)
        )


class _Margins:
    """Headers and footers of the page layouts in use, each text once."""

    def __init__(self, package: Package, styles: Styles, common: Node | None) -> None:
        self._package = package
        self._styles = Styles(common)
        self._seen: set[str] = set()
        layouts: dict[str, Node] = {}
        masters = child(common, "office:master-styles")
        for node in masters if masters is not None else ():
            if name(node) == "style:master-page":
                layouts[attr(node, "style:name") or ""] = node
        wanted = [*sorted(styles.master_pages()), _FIRST if _FIRST in layouts else next(iter(layouts), "")]
        used: set[str] = set()
        while wanted:
            each = wanted.pop()
            if each in layouts and each not in used:
                used.add(each)
                wanted.append(attr(layouts[each], "style:next-style-name") or "")
        self._layouts = [node for own, node in layouts.items() if own in used]

    def read(self, kinds: tuple[str, ...]) -> Iterator[Block]:
        for layout in self._layouts:
            for kind in kinds:
                node = child(layout, kind)
                if node is None or attr(node, "style:display") == "false":
                    continue
                blocks = Reader(self._package, self._styles).read(node)
                text = "\n".join(block.text for block in blocks)
                # A page number alone tells nothing.
                if text not in self._seen and any(map(str.isalpha, text)):
                    self._seen.add(text)
                    yield Block(text=text, kind="note")
