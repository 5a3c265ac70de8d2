"""Opening an OpenDocument file that somebody else made, without being harmed by it.

It is a zip of XML parts, or the same parts in one flat file of XML. Nothing is unpacked to disk and nothing is
fetched; document types are refused, and with them entities. Sizes are checked in the central directory
before anything is read and again while reading: what an entry says of itself need not be true.
"""

from __future__ import annotations

import functools
import importlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NoReturn

from folkmoot_sdk import Block, CorruptFile, EncryptedFile, Parsed, ParserError, Source, TooLarge, UnsupportedFile

from folkmoot_parser_opendocument.pictures import WithoutPictures
from folkmoot_parser_opendocument.tree import Node, attr, child, name, number, one_line, qualified

MOST_ENTRIES = 10_000
MOST_BYTES = 500 << 20
"""Of all parts together, unpacked."""
SUSPICIOUS_BYTES = 50 << 20
SUSPICIOUS_RATIO = 200
MOST_TREE_BYTES = 100 << 20
"""Of one part that is held in memory as a tree, which takes about five times as much."""
MOST_BYTES_BETWEEN = 32 << 20
"""Of a part that is streamed, between two of its rows."""
MOST_TEXT = 200_000_000
"""Characters that one file may yield: a repeated row is short in the file and long in the text."""

_DIRECTORY_LIMIT = 8 << 20
_XML_OPTIONS = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_WHOLE = ""
"""The part that a flat file is."""


class Package:
    """The parts of one file. Of a flat file, content, styles and properties are one part."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.warnings: list[str] = []
        self.unpacked = 0
        """Bytes so far, of all parts."""
        self._file = source.file
        self._flat = _is_flat(source)
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self._trees: dict[str, Node | None] = {}
        if self._flat:
            self.content_size = source.size
            return
        _check_directory(source)
        source.file.seek(0)
        self._zip = zipfile.ZipFile(source.file)
        entries = self._zip.infolist()
        for entry in entries:
            suspicious = entry.file_size > SUSPICIOUS_BYTES
            if suspicious and entry.file_size > SUSPICIOUS_RATIO * max(entry.compress_size, 1):
                raise TooLarge(
                    f"{source.name!r} unpacks to more than {SUSPICIOUS_RATIO} times its size, as a zip bomb does: "
                    "save it anew from the program that made it"
                )
        if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > MOST_BYTES:
            _too_large(source.name)
        self._entries = {entry.filename: entry for entry in entries}
        self._refuse_encrypted(source.password is not None)
        if "content.xml" not in self._entries:
            raise CorruptFile(
                f"{source.name!r} has no content in it: open it in LibreOffice, save it anew and upload it again"
            )
        self.content_size = self._entries["content.xml"].file_size

    def _refuse_encrypted(self, has_password: bool) -> None:
        manifest = self.find_tree("META-INF/manifest.xml", "The list of parts")
        mark = qualified("manifest:encryption-data")
        encrypted = manifest is not None and any(node.tag == mark for node in manifest.iter())
        if not encrypted and not any(entry.flag_bits & 1 for entry in self._entries.values()):
            return
        way_out = "open it in LibreOffice, save it without a password and upload it again"
        if has_password:
            raise EncryptedFile(f"{self.name!r} is protected with a password, which is of no use here: {way_out}")
        raise EncryptedFile(f"{self.name!r} is protected with a password: {way_out}")

    def _open(self, part: str) -> Any:
        if part == _WHOLE:
            self._file.seek(0)
            return WithoutPictures(self._file)
        entry = self._entries[part]
        # OpenDocument allows no other methods, and the others unpack without a bound on memory.
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise CorruptFile(f"{self.name!r} is packed in a way that OpenDocument does not know: save it anew")
        return self._zip.open(entry)

    def spend(self, count: int) -> None:
        """Count bytes unpacked; the same part may be asked for again and again."""
        self.unpacked += count
        if self.unpacked > MOST_BYTES:
            _too_large(self.name)

    def _tree(self, part: str) -> Node:
        etree = _etree()
        with self._open(part) as file:
            data: bytes = file.read(MOST_TREE_BYTES + 1)
        self.spend(len(data))
        if len(data) > MOST_TREE_BYTES:
            _too_large(self.name)
        root: Any = etree.fromstring(data, etree.XMLParser(**_XML_OPTIONS))
        self._refuse_doctype(root)
        return root

    def find_tree(self, part: str, what: str) -> Node | None:
        """A part that the file can be read without; what is damaged is told in `warnings`."""
        part = _WHOLE if self._flat else part
        if part not in self._entries and not self._flat:
            return None
        if part not in self._trees:
            try:
                self._trees[part] = self._tree(part)
            except (TooLarge, EncryptedFile):
                raise
            except (CorruptFile, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, SyntaxError):
                if self._flat:
                    raise
                self._trees[part] = None
                self.warn(f"{what} could not be read: that part of the file is damaged.")
        return self._trees[part]

    def warn(self, sentence: str) -> None:
        """Tell the person what was not read, once."""
        if sentence not in self.warnings and len(self.warnings) < 100:
            self.warnings.append(sentence)

    def content(self) -> Node:
        """The part with the text, as a tree."""
        part = _WHOLE if self._flat else "content.xml"
        root = self._trees.get(part)
        if root is None:
            root = self._trees[part] = self._tree(part)
        return root

    def styles(self) -> Node | None:
        return self.find_tree("styles.xml", "The styles")

    def body(self, *kinds: str) -> Node:
        """What is in the body, of one of these kinds, as `office:text`. Raises `UnsupportedFile` for another."""
        body = child(self.content(), "office:body")
        for node in body if body is not None else ():
            if name(node) in kinds:
                return node
            self.refuse_kind(node, kinds)
        raise CorruptFile(f"{self.name!r} has an empty body: open it in LibreOffice, save it anew and upload it again")

    def refuse_kind(self, node: Node, kinds: tuple[str, ...]) -> NoReturn:
        """Raise `UnsupportedFile` for a document that is not what its name says."""
        found, wanted = name(node).partition(":")[2][:40], kinds[0].partition(":")[2]
        raise UnsupportedFile(
            f"{self.name!r} holds a {found!r} where a {wanted!r} was expected: give it the suffix that fits its content"
        )

    def stream(self, *names: str) -> Iterator[tuple[str, Node]]:
        """Starts and ends of elements of the content; who asks for the next frees what it is done with."""
        etree = _etree()
        with self._open(_WHOLE if self._flat else "content.xml") as file:
            reader = _Counted(file, self)
            tags = [qualified(each) for each in names]
            events: Any = etree.iterparse(reader, events=("start", "end"), tag=tags, **_XML_OPTIONS)
            first = True
            for event, element in events:
                if first:
                    self._refuse_doctype(element)
                    first = False
                reader.since = 0
                yield event, element
            if events.root is not None:
                self._refuse_doctype(events.root)

    def _refuse_doctype(self, element: Any) -> None:
        if element.getroottree().docinfo.internalDTD is not None:
            raise CorruptFile(
                f"{self.name!r} declares a document type, which OpenDocument files never do: save it anew"
            )

    @property
    def _meta(self) -> Node | None:
        # A flat spreadsheet is streamed, so that what it says of itself would cost a tree of all of it.
        if self._flat and _WHOLE not in self._trees:
            return None
        return child(self.find_tree("meta.xml", "The properties"), "office:meta")

    @property
    def title(self) -> str | None:
        node = child(self._meta, "dc:title")
        return one_line(node.text or "")[:500] or None if node is not None else None

    @property
    def language(self) -> str | None:
        node = child(self._meta, "dc:language")
        text = (node.text or "").strip() if node is not None else ""
        return text if len(text) < 20 and text.replace("-", "").isalnum() else None

    @property
    def page_count(self) -> int | None:
        return number(child(self._meta, "meta:document-statistic"), "meta:page-count") or None

    def object(self, frame: Node) -> Node | None:
        """What is embedded by a `draw:object`: the root of its content."""
        for inside in frame:
            if name(inside) in {"office:document", "math:math"}:
                return inside
        target = (attr(frame, "xlink:href") or "").removeprefix("./").strip("/")
        if self._flat or not target or target.startswith(("#", "..")) or ":" in target:
            return None
        return self.find_tree(f"{target}/content.xml", "An embedded object")


class _Counted:
    """A part being read, with a bound on what stands between two rows."""

    def __init__(self, file: Any, package: Package) -> None:
        self._file, self._package, self.since = file, package, 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size if size > 0 else 1 << 16)
        self.since += len(data)
        self._package.spend(len(data))
        if self.since > MOST_BYTES_BETWEEN:
            _too_large(self._package.name)
        return data


def guarded(parse: Callable[[Package], Iterator[Parsed]]) -> Callable[[Source], Iterator[Parsed]]:
    """A parser that opens its package safely and fails only in the ways the contract knows."""

    @functools.wraps(parse)
    def run(source: Source) -> Iterator[Parsed]:
        left = MOST_TEXT
        try:
            for item in parse(Package(source)):
                if isinstance(item, Block):
                    left -= len(item.text)
                    if left < 0:
                        _too_large(source.name)
                yield item
        except ParserError:
            raise
        except MemoryError as error:
            raise _bomb(source.name) from error
        # lxml, zipfile and our own walks raise a dozen kinds on hostile input; all mean the same to the person.
        except Exception as error:
            raise CorruptFile(
                f"{source.name!r} is damaged and cannot be read: open it in LibreOffice, save it anew "
                "and upload it again"
            ) from error

    return run


def _etree() -> Any:
    return importlib.import_module("lxml.etree")


def _bomb(file_name: str) -> TooLarge:
    return TooLarge(f"{file_name!r} unpacks to more than is read here: split it into smaller files")


def _too_large(file_name: str) -> NoReturn:
    raise _bomb(file_name)


def _is_flat(source: Source) -> bool:
    file: BinaryIO = source.file
    file.seek(0)
    head = file.read(1024)
    if not head:
        raise CorruptFile(f"{source.name!r} is empty: upload it again")
    if head.startswith(b"PK"):
        return False
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<", b"\xff\xfe<", b"\xfe\xff\x00<")):
        return True
    raise CorruptFile(f"{source.name!r} is not an OpenDocument file, whatever its name says: check what it is")


def _check_directory(source: Source) -> None:
    """Look at the end of the zip before `zipfile` builds an object for each of a million entries."""
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
