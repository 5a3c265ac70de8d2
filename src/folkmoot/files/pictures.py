"""Pictures as they come from cameras and screens: what they are, how large, and without what they tell of their makers.

Nothing here decodes a pixel: only the boxes are read that each format puts its data into, so a file that unfolds to
gigabytes costs no more than its own bytes. Cameras write where and when, and with which device, into some of these
boxes; those are left out, and so is whatever comes after the end of the picture.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 10 * 1024 * 1024
"""Bytes: about what model services take for one picture."""
WIDEST = 8_000
"""Pixels of a side; model services take no more."""
HEAD = 16
"""So many bytes tell what a picture is."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT",
                       b"cICP", b"acTL", b"fcTL", b"fdAT"))  # fmt: skip
_WEBP_KEPT = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_EXIF, _XMP = 0x08, 0x04
_SIZES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
"""JPEG markers that tell how large the picture is (ITU-T T.81, B.1.1.3)."""
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
"""JPEG markers that nothing follows."""
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


class Broken(ValueError):
    """Not what its first bytes say, or cut off; the message says how."""


@dataclass(frozen=True)
class Picture:
    """One picture without what else was in the file."""

    media_type: str
    width: int
    height: int
    data: bytes


def kind_of(head: bytes) -> str | None:
    """The media type that the first bytes tell; None if they are no picture that models can see."""
    if head.startswith(_PNG):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def read(data: bytes) -> Picture:
    """The picture alone. Raises `Broken`."""
    kind = kind_of(data[:HEAD])
    try:
        match kind:
            case "image/png":
                width, height, clean = _png(data)
            case "image/jpeg":
                width, height, clean = _jpeg(data)
            case "image/gif":
                width, height, clean = _gif(data)
            case "image/webp":
                width, height, clean = _webp(data)
            case _:
                raise Broken("it is no PNG, JPEG, WebP or GIF")
    except (struct.error, IndexError) as error:
        raise Broken("it is cut off") from error
    if not width or not height:
        raise Broken("it does not say how large it is")
    return Picture(kind, width, height, clean)


def _part(data: bytes, start: int, length: int) -> bytes:
    if start + length > len(data):
        raise Broken("it is cut off")
    return data[start : start + length]


def _png(data: bytes) -> tuple[int, int, bytes]:
    """Portable Network Graphics, third edition, 5."""
    out, at, size = [_PNG], len(_PNG), (0, 0)
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        whole = _part(data, at, length + 12)
        if at == len(_PNG):
            if name != b"IHDR" or length != 13:
                raise Broken("it does not begin as a PNG does")
            size = struct.unpack_from(">II", data, at + 8)
        if name in _PNG_KEPT:
            out.append(whole)
        elif not name[0] & 0x20:
            raise Broken("it has a part that no PNG has")
        at += length + 12
        if name == b"IEND":
            return *size, b"".join(out)


def _jpeg(data: bytes) -> tuple[int, int, bytes]:
    """ITU-T T.81, B."""
    out, at, size, turned = [b"\xff\xd8"], 2, (0, 0), b""
    while True:
        if data[at] != 0xFF:
            raise Broken("it is damaged")
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif marker in _ALONE:
            out.append(data[at : at + 2])
            at += 2
        elif marker == 0xD9:
            break
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            whole = _part(data, at, length + 2)
            body = whole[4:]
            if marker in _SIZES:
                height, width = struct.unpack_from(">HH", body, 1)
                size = (width, height)
            if marker == 0xE1 and body.startswith(b"Exif\0\0"):
                turned = turned or _turned(body[6:])
            elif _jpeg_keeps(marker, body):
                out.append(whole)
            at += length + 2
            if marker == 0xDA:
                end = _scan_end(data, at)
                out.append(data[at:end])
                at = end
    # After JFIF's own, where it has one.
    place = 2 if len(out) > 1 and out[1][1:2] == b"\xe0" else 1
    if turned:
        out.insert(place, turned)
    out.append(b"\xff\xd9")
    return *size, b"".join(out)


def _jpeg_keeps(marker: int, body: bytes) -> bool:
    """Colours must stay (JFIF, ICC, Adobe); comments and what else applications write go."""
    match marker:
        case 0xE0:
            return body.startswith(b"JFIF\0")
        case 0xE2:
            return body.startswith(b"ICC_PROFILE\0")
        case 0xEE:
            return body.startswith(b"Adobe")
        case _:
            return not 0xE1 <= marker <= 0xEF and marker != 0xFE


def _scan_end(data: bytes, at: int) -> int:
    """Where the next marker begins after a scan's data, which has `ff00` for `ff` and restarts in it."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise Broken("it is cut off")
        if data[at + 1] != 0x00 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2


def _turned(tiff: bytes) -> bytes:
    """Exif with nothing but which side is up; empty if the camera did not turn the picture."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return b""
    (first,) = struct.unpack_from(f"{order}I", tiff, 4)
    if first + 2 > len(tiff):
        return b""
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    for number in range(min(count, 64)):
        entry = tiff[first + 2 + 12 * number : first + 14 + 12 * number]
        if len(entry) < 12:
            return b""
        tag, kind = struct.unpack_from(f"{order}HH", entry)
        if tag == 0x0112 and kind == 3:
            (side,) = struct.unpack_from(f"{order}H", entry, 8)
            if 2 <= side <= 8:
                bare = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, side, 0, 0)
                return b"\xff\xe1" + struct.pack(">H", len(bare) + 8) + b"Exif\0\0" + bare
            return b""
    return b""


def _gif(data: bytes) -> tuple[int, int, bytes]:
    """Graphics Interchange Format, version 89a."""
    width, height, packed = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colours(packed)
    out = [_part(data, 0, at)]
    while True:
        begun, kind = at, data[at]
        if kind == 0x3B:
            out.append(b"\x3b")
            return width, height, b"".join(out)
        if kind == 0x2C:
            at += 10 + _colours(data[at + 9])
            kept = True
            at += 1
        elif kind == 0x21:
            label = data[at + 1]
            kept = label == 0xF9 or (label == 0xFF and data[at + 3 : at + 14] in _LOOPS)
            at += 2
        else:
            raise Broken("it is damaged")
        for length in _blocks(data, at):
            at += length + 1
        at += 1
        if kept:
            out.append(_part(data, begun, at - begun))


def _colours(packed: int) -> int:
    """Bytes of the table of colours that such a flag announces."""
    return 3 * 2 ** ((packed & 0x07) + 1) if packed & 0x80 else 0


def _blocks(data: bytes, at: int) -> Iterator[int]:
    """Lengths of the blocks from here to the empty one."""
    while length := data[at]:
        yield length
        at += length + 1


def _webp(data: bytes) -> tuple[int, int, bytes]:
    """RFC 9649, 2."""
    (told,) = struct.unpack_from("<I", data, 4)
    if told + 8 > len(data):
        raise Broken("it is cut off")
    out: list[bytes] = []
    at, size = 12, (0, 0)
    while at < told + 8:
        name, length = struct.unpack_from("<4sI", data, at)
        body = _part(data, at + 8, length)
        if name == b"VP8X":
            size = (_three(body, 4) + 1, _three(body, 7) + 1)
            body = bytes((body[0] & ~(_EXIF | _XMP),)) + body[1:]
        elif not any(size):
            size = _bare(name, body)
        if name in _WEBP_KEPT:
            out.append(struct.pack("<4sI", name, length) + body + b"\0" * (length % 2))
        at += 8 + length + length % 2
    clean = b"WEBP" + b"".join(out)
    return *size, struct.pack("<4sI", b"RIFF", len(clean)) + clean


def _three(body: bytes, at: int) -> int:
    return int.from_bytes(_part(body, at, 3), "little")


def _bare(name: bytes, body: bytes) -> tuple[int, int]:
    """The size of a picture without the extended header."""
    if name == b"VP8 " and _part(body, 3, 3) == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and body[0] == 0x2F:
        (bits,) = struct.unpack_from("<I", body, 1)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    return 0, 0
