"""Word, PowerPoint and Excel files for Folkmoot."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Parsed, ParserSpec, Source, hookimpl

from folkmoot_parser_office.sniff import (
    EXCEL_TYPES,
    LEGACY_TYPES,
    POWERPOINT_TYPES,
    WORD_TYPES,
    sniff_docx,
    sniff_legacy,
    sniff_pptx,
    sniff_xlsx,
)

FOLKMOOT_SDK_API = 1


def _parse_docx(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_office.docx import parse

    return parse(source)


def _parse_pptx(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_office.pptx import parse

    return parse(source)


def _parse_xlsx(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_office.xlsx import parse

    return parse(source)


def _parse_legacy(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_office.legacy import parse

    return parse(source)


@hookimpl
def register_parsers() -> list[ParserSpec]:
    """The three formats that are read, and the old ones that are refused with advice."""
    return [
        ParserSpec(
            kind="docx",
            title="Word",
            media_types=WORD_TYPES,
            suffixes=(".docx", ".docm", ".dotx", ".dotm"),
            parse=_parse_docx,
            sniff=sniff_docx,
        ),
        ParserSpec(
            kind="pptx",
            title="PowerPoint",
            media_types=POWERPOINT_TYPES,
            suffixes=(".pptx", ".pptm", ".potx", ".potm", ".ppsx", ".ppsm"),
            parse=_parse_pptx,
            sniff=sniff_pptx,
        ),
        ParserSpec(
            kind="xlsx",
            title="Excel",
            media_types=EXCEL_TYPES,
            suffixes=(".xlsx", ".xlsm", ".xltx", ".xltm"),
            parse=_parse_xlsx,
            sniff=sniff_xlsx,
        ),
        ParserSpec(
            kind="office-legacy",
            title="Old or encrypted Office files (refused with advice)",
            media_types=LEGACY_TYPES,
            suffixes=(".doc", ".dot", ".xls", ".xlt", ".xlsb", ".ppt", ".pps", ".pot"),
            parse=_parse_legacy,
            sniff=sniff_legacy,
        ),
    ]
