"""What a book says of itself: its title, the order of its parts, its contents and its printed pages.

EPUB 3 keeps contents and pages in a page of HTML (EPUB 3.3, 7), EPUB 2 in an index of its own (NCX, OPF 2.0.1,
2.4.1). Names are compared without their namespaces, which books get wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from folkmoot_sdk import CorruptFile, EncryptedFile

from folkmoot_parser_epub.package import FAILURES, Package, resolve

MOST_CHAPTERS = 20_000
MOST_POINTS = 100_000
"""Entries of the contents, or pages."""
_ONLY_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#rc")
_TEXTS = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")


@dataclass
class Outline:
    """The parts that are read, in order, and what is known of places in them."""

    title: str = ""
    authors: list[str] = field(default_factory=list[str])
    language: str = ""
    chapters: list[str] = field(default_factory=list[str])
    skipped: set[str] = field(default_factory=set[str])
    """Parts that only list the contents."""
    headings: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Of a part, as the contents call it, and how deep it stands there."""
    pages: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """By part and place in it: the number of the page that begins there in print."""


def read_outline(name: str, package: Package) -> Outline:
    """Raises `CorruptFile` without an order of parts, `EncryptedFile` if they are encrypted."""
    opf = _find_opf(name, package)
    _refuse_protected(name, package)
    try:
        root = package.tree(opf)
    except FAILURES as error:
        raise CorruptFile(f"{name} is damaged where it says what it consists of: save it anew") from error
    outline, indexes = _read_opf(opf, root)
    if not outline.chapters:
        raise CorruptFile(f"{name} does not say in which order its parts are read: save it anew")
    for part in indexes:
        try:
            index = package.tree(part)
        except FAILURES:
            continue  # the book can be read without
        if local(index) == "ncx":
            _read_ncx(outline, part, index)
        else:
            _read_nav(outline, part, index)
    return outline


def _find_opf(name: str, package: Package) -> str:
    try:
        root = package.tree("META-INF/container.xml")
        for node in elements(root):
            part = resolve("", node.get("full-path") or "")[0]
            if local(node) == "rootfile" and part in package:
                return part
    except FAILURES:
        pass
    found = next((part for part in package.names() if part.lower().endswith(".opf")), None)
    if found is None:
        raise CorruptFile(f"{name} does not say where the book in it begins: save it anew from what made it")
    return found


def _refuse_protected(name: str, package: Package) -> None:
    """Fonts may be scrambled in any book; encrypted text means a shop's protection against copying."""
    part = "META-INF/encryption.xml"
    if part not in package:
        return
    try:
        methods = {
            (node.get("Algorithm") or "").lower()
            for node in elements(package.tree(part))
            if local(node) == "EncryptionMethod" and local(node.getparent()) == "EncryptedData"
        }
    except FAILURES:
        return
    if methods - set(_ONLY_FONTS):
        raise EncryptedFile(
            f"{name} is protected against copying (DRM) and cannot be read: ask who sells it for a copy without"
        )


def _read_opf(opf: str, root: Any) -> tuple[Outline, list[str]]:
    """What the package file says, and which parts are indexes of contents and pages."""
    outline = Outline()
    items: dict[str, tuple[str, str]] = {}
    indexes: list[str] = []
    order: list[str] = []
    for node in elements(root):
        match local(node):
            case "title":
                outline.title = outline.title or text_of(node)
            case "creator":
                outline.authors += [author] if (author := text_of(node)) else []
            case "language":
                outline.language = outline.language or text_of(node)
            case "item":
                part, _ = resolve(opf, node.get("href") or "")
                kind = node.get("media-type") or ""
                items[node.get("id") or ""] = (part, kind)
                if kind == "application/x-dtbncx+xml" or "nav" in (node.get("properties") or "").split():
                    indexes.append(part)
            case "itemref":
                order.append(node.get("idref") or "")
            case "reference" if (node.get("type") or "").lower() == "toc":
                outline.skipped.add(resolve(opf, node.get("href") or "")[0])
            case _:
                pass
    parts = [items[item] for item in order[:MOST_CHAPTERS] if item in items]
    readable = [part for part, kind in parts if kind in _TEXTS or part.lower().endswith((".xhtml", ".html", ".htm"))]
    outline.chapters = list(dict.fromkeys(readable))
    return outline, indexes


def _read_nav(outline: Outline, part: str, root: Any) -> None:
    for nav in [node for node in elements(root) if local(node) == "nav"]:
        words = {*(attribute(nav, "type") or "").split(), *(nav.get("role") or "").split()}
        for link in [node for node in elements(nav) if local(node) == "a"][:MOST_POINTS]:
            place = resolve(part, link.get("href") or "")
            if words & {"toc", "doc-toc"}:
                depth = sum(local(above) == "ol" for above in link.iterancestors())
                _entitle(outline, place[0], text_of(link), depth)
            elif words & {"page-list", "doc-pagelist"}:
                _number(outline, place, text_of(link))


def _read_ncx(outline: Outline, part: str, root: Any) -> None:
    for node in [node for node in elements(root) if local(node) in {"navPoint", "pageTarget"}][:MOST_POINTS]:
        label = next((text_of(child) for child in node if local(child) == "navLabel"), "")
        link = next((child.get("src") or "" for child in node if local(child) == "content"), "")
        place = resolve(part, link)
        if local(node) == "pageTarget":
            _number(outline, place, node.get("value") or label)
        else:
            _entitle(outline, place[0], label, 1 + sum(local(above) == "navPoint" for above in node.iterancestors()))


def _entitle(outline: Outline, part: str, label: str, depth: int) -> None:
    if part and label:
        outline.headings.setdefault(part, (label[:500], min(max(depth, 1), 6)))


def _number(outline: Outline, place: tuple[str, str], label: str) -> None:
    if (page := page_number(label)) is not None and place[0]:
        outline.pages.setdefault(place, page)


def page_number(label: str) -> int | None:
    """Arabic numbers only: what stands before the first chapter counts in Roman ones of its own."""
    label = label.strip()
    return int(label) if label.isascii() and label.isdecimal() and 0 < len(label) < 7 and int(label) else None


def elements(root: Any) -> Iterator[Any]:
    """All elements, without comments and what else is no element."""
    return (node for node in root.iter() if isinstance(node.tag, str))


def local(node: Any) -> str:
    """The name without its namespace."""
    tag = node.tag if node is not None else ""
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(node: Any, name: str) -> str | None:
    """The attribute of this local name, whatever its namespace and however it is written."""
    for key, value in node.items():
        if key == name or key.endswith(("}" + name, ":" + name)):
            return value
    return None


def text_of(node: Any) -> str:
    return " ".join("".join(node.itertext()).split())[:2000]
