"""Walking OpenDocument XML by short names, `text:p`, whatever prefix a file gives its namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

_OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
_NAMESPACES = {
    "office": _OASIS + "office:1.0",
    "text": _OASIS + "text:1.0",
    "table": _OASIS + "table:1.0",
    "draw": _OASIS + "drawing:1.0",
    "presentation": _OASIS + "presentation:1.0",
    "style": _OASIS + "style:1.0",
    "chart": _OASIS + "chart:1.0",
    "meta": _OASIS + "meta:1.0",
    "manifest": _OASIS + "manifest:1.0",
    "fo": _OASIS + "xsl-fo-compatible:1.0",
    "svg": _OASIS + "svg-compatible:1.0",
    "calcext": "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "math": "http://www.w3.org/1998/Math/MathML",
    "xlink": "http://www.w3.org/1999/xlink",
    "xml": "http://www.w3.org/XML/1998/namespace",
}
_PREFIXES = {uri: prefix for prefix, uri in _NAMESPACES.items()}


class Node(Protocol):
    """What is used of an lxml element; lxml brings no types of its own."""

    tag: str
    text: str | None
    tail: str | None

    def get(self, key: str, /) -> str | None: ...
    def iter(self) -> Iterator[Node]: ...
    def getparent(self) -> Node | None: ...
    def clear(self) -> None: ...
    def __iter__(self) -> Iterator[Node]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Node: ...
    def __delitem__(self, index: int, /) -> None: ...


@lru_cache(maxsize=4096)
def _short(tag: str) -> str:
    uri, _, local = tag.rpartition("}")
    return f"{_PREFIXES.get(uri[1:], '?')}:{local}"


@lru_cache(maxsize=1024)
def qualified(name: str) -> str:
    """The name as lxml writes it, `{urn:…}p`, of one such as `text:p`."""
    prefix, _, local = name.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def name(node: Node) -> str:
    """`text:p` for a paragraph; `?:…` for what is of no namespace known here."""
    return _short(node.tag)


def attr(node: Node | None, key: str) -> str | None:
    """An attribute by its short name."""
    return None if node is None else node.get(qualified(key))


def number(node: Node | None, key: str) -> int | None:
    """An attribute as a whole number that is not negative, or None."""
    text = attr(node, key)
    return int(text) if text is not None and len(text) < 10 and text.isascii() and text.isdigit() else None


def child(node: Node | None, *path: str) -> Node | None:
    """The first child of this name, or of the names one below the other."""
    for each in path:
        if node is None:
            return None
        tag = qualified(each)
        node = next((found for found in node if found.tag == tag), None)
    return node


def text_of(node: Node | None, *path: str) -> str:
    """The text of a child on one line, empty where there is none."""
    found = child(node, *path)
    return one_line(found.text or "") if found is not None else ""


def topmost(node: Node, *names: str) -> Iterator[Node]:
    """Descendants of these names in document order, but none inside another one."""
    for each in node:
        if name(each) in names:
            yield each
        else:
            yield from topmost(each, *names)


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())
