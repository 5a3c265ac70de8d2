"""One PDF, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, Progress, Source, TooLarge

from folkmoot_parser_pdf.columns import regions
from folkmoot_parser_pdf.layout import blocks, lines
from folkmoot_parser_pdf.margins import Margins
from folkmoot_parser_pdf.opening import opened
from folkmoot_parser_pdf.outline import Headings
from folkmoot_parser_pdf.pdfium import Document, Page
from folkmoot_parser_pdf.text import Joiner

MAX_PAGES = 200_000
"""A page costs 0.2 ms at least and nothing in memory; time is what ends a document that is too long."""
PROGRESS_EVERY = 10
PROGRESS_TIMES = 500
"""At most, in a document however long."""
UNMAPPED = 0.1
"""The share of a page's characters from which on it is said that they mean nothing."""


def read(source: Source) -> Iterator[Parsed]:
    """Yield the blocks of `source`, its progress every ten pages, and what is known of it first and last."""
    with opened(source) as document:
        _check(document, source)
        title, language, count = document.title, document.language, document.page_count
        yield DocumentInfo(count, title, language)
        margins, headings, joiner = Margins(), Headings(document.bookmarks()), Joiner()
        unread: list[int] = []
        pictures: list[int] = []
        unmapped: list[int] = []
        every = max(PROGRESS_EVERY, count // PROGRESS_TIMES)
        for number in range(1, count + 1):
            page = document.page(number)
            if page is None:
                unread.append(number)
            else:
                if page.pictures:
                    pictures.append(number)
                if page.unmapped >= UNMAPPED:
                    unmapped.append(number)
                headings.learn(page.fragments)
                for ready in margins.push(page):
                    yield from _blocks(ready, headings, joiner)
            if number % every == 0 and number < count:
                yield Progress(number, count)
        if len(unread) == count:
            raise CorruptFile(f"{source.name} is damaged: none of its pages can be read; upload the file again")
        for ready in margins.rest():
            yield from _blocks(ready, headings, joiner)
        yield Progress(count, count)
        yield DocumentInfo(count, title, language, tuple(_warnings(source, document, (unread, pictures, unmapped))))


def _check(document: Document, source: Source) -> None:
    wanted = source.options.get("max_pages", MAX_PAGES)
    limit = wanted if isinstance(wanted, int) and wanted > 0 else MAX_PAGES
    if document.page_count < 1:
        raise CorruptFile(f"{source.name} has no pages: export it again from where it was made")
    if document.page_count > limit:
        raise TooLarge(
            f"{source.name} has {document.page_count:,} pages, at most {limit:,} are read: upload it in parts"
        )


def _blocks(page: Page, headings: Headings, joiner: Joiner) -> Iterator[Block]:
    turned = [one for one in page.fragments if one.turned]
    parts = [lines(region) for region in regions([one for one in page.fragments if not one.turned])]
    headings.mark(parts, page.number)
    for part in parts:
        for line in part:
            joiner.remember(line.text)
    for part in parts:
        yield from blocks(part, page.number, joiner)
    # Text on its side is a label of a figure or a stamp in the margin: kept, but out of the way.
    if text := " ".join(one.text for one in turned):
        yield Block(text, page=page.number)


def _warnings(source: Source, document: Document, odd: tuple[list[int], list[int], list[int]]) -> Iterator[str]:
    unread, pictures, unmapped = odd
    if unread:
        yield f"{_pages(unread)} could not be read: the file is damaged there"
    if pictures:
        are = "is a picture" if len(pictures) == 1 else "are pictures"
        need = "it needs" if len(pictures) == 1 else "they need"
        every = "the whole file is scanned: " if len(pictures) == document.page_count else ""
        yield f"{every}{_pages(pictures)} {are} without text (scanned): {need} text recognition, which is not connected"
    if unmapped:
        yield (
            f"{_pages(unmapped)}: a font does not say which letters its signs stand for, so words are missing or wrong "
            "there; export the file again with its fonts embedded in full"
        )
    if attached := document.attachments():
        files = "a file is" if attached == 1 else f"{attached} files are"
        yield f"{files} attached to it and not read: save what you need and upload it by itself"
    source.file.seek(max(0, source.size - 4096))
    if b"%%EOF" not in source.file.read():
        yield "the file is cut off: text at its end may be missing"


def _pages(numbers: Iterable[int]) -> str:
    """`page 3`, or `pages 3-5, 8`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    said = ", ".join("-".join(map(str, run)) for run in runs[:50]) + (", ..." if len(runs) > 50 else "")
    return f"page{'s' if len(runs) > 1 or len(runs[0]) > 1 else ''} {said}"
