"""Passwords: bcrypt, off the event loop.

In threads of its own, as many as there are cores: a flood of guesses then waits in line here, and does not take
the threads that everything else is done in.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import runpy
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import distribution
from itertools import pairwise
from typing import Any, cast

import bcrypt

from folkmoot.kit.errors import ValidationFailed

ROUNDS = 12
SHORTEST_LISTED = 6
"""Shorter ones are refused by their length; nobody sets `password_min_length` below this."""
TAIL = "0123456789!?.,_-#*+ "
# Checked when nobody has the e-mail, so that a wrong e-mail costs the same time as a wrong password.
NOBODY = bcrypt.hashpw(b"nobody's password", bcrypt.gensalt(ROUNDS)).decode()
_THREADS = ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1), thread_name_prefix="bcrypt")


def _prepared(password: str) -> bytes:
    # Bcrypt reads 72 bytes and stops at NUL; a digest in base64 is 44 bytes whatever went in.
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


def check(password: str, *, minimum: int, words: Iterable[str] = (), field: str = "password") -> None:
    """Refuse what can be guessed: by length, by a list of passwords from breaches, and the person's own `words`.

    No classes of characters are asked for (NIST SP 800-63B, 5.1.1.2). The list is the one in zxcvbn. Raises
    `ValidationFailed` (`password-too-short` or `password-breached`), which names the `field` of the body.
    """
    if len(password) < minimum:
        detail = f"the password has fewer than {minimum} characters: choose a longer one"
        raise _refusal(field, detail, "password-too-short")
    plain = password.casefold()
    # "Municipality2026!" is the organisation's name, whatever stands after it.
    own = {word.casefold().rstrip(TAIL) for word in words} - {""}
    if plain in _breached() or _is_pattern(plain) or plain.rstrip(TAIL) in own:
        raise _refusal(
            field,
            "this password is among those that are tried first, since it was in a breach or is easily guessed: "
            "choose another, such as four words that do not belong together",
            "password-breached",
        )


def _is_pattern(plain: str) -> bool:
    """Few characters, a run along the alphabet or the digits, or the same thing several times over."""
    steps = {ord(after) - ord(before) for before, after in pairwise(plain)}
    return len(set(plain)) < 4 or len(steps) < 3 or (plain + plain).find(plain, 1) < len(plain)


def words_of(email: str, name: str, organisation: str) -> list[str]:
    """What `check` refuses because whoever knows the person would try it."""
    return [email, email.partition("@")[0], name, *name.split(), organisation, *organisation.split()]


def _refusal(field: str, detail: str, code: str) -> ValidationFailed:
    refusal = ValidationFailed(detail, [(field, detail)])
    refusal.code = code
    return refusal


@cache
def _breached() -> frozenset[str]:
    # The file alone: importing the package would build all its dictionaries, 16 MB for the life of the process.
    source = distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")
    lists = cast("dict[str, Any]", runpy.run_path(str(source))["FREQUENCY_LISTS"])
    words: str | list[str] = lists["passwords"]
    listed = words.split(",") if isinstance(words, str) else words
    return frozenset(word for word in listed if len(word) >= SHORTEST_LISTED)


async def hash_password(password: str) -> str:
    """The bcrypt hash to store; about a quarter of a second of one core, in a thread."""
    hashing = partial(bcrypt.hashpw, _prepared(password), bcrypt.gensalt(ROUNDS))
    return (await asyncio.get_running_loop().run_in_executor(_THREADS, hashing)).decode()


async def matches(password: str, stored: str | None) -> bool:
    """Whether `password` is the one whose hash is stored. Takes the same time if there is none."""
    checking = partial(bcrypt.checkpw, _prepared(password), (stored or NOBODY).encode())
    right = await asyncio.get_running_loop().run_in_executor(_THREADS, checking)
    return right and stored is not None
