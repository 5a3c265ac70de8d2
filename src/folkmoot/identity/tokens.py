"""Access tokens (signed, short) and refresh tokens (rotated at each use).

Signing keys change by the calendar, and nothing of them is stored: the key of a period is derived from the
installation's root and the period's number, so every process has the same at the same moment. The key of the next
period is published before its time, and that of the last one is good until what it signed has expired.

A refresh token names its session and its generation, with an HMAC over both: the database holds no token,
and any token that is genuine but not of the newest generation shows that one was copied.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import NotSignedIn

ISSUER = "folkmoot"
ALGORITHM = "EdDSA"
TYPE = "at+jwt"
"""Says that it is an access token (RFC 9068, 2.1): nothing else that we may ever sign is taken for one."""
LONGEST = 2_048
"""Characters; ours have about 500, and a longer one is not worth looking at."""
SKEW_SECONDS = 5
"""How far the clocks of two of our hosts may differ before a new token looks as if it came from the future."""
CACHED = 20_000
"""Tokens whose signature was checked; checking one costs as much as the rest of a small request."""
REQUIRED = ["iss", "aud", "sub", "tid", "sid", "iat", "exp"]

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")
"""A signature by Ed25519 has 64 bytes."""


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


@dataclass(frozen=True)
class SigningKey:
    """The key of one period under one root."""

    private: Ed25519PrivateKey

    @cached_property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @cached_property
    def id(self) -> str:
        return _base64(hashlib.sha256(b"folkmoot signing key" + self.public).digest()[:12])

    def jwk(self) -> dict[str, str]:
        """The public half (RFC 8037, 2)."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": ALGORITHM,
            "use": "sig",
            "kid": self.id,
            "x": _base64(self.public),
        }


class Tokens:
    """Signs and reads both kinds. Lives as long as the process."""

    def __init__(
        self,
        keyring: Keyring,
        access_seconds: int,
        signing_key_days: int = 30,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.access_seconds = access_seconds
        self._keyring = keyring
        self._period_seconds = signing_key_days * 86_400
        self._clock = clock
        self._learn()

    def access(self, claims: AccessClaims) -> str:
        """A JWT (RFC 7519) signed with the Ed25519 key of this period."""
        now = int(self._clock())
        key = self._current()[0]
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": ISSUER,
                "sub": str(claims.user_id),
                "tid": str(claims.tenant_id),
                "sid": str(claims.session_id),
                "iat": now,
                "nbf": now,
                "exp": now + self.access_seconds,
            },
            key.private,
            algorithm=ALGORITHM,
            headers={"kid": key.id, "typ": TYPE},
        )

    def read_access(self, token: str) -> AccessClaims:
        """Raises `NotSignedIn` (`token-expired`, `token-not-yet-valid`, or `token-invalid` for all else)."""
        now = self._clock()
        self._look()
        found = self._checked.get(token)
        if found is None:
            found = self._checked[token] = self._check(token, now)
            self._forget(now)
        if found[0] <= now:
            self._checked.pop(token, None)
            raise NotSignedIn("the access token has expired: refresh it", code="token-expired")
        return found[1]

    def published(self) -> list[dict[str, str]]:
        """The public keys as JWKs: of this period, of the next, and of the last while its tokens may live."""
        self._look()
        now = self._clock()
        period = int(now // self._period_seconds)
        periods = [period, period + 1]
        if now - period * self._period_seconds <= self.access_seconds + SKEW_SECONDS:
            periods.append(period - 1)
        return [key.jwk() for each in periods for key in self._of(each)]

    def refresh(self, claims: RefreshClaims) -> str:
        body = claims.tenant_id.bytes + claims.session_id.bytes + claims.generation.to_bytes(8, "big")
        self._look()
        return "fmr_" + _base64(body + _mac(self._refresh_keys[0], body))

    def read_refresh(self, token: str) -> RefreshClaims:
        """Raises `NotSignedIn` for anything that we did not make."""
        try:
            plain = token.removeprefix("fmr_")
            raw = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        self._look()
        body, mac = raw[:40], raw[40:]
        # Any of our keys: a new one must not sign everybody out.
        genuine = [hmac.compare_digest(mac, _mac(key, body)) for key in self._refresh_keys]
        if len(raw) != 72 or not any(genuine):
            raise NotSignedIn("the refresh token is not valid: sign in again", code="token-invalid")
        return RefreshClaims(UUID(bytes=body[:16]), UUID(bytes=body[16:32]), int.from_bytes(body[32:], "big"))

    def csrf(self, session_id: UUID) -> str:
        """What a browser repeats in `X-CSRF-Token`: bound to the session, so another session's is of no use."""
        self._look()
        return _base64(_mac(self._csrf_keys[0], session_id.bytes))

    def is_csrf(self, session_id: UUID, given: str) -> bool:
        """Whether `given` is what `csrf` gives, or gave before the keys changed."""
        self._look()
        good = [_base64(_mac(key, session_id.bytes)) for key in self._csrf_keys]
        return any(hmac.compare_digest(given.encode(), one.encode()) for one in good)

    def _look(self) -> None:
        if self._keyring.roots is not self._roots:
            self._learn()

    def _learn(self) -> None:
        """Derive anew, and forget what was checked with keys that may be gone."""
        self._roots = self._keyring.roots
        self._keys: dict[int, list[SigningKey]] = {}
        self._known: dict[str, SigningKey] = {}
        self._checked: dict[str, tuple[float, AccessClaims]] = {}
        self._refresh_keys = self._roots.derivations("refresh-token")
        self._csrf_keys = self._roots.derivations("csrf")

    def _check(self, token: str, now: float) -> tuple[float, AccessClaims]:
        try:
            if len(token) > LONGEST or not _is_canonical(token):
                raise ValueError("not in the form that we give")
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TYPE:
                raise ValueError("not an access token")
            self._current()
            # The token chooses among our keys; which algorithm a key is for is not the token's to say.
            key = self._known[header["kid"]]
            claims: dict[str, Any] = jwt.decode(
                token,
                key.private.public_key(),
                algorithms=[ALGORITHM],
                audience=ISSUER,
                issuer=ISSUER,
                # Times are compared below, by our clock.
                options={"require": REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            begins, ends = max(_time(claims["iat"]), _time(claims.get("nbf", 0))), _time(claims["exp"])
            found = ends, AccessClaims(UUID(claims["tid"]), UUID(claims["sub"]), UUID(claims["sid"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise NotSignedIn("the access token is not valid: sign in again", code="token-invalid") from None
        if begins > now + SKEW_SECONDS:
            raise NotSignedIn(
                "the access token is not valid yet: the clock of whoever made it is ahead", code="token-not-yet-valid"
            )
        return found

    def _current(self) -> list[SigningKey]:
        """The keys of this period, the one that signs first."""
        self._look()
        period = int(self._clock() // self._period_seconds)
        if period not in self._keys or period + 1 not in self._keys:
            near = (period - 1, period, period + 1)
            self._keys = {each: self._of(each) for each in near}
            # The next period's too: the clock of another host may be past the turn already.
            self._known = {key.id: key for keys in self._keys.values() for key in keys}
        return self._keys[period]

    def _of(self, period: int) -> list[SigningKey]:
        return self._keys.get(period) or [
            SigningKey(Ed25519PrivateKey.from_private_bytes(seed))
            for seed in self._roots.derivations(signing_purpose(period))
        ]

    def _forget(self, now: float) -> None:
        if len(self._checked) <= CACHED:
            return
        self._checked = {token: found for token, found in self._checked.items() if found[0] > now}
        for token in list(self._checked)[: max(0, len(self._checked) - CACHED // 2)]:
            del self._checked[token]


def signing_purpose(period: int) -> str:
    """What the signing keys of a period are derived for; periods are counted from the epoch."""
    return f"access-token:{period}"


def _is_canonical(token: str) -> bool:
    """Whether it is written as RFC 7515 has it. Its library also takes padding, and bits that mean nothing."""
    if not _FORM.fullmatch(token):
        return False
    signature = token.rpartition(".")[2]
    return _base64(base64.urlsafe_b64decode(signature + "==")) == signature


def _time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a time")
    return value


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
