"""What a Word document says elsewhere about its paragraphs: styles and numbering."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from folkmoot_parser_office.numbers import counted
from folkmoot_parser_office.tree import Node, attr, child, children, is_on, local, number

# Word stores the names of its own styles in English whatever language it speaks; others do not.
_HEADING = re.compile(
    r"(?:heading|rubrik|überschrift|overskrift|otsikko|titre|título|titolo|kop|nagłówek)\s*([1-9])", re.IGNORECASE
)
_LONGEST_CHAIN = 20
_MOST_LEVELS = 9


class Style(NamedTuple):
    """One paragraph or character style."""

    name: str
    based_on: str | None
    outline: int | None
    list_id: int | None
    list_level: int | None
    page_break: bool
    hidden: bool


class Styles:
    """Styles by id, read along what they are based on."""

    def __init__(self, root: Node | None) -> None:
        self._styles: dict[str, Style] = {}
        self.default: str | None = None
        for node in root if root is not None else ():
            identity = attr(node, "styleId")
            if local(node) != "style" or identity is None:
                continue
            props = child(node, "pPr")
            self._styles[identity] = Style(
                name=(attr(child(node, "name"), "val") or "").strip(),
                based_on=attr(child(node, "basedOn"), "val"),
                outline=number(child(props, "outlineLvl")),
                list_id=number(child(props, "numPr", "numId")),
                list_level=number(child(props, "numPr", "ilvl")),
                page_break=is_on(child(props, "pageBreakBefore")),
                hidden=is_on(child(node, "rPr", "vanish")),
            )
            if attr(node, "type") == "paragraph" and attr(node, "default") in {"1", "true", "on"}:
                self.default = identity

    def chain(self, identity: str | None) -> Iterator[tuple[str, Style]]:
        """The style and what it is based on, nearest first."""
        for _ in range(_LONGEST_CHAIN):
            style = self._styles.get(identity or "")
            if style is None or identity is None:
                return
            yield identity, style
            identity = style.based_on

    def heading_level(self, identity: str | None, outline: int | None) -> int | None:
        """1 for the highest heading or the title, None for body text; the paragraph's own outline level wins."""
        if outline is not None:
            return outline + 1 if 0 <= outline < _MOST_LEVELS else None
        for _, style in self.chain(identity):
            if style.name.lower() in {"title", "titel"}:
                return 1
            match = _HEADING.fullmatch(style.name)
            if match:
                return int(match[1])
            if style.outline is not None:
                return style.outline + 1 if 0 <= style.outline < _MOST_LEVELS else None
        return None

    def numbering(self, identity: str | None) -> tuple[str, int, int | None] | None:
        """The style that numbers, its list and its level, if the style numbers its paragraphs."""
        for name, style in self.chain(identity):
            if style.list_id is not None:
                return name, style.list_id, style.list_level
        return None

    def breaks_page(self, identity: str | None) -> bool:
        return any(style.page_break for _, style in self.chain(identity))

    def hides(self, identity: str | None) -> bool:
        return identity is not None and any(style.hidden for _, style in self.chain(identity))


class _Level(NamedTuple):
    start: int
    style: str
    text: str
    restart: int | None
    figures_only: bool
    paragraph_style: str | None


class Numbering:
    """The labels of list items, counted as Word does (ISO/IEC 29500-1, 17.9)."""

    def __init__(self, root: Node | None, styles: Styles) -> None:
        self._abstract: dict[str, dict[int, _Level]] = {}
        self._lists: dict[int, str] = {}
        self._changed: dict[int, dict[int, _Level]] = {}
        self._starts: dict[int, dict[int, int]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._begun: set[int] = set()
        linked: dict[str, str] = {}
        for node in root if root is not None else ():
            if local(node) == "abstractNum":
                identity = attr(node, "abstractNumId") or ""
                self._abstract[identity] = dict(_levels(node))
                link = attr(child(node, "numStyleLink"), "val")
                if link:
                    linked[identity] = link
            elif local(node) == "num":
                self._add_list(node)
        for identity, style in linked.items():
            found = styles.numbering(style)
            target = self._lists.get(found[1]) if found else None
            if target is not None and not self._abstract[identity]:
                self._abstract[identity] = self._abstract.get(target, {})

    def _add_list(self, node: Node) -> None:
        identity = number(node, "numId")
        if identity is None:
            return
        self._lists[identity] = attr(child(node, "abstractNumId"), "val") or ""
        for override in children(node):
            at = number(override, "ilvl")
            if local(override) != "lvlOverride" or at is None:
                continue
            start = number(child(override, "startOverride"))
            if start is not None:
                self._starts.setdefault(identity, {})[at] = start
            self._changed.setdefault(identity, {}).update(_levels(override))

    def level_of_style(self, list_id: int, style: str) -> int:
        """The level that a list gives to paragraphs of this style."""
        levels = self._abstract.get(self._lists.get(list_id, ""), {})
        return next((at for at, level in levels.items() if level.paragraph_style == style), 0)

    def label(self, list_id: int, at: int) -> str | None:
        """The label of the next item: "-", "1.", "2.1"; None if the list does not exist or shows nothing."""
        abstract = self._lists.get(list_id)
        if abstract is None or not 0 <= at < _MOST_LEVELS:
            return None
        levels = {**self._abstract.get(abstract, {}), **self._changed.get(list_id, {})}
        level = levels.get(at)
        if level is None:
            return None
        counts = self._counts.setdefault(abstract, {})
        if list_id not in self._begun:
            self._begun.add(list_id)
            for each, start in self._starts.get(list_id, {}).items():
                counts[each] = start - 1
        counts[at] = counts.get(at, level.start - 1) + 1
        for deeper in range(at + 1, _MOST_LEVELS):
            restart = levels[deeper].restart if deeper in levels else None
            # 0 means never; otherwise the number of the level, from 1, after which it starts again.
            if restart is None or (restart and at < restart):
                counts.pop(deeper, None)
        if level.style == "bullet":
            return "-"
        if level.style == "none" and "%" not in level.text:
            return level.text.strip() or None
        return self._shown(levels, level, counts).strip() or None

    def _shown(self, levels: dict[int, _Level], level: _Level, counts: dict[int, int]) -> str:
        def place(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            other = levels.get(at)
            if other is None:
                return ""
            style = "decimal" if level.figures_only else other.style
            return "" if style == "none" else counted(counts.get(at, other.start), style)

        return re.sub(r"%([1-9])", place, level.text)


def _levels(node: Node) -> Iterator[tuple[int, _Level]]:
    for each in children(node):
        at = number(each, "ilvl")
        if local(each) != "lvl" or at is None:
            continue
        start = number(child(each, "start"))
        yield (
            at,
            _Level(
                start=1 if start is None else start,
                style=attr(child(each, "numFmt"), "val") or "decimal",
                text=(attr(child(each, "lvlText"), "val") or "")[:60],
                restart=number(child(each, "lvlRestart")),
                figures_only=is_on(child(each, "isLgl")),
                paragraph_style=attr(child(each, "pStyle"), "val"),
            ),
        )
