"""Opening the zip and the XML of a book that somebody else made, without being harmed by them.

Nothing is unpacked to disk and nothing is fetched. Sizes are checked in the directory before anything is
read; `zipfile` unpacks no more of an entry than the directory says.
"""

from __future__ import annotations

import posixpath
import struct
import zipfile
import zlib
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from folkmoot_sdk import CorruptFile, Source, TooLarge

MOST_ENTRIES = 20_000
MOST_BYTES = 1 << 30
"""Of all entries together, unpacked; most of a book is its pictures, which are not read."""
SUSPICIOUS_BYTES = 50 << 20
SUSPICIOUS_RATIO = 200
MOST_PART_BYTES = 20 << 20
"""Of one chapter or index: as a tree it takes about ten times as much memory."""
MOST_READ = 200 << 20
"""Of all parts that are read: a spine may name one chapter a million times."""
_DIRECTORY_LIMIT = 16 << 20

FAILURES = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, SyntaxError)
"""What reading one part raises when it is missing or damaged; lxml's errors are `SyntaxError`."""


class Package:
    """The parts of one book, by name."""

    def __init__(self, source: Source) -> None:
        self._name = source.name
        self._read = 0
        _check_directory(source)
        source.file.seek(0)
        self._zip = zipfile.ZipFile(source.file)
        entries = self._zip.infolist()
        if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise too_large(source.name)
        for entry in entries:
            packed = max(entry.compress_size, 1)
            if entry.file_size > SUSPICIOUS_BYTES and entry.file_size > SUSPICIOUS_RATIO * packed:
                raise TooLarge(
                    f"{source.name} unpacks to more than {SUSPICIOUS_RATIO} times its size, as a zip bomb does: "
                    "save it anew from the program that made it"
                )
        self._entries = {_normal(entry.filename): entry for entry in entries}

    def __contains__(self, part: str) -> bool:
        return _normal(part) in self._entries

    def names(self) -> list[str]:
        return [entry.filename for entry in self._entries.values()]

    def bytes_of(self, part: str) -> bytes:
        """Raises one of `FAILURES` where it is missing, damaged or encrypted, `TooLarge` where it is a bomb."""
        entry = self._entries[_normal(part)]
        # The format knows no other methods, and the others unpack without a bound on memory.
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ValueError(part)
        with self._zip.open(entry) as file:
            data = file.read(MOST_PART_BYTES + 1)
        self._read += len(data)
        if len(data) > MOST_PART_BYTES or self._read > MOST_READ:
            raise too_large(self._name)
        return data

    def tree(self, part: str) -> Any:
        """A part as a tree of XML. Document types are common in books; entities of its own are refused."""
        etree: Any = import_module("lxml.etree")
        parser = etree.XMLParser(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            recover=True,  # books name entities of HTML in their XML
            remove_comments=True,
            remove_pis=True,
        )
        root = etree.fromstring(self.bytes_of(part), parser)
        if root is None:
            raise ValueError(part)
        declared = root.getroottree().docinfo.internalDTD
        if declared is not None and any(True for _ in declared.iterentities()):
            raise CorruptFile(f"{self._name} declares entities, which no book needs: save it anew")
        return root


def resolve(base: str, href: str) -> tuple[str, str]:
    """The part that a link in the part `base` means, and the place in it; both empty if it leads out."""
    path, _, fragment = href.partition("#")
    if "://" in path[:20] or path.startswith("data:"):
        return "", ""
    path = unquote(path.replace("\\", "/"))
    joined = posixpath.join(posixpath.dirname(base), path) if path else base
    return _normal(joined), unquote(fragment)


def too_large(name: str) -> TooLarge:
    return TooLarge(f"{name} unpacks to more than is read here: split it into smaller files")


def _normal(name: str) -> str:
    return posixpath.normpath("/" + name.replace("\\", "/")).lstrip("/")


def _check_directory(source: Source) -> None:
    """Look at the end of the zip before `zipfile` builds an object for each of a million entries."""
    source.file.seek(0)
    head = source.file.read(4)
    if not head:
        raise CorruptFile(f"{source.name} is empty: upload it again")
    if not head.startswith(b"PK"):
        raise CorruptFile(f"{source.name} is no EPUB, whatever its name says: check what it is")
    size = source.file.seek(0, 2)
    source.file.seek(max(0, size - (1 << 16) - 98))
    tail = source.file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise CorruptFile(f"{source.name} is cut off before its end: upload it again")
    entries, directory = struct.unpack_from("<HI", tail, end + 10)
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07" and tail[end - 76 : end - 72] == b"PK\x06\x06":
        # The zip64 record overrules the short one, for `zipfile` too.
        entries, directory = struct.unpack_from("<QQ", tail, end - 76 + 32)
    if entries > MOST_ENTRIES or directory > _DIRECTORY_LIMIT:
        raise TooLarge(f"{source.name} has more than {MOST_ENTRIES:,} parts: split it into smaller files")
