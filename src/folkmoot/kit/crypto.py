"""Keys, sealed secrets and sealed files.

One master key in the settings; everything else is derived from it by HKDF-SHA256 (RFC 5869), so that a key
serves one purpose of one tenant and nothing sealed for one opens for another.

Files are sealed in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015): AES-256-GCM over segments
whose nonce holds their number and whether they are the last. A cut, a swap or a repeat of segments is
therefore found, and any segment can be read alone.

    file     = version(1) ‖ nonce prefix(7) ‖ sealed file key(65) ‖ segment…
    segment  = AES-256-GCM(file key, nonce = prefix(7) ‖ number(4) ‖ last(1), 64 KiB of plaintext) ‖ tag(16)
    sealed   = version(1) ‖ master key id(4) ‖ nonce(12) ‖ ciphertext ‖ tag(16)

The file key is random and sealed with the tenant's key; tenant, name and nonce prefix are its associated
data, so a file that was moved to another name or tenant does not open.

All of it runs on the event loop: a segment takes about 10 µs where the processor has AES instructions, less
than handing it to a thread would.

    CryptoError
    ├── Tampered                 what is stored is not what was sealed, or not for this place
    │   └── UnknownMasterKey     sealed with a master key that is not in the settings (any more)
    └── BadMasterKey             a master key that cannot be one
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Buffer = bytes | bytearray | memoryview

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
SEGMENT_BYTES = 64 * 1024
"""Plaintext in every segment of a file but the last."""
SEALED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES

_VERSION = b"\x01"
_KEY_ID_BYTES = 4
_PREFIX_BYTES = 7
_SEAL_BYTES = 1 + _KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES
HEADER_BYTES = 1 + _PREFIX_BYTES + _SEAL_BYTES + KEY_BYTES
"""What stands before the first segment of a sealed file."""


class CryptoError(Exception):
    """Something cannot be sealed or opened."""


class BadMasterKey(CryptoError):
    """A master key that is not 32 bytes, is given twice, or none at all."""


class Tampered(CryptoError):
    """What is stored was changed, cut, swapped, or sealed for another place; `name` says which it is."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(
            message or f"{name!r} is not what was stored there: it was changed or is damaged, restore it from a backup"
        )
        self.name = name


class UnknownMasterKey(Tampered):
    """Sealed with a master key that is not among those given, or its first bytes were changed."""

    def __init__(self, name: str, key_id: bytes) -> None:
        super().__init__(
            name,
            f"{name!r} is sealed with the master key {key_id.hex()}, which is not here: "
            "add it after the first in FOLKMOOT_SECRET_KEY, or restore the damaged data from a backup",
        )


class Keyring:
    """The master keys: the first seals, all open.

    To rotate, put a new key before the old one; the old one can go when nothing sealed with it is left.
    """

    def __init__(self, master_keys: bytes | Sequence[bytes]) -> None:
        keys = [master_keys] if isinstance(master_keys, bytes) else list(master_keys)
        if not keys:
            raise BadMasterKey("no master key is given: set FOLKMOOT_SECRET_KEY")
        for key in keys:
            if len(key) != KEY_BYTES:
                raise BadMasterKey(f"a master key has {len(key)} bytes: it must have {KEY_BYTES}, all of them random")
        self._masters = {_hkdf(key, b"folkmoot key id")[:_KEY_ID_BYTES]: key for key in keys}
        if len(self._masters) != len(keys):
            raise BadMasterKey("two of the master keys are the same: remove one of them")
        self._first = next(iter(self._masters))

    def __repr__(self) -> str:
        return f"<Keyring {', '.join(key_id.hex() for key_id in self._masters)}>"

    def derive(self, purpose: str, tenant_id: UUID | None = None) -> bytes:
        """32 bytes for one purpose, such as signing; never equal to a key that seals."""
        return self.derivations(purpose, tenant_id)[0]

    def derivations(self, purpose: str, tenant_id: UUID | None = None) -> list[bytes]:
        """`derive` under every master key, the first first: what an older key signed can still be checked."""
        info = _info(b"derive", purpose, tenant_id)
        return [_hkdf(master, info) for master in self._masters.values()]

    def seal(self, plaintext: bytes, *, purpose: str, tenant_id: UUID | None, aad: bytes = b"") -> bytes:
        """Encrypt a small secret; 33 bytes longer than it was.

        `aad` is not stored: who opens must know it. Give it whatever says where the secret belongs, such as
        the row's id. Nonces are random, so one purpose of one tenant is good for 2^32 seals (NIST SP 800-38D,
        8.3).
        """
        head = _VERSION + self._first
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._cipher(self._masters[self._first], purpose, tenant_id)
        return head + nonce + cipher.encrypt(nonce, plaintext, head + aad)

    def open(self, sealed: bytes, *, purpose: str, tenant_id: UUID | None, aad: bytes = b"", name: str = "") -> bytes:
        """What `seal` was given. Raises `Tampered` if anything differs; `name` is for its message only."""
        name = name or purpose
        if len(sealed) < _SEAL_BYTES or sealed[:1] != _VERSION:
            raise Tampered(name)
        head, nonce = sealed[: 1 + _KEY_ID_BYTES], sealed[1 + _KEY_ID_BYTES : 1 + _KEY_ID_BYTES + NONCE_BYTES]
        master = self._masters.get(head[1:])
        if master is None:
            raise UnknownMasterKey(name, head[1:])
        cipher = self._cipher(master, purpose, tenant_id)
        try:
            return cipher.decrypt(nonce, sealed[len(head) + NONCE_BYTES :], head + aad)
        except InvalidTag:
            raise Tampered(name) from None

    @staticmethod
    def _cipher(master: bytes, purpose: str, tenant_id: UUID | None) -> AESGCM:
        return AESGCM(_hkdf(master, _info(b"seal", purpose, tenant_id)))


class FileSealer:
    """Encrypts one file as it comes: `header`, then what each `update` returns, then what `finish` returns."""

    def __init__(self, keyring: Keyring, *, tenant_id: UUID, name: str) -> None:
        key = os.urandom(KEY_BYTES)
        self._cipher = AESGCM(key)
        self._prefix = os.urandom(_PREFIX_BYTES)
        self._number = 0
        self._rest = bytearray()
        aad = _file_aad(self._prefix, name)
        self.header = _VERSION + self._prefix + keyring.seal(key, purpose="files", tenant_id=tenant_id, aad=aad)

    def update(self, data: Buffer) -> bytes:
        """The segments that are now complete, often none.

        One segment is always held back: only the end tells which is the last.
        """
        self._rest += data
        whole = max(0, len(self._rest) - 1) // SEGMENT_BYTES
        if not whole:
            return b""
        with memoryview(self._rest) as view:
            segments = [
                self._seal(view[at : at + SEGMENT_BYTES]) for at in range(0, whole * SEGMENT_BYTES, SEGMENT_BYTES)
            ]
        del self._rest[: whole * SEGMENT_BYTES]
        return b"".join(segments)

    def finish(self) -> bytes:
        """The last segment; an empty file has one too, so that its being empty is vouched for."""
        return self._seal(self._rest, last=True)

    def _seal(self, segment: Buffer, *, last: bool = False) -> bytes:
        sealed = self._cipher.encrypt(_nonce(self._prefix, self._number, last=last), segment, None)
        self._number += 1
        return sealed


class FileOpener:
    """Decrypts the segments of one sealed file, in any order."""

    def __init__(self, keyring: Keyring, header: bytes, sealed_size: int, *, tenant_id: UUID, name: str) -> None:
        """`sealed_size` is the size of header and segments as the store tells it.

        It is not vouched for until the last segment was opened. Raises `Tampered`.
        """
        self.name = name
        body = sealed_size - HEADER_BYTES
        self.segments = max(1, -(-body // SEALED_SEGMENT_BYTES))
        self.size = body - self.segments * TAG_BYTES
        """Bytes of plaintext."""
        if len(header) != HEADER_BYTES or header[:1] != _VERSION or self.size < 0:
            raise Tampered(name)
        self._prefix = header[1 : 1 + _PREFIX_BYTES]
        aad = _file_aad(self._prefix, name)
        sealed_key = header[1 + _PREFIX_BYTES :]
        self._cipher = AESGCM(keyring.open(sealed_key, purpose="files", tenant_id=tenant_id, aad=aad, name=name))

    def open(self, number: int, sealed: Buffer) -> bytes:
        """The plaintext of segment `number`, counted from 0. Raises `Tampered`."""
        try:
            return self._cipher.decrypt(_nonce(self._prefix, number, last=number == self.segments - 1), sealed, None)
        except (InvalidTag, OverflowError):
            raise Tampered(self.name) from None


def sealed_offset(number: int) -> int:
    """Where segment `number` begins in the sealed file."""
    return HEADER_BYTES + number * SEALED_SEGMENT_BYTES


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def _file_aad(prefix: bytes, name: str) -> bytes:
    return b"folkmoot file" + _VERSION + prefix + name.encode()


def _info(use: bytes, purpose: str, tenant_id: UUID | None) -> bytes:
    # The tenant's part has a fixed length for each of its two first bytes, so no two inputs read the same.
    tenant = b"\x00" if tenant_id is None else b"\x01" + tenant_id.bytes
    return b"folkmoot " + use + b"\x00" + tenant + purpose.encode()


def _hkdf(master: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master)
