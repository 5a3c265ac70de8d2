"""What a page says of itself: its title, where it links to, whether it may be kept, and a hash of its main text.

One pass over what lxml's parser tells (libxml2, which reads any broken page in linear time and caps depth); no tree is
built, so a page of ten megabytes costs not much more than itself. The hash is of visible words outside navigation, so
that a page whose tokens, counters and menus change on each visit is still the same page. The main text itself is
found by the parser plugin that reads the document, in its own limited process.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from folkmoot.websites.address import normal
from folkmoot.websites.robots import Wishes, wishes

etree: Any = import_module("lxml.etree")  # it comes without types
MOST_LINKS = 2_000
LONGEST_TITLE = 300
_NOT_TEXT = frozenset({"script", "style", "noscript", "template", "svg", "nav", "footer", "iframe", "head", "select"})
_OWN_HEADER = frozenset({"article", "main", "section"})
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-zA-Z0-9_.:-]{1,40})""", re.IGNORECASE)
_REFRESH = re.compile(r"\s*[\d.]*\s*[;,]\s*url\s*=\s*[\"']?([^\"']+)", re.IGNORECASE)
_NOT_OF_PAGES = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7", "undefined"})
"""Python's own, and one that browsers gave up."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass
class Page:
    title: str = ""
    links: list[str] = field(default_factory=list[str])
    """In their one spelling and in order, each once; without those that are not to be followed."""
    canonical: str | None = None
    wishes: Wishes = field(default_factory=Wishes)
    text_hash: str = ""
    """SHA-256 of title and main text; empty if there is no text."""


def read(body: bytes, url: str, charset: str) -> Page:
    """Read a page. `charset` as the server says, which wins over what the page says (WHATWG HTML, 13.2.3)."""
    target, encoding = _Reader(url), encoding_of(body, charset)
    try:
        parser = etree.HTMLParser(target=target, encoding=encoding, no_network=True)
    except LookupError:
        # One that Python knows and libxml2 does not.
        body = body.decode(encoding, "replace").encode()
        parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True)
    try:
        for start in range(0, len(body), 65_536):
            parser.feed(body[start : start + 65_536])
        parser.close()
    except etree.LxmlError:
        # Not one element, or so broken that the parser gave up: what came before counts.
        pass
    return target.done()


def encoding_of(body: bytes, charset: str) -> str:
    """The name of the encoding that a browser would take."""
    for mark, name in _BOMS:
        if body.startswith(mark):
            return name
    for said in (charset, _declared(body)):
        if said and (known := _known(said)):
            return known
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


def as_stored(body: bytes, charset: str) -> bytes:
    """The page as it came; in UTF-8 with its mark where only the server knew the encoding, or contradicts the page."""
    known = _known(charset) if charset else None
    if known is None or any(body.startswith(mark) for mark, _ in _BOMS):
        return body
    said = _declared(body)
    if known == (_known(said) if said else "utf-8"):
        return body
    return codecs.BOM_UTF8 + body.decode(known, "replace").encode()


def _declared(body: bytes) -> str:
    found = _META.search(body[:4096])
    return found.group(1).decode("ascii") if found else ""


def _known(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
        # What is not an encoding of text, such as `zip`, is a bomb.
        "".encode(found)
    except (LookupError, ValueError):
        return None
    if found in _NOT_OF_PAGES:
        return None
    # What says Latin-1 means this (WHATWG Encoding, 4.2).
    return "windows-1252" if found in ("iso8859-1", "ascii", "cp1252") else found


class _Reader:
    """What lxml calls for each tag and text."""

    def __init__(self, url: str) -> None:
        self._url, self._base = url, url
        self._page = Page()
        self._links: dict[str, None] = {}
        self._title: list[str] = []
        self._text: list[str] = []
        self._in_title = False
        self._hidden = 0
        self._own = 0
        """Articles and such that are open: what they call header is theirs."""
        self._headers: list[bool] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in ("a", "area"):
            if "nofollow" not in attributes.get("rel", "").lower().split():
                self._link(attributes.get("href"))
        elif tag in ("frame", "iframe"):
            self._link(attributes.get("src"))
        elif tag == "meta":
            self._meta(attributes)
        elif tag == "link":
            if "canonical" in attributes.get("rel", "").lower().split() and self._page.canonical is None:
                self._page.canonical = normal(attributes.get("href", ""), self._base)
        elif tag == "base" and self._base == self._url:
            self._base = normal(attributes.get("href", ""), self._url) or self._url
        elif tag == "title" and not self._title:
            self._in_title = True
        if tag in _NOT_TEXT:
            self._hidden += 1
        elif tag in _OWN_HEADER:
            self._own += 1
        elif tag == "header":
            self._headers.append(not self._own)
            self._hidden += not self._own

    def end(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in _NOT_TEXT:
            self._hidden -= 1
        elif tag in _OWN_HEADER:
            self._own -= 1
        elif tag == "header" and self._headers:
            self._hidden -= self._headers.pop()

    def data(self, text: str) -> None:
        if self._in_title:
            self._title.append(text)
        elif self._hidden <= 0:
            self._text.append(text)

    def comment(self, text: str) -> None:
        pass

    def pi(self, target: str, data: str | None = None) -> None:
        pass

    def close(self) -> None:
        pass

    def done(self) -> Page:
        page = self._page
        page.title = " ".join("".join(self._title).split())[:LONGEST_TITLE]
        page.links = list(self._links)
        # Joined first: where the parser cuts a run of text depends on all that came before it.
        text = " ".join("".join(self._text).split())
        if text:
            page.text_hash = hashlib.sha256(f"{page.title}\n{text}".encode("utf-8", "replace")).hexdigest()
        return page

    def _link(self, href: str | None) -> None:
        if href and len(self._links) < MOST_LINKS and (found := normal(href, self._base)) is not None:
            self._links[found] = None

    def _meta(self, attributes: Mapping[str, str]) -> None:
        content = attributes.get("content", "")
        if attributes.get("name", "").strip().lower() in ("robots", "folkmoot"):
            self._page.wishes = self._page.wishes.and_(wishes(content.split(",")))
        elif attributes.get("http-equiv", "").strip().lower() == "refresh" and (found := _REFRESH.match(content)):
            self._link(found.group(1))
