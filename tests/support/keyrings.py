"""Keyrings whose keys a test changes under them, as a rotation does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from folkmoot.kit.crypto import PLATFORM, MasterKeys
from folkmoot.kit.data_keys import DERIVE, KeyRow, Remembered
from folkmoot.kit.envelope import Keyring

MASTER = b"k" * 32


class Changing(Remembered):
    """A store of keys in memory, of which two keyrings may be."""

    def __init__(self, *master_keys: bytes) -> None:
        super().__init__()
        self.masters = MasterKeys(master_keys or MASTER)

    async def keyring(self, master_keys: MasterKeys | bytes | Sequence[bytes] | None = None, **options) -> Keyring:
        made = Keyring(self.masters if master_keys is None else master_keys, self, **options)
        await made.start()
        await made.close()
        return made

    def give(
        self, purpose: str, version: int, key: bytes, *, tenant_id: UUID = PLATFORM, use_from=None, until=None
    ) -> None:
        wrapped = key and self.masters.wrap(key, tenant_id=tenant_id, purpose=purpose, version=version)
        row = KeyRow(tenant_id, purpose, version, wrapped, use_from or datetime.now(UTC), until)
        self.found[tenant_id, purpose, version] = row

    def take(self, purpose: str, version: int, tenant_id: UUID = PLATFORM) -> None:
        del self.found[tenant_id, purpose, version]

    def rewrap(self, *master_keys: bytes) -> None:
        """Wrap every key with the first of these."""
        masters = MasterKeys([*master_keys])
        for place, row in self.found.items():
            of = {"tenant_id": row.tenant_id, "purpose": row.purpose, "version": row.version}
            key = self.masters.unwrap(row.wrapped, **of) if row.wrapped else b""
            self.found[place] = replace(row, wrapped=key and masters.wrap(key, **of))
        self.masters = masters

    async def new_root(self, keyring: Keyring, *, keep: Sequence[str] = ()) -> None:
        """Another root, and of the one before only what is kept."""
        (old,) = (row for row in self.of(PLATFORM) if row.purpose == DERIVE)
        for purpose in keep:
            self.give(purpose, old.version, keyring.derive(purpose))
        self.take(DERIVE, old.version)
        self.give(DERIVE, old.version + 1, bytes([old.version]) * 32)
        await keyring.look()
