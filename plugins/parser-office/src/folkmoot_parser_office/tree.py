"""Walking XML by local names, so that transitional and strict OOXML look alike.

The two differ in the addresses of their namespaces and in nothing that this plugin reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Node(Protocol):
    """What is used of an lxml element; lxml brings no types of its own."""

    tag: str
    text: str | None

    def get(self, key: str, /) -> str | None: ...
    def items(self) -> list[tuple[str, str]]: ...
    def iter(self) -> Iterator[Node]: ...
    def getparent(self) -> Node | None: ...
    def clear(self) -> None: ...
    def __iter__(self) -> Iterator[Node]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Node: ...
    def __delitem__(self, index: int, /) -> None: ...


def local(node: Node) -> str:
    """The name without its namespace."""
    return node.tag.rpartition("}")[2]


def attr(node: Node | None, name: str) -> str | None:
    """The attribute of this local name, whatever its namespace; an unqualified one wins."""
    if node is None:
        return None
    plain = node.get(name)
    if plain is not None:
        return plain
    ending = "}" + name
    return next((value for key, value in node.items() if key.endswith(ending)), None)


def number(node: Node | None, name: str = "val") -> int | None:
    """An attribute as a whole number, or None where it is missing or something else."""
    text = attr(node, name)
    if text is None or len(text) > 18:
        return None
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return None


def is_on(node: Node | None) -> bool:
    """A switch such as `<w:b/>`: on if it is there, unless it says otherwise."""
    return node is not None and (attr(node, "val") or "true").lower() not in {"0", "false", "off", "none"}


def children(node: Node) -> Iterator[Node]:
    """Children, with the alternatives for older programs left out.

    `mc:AlternateContent` holds the same thing twice, for a new reader and for an old one.
    """
    for child in node:
        if local(child) == "AlternateContent":
            branches = [branch for branch in child if local(branch) in {"Choice", "Fallback"}]
            if branches:
                yield from children(branches[0])
        else:
            yield child


def child(node: Node | None, *path: str) -> Node | None:
    """The first child of this name, or of the names one below the other."""
    for name in path:
        if node is None:
            return None
        node = next((each for each in children(node) if local(each) == name), None)
    return node


def topmost(node: Node, *names: str) -> Iterator[Node]:
    """Descendants of these names in document order, but none inside another one."""
    for each in children(node):
        if local(each) in names:
            yield each
        else:
            yield from topmost(each, *names)
