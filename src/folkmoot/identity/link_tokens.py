"""The token of a link: derived from its row and a key of ours, so that it need not be stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from folkmoot.identity.models import Link
from folkmoot.kit.app import App
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import BadRequest

PREFIX = "fml_"


@dataclass(frozen=True)
class Token:
    """What a genuine token names; whether the link is still good, its row says."""

    tenant_id: UUID
    link_id: UUID


def token_of(keyring: Keyring, link: Link) -> str:
    """`fml_` and, in base64url, tenant ‖ link ‖ HMAC-SHA256 over both."""
    body = link.tenant_id.bytes + link.id.bytes
    mac = _mac(keyring.derive("link", link.tenant_id), body)
    return PREFIX + base64.urlsafe_b64encode(body + mac).decode().rstrip("=")


def read(keyring: Keyring, token: str) -> Token:
    """Whose link it is. Raises `BadRequest` (`link-invalid`) for anything that we did not make."""
    try:
        raw = base64.b64decode(token.removeprefix(PREFIX) + "==", altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    body, mac = raw[:32], raw[32:]
    if not token.startswith(PREFIX) or len(raw) != 64:
        raise link_invalid()
    tenant_id = UUID(bytes=body[:16])
    if not any(hmac.compare_digest(mac, _mac(key, body)) for key in keyring.derivations("link", tenant_id)):
        raise link_invalid()
    return Token(tenant_id, UUID(bytes=body[16:]))


def link_url(app: App, link: Link) -> str:
    """Where the link leads; the token is in it, behind `#`, so that no server on the way sees it."""
    return f"{app.settings.url()}/link#{token_of(app.keyring, link)}"


def link_invalid() -> BadRequest:
    return BadRequest(
        "this link is not one of ours, or a part of it is missing: open it once more from where you got it, or ask"
        " for another",
        code="link-invalid",
    )


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()
