"""Opening a PDF, with or without its password, as PDFium reads it from the file: never all of it in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO

from folkmoot_sdk import CorruptFile, EncryptedFile, ParserUnavailable, Source

from folkmoot_parser_pdf.pdfium import Document


@contextmanager
def opened(source: Source) -> Generator[Document, None, None]:
    """The document of `source`. Raises `EncryptedFile`, `CorruptFile`, `ParserUnavailable`."""
    try:
        import_module("pypdfium2")  # starts the library
        raw: Any = import_module("pypdfium2.raw")
    except (ImportError, OSError) as error:
        raise ParserUnavailable(
            f"{source.name} cannot be read: pypdfium2 does not load on this machine ({error})"
        ) from error
    name = source.name
    source.file.seek(0)
    head = source.file.read(1024)
    if not head:
        raise CorruptFile(f"{name} is empty: upload the file again")
    if b"%PDF-" not in head:
        raise CorruptFile(f"{name} does not begin as a PDF does: it is of another format, or damaged")
    password = None if source.password is None else source.password.encode("utf-8", "replace")
    access = _access(raw, source.file)
    handle = raw.FPDF_LoadCustomDocument(ctypes.byref(access), password)
    if not handle:
        code = raw.FPDF_GetLastError()
        if code == raw.FPDF_ERR_PASSWORD and source.password is None:
            raise EncryptedFile(f"{name} is encrypted: give its password, or upload a copy without one")
        if code == raw.FPDF_ERR_PASSWORD:
            raise EncryptedFile(f"{name} does not open with this password: give another one")
        if code == raw.FPDF_ERR_SECURITY:
            raise EncryptedFile(f"{name} is encrypted in a way that is not supported: upload a copy without protection")
        raise CorruptFile(f"{name} is damaged or cut off and cannot be opened: upload the file again")
    try:
        yield Document(raw, handle, name)
    finally:
        raw.FPDF_CloseDocument(handle)


def _access(raw: Any, file: BinaryIO) -> Any:
    """What PDFium asks for stretches of the file; to be held on to as long as the document is open."""
    access = raw.FPDF_FILEACCESS()

    def read(_: Any, position: int, buffer: Any, size: int) -> int:
        try:
            file.seek(position)
            data = file.read(size)
        except (OSError, MemoryError):
            return 0
        ctypes.memmove(buffer, data, len(data))
        return int(len(data) == size)

    access.m_FileLen = file.seek(0, 2)
    access.m_GetBlock = type(access.m_GetBlock)(read)
    return access
