"""The chain over a tenant's events, and the keys that vouch for it.

    link 0      = SHA-256(label ‖ tenant id)
    link n      = SHA-256(link n-1 ‖ row n)
    seal n      = HMAC-SHA256(key of the tenant, link n)
    checkpoint  = Ed25519 over a text that names the tenant, the position and its link

A row is hashed as PostgreSQL writes it in the text format of COPY: columns parted by tabs, what is not there as
`\\N`, and tabs, line ends and backslashes inside of a value escaped, so that no two rows read the same. No
setting of a session changes it: the time is written as seconds, `jsonb` has one order of its keys.

The seals find the exact row even after somebody who knows all of this, but not the key, rewrote rows. The
checkpoints can be checked by anybody who has the public key and the rows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from folkmoot.audit.models import Checkpoint
from folkmoot.kit.envelope import Keyring

LABEL = b"folkmoot audit log 1\n"
COLUMNS = (
    "id",
    "tenant_id",
    "seq",
    "xid",
    "created_at",
    "actor_kind",
    "actor_id",
    "key_id",
    "action",
    "object_type",
    "object_id",
    "space_id",
    "user_id",
    "request_id",
    "ip",
    "user_agent",
    "data",
)
"""Every column of `events`, in the order in which it is hashed. A new column needs a new `LABEL`."""
ROW = ", ".join(f"extract(epoch FROM e.{name})" if name == "created_at" else f"e.{name}" for name in COLUMNS)
"""To be selected with COPY, from `events e`."""
GONE = rb"\N"


def genesis(tenant_id: UUID) -> bytes:
    return hashlib.sha256(LABEL + tenant_id.bytes).digest()


def follow(link: bytes, row: bytes) -> bytes:
    """The next link."""
    return hashlib.sha256(link + row).digest()


def seal_of(key: bytes, link: bytes) -> bytes:
    return hmac.digest(key, link, "sha256")


def signed_text(checkpoint: Checkpoint, previous: bytes) -> str:
    """What a checkpoint's signature is over; `previous` is the link of the checkpoint before, or link 0."""
    return "".join(
        f"{line}\n"
        for line in (
            "folkmoot audit checkpoint 1",
            checkpoint.tenant_id,
            checkpoint.number,
            checkpoint.position,
            checkpoint.xid,
            checkpoint.seq,
            checkpoint.link.hex(),
            previous.hex(),
            checkpoint.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
            checkpoint.key_id,
        )
    )


@dataclass(frozen=True)
class PublicKey:
    key_id: str
    key: Ed25519PublicKey

    @property
    def text(self) -> str:
        """The 32 bytes of the key in base64."""
        return base64.b64encode(_raw(self.key)).decode()


class Keys:
    """What seals and signs now; and what did before, so that it can still be checked."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._signing = Ed25519PrivateKey.from_private_bytes(keyring.derive("audit-checkpoint"))
        publics = [
            Ed25519PrivateKey.from_private_bytes(seed).public_key() for seed in keyring.derivations("audit-checkpoint")
        ]
        self.public = [PublicKey(hashlib.sha256(_raw(key)).hexdigest()[:16], key) for key in publics]
        """The one that signs now comes first."""

    def of_tenant(self, tenant_id: UUID) -> list[bytes]:
        """Keys of seals; the one that seals now comes first."""
        return self._keyring.derivations("audit-seal", tenant_id)

    def sign(self, checkpoint: Checkpoint, previous: bytes) -> None:
        """Fill in time, key and signature."""
        checkpoint.created_at = datetime.now(UTC)
        checkpoint.key_id = self.public[0].key_id
        checkpoint.signature = self._signing.sign(signed_text(checkpoint, previous).encode())

    def signed(self, checkpoint: Checkpoint, previous: bytes) -> bool:
        """Whether the signature is good."""
        key = next((item.key for item in self.public if item.key_id == checkpoint.key_id), None)
        if key is None:
            return False
        try:
            key.verify(checkpoint.signature, signed_text(checkpoint, previous).encode())
        except InvalidSignature:
            return False
        return True

    def knows(self, key_id: str) -> bool:
        return any(item.key_id == key_id for item in self.public)


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
