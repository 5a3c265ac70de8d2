"""Which lines are headings: those that bookmarks name, else those in clearly larger letters."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from folkmoot_parser_pdf.layout import Line
from folkmoot_parser_pdf.pdfium import Bookmark, Fragment

LARGER = 1.18
"""Times the size of the running text."""
SLIGHTLY_LARGER = 1.08
"""Enough for one line that does not end as a sentence does."""
MAX_HEADING = 200
MAX_LINES = 3
MAX_TITLES = 100
"""Bookmarks that are looked for on one page."""

_NUMBER = re.compile(r"^(?:(?:chapter|kapitel|kap|section|avsnitt|del|part|appendix|bilaga)\b\W*)?[\divxlc]*[\d.]+\W*")


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


class Headings:
    """Marks the lines of a page that are headings."""

    def __init__(self, bookmarks: Iterable[Bookmark]) -> None:
        self._titles: dict[int, list[Bookmark]] = defaultdict(list)
        for one in bookmarks:
            if _bare(one.title) and len(self._titles[one.page]) < MAX_TITLES:
                self._titles[one.page].append(one)
        self._sizes: Counter[float] = Counter()

    def learn(self, fragments: Iterable[Fragment]) -> None:
        """Take note of the letter sizes of a page; that of most text is the running text's."""
        if not self._titles:
            for one in fragments:
                self._sizes[round(one.size, 1)] += len(one.text)

    def mark(self, regions: list[list[Line]], page: int) -> None:
        """Give headings among the lines their level."""
        if self._titles:
            for bookmark in self._titles.pop(page, ()):
                self._mark_title(regions, bookmark)
            # With the last title used up the dictionary is empty, and sizes were never learnt: no guessing.
        elif self._sizes:
            body = self._sizes.most_common(1)[0][0]
            for region in regions:
                self._mark_larger(region, body)

    def _mark_title(self, regions: list[list[Line]], bookmark: Bookmark) -> None:
        title = _bare(bookmark.title)
        wanted = {title, _bare(_NUMBER.sub("", bookmark.title.casefold()))} - {""}
        for region in regions:
            for index, line in enumerate(region):
                if line.level is not None:
                    continue
                text = ""
                for last in range(index, min(index + MAX_LINES, len(region))):
                    text += region[last].text + " "
                    if len(text) > MAX_HEADING + len(bookmark.title):
                        break
                    if {_bare(text), _bare(_NUMBER.sub("", text.casefold()))} & wanted:
                        for one in region[index : last + 1]:
                            one.level = bookmark.level
                        return

    def _mark_larger(self, region: list[Line], body: float) -> None:
        index = 0
        while index < len(region):
            size, end = region[index].size, index + 1
            if size < SLIGHTLY_LARGER * body:
                index += 1
                continue
            while end < len(region) and abs(region[end].size - size) < 0.05 * size:
                end += 1
            group = region[index:end]
            text = " ".join(line.text for line in group)
            plain = size >= LARGER * body or (len(group) == 1 and text[-1] not in ".,;:")
            if plain and len(group) <= MAX_LINES and len(text) <= MAX_HEADING and any(map(str.isalpha, text)):
                for line in group:
                    line.level = 1 if size >= 1.7 * body else 2 if size >= 1.35 * body else 3
            index = end
