"""Telling OpenDocument files apart from their first 64 KiB.

A package says what it is in its first entry, `mimetype`, unpacked and by itself; a flat file in an attribute
of its root (OpenDocument 1.3, part 2, 3.3 and part 3, 3.1.2).
"""

from __future__ import annotations

import re
import struct
import zlib

_ODF = "application/vnd.oasis.opendocument."
_FLAT = "-flat-xml"


def _types(*names: str) -> tuple[str, ...]:
    return tuple(_ODF + name + form for name in names for form in ("", "-template", _FLAT))


TEXT_TYPES = (*_types("text"), _ODF + "text-web")
PRESENTATION_TYPES = _types("presentation", "graphics")
SPREADSHEET_TYPES = _types("spreadsheet")

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_LONGEST_TYPE = 100
_MIMETYPE = re.compile(rb"office:mimetype\s*=\s*[\"']([\w.+/-]{1,100})[\"']")


def sniff_odt(head: bytes) -> str | None:
    """The media type of a text, by its content."""
    return _one_of(TEXT_TYPES, head)


def sniff_odp(head: bytes) -> str | None:
    """The media type of a presentation or drawing, by its content."""
    return _one_of(PRESENTATION_TYPES, head)


def sniff_ods(head: bytes) -> str | None:
    """The media type of a spreadsheet, by its content."""
    return _one_of(SPREADSHEET_TYPES, head)


def _one_of(types: tuple[str, ...], head: bytes) -> str | None:
    found = _packed(head) if head.startswith(b"PK\x03\x04") else _flat(head)
    return found if found in types else None


def _packed(head: bytes) -> str | None:
    if len(head) < _LOCAL_HEADER.size:
        return None
    fields = _LOCAL_HEADER.unpack_from(head)
    method, name_length, extra_length = fields[3], fields[9], fields[10]
    start = _LOCAL_HEADER.size + name_length
    if head[_LOCAL_HEADER.size : start] != b"mimetype":
        return None
    start += extra_length
    if method == 0:
        # A writer that streams leaves the size for later: the name ends where no name can go on.
        data = head[start : start + _LONGEST_TYPE]
        match = re.match(rb"\s*([\w.+/-]+)", data.partition(b"PK")[0])
        return match[1].decode("ascii", "replace") if match else None
    try:
        data = zlib.decompressobj(-15).decompress(head[start : start + 1024], _LONGEST_TYPE)
    except zlib.error:
        return None
    return data.strip().decode("ascii", "replace")


def _flat(head: bytes) -> str | None:
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return None
    start = head.find(b"<office:document")
    match = _MIMETYPE.search(head, start, max(start, head.find(b">", start))) if start >= 0 else None
    return match[1].decode("ascii") + _FLAT if match else None
