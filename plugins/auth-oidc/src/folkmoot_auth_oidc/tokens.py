"""Checking what a provider signed: ID tokens (OpenID Connect Core 1.0, 3.1.3.7) and logout tokens.

Every check is made here by its own rule; the library below is asked for nothing but the signature, so no
default of its can let a token through.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, cast

import jwt
from folkmoot_sdk import AuthError, LoginExpired
from msgspec import Struct

from folkmoot_auth_oidc.keys import Key
from folkmoot_auth_oidc.wire import read_object

MOST = 64 * 1024
"""Characters in a token; one with two hundred groups has ten thousand."""
LOGOUT_SECONDS = 600
"""How old a logout token may be: time enough for a provider that tries again, little for one that was stolen."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

_LOGOUT_TYPES = ("logout+jwt", "jwt")

KeySource = Callable[[], Awaitable[tuple[Key, ...]]]


class Expected(Struct, frozen=True):
    """What a token must say to be for us, now."""

    issuer: str
    client_id: str
    algorithms: Sequence[str]
    now: datetime
    skew: int


class Signed(Struct, frozen=True):
    """A token whose signature is the provider's."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: Key


async def check_signature(token: str, what: str, expected: Expected, keys: KeySource, newer: KeySource) -> Signed:
    """Take a token apart if one of the provider's keys signed it. `newer` asks the provider for its keys again.

    Raises `AuthError`; the errors name `what` and never the token.
    """
    header = _read_header(token, what)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in expected.algorithms:
        raise AuthError(
            f"the {what} is signed with {_shown(algorithm)}, which this login method does not take: an administrator "
            f"must set the provider to one of {', '.join(expected.algorithms)}, or allow it here"
        )
    # A key that is not known yet, or one that was changed and kept its name: both are found by asking again.
    for source in (keys, newer):
        for key in _candidates(await source(), kid, algorithm):
            payload = key.open(token, algorithm)
            if payload is not None:
                claims = read_object(payload)
                if claims is None:
                    raise AuthError(f"the {what} says nothing: its content is no JSON object")
                return Signed(header, claims, key)
    raise AuthError(
        f"the {what} is not signed with a key that {expected.issuer} publishes: "
        "if the provider has just changed its keys, try again in a moment"
    )


def _candidates(keys: tuple[Key, ...], kid: str | None, algorithm: str) -> list[Key]:
    fitting = [key for key in keys if algorithm in key.algorithms]
    if kid is not None:
        return [key for key in fitting if key.kid == kid] or [key for key in fitting if key.kid is None]
    # Core 10.1: without a name there must be one key only that it can be.
    return fitting if len(fitting) == 1 else []


def _read_header(token: str, what: str) -> dict[str, Any]:
    if len(token) > MOST:
        raise AuthError(f"the {what} has more than {MOST} characters: have the provider put less into it")
    if token.count(".") == 4:
        raise AuthError(f"the {what} is encrypted, which is not read here: have the provider only sign it")
    if not token.isascii() or token.count(".") != 2:
        raise AuthError(f"the {what} is no signed token")
    try:
        header = jwt.PyJWS().get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise AuthError(f"the {what} is no signed token") from None
    if not isinstance(header.get("kid"), str | None):
        raise AuthError(f"the {what} is no signed token")
    if "crit" in header or "b64" in header:
        raise AuthError(f"the {what} demands an extension that is not known here")
    return header


def check_id_token(signed: Signed, expected: Expected, nonce: str, access_token: str | None) -> dict[str, Any]:
    """The claims of an ID token that is for this very sign-in. Raises `AuthError`, `LoginExpired` for the nonce."""
    claims, what = signed.claims, "ID token"
    kind = signed.header.get("typ")
    if isinstance(kind, str) and kind.lower().endswith("+jwt"):
        raise AuthError(f"the {what} is a token of another kind ({_shown(kind)})")
    if LOGOUT_EVENT in _object(claims.get("events")):
        raise AuthError(f"the {what} is a logout token")
    _check_issued_for_us(claims, what, expected)
    subject(claims, what)
    _check_times(claims, what, expected, needs_end=True)
    said = claims.get("nonce")
    if not isinstance(said, str) or not same(said, nonce):
        raise LoginExpired("this sign-in was answered for another one: start again")
    bound = claims.get("at_hash")
    if (
        bound is not None
        and access_token
        and not (isinstance(bound, str) and same(bound, half_hash(access_token, signed)))
    ):
        raise AuthError(f"the {what} was not made together with the access token that came with it")
    return claims


def check_logout_token(signed: Signed, expected: Expected) -> dict[str, Any]:
    """The claims of a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4 to 2.6). Raises `AuthError`."""
    claims, what = signed.claims, "logout token"
    kind = signed.header.get("typ")
    # The type came late, so that older providers send none, or the one of any token.
    if kind is not None and (
        not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _LOGOUT_TYPES
    ):
        raise AuthError(f"the {what} is a token of another kind ({_shown(kind)})")
    _check_issued_for_us(claims, what, expected)
    issued = _check_times(claims, what, expected, needs_end=False)
    if issued < expected.now.timestamp() - LOGOUT_SECONDS - expected.skew:
        raise AuthError(f"the {what} is older than {LOGOUT_SECONDS} seconds")
    if not isinstance(_object(claims.get("events")).get(LOGOUT_EVENT), dict):
        raise AuthError(f"the {what} does not say that somebody signed out")
    if "nonce" in claims:
        raise AuthError(f"the {what} has a nonce, as only an ID token may")
    if claims.get("sub") is None and claims.get("sid") is None:
        raise AuthError(f"the {what} says neither who signed out nor of which session")
    for name in ("sub", "sid"):
        if claims.get(name) is not None:
            _identifier(claims, name, what)
    _identifier(claims, "jti", what)
    return claims


def _check_issued_for_us(claims: dict[str, Any], what: str, expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise AuthError(f"the {what} is not from {expected.issuer}")
    audience: object = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences:
        raise AuthError(f"the {what} is for another application than {expected.client_id!r}")
    party = claims.get("azp")
    if party is None and len(audiences) > 1:
        raise AuthError(f"the {what} is for several applications and does not say for which it was made (azp)")
    if party is not None and party != expected.client_id:
        raise AuthError(f"the {what} was made for another application than {expected.client_id!r} (azp)")


def _check_times(claims: dict[str, Any], what: str, expected: Expected, *, needs_end: bool) -> float:
    now, skew = expected.now.timestamp(), expected.skew
    issued = _time(claims, "iat", what)
    if issued is None:
        raise AuthError(f"the {what} does not say when it was made (iat)")
    end = _time(claims, "exp", what)
    if end is None and needs_end:
        raise AuthError(f"the {what} has no end (exp)")
    if end is not None and now >= end + skew:
        raise AuthError(f"the {what} has expired: start again, and if that does not help, compare the clocks")
    start = max(issued, _time(claims, "nbf", what) or 0)
    if start > now + skew:
        raise AuthError(
            f"the {what} is {int(start - now)} seconds ahead of the time here: the clock of the provider or of this "
            "machine is wrong"
        )
    return issued


def _time(claims: dict[str, Any], name: str, what: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e11:
        raise AuthError(f"the {what} has a time that is none ({name})")
    return float(value)


def subject(claims: dict[str, Any], what: str) -> str:
    """The claim `sub`: at most 255 characters (Core 2). Raises `AuthError`."""
    return _identifier(claims, "sub", what)


def _identifier(claims: dict[str, Any], name: str, what: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > 255 or not value.isprintable():
        raise AuthError(f"the {what} has no usable {name}: it must be a text of 1 to 255 characters")
    return value


def half_hash(value: str, signed: Signed) -> str:
    """The left half of the hash of `value` that belongs to the token's algorithm (Core 3.1.3.6)."""
    algorithm = str(signed.header["alg"])
    data = value.encode()
    if algorithm == "EdDSA":
        # RFC 8032: the hash inside Ed25519 and Ed448.
        whole = hashlib.shake_256(data).digest(114) if signed.key.curve == "Ed448" else hashlib.sha512(data).digest()
    else:
        whole = hashlib.new(f"sha{algorithm[2:]}", data).digest()
    return urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()


def same(one: str, other: str) -> bool:
    """Equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _shown(value: object) -> str:
    return repr(value[:40]) if isinstance(value, str) and value.isprintable() else "nothing that has a name"
