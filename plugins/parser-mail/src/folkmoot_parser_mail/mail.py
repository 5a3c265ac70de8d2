"""A mail as a person reads it: who to whom, the text, and its attachments as files of their own.

The structure is taken apart by the standard library under its old, forgiving rules (`compat32`): the newer
ones refuse fields that real mail has, and take quadratic time on lists of receivers. Which of the texts is
the letter is decided here.
"""

from __future__ import annotations

import binascii
import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from email import message_from_binary_file
from email.errors import InvalidBase64LengthDefect, MessageError
from email.generator import BytesGenerator
from email.message import Message
from email.policy import compat32
from io import BytesIO
from mimetypes import guess_extension
from typing import TypeAlias, cast

from folkmoot_sdk import (
    MEMBER_PIECE,
    Block,
    CorruptFile,
    DocumentInfo,
    EncryptedFile,
    Member,
    Parsed,
    ParserError,
    Source,
    TooLarge,
    member_path,
)

from folkmoot_parser_mail import markup
from folkmoot_parser_mail.words import decode, field, fields, file_name, sent_at, tidy, words

MOST_BYTES = 100 << 20
"""Of a mail; taken apart it needs some five times as much memory."""
MOST_PARTS = 5_000
DEEPEST = 30
"""Parts within parts."""

Part: TypeAlias = "Message[str, str]"
_SIGNATURES = frozenset(("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"))
_ENCRYPTED = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted"))
_REPORTS = frozenset(("message/delivery-status", "message/disposition-notification", "text/rfc822-headers"))
_TNEF = frozenset(("application/ms-tnef", "application/vnd.ms-tnef"))
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
_LONGEST_PARAGRAPH = 20_000


def parse(source: Source) -> Iterator[Parsed]:
    """Blocks of the letter, then a `Member` for each attachment. Raises `ParserError`."""
    try:
        yield from _Mail(source).read()
    except ParserError:
        raise
    except MemoryError as error:
        raise TooLarge(f"{source.name} needs too much memory to read: save its attachments and upload them") from error
    except RecursionError as error:
        raise _too_deep(source.name) from error
    # The library raises a dozen kinds on hostile input; all mean the same to the person.
    except Exception as error:
        raise CorruptFile(f"{source.name} is damaged and cannot be read as mail: save the message again") from error


def _too_deep(name: str) -> TooLarge:
    return TooLarge(f"{name} has parts within parts beyond all use: save its attachments and upload them")


class _Mail:
    """One mail: which parts are the letter and which are files at it."""

    def __init__(self, source: Source) -> None:
        self._name = source.name
        if source.size > MOST_BYTES:
            raise TooLarge(f"{source.name} is larger than {MOST_BYTES >> 20} MB: save its attachments and upload them")
        source.file.seek(0)
        self._message: Part = message_from_binary_file(source.file, policy=compat32)
        if not any(field(self._message, name) for name in ("from", "date", "subject", "message-id", "received", "to")):
            raise CorruptFile(f"{source.name} has no fields of a mail at its beginning: check what it is")
        self._letter: list[Part] = []
        self._files: list[tuple[str, Part]] = []
        self._warnings: list[str] = []
        self._parts = 0

    def read(self) -> Iterator[Parsed]:
        self._sort()
        subject = field(self._message, "subject")
        yield Block(text=subject or "(no subject)", kind="heading", level=1)
        if head := "\n".join(self._head()):
            yield Block(text=head)
        for part in self._letter:
            yield from _text(part)
        if self._files:
            yield Block(text="\n".join(f"- {name}" for name, _ in self._files), kind="list")
        yield DocumentInfo(title=subject or None, warnings=tuple(self._warnings))
        at = sent_at(self._message)
        for name, part in self._files:
            yield from _pieces(name, part, at)

    def _head(self) -> Iterator[str]:
        for name in ("from", "to", "cc"):
            if text := ", ".join(fields(self._message, name)):
                yield f"{name.capitalize()}: {text}"
        at = sent_at(self._message)
        if text := at.strftime("%Y-%m-%d %H:%M %z") if at else field(self._message, "date"):
            yield f"Date: {text}"

    def _sort(self) -> None:
        """Walk the parts in order, without recursion, and tell letter from files."""
        waiting: list[tuple[Part, int, bool]] = [(self._message, 0, False)]
        while waiting:
            part, depth, related = waiting.pop()
            self._parts += 1
            if self._parts > MOST_PARTS:
                raise TooLarge(f"{self._name} has more than {MOST_PARTS:,} parts: save its attachments and upload them")
            if depth > DEEPEST:
                raise _too_deep(self._name)
            tidy(part)
            kind = part.get_content_type()
            if kind in _ENCRYPTED and part is self._message and "signed-data" not in str(part.get("content-type")):
                raise EncryptedFile(f"{self._name} is encrypted to its receiver: save it decrypted and upload it again")
            if kind.startswith("multipart/") and part.is_multipart():
                inner = _inside(part)
                if kind == "multipart/alternative":
                    inner = _chosen(inner)
                related = related or kind == "multipart/related"
                waiting.extend((one, depth + 1, related) for one in reversed(inner))
            else:
                self._place(part, kind, related=related)

    def _place(self, part: Part, kind: str, *, related: bool) -> None:
        name, how = file_name(part), part.get_content_disposition()
        if kind in _SIGNATURES:
            return
        if kind in _TNEF or name.lower() == "winmail.dat":
            self._warnings.append(
                f"{name or 'winmail.dat'} was not read: Outlook packed attachments in its own format, "
                "have them sent again as plain or HTML text"
            )
            return
        if kind == "message/external-body":
            self._warnings.append("an attachment was not sent along, only where to fetch it from")
            return
        if kind.startswith("image/") and how != "attachment" and (related or how == "inline" or part.get("content-id")):
            return  # a logo, a smiley, what counts readers
        # One that says it has parts and has none is spoiled text.
        is_text = kind in {"text/plain", "text/html"} or kind in _REPORTS or kind.startswith("multipart/")
        if is_text and how != "attachment" and not name:
            self._letter.append(part)
            return
        self._files.append((self._file_name(part, name, kind), part))

    def _file_name(self, part: Part, name: str, kind: str) -> str:
        if kind == "message/rfc822" and not name.lower().endswith(".eml"):
            inner = _inside(part)
            subject = field(inner[0], "subject") if inner else ""
            name = (subject or name or "message").replace("/", "-").replace("\\", "-")[:200] + ".eml"
        number = len(self._files) + 1
        return member_path(name).rpartition("/")[2] or f"attachment {number}{guess_extension(kind) or '.bin'}"


def _chosen(parts: list[Part]) -> list[Part]:
    """Of several ways to say the same the plain text, if it says anything; what is a file comes too."""
    plain = next((one for one in parts if one.get_content_type() == "text/plain" and _decoded(one).strip()), None)
    texts = [one for one in parts if one.get_content_type() == "text/html"]
    mixed = [one for one in parts if one.is_multipart()]
    best = [plain] if plain is not None else [*mixed, *texts][-1:] or parts[:1]
    files = [one for one in parts if one not in best and one.get_content_disposition() == "attachment"]
    # Pictures and files that belong to the HTML are found within it; Apple puts attachments there.
    within = [
        leaf
        for one in mixed
        if one not in best
        for leaf in one.walk()
        if not leaf.is_multipart() and leaf.get_content_disposition() == "attachment"
    ]
    return [*best, *files, *within]


def _inside(part: Part) -> list[Part]:
    """The parts that a part consists of."""
    payload = cast("object", part.get_payload())
    return cast("list[Part]", payload) if isinstance(payload, list) else []


def _decoded(part: Part) -> str:
    payload = part.get_payload(decode=True)
    return decode(payload, part.get_content_charset()) if isinstance(payload, bytes) else ""


def _text(part: Part) -> Iterator[Block]:
    kind = part.get_content_type()
    if part.is_multipart():  # a report of delivery: groups of fields
        groups = [[f"{key}: {words(str(value))}" for key, value in one.raw_items()] for one in _inside(part)]
        text = "\n\n".join("\n".join(group) for group in groups)
    else:
        text = _decoded(part)
    if kind == "text/html":
        yield from markup.blocks(text)
        return
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    if kind == "text/plain" and str(part.get_param("format", "")).lower() == "flowed":
        text = _unwrapped(text, drop=str(part.get_param("delsp", "")).lower() == "yes")
    for paragraph in _PARAGRAPHS.split(text):
        trimmed = "\n".join(line.rstrip() for line in paragraph.split("\n")).strip()
        for start in range(0, len(trimmed), _LONGEST_PARAGRAPH):
            if piece := trimmed[start : start + _LONGEST_PARAGRAPH].strip():
                yield Block(text=piece)


def _unwrapped(text: str, *, drop: bool) -> str:
    """Lines that were wrapped on the way put together again (RFC 3676); quoted ones only with their like."""
    lines: list[str] = []
    depth, open_line = 0, False
    for line in text.split("\n"):
        quoted = len(line) - len(line.lstrip(">"))
        words_of_it = line[quoted:].removeprefix(" ") if quoted or line.startswith(" ") else line
        if open_line and quoted == depth and words_of_it != "-- ":
            lines[-1] += words_of_it
        else:
            lines.append(line)
        open_line = line.endswith(" ") and words_of_it != "-- "
        if open_line and drop:
            lines[-1] = lines[-1][:-1]
        depth = quoted
    return "\n".join(lines)


def _pieces(name: str, part: Part, at: datetime | None) -> Iterator[Member]:
    kind = part.get_content_type()
    data: bytes | None = None
    with contextlib.suppress(MessageError, ValueError, LookupError):  # among them errors of base64 and of encodings
        data = _bytes(part)
    if data is None or any(isinstance(defect, InvalidBase64LengthDefect) for defect in part.defects):
        yield Member(name, b"", last=True, problem=f"{name} was not read: its bytes were damaged on the way")
        return
    part.set_payload("")  # its text is no longer needed, and takes more than the file
    for start in range(0, len(data) or 1, MEMBER_PIECE):
        end = start + MEMBER_PIECE
        yield Member(name, data[start:end], last=end >= len(data), media_type=kind, modified_at=at)


def _bytes(part: Part) -> bytes | None:
    if not part.is_multipart():
        payload = part.get_payload(decode=True)
        return payload if isinstance(payload, bytes) else None
    inner = _inside(part)
    if not inner:
        return None
    if part.get_content_type() == "message/rfc822":
        message = inner[0]
        if str(part.get("content-transfer-encoding", "")).strip().lower() == "base64" and not message.keys():
            return binascii.a2b_base64(str(message.get_payload()).encode("ascii", "replace"))
        part = message
    buffer = BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=compat32).flatten(part)
    return buffer.getvalue()
