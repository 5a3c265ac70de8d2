"""Telling mail by its first lines, and Outlook's own format by the names of its streams."""

from __future__ import annotations

import re

_FIELD = re.compile(rb"([!-9;-~]{1,80})[ \t]*:")
_TELLING = frozenset(
    (b"from", b"received", b"return-path", b"message-id", b"delivered-to", b"reply-to", b"dkim-signature")
)
_USUAL = frozenset((b"to", b"cc", b"subject", b"date", b"mime-version", b"sender", b"content-type"))
_MOST_LINES = 300
_CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NAMES = ("__properties_version1.0", "__nameid_version1.0", "__substg1.0_")
_STREAMS = tuple(name.encode("utf-16-le") for name in _NAMES)


def sniff_mail(head: bytes) -> str | None:
    """`message/rfc822` if it begins with fields of a mail: where from, and something else that mail has."""
    telling: set[bytes] = set()
    usual: set[bytes] = set()
    for number, line in enumerate(head.removeprefix(b"\xef\xbb\xbf").split(b"\n", _MOST_LINES)[:_MOST_LINES]):
        if not line.rstrip(b"\r"):
            break
        if line[:1] in b" \t" or (number == 0 and line.startswith((b"From ", b">From "))):
            continue
        field = _FIELD.match(line)
        if field is None:
            # The last line shown may be cut in its middle; any other that is no field is prose.
            if len(head) < 1000 or not head.endswith(line):
                return None
            break
        name = field[1].lower()
        if name in _TELLING:
            telling.add(name)
        elif name in _USUAL:
            usual.add(name)
    return "message/rfc822" if telling and len(telling) + len(usual) >= 3 else None


def sniff_outlook(head: bytes) -> str | None:
    """The media type of Outlook's messages: a container of old Office with properties of a message in it."""
    if head.startswith(_CFB) and any(name in head for name in _STREAMS):
        return "application/vnd.ms-outlook"
    return None
