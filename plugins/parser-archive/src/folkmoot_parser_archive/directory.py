"""The directory of an archive that somebody else made, checked before one byte is unpacked.

What a directory says of sizes need not be true; `zipfile` never unpacks more than it says, so it is bounded
by what is checked here. Entries that share their bytes are how a small file unpacks to petabytes without
being nested (Fifield, "A better zip bomb", WOOT 2019), and are refused.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from folkmoot_sdk import CorruptFile, Source, TooLarge, UnsupportedFile, member_path

MOST_FILES = 2_000
"""Those that the host would take."""
MOST_ENTRIES = 20_000
"""With folders, and with what is left out: a Mac adds a hidden twin to every file."""
MOST_BYTES = 2 << 30
MOST_RATIO = 200
ANY_RATIO_BYTES = 100 << 20
_DIRECTORY_LIMIT = 16 << 20
_JUNK = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin"))
_UNIX, _UTF8 = 3, 0x800


class Entry(NamedTuple):
    """A file in the archive."""

    path: str
    """As `member_path` makes it."""
    info: zipfile.ZipInfo
    modified_at: datetime | None
    is_encrypted: bool


class Directory(NamedTuple):
    entries: list[Entry]
    links: int
    """Links, pipes and devices, which are left out."""
    size: int
    """Bytes of all files, unpacked."""


def open_archive(source: Source) -> zipfile.ZipFile:
    """Raises `CorruptFile`, `TooLarge` or `UnsupportedFile` before there is an object for each entry."""
    source.file.seek(0)
    head = source.file.read(4)
    if not head:
        raise CorruptFile(f"{source.name} is empty: upload it again")
    size = source.file.seek(0, 2)
    source.file.seek(max(0, size - (1 << 16) - 98))
    tail = source.file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        if head.startswith(b"PK"):
            raise CorruptFile(f"{source.name} is cut off before its end, where its directory stands: upload it again")
        raise CorruptFile(f"{source.name} is no zip archive, whatever its name says: check what it is")
    disk, _, _, entries, directory = struct.unpack_from("<HHHHI", tail, end + 4)
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07" and tail[end - 76 : end - 72] == b"PK\x06\x06":
        # The zip64 record overrules the short one, for `zipfile` too.
        disk, entries, directory = 0, *struct.unpack_from("<QQ", tail, end - 76 + 32)
    if disk not in {0, 0xFFFF}:
        raise UnsupportedFile(f"{source.name} is one part of an archive in several: join them and upload the whole")
    if entries > MOST_ENTRIES or directory > _DIRECTORY_LIMIT:
        raise _too_many(source.name)
    source.file.seek(0)
    return zipfile.ZipFile(source.file)


def read_directory(source: Source, archive: zipfile.ZipFile) -> Directory:
    """The files to be read, in the archive's order. Raises `TooLarge` for what only a bomb is."""
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise _too_many(source.name)
    _refuse_overlaps(source.name, infos, archive.start_dir)
    entries: list[Entry] = []
    links = size = 0
    for info in infos:
        raw = _name(info)
        path = member_path(raw)
        if raw.endswith(("/", "\\")) or info.external_attr & 0x10 or not path or _is_junk(path):
            continue
        if info.create_system == _UNIX and stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
            links += 1
            continue
        entries.append(Entry(path, info, _modified_at(info), bool(info.flag_bits & 1)))
        size += info.file_size
    if len(entries) > MOST_FILES:
        raise _too_many(source.name)
    room = min(MOST_BYTES, max(ANY_RATIO_BYTES, MOST_RATIO * source.size))
    if size > room:
        raise TooLarge(
            f"{source.name} unpacks to {size / 2**20:,.0f} MB, and {room / 2**20:,.0f} MB are the most for its size: "
            "unpack it and upload the files themselves, or pack them into several archives"
        )
    return Directory(entries, links, size)


def _too_many(name: str) -> TooLarge:
    return TooLarge(
        f"{name} holds more than {MOST_FILES:,} files: unpack it and upload the files themselves, "
        "or pack them into several archives"
    )


def _refuse_overlaps(name: str, infos: list[zipfile.ZipInfo], end: int) -> None:
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for info, after in zip(ordered, [*(other.header_offset for other in ordered[1:]), end], strict=False):
        if info.header_offset + 30 + len(info.orig_filename) + info.compress_size > after:
            raise TooLarge(
                f"{name} has files that lie over each other, as only zip bombs have: pack it anew from the files"
            )


def _is_junk(path: str) -> bool:
    """What systems put beside people's files: hidden ones, thumbnails, locks of open documents."""
    parts = path.lower().split("/")
    return any(part.startswith((".", "~$")) or part in _JUNK for part in parts)


def _name(info: zipfile.ZipInfo) -> str:
    """The name in the encoding it was most likely written in, which `zipfile` takes for that of DOS.

    Info-ZIP writes it again in UTF-8 beside the old one; a Mac writes UTF-8 and does not say so.
    """
    if info.flag_bits & _UTF8:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437", "replace")
    for kind, value in _extras(info):
        if (
            kind == 0x7075
            and len(value) > 5
            and value[0] == 1
            and int.from_bytes(value[1:5], "little") == zlib.crc32(raw)
        ):
            raw = value[5:]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return info.orig_filename


def _modified_at(info: zipfile.ZipInfo) -> datetime | None:
    """The time in UTC where the archive keeps it; else that of the clock on the wall where it was made."""
    for kind, value in _extras(info):
        if kind == 0x5455 and len(value) >= 5 and value[0] & 1:
            return datetime.fromtimestamp(int.from_bytes(value[1:5], "little", signed=True), UTC)
    try:
        return datetime(*info.date_time, tzinfo=UTC)
    except ValueError:
        return None


def _extras(info: zipfile.ZipInfo) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(info.extra):
        kind, length = struct.unpack_from("<HH", info.extra, at)
        yield kind, info.extra[at + 4 : at + 4 + length]
        at += 4 + length
