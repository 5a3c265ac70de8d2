"""Files in the container of before 2007: opened if there is a password around a newer one, else refused with advice."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import NoReturn

from folkmoot_sdk import CorruptFile, Parsed, Source, UnsupportedFile

from folkmoot_parser_office.cfb import CFB_MAGIC, directory_names
from folkmoot_parser_office.encrypted import is_encrypted, unlock
from folkmoot_parser_office.sniff import EXCEL_TYPES, POWERPOINT_TYPES, WORD_TYPES, ooxml_type

# The directory may stand at the end of the file; a hundred megabytes is what the host lets in by default.
_READ_LIMIT = 128 << 20
_HEAD = 64 * 1024
_READERS = ((WORD_TYPES, "docx"), (POWERPOINT_TYPES, "pptx"), (EXCEL_TYPES, "xlsx"))
_OLD = {
    "WordDocument": ("Word", ".docx"),
    "Workbook": ("Excel", ".xlsx"),
    "Book": ("Excel", ".xlsx"),
    "PowerPoint Document": ("PowerPoint", ".pptx"),
}
_BY_SUFFIX = {"do": ("Word", ".docx"), "xl": ("Excel", ".xlsx"), "pp": ("PowerPoint", ".pptx")}


def parse(source: Source) -> Iterator[Parsed]:
    """What a password opens; else nothing. Raises `EncryptedFile`, `UnsupportedFile` or `CorruptFile`."""
    source.file.seek(0)
    if not source.file.read(1):
        raise CorruptFile(f"{source.name!r} is empty: upload it again")
    if not is_encrypted(source):
        refuse(source)
    opened = unlock(source)
    media_type = ooxml_type(opened.file.read(_HEAD))
    for types, module in _READERS:
        if media_type in types:
            yield from import_module(f"folkmoot_parser_office.{module}").parse(opened)
            return
    raise CorruptFile(f"{source.name!r} holds no Word, PowerPoint or Excel file under its password: save it anew")


def refuse(source: Source) -> NoReturn:
    """Say why a file in the old container, or of the old formats, is not read."""
    source.file.seek(0)
    data = source.file.read(_READ_LIMIT)
    names = directory_names(data) if data.startswith(CFB_MAGIC) else frozenset[str]()
    for stream, (program, suffix) in _OLD.items():
        if stream in names:
            raise UnsupportedFile(_advice(source.name, program, suffix))
    suffix = source.name.lower().rpartition(".")[2]
    if suffix == "xlsb":
        raise UnsupportedFile(
            f"{source.name!r} is a binary Excel workbook, which is not read here: "
            "convert it to .xlsx (open it in Excel, choose Save As, and there the type .xlsx) and upload that file"
        )
    known = _BY_SUFFIX.get(suffix[:2])
    if known and len(suffix) == 3:
        raise UnsupportedFile(_advice(source.name, *known))
    raise UnsupportedFile(
        f"{source.name!r} is in the container of Office files before 2007, but holds none that is known here: "
        "convert it to .docx, .pptx or .xlsx"
    )


def _advice(name: str, program: str, suffix: str) -> str:
    return (
        f"{name!r} is in the format of {program} before 2007, which is not read here: convert it to {suffix} "
        f"(open it in {program} or LibreOffice, choose Save As, and there the type {suffix}) and upload that file"
    )
