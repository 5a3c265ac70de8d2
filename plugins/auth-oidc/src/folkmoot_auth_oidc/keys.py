"""The provider's public keys, out of a key set in which anything may stand (RFC 7517, RFC 7518)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any, cast

import jwt
from msgspec import Struct

_MOST_KEYS = 100
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The public ones: nothing else is even looked at."""
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA", "Ed448": "EdDSA"}
_RSA_BITS = range(2048, 16385)
"""Below, a signature can be made by others (RFC 7518, 3.3); above, checking it is an attack in itself."""


class Key(Struct, frozen=True):
    """A key of the provider's and what it may be used for."""

    kid: str | None
    algorithms: frozenset[str]
    jwk: dict[str, str]

    @property
    def curve(self) -> str:
        """Of an elliptic key; empty for RSA."""
        return self.jwk.get("crv", "")

    def open(self, token: str, algorithm: str) -> bytes | None:
        """What `token` says, if this key signed it with `algorithm`."""
        if algorithm not in self.algorithms:
            return None
        try:
            key = jwt.PyJWK(self.jwk, algorithm)
            opened = jwt.PyJWS().decode_complete(token, key, algorithms=[algorithm])
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return cast("bytes", opened["payload"])


def read_keys(body: dict[str, Any]) -> tuple[Key, ...]:
    """The keys that can check a signature; all else is passed over."""
    entries = body.get("keys")
    if not isinstance(entries, list):
        return ()
    found = (_read(cast("dict[str, Any]", entry)) for entry in cast("list[object]", entries) if isinstance(entry, dict))
    return tuple(key for key in found if key is not None)[:_MOST_KEYS]


def _read(entry: dict[str, Any]) -> Key | None:
    kind, kid, use, operations = (entry.get(name) for name in ("kty", "kid", "use", "key_ops"))
    members = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if not isinstance(kind, str) or members is None or "d" in entry or not isinstance(kid, str | None):
        # Symmetric keys belong in no key set, and a private key that everybody can read proves nothing.
        return None
    if use not in (None, "sig") or (operations is not None and "verify" not in _listed(operations)):
        return None
    values = {name: value for name in members if isinstance(value := entry.get(name), str) and 0 < len(value) < 4096}
    if len(values) < len(members):
        return None
    algorithms = _algorithms(kind, values)
    if (only := entry.get("alg")) is not None:
        algorithms &= {only} if isinstance(only, str) else set()
    return Key(kid, algorithms, {"kty": kind, **values}) if algorithms else None


def _algorithms(kind: str, values: dict[str, str]) -> frozenset[str]:
    if kind != "RSA":
        algorithm = _CURVES.get(values["crv"])
        return frozenset({algorithm}) if algorithm and algorithm.startswith("Ed") == (kind == "OKP") else frozenset()
    try:
        modulus = urlsafe_b64decode(values["n"].rstrip("=") + "=" * (-len(values["n"].rstrip("=")) % 4))
    except ValueError:
        return frozenset()
    if int.from_bytes(modulus, "big").bit_length() not in _RSA_BITS:
        return frozenset()
    return frozenset(f"{padding}{size}" for padding in ("RS", "PS") for size in (256, 384, 512))


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
