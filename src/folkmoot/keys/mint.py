"""What a key looks like: a prefix that tells its kind, 256 random bits, and a checksum.

    fmu_ 4fTq…(43 characters) …x9(6 characters)

The checksum (CRC-32 of all that stands before it) tells a mistyped or cut key without asking the database, and
lets a scanner of leaked secrets tell ours from what only looks like one. Letters and digits only, so that a
double click selects all of it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

PREFIX = {"user": "fmu_", "assistant": "fma_", "platform": "fmp_"}
"""By kind of key."""
SECRET_BYTES = 32
SECRET_CHARACTERS = 43
CHECK_CHARACTERS = 6
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(rf"fm[uap]_[0-9A-Za-z]{{{SECRET_CHARACTERS + CHECK_CHARACTERS}}}")


@dataclass(frozen=True)
class Minted:
    """A new key. `key` is shown once and then forgotten."""

    key: str = field(repr=False)
    secret_hash: str = field(repr=False)
    hint: str


def mint(kind: str) -> Minted:
    """Make a key of `kind`, a name in `PREFIX`."""
    body = PREFIX[kind] + _base62(int.from_bytes(secrets.token_bytes(SECRET_BYTES), "big"), SECRET_CHARACTERS)
    key = body + _checksum(body)
    return Minted(key, _hash(key), f"{PREFIX[kind]}…{key[-4:]}")


def digest(key: str) -> str | None:
    """What a key is stored as: SHA-256 in hex. None for what cannot be a key of ours."""
    if not _SHAPE.fullmatch(key) or _checksum(key[:-CHECK_CHARACTERS]) != key[-CHECK_CHARACTERS:]:
        return None
    return _hash(key)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECK_CHARACTERS)


def _base62(number: int, width: int) -> str:
    written: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        written.append(_DIGITS[digit])
    return "".join(reversed(written))
