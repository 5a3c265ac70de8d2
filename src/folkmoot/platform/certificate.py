"""Certificates of deletion: what is signed, with what, and whether it still fits.

The key is derived from the installation's root, so each signs with its own, and a new master key changes nothing.
`key_id` of the row is the public key itself: a certificate can be checked after the root has changed.
"""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from folkmoot.kit.envelope import Keyring
from folkmoot.tenants.models import Certificate

PURPOSE = "certificate"


def statement_of(row: Certificate) -> bytes:
    """What the signature is over: canonical JSON, with sorted keys and no white space."""
    said: dict[str, Any] = {
        "id": row.id,
        "tenant_id": row.tenant_id,
        "tenant_name": row.tenant_name,
        "requested_by": row.requested_by,
        "requested_at": row.requested_at,
        "completed_at": row.completed_at,
        "removed": row.removed,
    }
    return msgspec.json.encode(said, order="sorted")


def sign(row: Certificate, keyring: Keyring) -> None:
    """Put key and signature into the row, which must be complete."""
    key = Ed25519PrivateKey.from_private_bytes(keyring.derive(PURPOSE))
    row.key_id = key.public_key().public_bytes_raw().hex()
    row.signature = key.sign(statement_of(row))


def is_valid(row: Certificate, keyring: Keyring) -> bool:
    """Whether the row is as it was signed, by this installation under any key that it ever signed with."""
    ours = {
        Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
        for seed in keyring.derivations(PURPOSE)
    }
    if row.signature is None or row.key_id not in ours:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(row.key_id)).verify(row.signature, statement_of(row))
    except InvalidSignature:
        return False
    return True
