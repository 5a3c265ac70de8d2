"""What a document says elsewhere about its paragraphs: styles, and how lists are labelled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from folkmoot_parser_opendocument.tree import Node, attr, child, name, number

# LibreOffice stores the names of its own styles in English whatever language it speaks.
_HEADING = re.compile(r"Heading(?:_20_| )([1-9]|10)")
_LONGEST_CHAIN = 20
DEEPEST = 10
"""Levels of a list or of headings, as the format has it."""
_LONGEST_LABEL = 60

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
    (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


class Style(NamedTuple):
    """One style of paragraphs, characters, sections or pages of a presentation."""

    parent: str | None
    list_style: str | None
    """Empty where the style takes the numbering away that its parent gives."""
    break_before: bool | None
    break_after: bool | None
    master_page: str | None
    hidden: bool


class Level(NamedTuple):
    """How one level of a list is labelled."""

    bullet: bool
    form: str
    prefix: str
    suffix: str
    shown_levels: int
    start: int
    in_step: bool
    """Whether aa, bb follow z, instead of aa, ab."""


class Styles:
    """Styles by family and name, read along their parents; automatic ones of this part go first."""

    def __init__(self, part: Node | None, *others: Node | None) -> None:
        self._styles: dict[tuple[str, str], Style] = {}
        self._lists: dict[str, dict[int, Level]] = {}
        self.outline: dict[int, Level] = {}
        groups = [child(part, "office:automatic-styles"), *(child(each, "office:styles") for each in (part, *others))]
        for group in reversed(groups):
            for node in group if group is not None else ():
                self._add(node)

    def _add(self, node: Node) -> None:
        kind, own = name(node), attr(node, "style:name")
        if kind == "style:style" and own is not None:
            paragraph, text = child(node, "style:paragraph-properties"), child(node, "style:text-properties")
            section = child(node, "style:section-properties")
            self._styles[attr(node, "style:family") or "", own] = Style(
                parent=attr(node, "style:parent-style-name"),
                list_style=attr(node, "style:list-style-name"),
                break_before=_breaks(attr(paragraph, "fo:break-before")),
                break_after=_breaks(attr(paragraph, "fo:break-after")),
                master_page=attr(node, "style:master-page-name"),
                hidden="none" in (attr(text, "text:display"), attr(section, "text:display")),
            )
        elif kind == "text:list-style" and own is not None:
            self._lists[own] = dict(_levels(node))
        elif kind == "text:outline-style":
            self.outline = dict(_levels(node))

    def chain(self, family: str, style: str | None) -> Iterator[tuple[str, Style]]:
        """The style and its parents, nearest first."""
        for _ in range(_LONGEST_CHAIN):
            found = self._styles.get((family, style or ""))
            if found is None or style is None:
                # The names of common styles tell something even where they are not defined.
                return
            yield style, found
            style = found.parent

    def heading_level(self, style: str | None) -> int | None:
        """The level of a paragraph that is a heading by its style alone; 1 for a title."""
        names = [style or ""]
        for own, found in self.chain("paragraph", style):
            names += [own, found.parent or ""]
        for each in names:
            match = _HEADING.fullmatch(each)
            if match or each == "Title":
                return int(match[1]) if match else 1
        return None

    def list_style(self, style: str | None) -> str | None:
        """The list style that paragraphs of this style have; empty if they have none on purpose."""
        return next((s.list_style for _, s in self.chain("paragraph", style) if s.list_style is not None), None)

    def hides(self, family: str, style: str | None) -> bool:
        return style is not None and any(found.hidden for _, found in self.chain(family, style))

    def breaks_before(self, style: str | None) -> bool:
        """A new page begins, by a break or because other pages are asked for."""
        found = [each for _, each in self.chain("paragraph", style)]
        page = next((each.master_page for each in found if each.master_page is not None), None)
        return bool(page) or next((each.break_before for each in found if each.break_before is not None), False)

    def breaks_after(self, style: str | None) -> bool:
        found = self.chain("paragraph", style)
        return next((each.break_after for _, each in found if each.break_after is not None), False)

    def master_pages(self) -> set[str]:
        """Names of the page layouts that any style asks for."""
        return {style.master_page for style in self._styles.values() if style.master_page}

    def levels(self, list_style: str | None) -> dict[int, Level] | None:
        return self._lists.get(list_style or "")


def _breaks(value: str | None) -> bool | None:
    return None if value is None else value == "page"


def _levels(node: Node) -> Iterator[tuple[int, Level]]:
    for each in node:
        at = number(each, "text:level")
        if at is None or not 1 <= at <= DEEPEST or not name(each).startswith("text:"):
            continue
        start = number(each, "text:start-value")
        yield (
            at - 1,
            Level(
                bullet=name(each) in {"text:list-level-style-bullet", "text:list-level-style-image"},
                form=(attr(each, "style:num-format") or "")[:2],
                prefix=(attr(each, "style:num-prefix") or "")[:20],
                suffix=(attr(each, "style:num-suffix") or "")[:20],
                shown_levels=max(1, min(number(each, "text:display-levels") or 1, DEEPEST)),
                start=1 if start is None else start,
                in_step=attr(each, "style:num-letter-sync") == "true",
            ),
        )


class Counter:
    """The numbers of one list, or of the headings of a document."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def restart(self, below: int) -> None:
        """Forget what was counted deeper than `below`."""
        for each in [deeper for deeper in self._counts if deeper > below]:
            del self._counts[each]

    def label(self, levels: dict[int, Level], at: int, start: int | None) -> str | None:
        """The label of the next item: "-", "1.", "2.1"; None if this level shows nothing."""
        level = levels.get(at)
        if level is None:
            return None
        self._counts[at] = start if start is not None else self._counts.get(at, level.start - 1) + 1
        self.restart(at)
        if level.bullet:
            return "-"
        if not level.form:
            return None
        shown: list[str] = []
        for each in range(max(0, at - level.shown_levels + 1), at + 1):
            other = levels.get(each)
            if other is not None and other.form and not other.bullet:
                shown.append(_counted(self._counts.get(each, other.start), other))
        return (level.prefix + ".".join(shown) + level.suffix).strip()[:_LONGEST_LABEL] or None


def _counted(value: int, level: Level) -> str:
    if level.form in {"i", "I"} and 0 < value < 4000:
        text = ""
        for size, sign in _ROMAN:
            count, value = divmod(value, size)
            text += sign * count
    elif level.form in {"a", "A"} and 0 < value <= 26 * 26:
        times, index = divmod(value - 1, 26)
        letter = chr(ord("a") + index)
        text = letter * (times + 1) if level.in_step else (chr(ord("a") + times - 1) if times else "") + letter
    else:
        return str(value)
    return text.upper() if level.form.isupper() else text
