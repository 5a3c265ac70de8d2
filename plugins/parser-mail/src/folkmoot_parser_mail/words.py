"""Bytes and fields of mail as text, whatever they say of their encoding."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

_LONGEST_FIELD = 20_000
"""Characters; a list of receivers may be endless, and nobody reads it."""
_NO_TEXT = frozenset(("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"))
"""Encodings that Python knows and mail does not, some of them slow on bytes made for it."""
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u00ad\ufeff\ud800-\udfff]")
_FOLD = re.compile(r"\r?\n[ \t]?")


def decode(data: bytes, charset: str | None) -> str:
    """The text of `data`. What it claims is believed if it fits, then UTF-8, then the encoding of Windows."""
    for claimed in (charset or "utf-8", "utf-8"):
        try:
            name = codecs.lookup(claimed.strip("\"' ")[:40]).name
            if name.replace("_", "-") not in _NO_TEXT:
                return _INVISIBLE.sub("", data.decode(name))
        except (LookupError, UnicodeError, ValueError):
            continue
    return _INVISIBLE.sub("", data.decode("cp1252", "replace"))


def words(raw: str) -> str:
    """A field as a person reads it: encoded words (RFC 2047) decoded, in one line."""
    raw = _FOLD.sub(" ", raw[:_LONGEST_FIELD])
    if not raw.isascii():
        raw = decode(raw.encode("utf-8", "surrogateescape"), None)
    try:
        # Its types say strings alone; parts that were not encoded are bytes as soon as one other is.
        parts: list[tuple[Any, str | None]] = list(decode_header(raw))
        text = "".join(_part(part, charset) for part, charset in parts)
    except (HeaderParseError, UnicodeError, ValueError):
        text = raw
    return " ".join(_INVISIBLE.sub("", text).split())


def _part(part: str | bytes, charset: str | None) -> str:
    if isinstance(part, str):
        return part
    return decode(part, charset) if charset else part.decode("raw-unicode-escape")


def fields(message: Message[str, str], name: str) -> Iterator[str]:
    """All fields of this name, in lower case, as people read them; empty ones left out."""
    for key, value in message.raw_items():
        if key.lower() == name and (text := words(str(value))):
            yield text


def field(message: Message[str, str], name: str) -> str:
    return next(fields(message, name), "")


def sent_at(message: Message[str, str]) -> datetime | None:
    """When it was sent, with a time zone; None if it does not say so in a way that anybody understands."""
    try:
        at = parsedate_to_datetime(field(message, "date"))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def tidy(part: Message[str, str]) -> None:
    """Make the fields that say what a part is safe to take apart: short, and text where they hold raw bytes."""
    for key, value in list(part.raw_items()):
        if key.lower() in {"content-type", "content-disposition"}:
            text = str(value)
            if not text.isascii() or len(text) > 4000:
                part.replace_header(key, decode(text.encode("utf-8", "surrogateescape"), None)[:4000])


def file_name(part: Message[str, str]) -> str:
    """The name of an attachment as its sender saw it, without folders; empty if it has none."""
    name = part.get_filename() or ""
    return words(name).replace("\\", "/").rpartition("/")[2]
