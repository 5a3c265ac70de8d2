"""What people wrote in the margins of slides and sheets, with their names.

Each program keeps them in two ways, the old one and one with replies; a sheet may hold the same remark in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from folkmoot_parser_office.drawing import one_line, paragraph_text
from folkmoot_parser_office.package import Package, Relationship
from folkmoot_parser_office.tree import Node, attr, child, children, local, topmost

_AUTHORS = frozenset({"commentAuthors", "authors", "person"})


def authors(package: Package, ties: Iterable[Relationship]) -> dict[str, str]:
    """Names by the number or id that remarks give for their author."""
    names: dict[str, str] = {}
    for tie in ties:
        root = package.find_tree(tie.target, "The authors of comments") if tie.kind in _AUTHORS else None
        for node in children(root) if root is not None else ():
            name = one_line(attr(node, "name") or attr(node, "displayName") or "")[:200]
            if name:
                names[attr(node, "id") or ""] = name
    return names


def of_slide(package: Package, ties: Iterable[Relationship], names: dict[str, str]) -> Iterator[str]:
    """Remarks on a slide and the replies to them, each as `Ada: Check this`."""
    for tie in ties:
        root = package.find_tree(tie.target, "The comments") if tie.kind == "comments" and tie.target else None
        for node in topmost(root, "cm") if root is not None else ():
            replies = topmost(node, "reply")
            for remark in (node, *replies):
                text = _slide_text(remark)
                if text:
                    yield _signed(names.get(attr(remark, "authorId") or "", ""), text)


def of_sheet(package: Package, ties: Iterable[Relationship], names: dict[str, str]) -> Iterator[str]:
    """Remarks on cells, each as `B2, Ada: Check this`."""
    told: set[str] = set()
    ties = list(ties)
    for tie in ties:
        root = package.find_tree(tie.target, "The comments") if tie.kind == "threadedComment" else None
        for node in topmost(root, "threadedComment") if root is not None else ():
            text = child(node, "text")
            place = (attr(node, "ref") or "")[:20]
            if text is not None and text.text:
                told.add(place)
                yield _placed(place, names.get(attr(node, "personId") or "", ""), one_line(text.text))
    for tie in ties:
        root = package.find_tree(tie.target, "The comments") if tie.kind == "comments" else None
        if root is None:
            continue
        own = [one_line(node.text or "")[:200] for node in topmost(root, "author")]
        for node in topmost(root, "comment"):
            place, number = (attr(node, "ref") or "")[:20], attr(node, "authorId") or ""
            text = one_line("".join(each.text or "" for each in topmost(node, "t")))
            author = own[int(number)] if number.isdigit() and len(number) < 9 and int(number) < len(own) else ""
            # In the old way the name often stands in front of the text as well.
            text = text.removeprefix(f"{author}:").strip() if author else text
            if text and place not in told:
                yield _placed(place, author, text)


def _slide_text(remark: Node) -> str:
    for node in children(remark):
        if local(node) == "text":
            return (node.text or "").strip()
        if local(node) == "txBody":
            return "\n".join(line for line in map(paragraph_text, topmost(node, "p")) if line)
    return ""


def _signed(author: str, text: str) -> str:
    return f"{author}: {text}" if author else text


def _placed(place: str, author: str, text: str) -> str:
    return _signed(", ".join(each for each in (place, author) if each), text)
