"""PDF for Folkmoot: text with page numbers, in reading order, bookmarks as headings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from folkmoot_sdk import Parsed, ParserSpec, Source, hookimpl

FOLKMOOT_SDK_API = 1

MEDIA_TYPE = "application/pdf"

_HEADER = re.compile(rb"(?:\A|[\r\n])%PDF-\d\.\d")


def sniff(head: bytes) -> str | None:
    """PDF, if the file begins as one; readers also accept up to 1 KiB of mail header or junk before it."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-"):
        return MEDIA_TYPE
    # A text about PDF may quote its first line; it does not go on with the objects of one.
    return MEDIA_TYPE if _HEADER.search(head[:1024]) and b" obj" in head else None


def parse(source: Source) -> Iterator[Parsed]:
    """Yield the blocks of a PDF, page by page.

    Takes the option `max_pages` (default 200,000). Raises `EncryptedFile`, `CorruptFile`, `TooLarge`, and
    `ParserUnavailable` where pypdfium2 has no build for this machine.
    """
    # pypdfium2 loads 7 MB of native code: only a process that reads a PDF should pay for it.
    from folkmoot_parser_pdf.reader import read

    yield from read(source)


SPEC = ParserSpec(
    kind="pdf",
    title="PDF",
    media_types=(MEDIA_TYPE,),
    suffixes=(".pdf",),
    parse=parse,
    sniff=sniff,
)


@hookimpl
def register_parsers() -> list[ParserSpec]:
    """The one format that this plugin reads."""
    return [SPEC]
