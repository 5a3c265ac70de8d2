"""Passwords: bcrypt, off the event loop."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import bcrypt

ROUNDS = 12
# Checked when nobody has the e-mail, so that a wrong e-mail costs the same time as a wrong password.
NOBODY = bcrypt.hashpw(b"nobody's password", bcrypt.gensalt(ROUNDS)).decode()


def _prepared(password: str) -> bytes:
    # Bcrypt reads 72 bytes and stops at NUL; a digest in base64 is 44 bytes whatever went in.
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


async def hash_password(password: str) -> str:
    """The bcrypt hash to store; about a quarter of a second of one core, in a thread."""
    return (await asyncio.to_thread(bcrypt.hashpw, _prepared(password), bcrypt.gensalt(ROUNDS))).decode()


async def matches(password: str, stored: str | None) -> bool:
    """Whether `password` is the one whose hash is stored. Takes the same time if there is none."""
    right = await asyncio.to_thread(bcrypt.checkpw, _prepared(password), (stored or NOBODY).encode())
    return right and stored is not None
