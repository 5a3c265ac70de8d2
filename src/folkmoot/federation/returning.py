"""Where a browser is sent after signing in, and what is remembered of a sign-in while it is away.

A path that comes in a link is an attacker's to choose, and what one reader takes for a path another takes for a
host. So it is looked at as every reader might: raw, decoded up to five times, and with look-alike characters
folded; and the API itself is no place to return to, as it may lead on to anybody's provider.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec

from folkmoot.kit.app import App
from folkmoot.kit.crypto import Tampered
from folkmoot.kit.log import get_logger

log = get_logger(__name__)

KEEP_SECONDS = 600
HOME = "/"
LONGEST_PATH = 2_000
PURPOSE = "pending-sign-in"
_BROWSER = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_OURS = ("/api", "/v1", "/health", "/metrics")


def local_path(wanted: str | None) -> str:
    """`wanted` if it is surely a path of this installation, else `/`; escaped, fit for a header."""
    if not wanted or len(wanted) > LONGEST_PATH or any("\ud800" <= char <= "\udfff" for char in wanted):
        return HOME
    seen = wanted
    for _ in range(5):
        if not _is_local(seen) or not _is_local(unicodedata.normalize("NFKC", seen)):
            return HOME
        before, seen = seen, unquote(seen)
        if seen == before:
            return quote(wanted, safe="/?#&=%:@!$'()*+,;~-._[]")
    return HOME


def _is_local(path: str) -> bool:
    if any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") or char == "\\" for char in path):
        return False
    place = path.partition("?")[0].partition("#")[0]
    if not place.startswith("/") or "//" in place:
        return False
    plain = posixpath.normpath(place).casefold()
    return not plain.startswith("//") and not any(plain == own or plain.startswith(f"{own}/") for own in _OURS)


class Pending(msgspec.Struct, frozen=True):
    """A sign-in that is under way in one browser."""

    tenant_id: UUID
    method_id: UUID
    browser: bytes
    """SHA-256 of the cookie: only the browser that started it may end it."""
    kept: dict[str, str]
    """What the backend wants back."""
    return_to: str
    invitation: str | None = None
    link_user: UUID | None = None
    """Who was signed in and wants to have this way in as well."""
    link_session: UUID | None = None


def is_browser(cookie: str | None) -> bool:
    """Whether `cookie` is one that we gave: a browser with two sign-ins under way keeps its own."""
    return cookie is not None and _BROWSER.match(cookie) is not None


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


async def keep(app: App, state: str, pending: Pending) -> bool:
    """Remember a sign-in for ten minutes; False if its state is taken, which no honest backend's ever is."""
    sealed = await app.keyring.seal(msgspec.msgpack.encode(pending), purpose=PURPOSE, tenant_id=None, aad=digest(state))
    return bool(await app.redis.set(_name(state), sealed, nx=True, ex=KEEP_SECONDS))


async def take(app: App, state: str) -> Pending | None:
    """What was kept, once; None if nothing was, or it was taken or has expired."""
    sealed = await app.redis.getdel(_name(state))
    if sealed is None:
        return None
    try:
        plain = await app.keyring.open(sealed, purpose=PURPOSE, tenant_id=None, aad=digest(state))
    except Tampered as error:
        log.warning("sign_in.not_kept", error=str(error))
        return None
    return msgspec.msgpack.decode(plain, type=Pending)


def _name(state: str) -> str:
    return f"folkmoot:sign-in:{digest(state).hex()}"
