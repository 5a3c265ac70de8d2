"""Opening an OOXML package that somebody else made, without being harmed by it.

A package is a zip of XML parts tied by relationships. Nothing is unpacked to disk, so the names of its
entries can do no harm; nothing is fetched; document types are refused, and with them entities. Sizes are
checked in the central directory before anything is read and again while reading: what an entry says
of itself need not be true.
"""

from __future__ import annotations

import functools
import importlib
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from folkmoot_sdk import Block, CorruptFile, EncryptedFile, Parsed, ParserError, Source, TooLarge, UnsupportedFile

from folkmoot_parser_office.cfb import CFB_MAGIC
from folkmoot_parser_office.encrypted import is_encrypted, unlock
from folkmoot_parser_office.legacy import refuse
from folkmoot_parser_office.tree import Node, attr, local

MOST_ENTRIES = 10_000
MOST_BYTES = 500 << 20
"""Of all entries together, unpacked."""
SUSPICIOUS_BYTES = 50 << 20
SUSPICIOUS_RATIO = 200
MOST_TREE_BYTES = 100 << 20
"""Of one part that is held in memory as a tree, which takes about five times as much."""
MOST_BYTES_BETWEEN = 32 << 20
"""Of a part that is streamed, between two of its rows."""
MOST_TEXT = 200_000_000
"""Characters that one file may yield: a workbook can point to one long string a million times."""

_DIRECTORY_LIMIT = 8 << 20
_XML_OPTIONS = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}


class Relationship(NamedTuple):
    """A tie from one part to another."""

    kind: str
    """The last word of its type, which strict and transitional files have in common."""
    target: str
    """Name of the part; empty if it points out of the package."""


class Package:
    """The parts of one file, by name."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.warnings: list[str] = []
        self.unpacked = 0
        """Bytes so far, of all parts."""
        _check_directory(source)
        source.file.seek(0)
        self._zip = zipfile.ZipFile(source.file)
        entries = self._zip.infolist()
        total = 0
        for entry in entries:
            total += entry.file_size
            suspicious = entry.file_size > SUSPICIOUS_BYTES
            if suspicious and entry.file_size > SUSPICIOUS_RATIO * max(entry.compress_size, 1):
                raise TooLarge(
                    f"{source.name!r} unpacks to more than {SUSPICIOUS_RATIO} times its size, as a zip bomb does: "
                    "save it anew from the program that made it"
                )
        if len(entries) > MOST_ENTRIES or total > MOST_BYTES:
            raise _too_large(source.name)
        self._entries = {_normal(entry.filename): entry for entry in entries}

    def __contains__(self, part: str) -> bool:
        return _normal(part) in self._entries

    def size(self, part: str) -> int:
        """Bytes of a part, as the directory says."""
        entry = self._entries.get(_normal(part))
        return entry.file_size if entry else 0

    def _open(self, part: str) -> Any:
        entry = self._entries[_normal(part)]
        if entry.flag_bits & 1:
            raise EncryptedFile(f"{self.name!r} is protected with a password: remove the password and upload it again")
        # Office knows no other methods, and the others unpack without a bound on memory.
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise CorruptFile(f"{self.name!r} is packed in a way that Office does not use: save it anew")
        return self._zip.open(entry)

    def spend(self, count: int) -> None:
        """Count bytes unpacked; the same part may be asked for again and again."""
        self.unpacked += count
        if self.unpacked > MOST_BYTES:
            raise _too_large(self.name)

    def tree(self, part: str) -> Node:
        """A part as a tree. Raises `KeyError` where it is missing."""
        etree = _etree()
        with self._open(part) as file:
            data: bytes = file.read(MOST_TREE_BYTES + 1)
        self.spend(len(data))
        if len(data) > MOST_TREE_BYTES:
            raise _too_large(self.name)
        root: Any = etree.fromstring(data, etree.XMLParser(**_XML_OPTIONS))
        self._refuse_doctype(root)
        return root

    def find_tree(self, part: str, what: str) -> Node | None:
        """A part that the file can be read without; what is missing is told in `warnings`."""
        if part not in self:
            return None
        try:
            return self.tree(part)
        except (TooLarge, EncryptedFile):
            raise
        except (CorruptFile, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, SyntaxError):
            warning = f"{what} could not be read: that part of the file is damaged."
            if warning not in self.warnings:
                self.warnings.append(warning)
            return None

    def rows(self, part: str, name: str) -> Iterator[Node]:
        """Elements of this local name, one by one; each is gone when the next is asked for."""
        etree = _etree()
        with self._open(part) as file:
            reader = _Counted(file, self)
            events: Any = etree.iterparse(reader, events=("end",), tag="{*}" + name, **_XML_OPTIONS)
            first = True
            for _, element in events:
                if first:
                    self._refuse_doctype(element)
                    first = False
                reader.since = 0
                yield element
                element.clear()
                parent = element.getparent()
                while parent is not None and len(parent) and parent[0] is not element:
                    del parent[0]
            if events.root is None:
                raise CorruptFile(f"{self.name!r} has an empty part: open it in Office and save it anew")
            self._refuse_doctype(events.root)

    def _refuse_doctype(self, element: Any) -> None:
        if element.getroottree().docinfo.internalDTD is not None:
            raise CorruptFile(
                f"{self.name!r} declares a document type, which Office files never do: save it anew from Office"
            )

    def relationships(self, part: str) -> dict[str, Relationship]:
        """Ties of a part by their id; of the package itself for the part ""."""
        folder, _, name = part.rpartition("/")
        path = f"{folder}/_rels/{name}.rels" if folder else f"_rels/{name}.rels"
        root = self.find_tree(path, "The ties between the parts")
        found: dict[str, Relationship] = {}
        for node in root if root is not None else ():
            identity, kind, target = attr(node, "Id"), attr(node, "Type"), attr(node, "Target")
            if local(node) != "Relationship" or not identity or not kind:
                continue
            external = (attr(node, "TargetMode") or "").lower() == "external"
            inside = "" if external or not target else _resolve(folder, target)
            found[identity] = Relationship(kind.rpartition("/")[2], inside)
        return found

    def main(self, folder: str, default: str, root_name: str) -> tuple[str, Node]:
        """The part everything starts from, and its tree."""
        ties = self.relationships("").values()
        names = [tie.target for tie in ties if tie.kind == "officeDocument" and tie.target in self]
        part = names[0] if names else f"{folder}/{default}"
        if part not in self:
            raise CorruptFile(
                f"{self.name!r} has no {root_name} in it: open it in Office, save it anew and upload it again"
            )
        root = self.tree(part)
        if local(root) != root_name:
            raise UnsupportedFile(
                f"{self.name!r} holds a {local(root)[:40]!r} where a {root_name!r} was expected: "
                "give it the suffix that fits its content"
            )
        return part, root


class _Counted:
    """A part being read, with a bound on what stands between two rows."""

    def __init__(self, file: Any, package: Package) -> None:
        self._file, self._package, self.since = file, package, 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size if size > 0 else 1 << 16)
        self.since += len(data)
        self._package.spend(len(data))
        if self.since > MOST_BYTES_BETWEEN:
            raise _too_large(self._package.name)
        return data


def guarded(parse: Callable[[Package], Iterator[Parsed]]) -> Callable[[Source], Iterator[Parsed]]:
    """A parser that opens its package safely and fails only in the ways the contract knows."""

    @functools.wraps(parse)
    def run(source: Source) -> Iterator[Parsed]:
        left = MOST_TEXT
        try:
            for item in parse(Package(unlock(source) if is_encrypted(source) else source)):
                if isinstance(item, Block):
                    left -= len(item.text)
                    if left < 0:
                        raise _too_large(source.name)
                yield item
        except ParserError:
            raise
        except MemoryError as error:
            raise _too_large(source.name) from error
        # lxml, zipfile and our own walks raise a dozen kinds on hostile input; all mean the same to the person.
        except Exception as error:
            raise CorruptFile(
                f"{source.name!r} is damaged and cannot be read: open it in Office, save it anew and upload it again"
            ) from error

    return run


def _etree() -> Any:
    return importlib.import_module("lxml.etree")


def _normal(name: str) -> str:
    return posixpath.normpath("/" + name.replace("\\", "/")).lstrip("/").lower()


def _resolve(folder: str, target: str) -> str:
    target = unquote(target.replace("\\", "/").partition("#")[0])
    joined = target if target.startswith("/") else f"/{folder}/{target}"
    return posixpath.normpath(joined).lstrip("/")


def _too_large(name: str) -> TooLarge:
    return TooLarge(f"{name!r} unpacks to more than is read here: split it into smaller files")


def _check_directory(source: Source) -> None:
    """Look at the end of the zip before `zipfile` builds an object for each of a million entries."""
    source.file.seek(0)
    head = source.file.read(8)
    if not head:
        raise CorruptFile(f"{source.name!r} is empty: upload it again")
    if head == CFB_MAGIC:
        refuse(source)
    if not head.startswith(b"PK"):
        raise CorruptFile(f"{source.name!r} is not an Office file, whatever its name says: check what it is")
    size = source.file.seek(0, 2)
    source.file.seek(max(0, size - (1 << 16) - 98))
    tail = source.file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise CorruptFile(f"{source.name!r} is cut off before its end: upload it again")
    entries, directory = struct.unpack_from("<HI", tail, end + 10)
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07" and tail[end - 76 : end - 72] == b"PK\x06\x06":
        # The zip64 record overrules the short one, for `zipfile` too.
        entries, directory = struct.unpack_from("<QQ", tail, end - 76 + 32)
    if entries > MOST_ENTRIES or directory > _DIRECTORY_LIMIT:
        raise TooLarge(f"{source.name!r} has more than {MOST_ENTRIES} parts: split it into smaller files")
