"""The built-in plugin: the text formats that every installation reads.

It goes by the same rules as a plugin from elsewhere: only the SDK and libraries, imported when a file
is read and not before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from folkmoot_sdk import Parsed, ParserSpec, Source, hookimpl

FOLKMOOT_SDK_API = 1

# A byte order mark, an XML declaration, comments and white space may stand before the first tag.
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--.{0,2000}?-->\s*){0,4}<(?:!doctype\s+html|html)\b[^<]{0,1000}",
    re.IGNORECASE | re.DOTALL,
)


def _nothing_is_certain(_head: bytes) -> str | None:
    """Any text may be plain text, Markdown, CSV or JSON: only the name tells."""
    return None


_XML = re.compile(rb"\s{0,100}<\?xml\s{1,10}version\s{0,10}=")


def _sniff_html(head: bytes) -> str | None:
    head = head[:16_384]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\x00", b"")[2:]
    return "text/html" if _HTML.match(head.removeprefix(b"\xef\xbb\xbf")) else None


def _sniff_xml(head: bytes) -> str | None:
    """What says so itself; XHTML does too, and is read as HTML."""
    plain = head[:2048].replace(b"\x00", b"") if head.startswith((b"\xff\xfe", b"\xfe\xff")) else head[:2048]
    found = _XML.match(plain.removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe"))
    return "application/xml" if found and _sniff_html(head) is None else None


def _parse_text(source: Source) -> Iterator[Parsed]:
    from folkmoot.plugins.parsers import text

    return text.parse(source)


def _parse_markdown(source: Source) -> Iterator[Parsed]:
    from folkmoot.plugins.parsers import markdown

    return markdown.parse(source)


def _parse_html(source: Source) -> Iterator[Parsed]:
    from folkmoot.plugins.parsers import html

    return html.parse(source)


def _parse_csv(source: Source) -> Iterator[Parsed]:
    from folkmoot.plugins.parsers import csv

    return csv.parse(source)


def _parse_json(source: Source) -> Iterator[Parsed]:
    from folkmoot.plugins.parsers import json

    return json.parse(source)


def _parse_xml(source: Source) -> Iterator[Parsed]:
    from folkmoot.plugins.parsers import xml

    return xml.parse(source)


@hookimpl
def register_parsers() -> list[ParserSpec]:
    return [
        ParserSpec(
            kind="text",
            title="Plain text",
            media_types=("text/plain",),
            suffixes=(".txt", ".text", ".log"),
            parse=_parse_text,
            sniff=_nothing_is_certain,
        ),
        ParserSpec(
            kind="markdown",
            title="Markdown",
            media_types=("text/markdown",),
            suffixes=(".md", ".markdown", ".mdown", ".mkd"),
            parse=_parse_markdown,
            sniff=_nothing_is_certain,
        ),
        ParserSpec(
            kind="html",
            title="HTML",
            media_types=("text/html", "application/xhtml+xml"),
            suffixes=(".html", ".htm", ".xhtml"),
            parse=_parse_html,
            sniff=_sniff_html,
        ),
        ParserSpec(
            kind="csv",
            title="CSV",
            media_types=("text/csv", "text/tab-separated-values"),
            suffixes=(".csv", ".tsv", ".tab"),
            parse=_parse_csv,
            sniff=_nothing_is_certain,
        ),
        ParserSpec(
            kind="json",
            title="JSON",
            media_types=("application/json", "application/jsonl"),
            suffixes=(".json", ".jsonl", ".ndjson", ".geojson", ".ipynb"),
            parse=_parse_json,
            sniff=_nothing_is_certain,
        ),
        ParserSpec(
            kind="xml",
            title="XML",
            media_types=("application/xml", "text/xml", "application/rss+xml", "application/atom+xml"),
            suffixes=(".xml", ".rss", ".atom", ".rdf", ".opml"),
            parse=_parse_xml,
            sniff=_sniff_xml,
        ),
    ]
