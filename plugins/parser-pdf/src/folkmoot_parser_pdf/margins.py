"""Running headers and footers: said once they help, on every page they drown what a search looks for."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator

from folkmoot_parser_pdf.layout import lines
from folkmoot_parser_pdf.pdfium import Fragment, Page

WINDOW = 12
"""Pages held back until it is known what repeats; memory does not grow with the document."""
REPEATS = 4
"""Pages on which a line stands at the same place before it counts as running."""
MARGIN = 0.18
"""Of the page's height, at the top and at the bottom."""
EDGE = 3
"""Lines from either end that are looked at."""

_NUMBER = re.compile(
    r"(?:page|p\.|sida|sid|s\.|side|seite|sivu)?\s*[-–—|]?\s*(?:\d{1,4}|[ivxlc]{1,7})\s*"
    r"(?:(?:/|of|av|von|\()\s*\d{1,4}\)?)?\s*[-–—|]?",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9]{1,6}")

_Key = tuple[int, str]
_Edge = tuple[list[_Key], list[Fragment]]


class Margins:
    """Takes pages in order and gives them back, a few later, without what runs along their edges."""

    def __init__(self) -> None:
        self._seen: Counter[_Key] = Counter()
        self._held: deque[tuple[Page, list[_Edge]]] = deque()

    def push(self, page: Page) -> Iterator[Page]:
        """Hand in the next page; yields the one that has waited long enough."""
        edges = self._edges(page)
        self._seen.update({key for keys, _ in edges for key in keys})
        self._held.append((page, edges))
        if len(self._held) > WINDOW:
            yield self._release()

    def rest(self) -> Iterator[Page]:
        """The pages that still wait."""
        while self._held:
            yield self._release()

    def _release(self) -> Page:
        page, edges = self._held.popleft()
        drop = {
            id(one)
            for keys, fragments in edges
            if max(self._seen[key] for key in keys) >= REPEATS
            or _NUMBER.fullmatch(" ".join(one.text for one in fragments))
            for one in fragments
        }
        # A page that would be left empty says nothing else: keep it as it is.
        if kept := [one for one in page.fragments if id(one) not in drop]:
            page.fragments = kept
        return page

    def _edges(self, page: Page) -> list[_Edge]:
        upright = [one for one in page.fragments if not one.turned]
        top = [one for one in upright if one.bottom < MARGIN * page.height]
        low = [one for one in upright if one.top > (1 - MARGIN) * page.height]
        found: list[_Edge] = []
        for part, edge in ((top, slice(EDGE)), (low, slice(-EDGE, None))):
            for line in lines(sorted(part, key=lambda one: one.top))[edge]:
                place = round(line.top / 4)
                found.append(([(place, text) for text in _same(line.text, page.number)], line.fragments))
        return found


def _same(text: str, page: int) -> list[str]:
    """What has to repeat: the text, or the text but for one number that grows with the pages.

    Any other number that changes is content: the number of an invoice, the date of a letter.
    """
    numbers = list(_DIGITS.finditer(text))[:4]
    return [text] + [f"{text[: n.start()]}#{int(n[0]) - page}{text[n.end() :]}" for n in numbers]
