"""Access tokens (signed, short) and refresh tokens (rotated at each use).

A refresh token names its session and its generation, with an HMAC over both: the database holds no token,
and any token that is genuine but not of the newest generation shows that one was copied.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from folkmoot.kit.crypto import Keyring
from folkmoot.kit.errors import NotSignedIn

ISSUER = "folkmoot"
ALGORITHM = "EdDSA"


@dataclass(frozen=True)
class AccessClaims:
    tenant_id: UUID
    user_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class RefreshClaims:
    tenant_id: UUID
    session_id: UUID
    generation: int


class Tokens:
    """Signs and reads both kinds. Lives as long as the process."""

    def __init__(self, keyring: Keyring, access_seconds: int) -> None:
        self.access_seconds = access_seconds
        self._signing = Ed25519PrivateKey.from_private_bytes(keyring.derive("access-token", None))
        self._verifying = self._signing.public_key()
        self._mac_key = keyring.derive("refresh-token", None)

    def access(self, claims: AccessClaims) -> str:
        """A JWT (RFC 7519) signed with Ed25519."""
        now = int(time.time())
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": ISSUER,
                "sub": str(claims.user_id),
                "tid": str(claims.tenant_id),
                "sid": str(claims.session_id),
                "iat": now,
                "exp": now + self.access_seconds,
            },
            self._signing,
            algorithm=ALGORITHM,
        )

    def read_access(self, token: str) -> AccessClaims:
        """Raises `NotSignedIn` for anything that is not a valid token of ours."""
        try:
            claims = jwt.decode(
                token,
                self._verifying,
                algorithms=[ALGORITHM],
                audience=ISSUER,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "tid", "sid"]},
            )
            return AccessClaims(UUID(claims["tid"]), UUID(claims["sub"]), UUID(claims["sid"]))
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("the access token has expired: refresh it", code="token-expired") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise NotSignedIn("the access token is not valid: sign in again", code="token-invalid") from None

    def refresh(self, claims: RefreshClaims) -> str:
        body = claims.tenant_id.bytes + claims.session_id.bytes + claims.generation.to_bytes(8, "big")
        return "fmr_" + base64.urlsafe_b64encode(body + self._mac(body)).decode().rstrip("=")

    def read_refresh(self, token: str) -> RefreshClaims:
        """Raises `NotSignedIn` for anything that we did not make."""
        try:
            raw = base64.urlsafe_b64decode(token.removeprefix("fmr_") + "==")
        except ValueError:
            raw = b""
        body, mac = raw[:40], raw[40:]
        if len(raw) != 72 or not hmac.compare_digest(mac, self._mac(body)):
            raise NotSignedIn("the refresh token is not valid: sign in again", code="token-invalid")
        return RefreshClaims(UUID(bytes=body[:16]), UUID(bytes=body[16:32]), int.from_bytes(body[32:], "big"))

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._mac_key, body, hashlib.sha256).digest()
