"""Reading a book in the order in which a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, ParserError, Progress, Source, TooLarge

from folkmoot_parser_epub.markup import Chapter
from folkmoot_parser_epub.outline import Outline, read_outline
from folkmoot_parser_epub.package import FAILURES, Package, too_large

MOST_TEXT = 100_000_000
"""Characters that one book may yield."""


def parse(source: Source) -> Iterator[Parsed]:
    """Blocks in the order of the spine, with page numbers where the book has them. Raises `ParserError`."""
    left = MOST_TEXT
    try:
        for item in _read(source):
            if isinstance(item, Block):
                left -= len(item.text)
                if left < 0:
                    raise too_large(source.name)
            yield item
    except ParserError:
        raise
    except MemoryError as error:
        raise TooLarge(f"{source.name} needs too much memory to read: split it into smaller files") from error
    # lxml and `zipfile` raise a dozen kinds on hostile input; all mean the same to the person.
    except Exception as error:
        raise CorruptFile(f"{source.name} is damaged and cannot be read: save it anew and upload it again") from error


def _read(source: Source) -> Iterator[Parsed]:
    package = Package(source)
    outline = read_outline(source.name, package)
    page: int | None = None
    lost: list[str] = []
    cut = False
    places: dict[str, dict[str, int]] = {}
    for (part, place), number in outline.pages.items():
        places.setdefault(part, {})[place] = number
    if outline.title:
        yield Block(text="\n".join([outline.title, *outline.authors[:20]]))
    for number, part in enumerate(outline.chapters, 1):
        if part not in outline.skipped:
            own = places.get(part, {})
            begins = own.get("")
            page = begins if begins is not None and (page is None or begins > page) else page
            try:
                chapter = Chapter(package.bytes_of(part), own, page)
            except FAILURES:
                lost.append(part)
                continue
            yield from _entitled(chapter, outline, part)
            page, cut = chapter.page, cut or chapter.is_cut
        yield Progress(number, len(outline.chapters))
    if len(lost) == len(outline.chapters):
        raise CorruptFile(f"{source.name} has no part that can be read: save it anew and upload it again")
    warnings = [f"{part} could not be read: that part of the book is missing or damaged" for part in lost[:20]]
    warnings += ["parts of the book are nested too deeply to be read"] if cut else []
    yield DocumentInfo(
        page_count=page,
        title=outline.title or None,
        language=outline.language or None,
        warnings=tuple(warnings),
    )


def _entitled(chapter: Chapter, outline: Outline, part: str) -> Iterator[Block]:
    """The blocks of a chapter; one whose heading only looks like one gets it from the table of contents."""
    label, level = outline.headings.get(part, ("", 1))
    before: list[Block] = []
    blocks = chapter.blocks()
    if label:
        # Where the chapter has a heading it stands at its beginning, be it below a number or a motto.
        for block in blocks:
            before.append(block)
            if block.kind == "heading" or len(before) == 5:
                break
    if before and all(block.kind != "heading" for block in before):
        first = before[0]
        yield Block(text=label, kind="heading", level=level, page=first.page)
        if " ".join(first.text.split()).casefold() == label.casefold():
            before = before[1:]
    yield from before
    yield from blocks
