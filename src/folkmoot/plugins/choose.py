"""Which parser reads a file: by what it is first, by what it is called second.

People rename files, and systems name them at random, so bytes that say for certain what they are win over
any name. A name only decides among the formats that are plain text inside, which look alike.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import PurePosixPath

from folkmoot_sdk import CorruptFile, ParserSpec, UnsupportedFile

from folkmoot.plugins.parsers.text import looks_like_text

log = logging.getLogger(__name__)

HEAD = 64 * 1024
"""Bytes of a file that a parser's `sniff` is shown."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OLE = (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)
# With a password, the newer formats of Office are wrapped in the older one's container.
_ZIPPED = (*_ZIP, *_OLE)
_SIGNATURES: dict[str, tuple[str, tuple[bytes, ...]]] = {
    ".pdf": ("a PDF", (b"%PDF-",)),
    ".docx": ("a Word document", _ZIPPED),
    ".docm": ("a Word document", _ZIPPED),
    ".dotx": ("a Word document", _ZIPPED),
    ".pptx": ("a PowerPoint presentation", _ZIPPED),
    ".pptm": ("a PowerPoint presentation", _ZIPPED),
    ".xlsx": ("an Excel workbook", _ZIPPED),
    ".xlsm": ("an Excel workbook", _ZIPPED),
    ".odt": ("an OpenDocument text", _ZIP),
    ".odp": ("an OpenDocument presentation", _ZIP),
    ".ods": ("an OpenDocument spreadsheet", _ZIP),
    ".epub": ("an e-book", _ZIP),
    ".doc": ("a Word document", _OLE),
    ".ppt": ("a PowerPoint presentation", _OLE),
    ".xls": ("an Excel workbook", _OLE),
    ".msg": ("an Outlook message", _OLE),
}
"""By suffix: how people call the format, and how its files begin. A PDF may have some bytes before it."""

_MEDIA_TYPES = {
    ".tsv": "text/tab-separated-values",
    ".tab": "text/tab-separated-values",
    ".xhtml": "application/xhtml+xml",
    ".xml": "application/xml",
    ".rss": "application/rss+xml",
    ".atom": "application/atom+xml",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
}
"""What a suffix means where the operating system's own table says nothing, or something else."""

_KNOWN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or a document made of one"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an older Office"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"BM", "a bitmap picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"(\xb5/\xfd", "a Zstandard archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "a database"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"fLaC", "a sound file"),
)


class EmptyFile(CorruptFile):
    """There is not one byte in the file."""

    code = "empty-file"


class WronglyNamed(UnsupportedFile):
    """The name says one format and the bytes say that it is not."""

    code = "wrongly-named-file"


def choose_parser(parsers: Sequence[ParserSpec], head: bytes, name: str) -> tuple[ParserSpec, str]:
    """The parser and the media type for a file that begins with `head` (64 KiB of it) and is called `name`.

    `parsers` come in the order in which they are asked. Raises `EmptyFile`, `WronglyNamed` or
    `UnsupportedFile`, with a sentence for the person who uploaded the file.
    """
    if not head:
        raise EmptyFile(f"{name} is empty: there is nothing in it to read")
    for spec in parsers:
        if (media_type := _sniff(spec, head)) is not None:
            return spec, media_type
    suffix = PurePosixPath(name).suffix.lower()
    is_text = looks_like_text(head)
    named = next((spec for spec in parsers if suffix in spec.suffixes), None)
    if named is not None:
        _refuse_wrong_name(head, name, suffix)
        media_type = _media_type(named, suffix)
        if is_text or not media_type.startswith("text/"):
            return named, media_type
    elif is_text and (text := next((s for s in parsers if "text/plain" in s.media_types), None)) is not None:
        # A format that nobody has a reader for is still text where its bytes are: source code, settings, logs.
        _refuse_wrong_name(head, name, suffix)
        return text, "text/plain"
    title, signatures = _SIGNATURES.get(suffix, ("", ()))
    what = title if head.startswith(signatures) else _what(head)
    raise UnsupportedFile(f"{name} is {what}, which cannot be read here: upload one of {_readable(parsers)}")


def _sniff(spec: ParserSpec, head: bytes) -> str | None:
    try:
        media_type = spec.sniff(head[:HEAD])
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        log.warning("the parser %s failed to recognise a file: %s", spec.kind, type(error).__name__)
        return None
    return media_type if media_type in spec.media_types else None


def _refuse_wrong_name(head: bytes, name: str, suffix: str) -> None:
    title, signatures = _SIGNATURES.get(suffix, ("", ()))
    if not signatures or any(mark in head[:1024] for mark in signatures):
        return
    raise WronglyNamed(
        f"{name} is named like {title} but is not one: it looks like {_what(head)}. "
        "Give it the name of what it is, or export it again"
    )


def _media_type(spec: ParserSpec, suffix: str) -> str:
    """The media type that belongs to the suffix; a spec lists both, and need not list them in step."""
    if len(spec.media_types) == 1:
        return spec.media_types[0]
    if (named := _MEDIA_TYPES.get(suffix)) in spec.media_types:
        return named
    import mimetypes

    guessed = mimetypes.types_map.get(suffix, "")
    return guessed if guessed in spec.media_types else spec.media_types[0]


def _what(head: bytes) -> str:
    is_text = looks_like_text(head)
    for mark, title in _KNOWN:
        # Two letters are no evidence against text: a report may well begin with "BMW".
        if head.startswith(mark) and not (is_text and len(mark) == 2):
            return title
    if head[:4] == b"RIFF":
        return "a picture" if head[8:12] == b"WEBP" else "a sound file or film"
    if head[4:8] == b"ftyp":
        return "a film or a picture of a phone"
    return "plain text" if is_text else "binary data"


def _readable(parsers: Sequence[ParserSpec]) -> str:
    return ", ".join(sorted({spec.title for spec in parsers}, key=str.lower)) or "nothing: no parser is installed"
