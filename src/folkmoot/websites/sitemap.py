"""Sitemaps (sitemaps.org), feeds and plain lists of addresses, read as a stream: also a huge one, packed, or broken.

lxml's own parser without entities, network and trees: each element is told and forgotten, so memory does not grow with
the file, and an XML bomb stays what it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import IO, Any

from folkmoot.websites.address import normal

etree: Any = import_module("lxml.etree")  # it comes without types
LARGEST = 50 * 1024 * 1024
"""Bytes of one sitemap, unpacked; its own standard has the same limit."""
MOST_ADDRESSES = 50_000
SUFFIXES = frozenset({".xml", ".gz", ".txt", ".rss", ".atom"})
_PIECE = 65_536
_LONGEST_ADDRESS = 8_192


@dataclass
class Listing:
    """What one sitemap lists, each address in its one spelling and once."""

    pages: dict[str, None] = field(default_factory=dict[str, None])
    sitemaps: dict[str, None] = field(default_factory=dict[str, None])
    whole: bool = True
    """False where it was broken, cut, or larger than is read."""
    known: bool = False
    """Whether it was a sitemap at all."""


def read(body: IO[bytes], url: str) -> Listing:
    """Read a sitemap from its start, packed by gzip or not."""
    try:
        return _read(body, url, recover=False)
    except etree.LxmlError:
        # An address with a bare `&` is common, and the others are still good.
        listing = _read(body, url, recover=True)
        listing.whole = False
        return listing
    except _Refused:
        return Listing()


def _read(body: IO[bytes], url: str, *, recover: bool) -> Listing:
    listing = Listing()
    pieces = _unpacked(body, listing)
    first = next(pieces, b"")
    start = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<") or first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        target = _Reader(url, listing)
        parser = etree.XMLParser(
            target=target, resolve_entities=False, no_network=True, huge_tree=False, recover=recover
        )
        parser.feed(first)
        for piece in pieces:
            parser.feed(piece)
        parser.close()
    elif start.startswith(b"http"):
        _lines(first, pieces, url, listing)
    return listing


class _Refused(Exception):
    """It defines entities, which no sitemap has a use for and every bomb has."""


def _unpacked(body: IO[bytes], listing: Listing) -> Iterator[bytes]:
    body.seek(0)
    inflate = zlib.decompressobj(wbits=31) if body.read(2) == b"\x1f\x8b" else None
    body.seek(0)
    size = 0
    try:
        while raw := body.read(_PIECE):
            waiting = raw
            while waiting:
                piece = waiting if inflate is None else inflate.decompress(waiting, _PIECE)
                waiting = b"" if inflate is None else inflate.unconsumed_tail
                size += len(piece)
                if size > LARGEST:
                    listing.whole = False
                    return
                if piece:
                    yield piece
        if inflate is not None and not inflate.eof:
            listing.whole = False
    except zlib.error:
        listing.whole = False


def _lines(first: bytes, pieces: Iterator[bytes], url: str, listing: Listing) -> None:
    listing.known = True
    waiting = first.removeprefix(b"\xef\xbb\xbf")
    while True:
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            _add(listing.pages, line.decode("utf-8", "replace"), url, listing)
        piece = next(pieces, b"")
        if not piece or len(waiting) > _LONGEST_ADDRESS:
            break
        waiting += piece
    _add(listing.pages, waiting.decode("utf-8", "replace"), url, listing)


def _add(found: dict[str, None], address: str, url: str, listing: Listing) -> None:
    if len(listing.pages) + len(listing.sitemaps) >= MOST_ADDRESSES:
        listing.whole = False
        return
    if address.strip() and len(address) <= _LONGEST_ADDRESS and (known := normal(address, url)) is not None:
        found[known] = None


class _Reader:
    """What lxml calls for each element. Names are taken without their namespace, which is often wrong."""

    def __init__(self, url: str, listing: Listing) -> None:
        self._url, self._listing = url, listing
        self._path: list[str] = []
        self._text: list[str] | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition("}")[2].lower()
        self._path.append(name)
        if len(self._path) == 1 and name in ("urlset", "sitemapindex", "rss", "feed", "rdf"):
            self._listing.known = True
        inside = self._path[-2] if len(self._path) > 1 else ""
        if (name == "loc" and inside in ("url", "sitemap")) or (name == "link" and inside == "item"):
            self._text = []
        elif name == "link" and inside == "entry" and attributes.get("rel", "alternate") == "alternate":
            _add(self._listing.pages, attributes.get("href", ""), self._url, self._listing)

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _Refused(name, public, system)

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser sees to it that it is the one that is open
        if self._path:
            self._path.pop()
        if self._text is not None:
            address, self._text = "".join(self._text), None
            nested = bool(self._path) and self._path[-1] == "sitemap"
            listing = self._listing
            _add(listing.sitemaps if nested else listing.pages, address, self._url, listing)

    def data(self, text: str) -> None:
        if self._text is not None and len(self._text) < 1_000:
            self._text.append(text)

    def comment(self, text: str) -> None:
        pass

    def pi(self, target: str, data: str | None = None) -> None:
        pass

    def close(self) -> None:
        pass
