"""The outermost layer of the container that Office used before 2007, and still uses around a password.

Only the names of the streams are read, to say what the file is. The format is [MS-CFB], sections 2.2
(header), 2.3 (FAT) and 2.6 (directory).
"""

from __future__ import annotations

import struct

CFB_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_ENTRY = 128
# Real directories hold tens of entries; a chain of sectors that goes on longer is a loop or a trap.
_MOST_SECTORS = 512


def directory_names(data: bytes) -> frozenset[str]:
    """Names of the streams and storages in `data`, as far as they can be reached in it."""
    if len(data) < 512 or not data.startswith(CFB_MAGIC):
        return frozenset()
    (shift,) = struct.unpack_from("<H", data, 30)
    if shift not in {9, 12}:
        return frozenset()
    size = 1 << shift
    (sector,) = struct.unpack_from("<I", data, 48)
    fat = struct.unpack_from("<109I", data, 76)
    names: set[str] = set()
    for _ in range(_MOST_SECTORS):
        start = (sector + 1) * size
        if start >= len(data):
            break
        for at in range(start, min(start + size, len(data) - _ENTRY + 1), _ENTRY):
            (length,) = struct.unpack_from("<H", data, at + 64)
            if 2 <= length <= 64:
                names.add(data[at : at + length - 2].decode("utf-16-le", "replace"))
        table, index = divmod(sector, size // 4)
        if table >= len(fat):
            break
        link = (fat[table] + 1) * size + index * 4
        if link + 4 > len(data):
            break
        (sector,) = struct.unpack_from("<I", data, link)
    return frozenset(names)
