"""Zip archives for Folkmoot: each file inside becomes a document of its own."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Parsed, ParserSpec, Source, hookimpl

from folkmoot_parser_archive.sniff import sniff

FOLKMOOT_SDK_API = 1


def _parse(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_archive.archive import parse

    return parse(source)


@hookimpl
def register_parsers() -> list[ParserSpec]:
    """One parser, asked after all others: most files that are a zip inside are not meant as one."""
    return [
        ParserSpec(
            kind="archive",
            title="ZIP archive",
            media_types=("application/zip",),
            suffixes=(".zip",),
            parse=_parse,
            sniff=sniff,
            priority=-10,
        )
    ]
