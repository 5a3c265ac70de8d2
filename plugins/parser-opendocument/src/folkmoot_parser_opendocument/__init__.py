"""OpenDocument text, presentations and spreadsheets for Folkmoot."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Parsed, ParserSpec, Source, hookimpl

from folkmoot_parser_opendocument.sniff import (
    PRESENTATION_TYPES,
    SPREADSHEET_TYPES,
    TEXT_TYPES,
    sniff_odp,
    sniff_ods,
    sniff_odt,
)

FOLKMOOT_SDK_API = 1


def _parse_odt(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_opendocument.odt import parse

    return parse(source)


def _parse_odp(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_opendocument.odp import parse

    return parse(source)


def _parse_ods(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_opendocument.ods import parse

    return parse(source)


@hookimpl
def register_parsers() -> list[ParserSpec]:
    """The three kinds of document, each packed or as one flat file of XML."""
    return [
        ParserSpec(
            kind="odt",
            title="OpenDocument text",
            media_types=TEXT_TYPES,
            suffixes=(".odt", ".ott", ".fodt"),
            parse=_parse_odt,
            sniff=sniff_odt,
        ),
        ParserSpec(
            kind="odp",
            title="OpenDocument presentation or drawing",
            media_types=PRESENTATION_TYPES,
            suffixes=(".odp", ".otp", ".fodp", ".odg", ".otg", ".fodg"),
            parse=_parse_odp,
            sniff=sniff_odp,
        ),
        ParserSpec(
            kind="ods",
            title="OpenDocument spreadsheet",
            media_types=SPREADSHEET_TYPES,
            suffixes=(".ods", ".ots", ".fods"),
            parse=_parse_ods,
            sniff=sniff_ods,
        ),
    ]
