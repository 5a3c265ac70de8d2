"""Reading a zip archive: a list of what is in it, then its files one after the other, never more than a piece at once.

One file that is damaged, protected or packed in a way of its own says so, and the others are read.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from folkmoot_sdk import (
    MEMBER_PIECE,
    Block,
    CorruptFile,
    DocumentInfo,
    EncryptedFile,
    Member,
    Parsed,
    ParserError,
    Progress,
    Source,
    TooLarge,
)

from folkmoot_parser_archive.directory import Directory, Entry, open_archive, read_directory

_LINES_A_BLOCK = 100
_AES = 99
_STRONG = 0x40
_FAILURES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""What `zipfile` and `pyzipper` raise on an entry that is not as it should be; `RuntimeError` covers
`NotImplementedError`, and the wrong password."""


class _Unreadable(Exception):
    """Why one file in the archive cannot be read."""


class _WrongPassword(_Unreadable):
    """It may be another one for the next file."""


def parse(source: Source) -> Iterator[Parsed]:
    """A list, then a `Member` for each file. Raises `EncryptedFile` if all of them want another password."""
    try:
        with open_archive(source) as archive:
            yield from _read(source, archive)
    except ParserError:
        raise
    except MemoryError as error:
        raise TooLarge(f"{source.name} needs too much memory to unpack: pack it into several archives") from error
    # `zipfile` raises a dozen kinds on hostile input; all mean the same to the person.
    except Exception as error:
        raise CorruptFile(f"{source.name} is damaged and cannot be unpacked: pack it anew and try again") from error


def _read(source: Source, archive: zipfile.ZipFile) -> Iterator[Parsed]:
    directory = read_directory(source, archive)
    opener = _Opener(source, archive)
    _refuse_without_password(source, directory, opener)
    yield from _list(directory)
    yield DocumentInfo(warnings=tuple(_warnings(source.name, directory)))
    done = 0
    for entry in directory.entries:
        yield Progress(done, directory.size)
        yield from _members(entry, opener)
        done += entry.info.file_size
    yield Progress(done, directory.size)


def _refuse_without_password(source: Source, directory: Directory, opener: _Opener) -> None:
    """One sentence for the whole instead of one for each file, where they are all protected alike."""
    files = directory.entries
    if not files or not all(entry.is_encrypted for entry in files):
        return
    if source.password is None:
        raise EncryptedFile(f"{source.name} is protected with a password: give it, or upload the files unpacked")
    try:
        opener.open(files[0]).close()
    except _WrongPassword as error:
        raise EncryptedFile(f"{source.name} has another password than the one given: check it") from error
    except (_Unreadable, *_FAILURES):
        return


def _list(directory: Directory) -> Iterator[Block]:
    lines = [f"- {entry.path} ({_size(entry.info.file_size)})" for entry in directory.entries]
    for start in range(0, len(lines), _LINES_A_BLOCK):
        yield Block(text="\n".join(lines[start : start + _LINES_A_BLOCK]), kind="list")


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def _warnings(name: str, directory: Directory) -> Iterator[str]:
    if not directory.entries:
        yield f"{name} holds no files"
    if directory.links:
        what = "1 link was" if directory.links == 1 else f"{directory.links} links were"
        yield f"{what} left out: a link in an archive points to nothing here"


def _members(entry: Entry, opener: _Opener) -> Iterator[Member]:
    path = entry.path
    try:
        with opener.open(entry) as file:
            piece = file.read(MEMBER_PIECE)
            while True:
                after = file.read(MEMBER_PIECE) if piece else b""
                yield Member(path, piece, not after, modified_at=entry.modified_at)
                if not after:
                    return
                piece = after
    except _Unreadable as error:
        yield Member(path, b"", last=True, problem=f"{path} was not read: {error}")
    except _FAILURES:
        why = "it is damaged" + (", or its password is another one" if entry.is_encrypted else "")
        yield Member(path, b"", last=True, problem=f"{path} was not read: {why}")


class _Opener:
    """Opens entries, with the password where they want one."""

    def __init__(self, source: Source, archive: zipfile.ZipFile) -> None:
        self._source, self._archive = source, archive
        self._aes: Any = None
        self._aes_entries: dict[int, Any] = {}
        word = source.password or ""
        # Old zips do not say in which encoding a password was typed: Unicode, that of DOS or of Windows.
        encodings = ("utf-8", "cp850", "cp1252")
        self._words = list(dict.fromkeys(word.encode(encoding, "replace") for encoding in encodings if word))

    def open(self, entry: Entry) -> BinaryIO:
        """Raises `_Unreadable` with what to do, or one of `_FAILURES`."""
        info = entry.info
        if entry.is_encrypted and not self._words:
            raise _Unreadable("it is protected with a password")
        if info.flag_bits & _STRONG:
            raise _Unreadable("it is encrypted in a way that only some programs know: pack it anew")
        if info.compress_type == _AES:
            return self._open_aes(info)
        # The others unpack without a bound on memory.
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise _Unreadable("it is packed by a method that is not read here: pack it anew as usual (deflate)")
        if not entry.is_encrypted:
            return cast("BinaryIO", self._archive.open(info))
        for word in self._words:
            try:
                return cast("BinaryIO", self._archive.open(info, pwd=word))
            except NotImplementedError:
                raise
            except RuntimeError:
                continue
        raise _WrongPassword("its password is another one than the one given")

    def _open_aes(self, info: zipfile.ZipInfo) -> BinaryIO:
        import pyzipper  # pyright: ignore[reportMissingTypeStubs]

        if self._aes is None:
            self._aes = cast("Any", pyzipper).AESZipFile(self._source.file)
            self._aes_entries = {one.header_offset: one for one in self._aes.infolist()}
        inner = self._aes_entries.get(info.header_offset)
        if inner is None or inner.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise _Unreadable("it is packed by a method that is not read here: pack it anew as usual (deflate)")
        try:
            return self._aes.open(inner, pwd=self._words[0])
        except RuntimeError as error:
            raise _WrongPassword("its password is another one than the one given") from error
