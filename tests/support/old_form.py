"""What releases before data keys did: everything straight from a master key."""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from folkmoot.kit.crypto import FileSealer, Keys


def hkdf(key: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)


def info(use: bytes, purpose: str, tenant_id: UUID | None) -> bytes:
    tenant = b"\x00" if tenant_id is None else b"\x01" + tenant_id.bytes
    return b"folkmoot " + use + b"\x00" + tenant + purpose.encode()


def derive(master: bytes, purpose: str, tenant_id: UUID | None = None) -> bytes:
    return hkdf(master, info(b"derive", purpose, tenant_id))


def seal(master: bytes, plaintext: bytes, *, purpose: str, tenant_id: UUID | None, aad: bytes = b"") -> bytes:
    head, nonce = b"\x01" + hkdf(master, b"folkmoot key id")[:4], os.urandom(12)
    cipher = AESGCM(hkdf(master, info(b"seal", purpose, tenant_id)))
    return head + nonce + cipher.encrypt(nonce, plaintext, head + aad)


class _OldKeys(Keys):
    def __init__(self, master: bytes, tenant_id: UUID) -> None:
        self._master, self._tenant = master, tenant_id

    def seal(self, plaintext: bytes, *, purpose: str, aad: bytes = b"") -> bytes:
        return seal(self._master, plaintext, purpose=purpose, tenant_id=self._tenant, aad=aad)


def seal_file(master: bytes, plain: bytes, *, tenant_id: UUID, name: str) -> bytes:
    sealer = FileSealer(_OldKeys(master, tenant_id), name=name)
    return sealer.header + sealer.update(plain) + sealer.finish()
