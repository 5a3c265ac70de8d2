"""Telling Office files apart from their first 64 KiB.

Every OOXML file is a zip, and so are OpenDocument files, e-books and somebody's holiday pictures. The
content types say which it is where they stand in front (Word, PowerPoint, Excel write them first);
LibreOffice writes them last, and then the folder names decide.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from folkmoot_parser_office.cfb import CFB_MAGIC, directory_names

_OOXML = "application/vnd.openxmlformats-officedocument."
WORD_TYPES = (
    _OOXML + "wordprocessingml.document",
    _OOXML + "wordprocessingml.template",
    "application/vnd.ms-word.document.macroenabled.12",
    "application/vnd.ms-word.template.macroenabled.12",
)
POWERPOINT_TYPES = (
    _OOXML + "presentationml.presentation",
    _OOXML + "presentationml.template",
    _OOXML + "presentationml.slideshow",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    "application/vnd.ms-powerpoint.template.macroenabled.12",
    "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
)
EXCEL_TYPES = (
    _OOXML + "spreadsheetml.sheet",
    _OOXML + "spreadsheetml.template",
    "application/vnd.ms-excel.sheet.macroenabled.12",
    "application/vnd.ms-excel.template.macroenabled.12",
)
_XLSB_TYPE = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
_CFB_TYPE = "application/x-cfb"
LEGACY_TYPES = (
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    _XLSB_TYPE,
    _CFB_TYPE,
)

_MAIN_PART = re.compile(rb"ContentType\s*=\s*[\"'](application/[\w.+-]+?)(?:\.main\+xml|\.main)[\"']", re.IGNORECASE)
_FOLDERS = {"word/": WORD_TYPES[0], "ppt/": POWERPOINT_TYPES[0], "xl/": EXCEL_TYPES[0]}
# Writers that stream put the first sheet, of any size, before everything that describes it.
_TELLING = re.compile(
    r"word/document\.xml|ppt/(presentation|slides/slide\d+)\.xml|xl/(workbook|worksheets/sheet\d+)\.xml"
)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_KNOWN = frozenset((*WORD_TYPES, *POWERPOINT_TYPES, *EXCEL_TYPES, _XLSB_TYPE))
# The content types of a real file are a few kilobytes; more is somebody trying something.
_CONTENT_TYPES_LIMIT = 1 << 20


def sniff_docx(head: bytes) -> str | None:
    """The media type of a Word file, by its content."""
    return _one_of(WORD_TYPES, head)


def sniff_pptx(head: bytes) -> str | None:
    """The media type of a PowerPoint file, by its content."""
    return _one_of(POWERPOINT_TYPES, head)


def sniff_xlsx(head: bytes) -> str | None:
    """The media type of an Excel file, by its content."""
    return _one_of(EXCEL_TYPES, head)


def sniff_legacy(head: bytes) -> str | None:
    """The media type of a file this plugin knows and refuses: encrypted, or of before 2007."""
    if not head.startswith(CFB_MAGIC):
        return _one_of((_XLSB_TYPE,), head)
    names = directory_names(head)
    if "EncryptedPackage" in names:
        return _CFB_TYPE
    if "WordDocument" in names:
        return "application/msword"
    if names & {"Workbook", "Book"}:
        return "application/vnd.ms-excel"
    if "PowerPoint Document" in names:
        return "application/vnd.ms-powerpoint"
    return None


def _one_of(types: tuple[str, ...], head: bytes) -> str | None:
    found = ooxml_type(head)
    return found if found in types else None


def ooxml_type(head: bytes) -> str | None:
    """The media type of the Office file that begins with `head`, or None for any other zip or file."""
    if not head.startswith(b"PK\x03\x04"):
        return None
    package = False
    by_folder: str | None = None
    for number, (name, content) in enumerate(_entries(head)):
        if number == 0 and name == "mimetype":
            return None
        if name == "[content_types].xml":
            package = True
            declared = _declared(content())
            if declared:
                return declared
        elif name == "_rels/.rels" or _TELLING.fullmatch(name):
            package = True
        for folder, media_type in _FOLDERS.items():
            if name.startswith(folder) and by_folder is None:
                by_folder = _XLSB_TYPE if name == "xl/workbook.bin" else media_type
    return by_folder if package else None


def _declared(content_types: bytes) -> str | None:
    for match in _MAIN_PART.finditer(content_types):
        media_type = match[1].decode("ascii").lower()
        # The main parts of macro files are named without the ".12" that their files bear.
        for candidate in (media_type, media_type.replace("macroenabledtemplate", "macroenabled") + ".12"):
            if candidate in _KNOWN:
                return candidate
    return None


class _Content:
    """The bytes of one entry, unpacked only when somebody asks."""

    def __init__(self, head: bytes, start: int, method: int, size: int) -> None:
        self._head, self._start, self._method, self._size = head, start, method, size

    def __call__(self) -> bytes:
        if self._method == 0:
            return self._head[self._start : self._start + self._size]
        try:
            unpacker = zlib.decompressobj(-15)
            return unpacker.decompress(self._head[self._start :], _CONTENT_TYPES_LIMIT)
        except zlib.error:
            return b""


def _entries(head: bytes) -> Iterator[tuple[str, _Content]]:
    position = 0
    while 0 <= position <= len(head) - _LOCAL_HEADER.size:
        fields = _LOCAL_HEADER.unpack_from(head, position)
        signature, flags, method, packed = fields[0], fields[2], fields[3], fields[7]
        name_length, extra_length = fields[9], fields[10]
        if signature != b"PK\x03\x04":
            return
        name_at = position + _LOCAL_HEADER.size
        start = name_at + name_length + extra_length
        name = head[name_at : name_at + name_length].decode("utf-8", "replace").replace("\\", "/").lower()
        yield name, _Content(head, start, method, packed)
        # Bit 3: the size follows the data, so the next entry has to be looked for.
        position = head.find(b"PK\x03\x04", start) if flags & 8 and not packed else start + packed
