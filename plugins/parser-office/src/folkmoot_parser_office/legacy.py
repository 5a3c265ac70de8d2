"""Files this plugin knows and does not read: it says what they are and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from folkmoot_sdk import CorruptFile, EncryptedFile, Parsed, Source, UnsupportedFile

from folkmoot_parser_office.cfb import CFB_MAGIC, directory_names

# The directory may stand at the end of the file; a hundred megabytes is what the host lets in by default.
_READ_LIMIT = 128 << 20
_OLD = {
    "WordDocument": ("Word", ".docx"),
    "Workbook": ("Excel", ".xlsx"),
    "Book": ("Excel", ".xlsx"),
    "PowerPoint Document": ("PowerPoint", ".pptx"),
}
_BY_SUFFIX = {"do": ("Word", ".docx"), "xl": ("Excel", ".xlsx"), "pp": ("PowerPoint", ".pptx")}


def parse(source: Source) -> Iterator[Parsed]:
    """Never yields. Raises `EncryptedFile`, `UnsupportedFile` or `CorruptFile`."""
    source.file.seek(0)
    if not source.file.read(1):
        raise CorruptFile(f"{source.name!r} is empty: upload it again")
    refuse(source)


def refuse(source: Source) -> NoReturn:
    """Say why a file in the old container, or of the old formats, is not read."""
    source.file.seek(0)
    data = source.file.read(_READ_LIMIT)
    names = directory_names(data) if data.startswith(CFB_MAGIC) else frozenset[str]()
    if "EncryptedPackage" in names:
        raise EncryptedFile(
            f"{source.name!r} is protected with a password: remove the password in Office and upload it again"
        )
    for stream, (program, suffix) in _OLD.items():
        if stream in names:
            raise UnsupportedFile(_advice(source.name, program, suffix))
    suffix = source.name.lower().rpartition(".")[2]
    if suffix == "xlsb":
        raise UnsupportedFile(f"{source.name!r} is a binary Excel workbook: convert it to .xlsx and upload it again")
    known = _BY_SUFFIX.get(suffix[:2])
    if known and len(suffix) == 3:
        raise UnsupportedFile(_advice(source.name, *known))
    raise UnsupportedFile(
        f"{source.name!r} is in the container of Office files before 2007, but holds none that is known here: "
        "convert it to .docx, .pptx or .xlsx"
    )


def _advice(name: str, program: str, suffix: str) -> str:
    return (
        f"{name!r} is in the format of {program} before 2007, which is not read here: "
        f"convert it to {suffix} and upload it again"
    )
