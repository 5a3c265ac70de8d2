"""Plain text, and how bytes become text for every format that does not say its encoding.

Files come from forty years of computers. The order of trust: a byte order mark, then UTF-8 (nothing else
looks like it by accident), then UTF-16 and UTF-32 by where their zeros stand, then the old sets by whether
the letters that come out are those of a language (`alphabets`), then charset-normalizer.
"""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, Source, TooLarge, UnsupportedFile

from folkmoot.plugins.parsers import alphabets

LONGEST_BLOCK = 20_000
"""Characters. A paragraph beyond it goes on in the next block, so that no file makes a block of its size."""

LARGEST = 1 << 30
"""Bytes of a file that is read as it streams."""
LARGEST_WHOLE = 32 << 20
"""Bytes of a file that has to be in memory as a whole, with a tree made of it."""

_CHUNK = 1 << 20
_LOOKED_AT = 64 * _CHUNK
"""Bytes of a file that its encoding is found by; no text is read that is much longer."""
_SAMPLE = 1 << 16
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\v\x08\x1b")) + b"\x7f"


class Encoding(NamedTuple):
    name: str
    """A codec of Python's."""
    pages: bool
    """Whether there are form feeds, which is how plain text turns a page."""


def parse(source: Source) -> Iterator[Parsed]:
    """Paragraphs are what stands between blank lines; a form feed begins a page.

    Raises `UnsupportedFile` if the bytes are not text in any encoding, `CorruptFile` if there are none,
    `TooLarge` beyond 1 GiB.
    """
    refuse_larger(source)
    encoding = detect_encoding(source.file, source.name)
    page = 1 if encoding.pages else None
    paragraph: list[str] = []
    length = 0

    def flush() -> Iterator[Block]:
        nonlocal length
        text = "\n".join(paragraph).strip()
        paragraph.clear()
        length = 0
        if text:
            yield Block(text=text, page=page)

    with open_text(source, encoding.name) as stream:
        for line in _lines(stream):
            parts = line.split("\f") if page is not None else [line]
            for number, part in enumerate(parts):
                if number and page is not None:
                    yield from flush()
                    page += 1
                said = part.rstrip()
                if paragraph and (not said or length + len(said) > LONGEST_BLOCK):
                    yield from flush()
                if said:
                    paragraph.append(said)
                    length += len(said)
    yield from flush()
    if page is not None:
        yield DocumentInfo(page_count=page)


def refuse_larger(source: Source, limit: int = LARGEST) -> None:
    """Say no before the first byte is read. Raises `TooLarge`."""
    if source.size > limit:
        raise TooLarge(
            f"{source.name} has {source.size / 1e6:,.0f} MB, at most {limit / 1e6:,.0f} MB of this format are read: "
            "split it and upload the parts"
        )


@contextmanager
def open_text(source: Source, encoding: str) -> Generator[io.TextIOWrapper, None, None]:
    """The file from its beginning as text, line ends made `\\n`, undecodable bytes shown as `\\ufffd`."""
    source.file.seek(0)
    stream = io.TextIOWrapper(source.file, encoding=encoding, errors="replace", newline=None)
    try:
        yield stream
    finally:
        stream.detach()  # the file is the host's to close


def read_text(source: Source) -> str:
    """The whole file as text. Raises `TooLarge`, `UnsupportedFile` if it is not text, `CorruptFile` if it is empty."""
    refuse_larger(source, LARGEST_WHOLE)
    with open_text(source, detect_encoding(source.file, source.name).name) as stream:
        return stream.read().replace("\x00", "")


def detect_encoding(file: BinaryIO, name: str) -> Encoding:
    """The encoding of the file, reading it once. Raises `UnsupportedFile`, or `CorruptFile` if it is empty."""
    file.seek(0)
    head = file.read(_SAMPLE)
    if not head:
        raise CorruptFile(f"{name} is empty: there is nothing in it to read")
    known = _by_marks(head) or _by_escapes(head)
    if known is None and not looks_like_text(head):
        raise UnsupportedFile(f"{name} is not text: it is binary data, which the text readers cannot read")
    pages = False
    bad: bytes | None = None
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    for _ in range(_LOOKED_AT // _CHUNK):
        chunk = file.read(_CHUNK)
        pages = pages or b"\f" in chunk
        if known is None and bad is None:
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                bad = _around(file, error, len(chunk))
        if not chunk or (pages and (bad is not None or known)):
            break
    return Encoding(known or ("utf-8" if bad is None else _guess(bad)), pages)


def _around(file: BinaryIO, error: UnicodeDecodeError, length: int) -> bytes:
    """What stands around the first bytes that are not UTF-8; `file` is `length` bytes further than its last chunk."""
    place = file.tell()
    # The decoder may hold back some bytes of the chunk before: they come first in what it complains about.
    wrong = place - length - (len(error.object) - length) + error.start
    file.seek(max(0, wrong - 2000))
    sample = file.read(4 * _SAMPLE)
    file.seek(place)
    return sample


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file could be text in some encoding, rather than a picture or a program."""
    if not head or _by_marks(head):
        return True
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls == 0:
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return b"\x00" not in head and controls / len(head) < 0.02
    return controls / len(head) < 0.3


def _by_marks(head: bytes) -> str | None:
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    return _by_zeros(head) if b"\x00" in head else None


def _by_escapes(head: bytes) -> str | None:
    """Japanese mail's encoding: all of it is ASCII, and switches of alphabet say what the letters stand for."""
    return "iso2022_jp" if head.isascii() and (b"\x1b$B" in head or b"\x1b$@" in head) else None


def _by_zeros(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark.

    Read with the wrong byte order, Latin letters become Chinese ones, which are letters too: what tells is
    spaces and line ends, and that nothing in it is unassigned.
    """
    sample = head[: len(head) // 4 * 4][:8192]
    best, most = None, 0
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        text = _decode(sample, encoding)
        if text is None:
            continue
        odd = sum(unicodedata.category(c) in {"Cn", "Co", "Cs", "Cc"} and c not in "\r\n\t\f" for c in text)
        spaces = sum(c in " \r\n\t" for c in text)
        latin = sum("!" <= c <= "\u024f" for c in text)
        if odd * 50 <= len(text) and (spaces or latin * 2 > len(text)) and spaces + latin > most:
            best, most = encoding, spaces + latin
    return best


def _decode(sample: bytes, encoding: str) -> str | None:
    try:
        # Not final: a character cut in two by the end of the sample is no error.
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return None


def _guess(sample: bytes) -> str:
    """The likeliest encoding of text that is not UTF-8 throughout."""
    decoded = sample.decode("utf-8", errors="replace")
    broken = decoded.count("\ufffd")
    if sum(c > "\x7f" for c in decoded) - broken > 2 * broken:
        return "utf-8"  # a few damaged bytes in UTF-8, not another encoding
    if (found := alphabets.guess(sample)) is not None:
        return found.encoding
    from charset_normalizer import from_bytes

    match = from_bytes(sample[:_SAMPLE], threshold=0.5).best()
    return match.encoding if match is not None else "cp1252"


def _lines(stream: io.TextIOWrapper) -> Iterator[str]:
    """Lines without their end, cut at a space where one is longer than a block may be."""
    rest = ""
    while chunk := stream.read(_SAMPLE):
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield from _cut(line)
        if len(rest) > LONGEST_BLOCK:
            *full, rest = _cut(rest)
            yield from full
    yield from _cut(rest)


def _cut(line: str) -> Iterator[str]:
    line = line.replace("\x00", "")
    while len(line) > LONGEST_BLOCK:
        space = line.rfind(" ", LONGEST_BLOCK // 2, LONGEST_BLOCK)
        end = space if space > 0 else LONGEST_BLOCK
        yield line[:end]
        line = line[end:]
    yield line
