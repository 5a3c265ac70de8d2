"""What signs in to a website: given once, sealed, shown masked, and turned into headers for its own host only."""

from __future__ import annotations

import base64
import re
from uuid import UUID

import msgspec

from folkmoot.kit.app import App
from folkmoot.kit.errors import ValidationFailed
from folkmoot.plugins.configuration import MASK
from folkmoot.websites.address import Site
from folkmoot.websites.fetch import Secret
from folkmoot.websites.models import Website
from folkmoot.websites.schemas import Auth, BasicAuth, HeaderAuth

PURPOSE = "website"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset(
    {
        "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "accept-encoding",
        "if-none-match", "if-modified-since", "user-agent",
    }
)  # fmt: skip
"""Headers that a request needs to be one, or by which a server knows us."""


def check(auth: Auth) -> None:
    """Raise `ValidationFailed` for what cannot be sent."""
    match auth:
        case BasicAuth(user=user):
            if ":" in user or not (user + auth.password).isprintable():
                raise _wrong("auth.user", "a user has no colon in it, and no control characters")
        case HeaderAuth(name=name, value=value):
            if not _NAME.fullmatch(name) or name.lower() in _OURS:
                raise _wrong("auth.name", f"{name!r} is not the name of a header that signs in: give another")
            if not value.isascii() or not value.isprintable() or value != value.strip():
                raise _wrong("auth.value", "the value of a header is printable ASCII, without spaces at its ends")


def masked(auth: Auth | None) -> Auth | None:
    match auth:
        case BasicAuth(user=user):
            return BasicAuth(user=user, password=MASK)
        case HeaderAuth(name=name):
            return HeaderAuth(name=name, value=MASK)
        case _:
            return None


def merged(before: Auth | None, given: Auth) -> Auth:
    """`given`, with the stored secret where it comes back masked. Raises `ValidationFailed` if there is none."""
    match before, given:
        case BasicAuth(password=password), BasicAuth(user=user) if given.password == MASK:
            return BasicAuth(user=user, password=password)
        case HeaderAuth(value=value), HeaderAuth(name=name) if given.value == MASK:
            return HeaderAuth(name=name, value=value)
        case _, BasicAuth(password=secret) | HeaderAuth(value=secret) if secret == MASK:
            raise _wrong("auth", "there is no secret of this kind stored: give one")
        case _:
            return given


def _wrong(path: str, detail: str) -> ValidationFailed:
    return ValidationFailed(detail, [(path, detail)])


async def seal(app: App, tenant_id: UUID, website_id: UUID, auth: Auth) -> bytes:
    plain = msgspec.json.encode(auth)
    return await app.keyring.seal(plain, purpose=PURPOSE, tenant_id=tenant_id, aad=website_id.bytes)


async def stored(app: App, website: Website) -> Auth | None:
    """With its secret open. Raises `CryptoError` if the keys do not fit any more."""
    if website.auth is None:
        return None
    plain = await app.keyring.open(website.auth, purpose=PURPOSE, tenant_id=website.tenant_id, aad=website.id.bytes)
    return msgspec.json.decode(plain, type=Auth)


def headers_of(auth: Auth | None, url: str) -> Secret | None:
    """The headers that sign in to the site of `url`, and to no other."""
    match auth:
        case BasicAuth(user=user, password=password):
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            return Secret(Site.of(url), {"authorization": f"Basic {token}"})
        case HeaderAuth(name=name, value=value):
            return Secret(Site.of(url), {name: value})
        case _:
            return None
