"""Telling an e-book from other zips, by its first 64 KiB.

The rules want `mimetype` to be its first entry, stored as it is; books that somebody packed by hand have it
elsewhere, and then the entry that says where the book begins tells.
"""

from __future__ import annotations

import struct

EPUB = "application/epub+zip"
_HEADER = struct.Struct("<4s5H3I2H")


def sniff(head: bytes) -> str | None:
    """`application/epub+zip` if the bytes begin an e-book."""
    position = number = 0
    while position + _HEADER.size <= len(head):
        signature, _, flags, method, _, _, _, packed, _, name_length, extra = _HEADER.unpack_from(head, position)
        if signature != b"PK\x03\x04":
            return None
        start = position + _HEADER.size
        name = head[start : start + name_length]
        start += name_length + extra
        if name == b"mimetype" and method == 0 and not flags & 1:
            said = head[start : start + (packed or 40)]
            if said.strip().startswith(EPUB.encode()):
                return EPUB
            if number == 0 and len(said) == packed:
                return None
        if name == b"META-INF/container.xml":
            return EPUB
        # Bit 3: the size follows the data, so the next entry has to be looked for.
        position = head.find(b"PK\x03\x04", start) if flags & 8 and not packed else start + packed
        number += 1
        if position < 0:
            return None
    return None
