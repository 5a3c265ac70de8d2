"""Electronic books for Folkmoot."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Parsed, ParserSpec, Source, hookimpl

from folkmoot_parser_epub.sniff import EPUB, sniff

FOLKMOOT_SDK_API = 1


def _parse(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_epub.book import parse

    return parse(source)


@hookimpl
def register_parsers() -> list[ParserSpec]:
    """EPUB 2 and 3."""
    return [ParserSpec(kind="epub", title="EPUB", media_types=(EPUB,), suffixes=(".epub",), parse=_parse, sniff=sniff)]
