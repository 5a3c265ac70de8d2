"""Rich Text Format for Folkmoot."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Parsed, ParserSpec, Source, hookimpl

FOLKMOOT_SDK_API = 1


def _sniff(head: bytes) -> str | None:
    return "application/rtf" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{\\rtf") else None


def _parse(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_rtf.rtf import parse

    return parse(source)


@hookimpl
def register_parsers() -> list[ParserSpec]:
    """One parser; many files called `.doc` are RTF inside, and are found by their first bytes."""
    return [
        ParserSpec(
            kind="rtf",
            title="Rich Text Format",
            media_types=("application/rtf", "text/rtf"),
            suffixes=(".rtf",),
            parse=_parse,
            sniff=_sniff,
        )
    ]
