"""PDFium as far as we need it, with types: fragments of lines and where they stand.

The C functions are called directly. Asking for every character's box would cost more than PDFium takes
to read the page; two boxes a word (its first and last character) tell the same for a third of that.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator
from typing import Any

from folkmoot_sdk import TooLarge

from folkmoot_parser_pdf.text import RTL, clean, is_rtl, unreadable

MAX_CHARS_ON_PAGE = 2_000_000
MAX_BOOKMARKS = 20_000
MAX_BOOKMARK_DEPTH = 12
MAX_ATTACHMENTS = 1000
FEW = 100
"""Characters that may stand on a scan: a stamp, a page number, the name of the scanner."""
SCANNED = 0.7
"""Of a page that one picture covers: more than any figure does."""
MANY_SHAPES = 100
"""Lines and curves, where letters were turned into drawings."""
MANY_TEXTS = 20
"""Stretches of text out of which PDFium makes not one character; white space would be fewer."""
ASKED = 64
"""Characters of a page whose codes are looked at."""
GAP = 0.75
"""In heights of the letters: a gap this wide may part two columns, or two cells. Most justified text stays below."""

# PDFium writes U+FFFE for a hyphen at the end of a line, and leaves the line break out.
_HYPHEN = "\ufffe"
_WORDS = re.compile(f"[^\\s{_HYPHEN}]+{_HYPHEN}?|{_HYPHEN}|\n")
# Where both directions meet PDFium loses the space, and the box of such a "word" means nothing.
_MIXED_WORDS = re.compile(
    f"[^\\w\\s{_HYPHEN}]*[{RTL}](?:[{RTL}]|[^\\w\\s{_HYPHEN}])*|(?:(?![{RTL}])[^\\s{_HYPHEN}])+{_HYPHEN}?|{_HYPHEN}|\n"
)
_ALEF_LAM = re.compile("[اأإآ]ل")


class Fragment:
    """A stretch of one line without a wide gap; points from the top left corner of the page as shown."""

    __slots__ = ("bottom", "order", "rtl", "size", "text", "top", "turned", "x0", "x1")

    def __init__(self, text: str, box: tuple[float, float, float, float], size: float) -> None:
        self.text, self.size = text, size
        self.x0, self.top, self.x1, self.bottom = box
        self.rtl = is_rtl(text)
        self.turned = False
        self.order = 0
        """In the file, which is not always the order on the page."""

    @property
    def height(self) -> float:
        return self.bottom - self.top


class Page:
    """What stands on one page, before anything is known of the others."""

    __slots__ = ("fragments", "height", "number", "pictures", "unmapped", "width")

    def __init__(self, number: int, width: float, height: float) -> None:
        self.number, self.width, self.height = number, width, height
        self.fragments: list[Fragment] = []
        self.pictures = False
        """It is a scan, or drawn: what it says is not there as text."""
        self.unmapped = 0.0
        """The share of its characters that are glyphs of a font which does not say what letters they are."""


class Bookmark:
    __slots__ = ("level", "page", "title")

    def __init__(self, title: str, level: int, page: int) -> None:
        self.title, self.level, self.page = title, level, page


class Document:
    """An open PDF."""

    def __init__(self, raw: Any, handle: Any, name: str) -> None:
        self._raw, self._handle, self._name = raw, handle, name
        self.page_count: int = raw.FPDF_GetPageCount(handle)

    @property
    def title(self) -> str | None:
        """As the file says, unless that is what a library writes when nobody gave a title."""
        found = self._string(self._raw.FPDF_GetMetaText, b"Title")
        return None if found in ("untitled", "(anonymous)") else found

    @property
    def language(self) -> str | None:
        """BCP 47, if the catalog has something that looks like it."""
        found = self._string(self._raw.FPDFCatalog_GetLanguage) or ""
        return found if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", found) else None

    def bookmarks(self) -> Iterator[Bookmark]:
        """Titles with their page (from 1), outermost level 1; an endless outline ends somewhere."""
        raw, left = self._raw, MAX_BOOKMARKS
        stack = [(raw.FPDFBookmark_GetFirstChild(self._handle, None), 1)]
        seen: set[int] = set()
        while stack and left:
            mark, level = stack.pop()
            if not mark or (address := ctypes.addressof(mark.contents)) in seen:
                continue
            seen.add(address)
            left -= 1
            stack.append((raw.FPDFBookmark_GetNextSibling(self._handle, mark), level))
            if level < MAX_BOOKMARK_DEPTH:
                stack.append((raw.FPDFBookmark_GetFirstChild(self._handle, mark), level + 1))
            destination = raw.FPDFBookmark_GetDest(self._handle, mark)
            page: int = raw.FPDFDest_GetDestPageIndex(self._handle, destination) if destination else -1
            length = raw.FPDFBookmark_GetTitle(mark, None, 0)
            buffer = ctypes.create_string_buffer(min(length, 4096))
            if page >= 0 and raw.FPDFBookmark_GetTitle(mark, buffer, len(buffer)) == len(buffer):
                yield Bookmark(clean(_utf16(buffer.raw)).strip(), level, page + 1)

    def page(self, number: int) -> Page | None:
        """Page `number` (from 1), or None if PDFium cannot read it."""
        raw = self._raw
        handle = raw.FPDF_LoadPage(self._handle, number - 1)
        if not handle:
            return None
        try:
            # The sizes are those of the page as shown: a turned page has them swapped.
            page = Page(number, raw.FPDF_GetPageWidthF(handle), raw.FPDF_GetPageHeightF(handle))
            text = raw.FPDFText_LoadPage(handle)
            if not text:
                return None
            try:
                reader = _Reader(raw, handle, text, self._name, number)
                page.fragments = reader.fragments()
                page.unmapped = reader.unmapped()
            finally:
                raw.FPDFText_ClosePage(text)
            said = sum(len(one.text) for one in page.fragments[:FEW])
            if said < FEW:
                page.pictures = self._is_picture(handle, page, empty=not said)
            return page
        finally:
            raw.FPDF_ClosePage(handle)

    def attachments(self) -> int:
        """How many files are attached."""
        return min(MAX_ATTACHMENTS, max(0, self._raw.FPDFDoc_GetAttachmentCount(self._handle)))

    def _is_picture(self, handle: Any, page: Page, *, empty: bool) -> bool:
        """Whether a page of few words or none is a picture: any will do on an empty one, else it has to be large."""
        raw = self._raw
        count: int = raw.FPDFPage_CountObjects(handle)
        sides = [ctypes.c_float() for _ in range(4)]
        shapes = texts = 0
        for index in range(min(1000, count)):
            one = raw.FPDFPage_GetObject(handle, index)
            kind = raw.FPDFPageObj_GetType(one)
            shapes += kind == raw.FPDF_PAGEOBJ_PATH
            texts += kind == raw.FPDF_PAGEOBJ_TEXT
            if kind not in (raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM):
                continue
            if empty:
                return True
            if kind == raw.FPDF_PAGEOBJ_IMAGE and raw.FPDFPageObj_GetBounds(one, *map(ctypes.byref, sides)):
                left, low, right, high = (side.value for side in sides)
                if (right - left) * (high - low) >= SCANNED * page.width * page.height:
                    return True
        if empty and texts >= MANY_TEXTS:
            page.unmapped = 1.0
        return empty and shapes >= MANY_SHAPES

    def _string(self, call: Any, *arguments: Any) -> str | None:
        length = call(self._handle, *arguments, None, 0)
        if not 2 < length < 10_000:
            return None
        # Some of these functions want bytes, others UTF-16 units, all count bytes.
        buffer = (ctypes.c_ushort * length)()
        call(self._handle, *arguments, ctypes.cast(buffer, call.argtypes[-2]), length)
        return clean(_utf16(bytes(buffer))).strip() or None


def _utf16(data: bytes) -> str:
    return data.decode("utf-16-le", errors="replace").partition("\0")[0]


class _Reader:
    """One page's characters, gathered into fragments in the order in which they were written."""

    def __init__(self, raw: Any, page: Any, text: Any, name: str, number: int) -> None:
        self._raw, self._text = raw, text
        self._turn: int = raw.FPDFPage_GetRotation(page)
        self._box: Any = raw.FS_RECTF()
        bounds = raw.FS_RECTF()
        raw.FPDF_GetPageBoundingBox(page, ctypes.byref(bounds))
        x0, _, _, y1 = self._turned(bounds.left, bounds.bottom, bounds.right, bounds.top)
        self._origin = (x0, y1)
        self._where = f"{name}, page {number}"

    def fragments(self) -> list[Fragment]:
        text = self._characters()
        found: list[Fragment] = []
        words: list[str] = []
        start, x0, x1, low, high = 0, 0.0, 0.0, 0.0, 0.0
        stacked = False

        def close() -> None:
            if words and (fragment := self._fragment(" ".join(words), start, (x0, low, x1, high))):
                found.append(fragment)
            words.clear()

        mixed = not text.isascii() and re.search(f"[{RTL}]", text) is not None
        if mixed:
            text = self._ligatures(text)
        for match in (_MIXED_WORDS if mixed else _WORDS).finditer(text):
            word = match[0]
            if word == "\n":
                close()
                continue
            first = self._character(match.start())
            last = self._character(match.end() - 1) if len(word) > 1 else first
            if word[-1] == _HYPHEN:
                # Its box is as unreliable as its code; the letter before it stands on the line for sure.
                last = self._character(match.end() - 2) if len(word) > 1 else first
                word = word[:-1] + "-"
            if mixed and first[0] < last[0] and is_rtl(word):
                word = word[::-1]  # the first letter stands left of the last: PDFium has turned it round
            left, right = min(first[0], last[0]), max(first[2], last[2])
            bottom, top = min(first[1], last[1]), max(first[3], last[3])
            # Either side, as a line from right to left grows leftwards.
            wide = (
                max(left - x1, x0 - right) > GAP * (high - low)
                or abs(bottom - low) > high - low
                or abs(top - high) > high - low
            )
            if len(word) > 1:
                # A line of text on its side has its letters one above the other.
                stacked = abs(last[1] - first[1]) > abs(last[0] - first[0])
            if words and wide and not stacked:
                close()
            if not words:
                start, x0, x1, low, high = match.start(), left, right, bottom, top
            else:
                x0, x1, low, high = min(x0, left), max(x1, right), min(low, bottom), max(high, top)
            words.append(word)
            if match[0][-1] == _HYPHEN:
                close()
        close()
        for order, fragment in enumerate(found):
            fragment.order = order
        return found

    def unmapped(self) -> float:
        """The share of characters without a meaning, by asking for some of them from all over the page."""
        raw, text = self._raw, self._text
        count: int = raw.FPDFText_CountChars(text)
        asked = wrong = 0
        for index in range(0, count, max(1, count // ASKED)):
            code: int = raw.FPDFText_GetUnicode(text, index)
            if code in {9, 10, 13, 32}:
                continue
            asked += 1
            if raw.FPDFText_HasUnicodeMapError(text, index) == 1 or unreadable(code):
                wrong += raw.FPDFText_IsGenerated(text, index) != 1
        return wrong / asked if asked else 0.0

    def _ligatures(self, text: str) -> str:
        """The letters of lam-alef in reading order: PDFium turns round what is one glyph in the font."""
        letters = list(text)
        for match in _ALEF_LAM.finditer(text):
            at = match.start()
            if self._character(at) == self._character(at + 1):
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
        return "".join(letters)

    def _characters(self) -> str:
        raw, text = self._raw, self._text
        count: int = raw.FPDFText_CountChars(text)
        if count > MAX_CHARS_ON_PAGE:
            raise TooLarge(f"{self._where}: {count:,} characters on one page, at most {MAX_CHARS_ON_PAGE:,} are read")
        if count <= 0:
            return ""
        buffer = (ctypes.c_ushort * (count + 1))()
        written = raw.FPDFText_GetText(text, 0, count, buffer)
        found = bytes(buffer)[: 2 * max(0, written - 1)].decode("utf-16-le", errors="replace")
        if len(found) == count:
            return found
        # Characters outside the first plane, or without a code: places in the text are not places on the
        # page any more, so ask for each.
        codes = (raw.FPDFText_GetUnicode(text, index) for index in range(count))
        return "".join(_HYPHEN if code == 2 else chr(code) if code < 0x110000 else " " for code in codes)

    def _character(self, index: int) -> tuple[float, float, float, float]:
        box = self._box
        if not self._raw.FPDFText_GetLooseCharBox(self._text, index, ctypes.byref(box)):
            return (0.0, 0.0, 0.0, 0.0)
        if self._turn:
            return self._turned(box.left, box.bottom, box.right, box.top)
        return (box.left, box.bottom, box.right, box.top)

    def _turned(self, left: float, low: float, right: float, high: float) -> tuple[float, float, float, float]:
        """As on a page that is shown turned clockwise by `self._turn` quarters."""
        match self._turn:
            case 1:
                return (low, -right, high, -left)
            case 2:
                return (-right, -high, -left, -low)
            case 3:
                return (-high, left, -low, right)
            case _:
                return (left, low, right, high)

    def _fragment(self, text: str, start: int, box: tuple[float, float, float, float]) -> Fragment | None:
        text = clean(text).strip()
        left, low, right, high = box
        if not text or not all(map(math.isfinite, box)):
            return None
        x, y = self._origin
        placed = (left - x, y - high, right - x, y - low)
        fragment = Fragment(text, placed, self._size(start, high - low))
        angle = self._raw.FPDFText_GetCharAngle(self._text, start) - self._turn * math.pi / 2
        fragment.turned = len(text) > 1 and abs(math.remainder(angle, 2 * math.pi)) > 0.2
        return fragment

    def _size(self, index: int, height: float) -> float:
        """Of the letters as shown; a font's own box says little, some are twice as high as their letters."""
        matrix = self._raw.FS_MATRIX()
        size: float = self._raw.FPDFText_GetFontSize(self._text, index)
        if not size or not self._raw.FPDFText_GetMatrix(self._text, index, ctypes.byref(matrix)):
            return height
        return abs(size) * math.hypot(matrix.c, matrix.d) or height
