"""Telling an archive from the many formats that are a zip inside, by the first 64 KiB.

The names of the first entries give those away. A document of an office that is damaged, or written in an
order nobody foresaw, must not be taken for an archive of XML files: its own parser, found by its suffix,
says better what is wrong with it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("<4s5H3I2H")
_NEWEST = 63
"""Version of the format that an entry may need: 6.3, of 2006, and the last one."""
_OTHERS = re.compile(
    r"\[content_types\]\.xml|_rels/\.rels"  # Office, Visio, XPS, packages of .NET
    r"|(word|ppt|xl)/(_rels/)?(document|presentation|workbook|worksheets/sheet\d+|slides/slide\d+)\.(xml|bin)(\.rels)?"
    r"|meta-inf/(manifest\.(xml|mf)|container\.xml|mozilla\.rsa)"  # OpenDocument, Java, e-books, add-ons
    r"|androidmanifest\.xml|payload/[^/]+\.app/.*|index/\w+\.iwa|index\.zip"  # apps of phones, iWork
)


def sniff(head: bytes) -> str | None:
    """`application/zip` if the bytes begin a zip archive and nothing says that it is a document."""
    if head.startswith(b"PK\x05\x06"):
        return "application/zip" if len(head) >= 22 else None
    seen = False
    for number, name in enumerate(_names(head)):
        if (number == 0 and name == "mimetype") or _OTHERS.fullmatch(name):
            return None
        seen = True
    return "application/zip" if seen else None


def _names(head: bytes) -> Iterator[str]:
    position = 0
    while position + _HEADER.size <= len(head):
        signature, version, flags, _, _, _, _, packed, _, name_length, extra = _HEADER.unpack_from(head, position)
        if signature != b"PK\x03\x04" or (version & 0xFF) > _NEWEST or not name_length:
            return
        start = position + _HEADER.size
        name = head[start : start + name_length]
        if len(name) < name_length:
            return
        yield name.decode("utf-8", "replace").replace("\\", "/").lower()
        start += name_length + extra
        # Bit 3: the size follows the data, so the next entry has to be looked for.
        position = head.find(b"PK\x03\x04", start) if flags & 8 and not packed else start + packed
        if position < 0:
            return
