"""Keys, sealed secrets and sealed files.

An envelope: the master keys of the settings only wrap random data keys, one for each tenant, and those seal. So a
master key can be exchanged without touching what is sealed; see `kit/envelope.py` for where data keys live. Under
each key HKDF-SHA256 (RFC 5869) derives one for each purpose, so that nothing sealed for one opens for another.

Files are sealed in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015): AES-256-GCM over segments
whose nonce holds their number and whether they are the last. A cut, a swap or a repeat of segments is
therefore found, and any segment can be read alone.

    wrapped  = version(2) ‖ master key id(4) ‖ nonce(12) ‖ data key(32) ‖ tag(16)
    sealed   = version(2) ‖ data key version(4) ‖ nonce(12) ‖ ciphertext ‖ tag(16)
    file     = version(1) ‖ nonce prefix(7) ‖ sealed file key(65) ‖ segment…
    segment  = AES-256-GCM(file key, nonce = prefix(7) ‖ number(4) ‖ last(1), 64 KiB of plaintext) ‖ tag(16)
    sealed before there were data keys = version(1) ‖ master key id(4) ‖ nonce(12) ‖ ciphertext ‖ tag(16)

The file key is random and sealed with the tenant's; name and nonce prefix are its associated data, so a file that
was moved to another name or tenant does not open.

All of it runs on the event loop: a segment takes about 10 µs where the processor has AES instructions, less
than handing it to a thread would.

    CryptoError
    ├── Tampered                  what is stored is not what was sealed, or not for this place
    │   ├── UnknownMasterKey      needs a master key that is not in the settings (any more)
    │   └── UnknownKeyVersion     needs a data key that is not there (yet, or any more)
    ├── NoPlaceForKeys            the database has no table of them, or the tenant is gone
    └── BadMasterKey              a master key that cannot be one
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Buffer = bytes | bytearray | memoryview

PLATFORM = UUID(int=0)
"""The tenant that is the installation itself (`tenants.models.PLATFORM`)."""

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
SEGMENT_BYTES = 64 * 1024
"""Plaintext in every segment of a file but the last."""
SEALED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES
FILES = "files"
"""The purpose of file keys."""

OLD = b"\x01"
"""First byte of what was sealed straight from a master key."""
_VERSION = b"\x02"
_FILE_VERSION = b"\x01"
HEAD_BYTES = 5
"""At the beginning of a seal: which key it is with."""
_PREFIX_BYTES = 7
_SEAL_BYTES = HEAD_BYTES + NONCE_BYTES + TAG_BYTES
FILE_KEY_AT = 1 + _PREFIX_BYTES
"""Where the sealed file key stands in a header."""
HEADER_BYTES = FILE_KEY_AT + _SEAL_BYTES + KEY_BYTES
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
    """Needs a master key that is not among those given, or its first bytes were changed."""

    def __init__(self, name: str, key_id: bytes) -> None:
        super().__init__(
            name,
            f"{name!r} is sealed with the master key {key_id.hex()}, which is not here: "
            "add it after the first in FOLKMOOT_SECRET_KEY, or restore the damaged data from a backup",
        )
        self.key_id = key_id


class UnknownKeyVersion(Tampered):
    """Needs a version of its tenant's data key that is not there, or its first bytes were changed."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            name,
            f"{name!r} is sealed with version {version} of its organisation's data key, which is not here: it was "
            "changed, or the keys in the database are of another time: restore both from one backup",
        )


class NoPlaceForKeys(CryptoError):
    """A data key cannot be made or read: there is no table for it, or no such tenant."""


class MasterKeys:
    """The master keys: the first wraps, all unwrap."""

    def __init__(self, keys: bytes | Sequence[bytes]) -> None:
        keys = [keys] if isinstance(keys, bytes) else list(keys)
        if not keys:
            raise BadMasterKey("no master key is given: set FOLKMOOT_SECRET_KEY")
        for key in keys:
            if len(key) != KEY_BYTES:
                raise BadMasterKey(f"a master key has {len(key)} bytes: it must have {KEY_BYTES}, all of them random")
        self._keys = {_hkdf(key, b"folkmoot key id")[: HEAD_BYTES - 1]: key for key in keys}
        if len(self._keys) != len(keys):
            raise BadMasterKey("two of the master keys are the same: remove one of them")
        self._wrapping = {key_id: AESGCM(_hkdf(key, b"folkmoot wrap")) for key_id, key in self._keys.items()}
        self.ids = list(self._keys)
        """A name for each, that says nothing about it; in their order."""

    def __repr__(self) -> str:
        return f"<MasterKeys {', '.join(key_id.hex() for key_id in self.ids)}>"

    def wrap(self, key: bytes, *, tenant_id: UUID, purpose: str, version: int, under: bytes | None = None) -> bytes:
        """`key` as it may lie in the database: wrapped with the first master key, or with that of the id `under`."""
        head = _VERSION + (under or self.ids[0])
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._wrapping.get(head[1:])
        if cipher is None:
            raise UnknownMasterKey("the keys of this installation", head[1:])
        return head + nonce + cipher.encrypt(nonce, key, head + _wrap_aad(tenant_id, purpose, version))

    def unwrap(self, wrapped: bytes, *, tenant_id: UUID, purpose: str, version: int) -> bytes:
        """What `wrap` was given. Raises `UnknownMasterKey` or `Tampered`."""
        name = f"the key {purpose} {version} of the tenant {tenant_id}"
        head, nonce = wrapped[:HEAD_BYTES], wrapped[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES]
        if len(wrapped) != _SEAL_BYTES + KEY_BYTES or head[:1] != _VERSION:
            raise Tampered(name)
        cipher = self._wrapping.get(head[1:])
        if cipher is None:
            raise UnknownMasterKey(name, head[1:])
        try:
            return cipher.decrypt(
                nonce, wrapped[HEAD_BYTES + NONCE_BYTES :], head + _wrap_aad(tenant_id, purpose, version)
            )
        except InvalidTag:
            raise Tampered(name) from None

    def open_old(self, sealed: bytes, *, purpose: str, tenant_id: UUID | None, aad: bytes, name: str) -> bytes:
        """What was sealed straight from a master key, before there were data keys."""
        master = self._keys.get(sealed[1:HEAD_BYTES])
        if master is None:
            raise UnknownMasterKey(name, sealed[1:HEAD_BYTES])
        return _decrypt(AESGCM(_hkdf(master, _info(b"seal", purpose, tenant_id))), sealed, aad, name)

    def derive_old(self, purpose: str, tenant_id: UUID | None = None) -> list[bytes]:
        """What was derived for signing before there were data keys, under each master key."""
        return [_hkdf(master, _info(b"derive", purpose, tenant_id)) for master in self._keys.values()]


class Keys:
    """The data keys of one tenant: one version seals, all open."""

    def __init__(self, tenant_id: UUID, versions: Mapping[int, bytes], current: int, masters: MasterKeys) -> None:
        self.tenant_id = tenant_id
        self.current = current
        """The version that seals."""
        self.head = _VERSION + current.to_bytes(4, "big")
        """How everything begins that is sealed now."""
        self._versions, self._masters = dict(versions), masters
        self._ciphers: dict[tuple[int, str], AESGCM] = {}

    def __repr__(self) -> str:
        return f"<Keys of {self.tenant_id}, versions {sorted(self._versions)}>"

    def seal(self, plaintext: bytes, *, purpose: str, aad: bytes = b"") -> bytes:
        """Encrypt a small secret; 33 bytes longer than it was.

        `aad` is not stored: who opens must know it. Give it whatever says where the secret belongs, such as
        the row's id. Nonces are random, so one purpose of one tenant is good for 2^32 seals (NIST SP 800-38D,
        8.3).
        """
        nonce = os.urandom(NONCE_BYTES)
        return self.head + nonce + self._cipher(self.current, purpose).encrypt(nonce, plaintext, self.head + aad)

    def open(self, sealed: bytes, *, purpose: str, aad: bytes = b"", name: str = "") -> bytes:
        """What `seal` was given. Raises `Tampered` if anything differs; `name` is for its message only."""
        name = name or purpose
        if len(sealed) < _SEAL_BYTES or sealed[:1] not in (OLD, _VERSION):
            raise Tampered(name)
        if sealed[:1] == OLD:
            tenant_id = None if self.tenant_id == PLATFORM else self.tenant_id
            return self._masters.open_old(sealed, purpose=purpose, tenant_id=tenant_id, aad=aad, name=name)
        version = int.from_bytes(sealed[1:HEAD_BYTES], "big")
        if version not in self._versions:
            raise UnknownKeyVersion(name, version)
        return _decrypt(self._cipher(version, purpose), sealed, aad, name)

    def _cipher(self, version: int, purpose: str) -> AESGCM:
        found = self._ciphers.get((version, purpose))
        if found is None:
            key = _hkdf(self._versions[version], _info(b"seal", purpose, self.tenant_id))
            found = self._ciphers[version, purpose] = AESGCM(key)
        return found


@dataclass(frozen=True, repr=False)
class Roots:
    """What signs and vouches for the whole installation, and never seals: it is derived, and stored nowhere."""

    roots: Sequence[bytes]
    """The one that is in use first."""
    kept: Mapping[str, Sequence[bytes]]
    """By purpose, what was derived from roots that are gone, for what they signed; as `purpose:tenant` what was
    derived straight from a master key."""
    masters: MasterKeys | None
    """While anything is signed as it was before there were data keys."""

    def derive(self, purpose: str, tenant_id: UUID | None = None) -> bytes:
        """32 bytes for one purpose, such as signing; never equal to a key that seals."""
        return _of_tenant(_hkdf(self.roots[0], _info(b"derive", purpose, None)), tenant_id)

    def derivations(self, purpose: str, tenant_id: UUID | None = None) -> list[bytes]:
        """`derive` first, and then what stood in its place before: what an older key signed can still be checked."""
        bases = [_hkdf(root, _info(b"derive", purpose, None)) for root in self.roots]
        found = [_of_tenant(base, tenant_id) for base in (*bases, *self.kept.get(purpose, ()))]
        if tenant_id is not None:
            found += self.kept.get(f"{purpose}:{tenant_id}", ())
        if self.masters is not None:
            found += self.masters.derive_old(purpose, tenant_id)
        return list(dict.fromkeys(found))


def wrapped_under(wrapped: bytes) -> bytes:
    """The id of the master key that a wrapped key, or something in the old form, needs."""
    return wrapped[1:HEAD_BYTES]


class FileSealer:
    """Encrypts one file as it comes: `header`, then what each `update` returns, then what `finish` returns."""

    def __init__(self, keys: Keys, *, name: str) -> None:
        key = os.urandom(KEY_BYTES)
        self._cipher = AESGCM(key)
        self._prefix = os.urandom(_PREFIX_BYTES)
        self._number = 0
        self._rest = bytearray()
        aad = _file_aad(self._prefix, name)
        self.header = _FILE_VERSION + self._prefix + keys.seal(key, purpose=FILES, aad=aad)

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

    def __init__(self, keys: Keys, header: bytes, sealed_size: int, *, name: str) -> None:
        """`sealed_size` is the size of header and segments as the store tells it.

        It is not vouched for until the last segment was opened. Raises `Tampered`.
        """
        self.name = name
        body = sealed_size - HEADER_BYTES
        self.segments = max(1, -(-body // SEALED_SEGMENT_BYTES))
        self.size = body - self.segments * TAG_BYTES
        """Bytes of plaintext."""
        if self.size < 0:
            raise Tampered(name)
        self._prefix, self._key = _opened_header(keys, header, name)
        self._cipher = AESGCM(self._key)

    def same(self, other: FileOpener) -> bool:
        """Whether both are of one file, whose header may have been sealed anew in between."""
        return (self._prefix, self._key, self.size) == (other._prefix, other._key, other.size)

    def open(self, number: int, sealed: Buffer) -> bytes:
        """The plaintext of segment `number`, counted from 0. Raises `Tampered`."""
        try:
            return self._cipher.decrypt(_nonce(self._prefix, number, last=number == self.segments - 1), sealed, None)
        except (InvalidTag, OverflowError):
            raise Tampered(self.name) from None


def resealed_header(keys: Keys, header: bytes, *, name: str) -> bytes | None:
    """The header of a file under the key that seals now; None if it is. The segments stay as they are.

    Raises `Tampered`.
    """
    if header[FILE_KEY_AT:].startswith(keys.head):
        return None
    prefix, key = _opened_header(keys, header, name)
    return _FILE_VERSION + prefix + keys.seal(key, purpose=FILES, aad=_file_aad(prefix, name))


def sealed_offset(number: int) -> int:
    """Where segment `number` begins in the sealed file."""
    return HEADER_BYTES + number * SEALED_SEGMENT_BYTES


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def _opened_header(keys: Keys, header: bytes, name: str) -> tuple[bytes, bytes]:
    if len(header) != HEADER_BYTES or header[:1] != _FILE_VERSION:
        raise Tampered(name)
    prefix = header[1:FILE_KEY_AT]
    return prefix, keys.open(header[FILE_KEY_AT:], purpose=FILES, aad=_file_aad(prefix, name), name=name)


def _decrypt(cipher: AESGCM, sealed: bytes, aad: bytes, name: str) -> bytes:
    nonce = sealed[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES]
    try:
        return cipher.decrypt(nonce, sealed[HEAD_BYTES + NONCE_BYTES :], sealed[:HEAD_BYTES] + aad)
    except InvalidTag:
        raise Tampered(name) from None


def _file_aad(prefix: bytes, name: str) -> bytes:
    return b"folkmoot file" + _FILE_VERSION + prefix + name.encode()


def _wrap_aad(tenant_id: UUID, purpose: str, version: int) -> bytes:
    return b"folkmoot key" + tenant_id.bytes + version.to_bytes(4, "big", signed=True) + purpose.encode()


def _of_tenant(base: bytes, tenant_id: UUID | None) -> bytes:
    return base if tenant_id is None else _hkdf(base, b"folkmoot tenant" + tenant_id.bytes)


def _info(use: bytes, purpose: str, tenant_id: UUID | None) -> bytes:
    # The tenant's part has a fixed length for each of its two first bytes, so no two inputs read the same.
    tenant = b"\x00" if tenant_id is None else b"\x01" + tenant_id.bytes
    return b"folkmoot " + use + b"\x00" + tenant + purpose.encode()


def _hkdf(key: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)
