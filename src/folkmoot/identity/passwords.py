"""Passwords: bcrypt, off the event loop."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterable
from functools import cache

import bcrypt

from folkmoot.kit.errors import ValidationFailed

ROUNDS = 12
# Checked when nobody has the e-mail, so that a wrong e-mail costs the same time as a wrong password.
NOBODY = bcrypt.hashpw(b"nobody's password", bcrypt.gensalt(ROUNDS)).decode()


def _prepared(password: str) -> bytes:
    # Bcrypt reads 72 bytes and stops at NUL; a digest in base64 is 44 bytes whatever went in.
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


def check(password: str, *, minimum: int, words: Iterable[str] = ()) -> None:
    """Refuse what can be guessed: by length, by a list of passwords from breaches, and the person's own `words`.

    No classes of characters are asked for (NIST SP 800-63B, 5.1.1.2). The list is the one in zxcvbn. Raises
    `ValidationFailed` with the code `password-too-short` or `password-breached`.
    """
    if len(password) < minimum:
        raise _refusal(f"the password has fewer than {minimum} characters: choose a longer one", "password-too-short")
    plain = password.casefold()
    if plain in _breached() or len(set(plain)) < 4 or plain in {word.casefold() for word in words}:
        raise _refusal(
            "this password is among those that are tried first, since it was in a breach or is easily guessed: "
            "choose another, such as four words that do not belong together",
            "password-breached",
        )


def _refusal(detail: str, code: str) -> ValidationFailed:
    refusal = ValidationFailed(detail, [("password", detail)])
    refusal.code = code
    return refusal


@cache
def _breached() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return frozenset(FREQUENCY_LISTS["passwords"])  # pyright: ignore[reportUnknownArgumentType]


async def hash_password(password: str) -> str:
    """The bcrypt hash to store; about a quarter of a second of one core, in a thread."""
    return (await asyncio.to_thread(bcrypt.hashpw, _prepared(password), bcrypt.gensalt(ROUNDS))).decode()


async def matches(password: str, stored: str | None) -> bool:
    """Whether `password` is the one whose hash is stored. Takes the same time if there is none."""
    right = await asyncio.to_thread(bcrypt.checkpw, _prepared(password), (stored or NOBODY).encode())
    return right and stored is not None
