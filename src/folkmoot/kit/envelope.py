"""The keyring of a process: data keys, unwrapped once and remembered, and what signs for the installation.

A tenant's data key is made when something is sealed for the tenant first. The platform's are read at the start and
looked at again every few seconds: a rotation always changes something of them, so every process hears of it and
forgets what it remembers. In between nothing is read: sealing and opening take microseconds.

Everything that signs or vouches is derived from a root of the platform's own, and needs no waiting.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TypeVar
from uuid import UUID

import asyncpg

from folkmoot.kit.crypto import (
    KEY_BYTES,
    PLATFORM,
    CryptoError,
    Keys,
    MasterKeys,
    NoPlaceForKeys,
    Roots,
    UnknownKeyVersion,
    UnknownMasterKey,
    wrapped_under,
)
from folkmoot.kit.data_keys import DERIVE, OLD, SEAL, KeyRow, KeyStore, Remembered, TenantKey
from folkmoot.kit.errors import NotAvailable
from folkmoot.kit.log import get_logger
from folkmoot.settings import SettingsError

log = get_logger(__name__)
T = TypeVar("T")

LOOK_SECONDS = 5.0
"""How long a process may not know of a rotation. A new version is there long before it is used."""
REMEMBERED_SECONDS = 3600.0
"""A key is read again after this: what was deleted with its tenant is then gone from memory too."""
MOST_REMEMBERED = 10_000
ATTEMPTS = 5


@dataclass
class _Held:
    keys: Keys
    until: float


class Keyring:
    """Seals, opens and derives. Lives as long as the process."""

    def __init__(
        self,
        master_keys: MasterKeys | bytes | Sequence[bytes],
        store: KeyStore | None = None,
        *,
        again: Callable[[], Sequence[bytes]] | None = None,
    ) -> None:
        """Without a `store`, its keys are its own, and it needs no `start`.

        `again` reads the master keys anew when one is missing: a file may have been changed since.
        """
        self.masters = master_keys if isinstance(master_keys, MasterKeys) else MasterKeys(master_keys)
        self._store: KeyStore = store or Remembered()
        self._again = again
        self._rows: Sequence[KeyRow] = ()
        """The platform's, as they were read last."""
        self._turns: datetime | None = None
        """When one of them comes into use, or goes out of it."""
        self._held: OrderedDict[UUID, _Held] = OrderedDict()
        self._reading: dict[tuple[UUID, bool], asyncio.Task[Keys]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._platform: Keys | None = None
        self._roots: Roots | None = None
        if store is None:
            own = Remembered()
            self._store = own
            for purpose in (SEAL, DERIVE):
                own.put(self._new(PLATFORM, purpose))
            self._take(own.of(PLATFORM))

    def __repr__(self) -> str:
        return f"<Keyring under {self.masters!r}>"

    async def start(self) -> None:
        """Read the platform's keys, which are made if there are none, and go on looking at them.

        Raises `UnknownMasterKey`, `Tampered` or `NoPlaceForKeys`.
        """
        rows = await self._store.rows(PLATFORM)
        for purpose in (SEAL, DERIVE):
            if not any(row.purpose == purpose for row in rows):
                await self._store.add(self._new(PLATFORM, purpose, _under(rows)))
                rows = await self._store.rows(PLATFORM)
        self._take(rows)
        self._looking = asyncio.create_task(self._look_again())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None

    @property
    def roots(self) -> Roots:
        """What signs; another object after each change."""
        if self._roots is None:
            raise RuntimeError("the keyring has no keys yet: `start` it first")
        return self._roots

    def derive(self, purpose: str, tenant_id: UUID | None = None) -> bytes:
        """32 bytes for one purpose, such as signing; never equal to a key that seals."""
        return self.roots.derive(purpose, tenant_id)

    def derivations(self, purpose: str, tenant_id: UUID | None = None) -> list[bytes]:
        """`derive` first, and then what stood in its place before: what an older key signed can still be checked."""
        return self.roots.derivations(purpose, tenant_id)

    async def seal(self, plaintext: bytes, *, purpose: str, tenant_id: UUID | None, aad: bytes = b"") -> bytes:
        """Encrypt a small secret; 33 bytes longer than it was. `aad` says where it belongs: see `Keys.seal`.

        Raises `NoPlaceForKeys` if there is no such tenant.
        """
        return (await self.of(tenant_id)).seal(plaintext, purpose=purpose, aad=aad)

    async def open(
        self, sealed: bytes, *, purpose: str, tenant_id: UUID | None, aad: bytes = b"", name: str = ""
    ) -> bytes:
        """What `seal` was given. Raises `Tampered` if anything differs; `name` is for its message only."""
        return await self.opened(tenant_id, lambda keys: keys.open(sealed, purpose=purpose, aad=aad, name=name))

    async def of(self, tenant_id: UUID | None) -> Keys:
        """The keys of a tenant, or of the platform, to seal with; made if there are none."""
        return self._known(tenant_id) or await self._read(tenant_id or PLATFORM, make=True)

    async def opened(self, tenant_id: UUID | None, use: Callable[[Keys], T]) -> T:
        """What `use` gets with the keys of a tenant; tried again with fresh ones if it needs others.

        Raises what `use` raises.
        """
        try:
            return use(self._known(tenant_id) or await self._read(tenant_id or PLATFORM, make=False))
        except (UnknownKeyVersion, UnknownMasterKey) as error:
            await self._learn(tenant_id or PLATFORM, error)
            return use(self._known(tenant_id) or await self._read(tenant_id or PLATFORM, make=False))

    async def look(self) -> None:
        """See whether the platform's keys have changed, and if so forget all others."""
        rows = await self._store.rows(PLATFORM)
        due = self._turns is not None and self._turns <= datetime.now(UTC)
        if rows and (due or list(rows) != list(self._rows)):
            self._take(rows)
            self._held.clear()

    def _known(self, tenant_id: UUID | None) -> Keys | None:
        if tenant_id is None or tenant_id == PLATFORM:
            if self._platform is None:
                raise RuntimeError("the keyring has no keys yet: `start` it first")
            return self._platform
        held = self._held.get(tenant_id)
        return held.keys if held is not None and held.until > monotonic() else None

    async def _learn(self, tenant_id: UUID, error: CryptoError) -> None:
        """Get what was missing: a version that another process made, or a master key that was put into its file."""
        if isinstance(error, UnknownMasterKey) and not self._reread(error.key_id):
            raise error
        self._held.pop(tenant_id, None)
        if tenant_id == PLATFORM:
            self._take(await self._store.rows(PLATFORM))

    async def _read(self, tenant_id: UUID, *, make: bool) -> Keys:
        """Read the keys of a tenant; all who need them at this moment wait for one."""
        task = self._reading.get((tenant_id, make))
        if task is None:
            task = self._reading[tenant_id, make] = asyncio.create_task(self._fetch(tenant_id, make))
            task.add_done_callback(lambda done: self._read_done((tenant_id, make), done))
        # Shielded: one who hangs up must not take it from the others.
        return await asyncio.shield(task)

    def _read_done(self, what: tuple[UUID, bool], task: asyncio.Task[Keys]) -> None:
        self._reading.pop(what, None)
        if not task.cancelled():
            # Nobody may be waiting any more; then it is no news.
            task.exception()

    async def _fetch(self, tenant_id: UUID, make: bool) -> Keys:
        seen = self._rows
        rows = await self._store.rows(tenant_id)
        for _ in range(ATTEMPTS if make else 0):
            if any(row.purpose == SEAL for row in rows):
                break
            if not await self._store.add(self._new(tenant_id, SEAL, _under(self._rows))):
                # The master key was changed a moment ago.
                await self.look()
            rows = await self._store.rows(tenant_id)
        if self._rows is not seen:
            # There was a rotation meanwhile: what was read may be from before it.
            return await self._fetch(tenant_id, make)
        keys = self._unwrapped(tenant_id, rows)
        if keys.current:
            later = [row.use_from for row in rows if row.use_from > datetime.now(UTC)]
            wait = min([REMEMBERED_SECONDS, *((at - datetime.now(UTC)).total_seconds() for at in later)])
            self._held[tenant_id] = _Held(keys, monotonic() + wait)
            while len(self._held) > MOST_REMEMBERED:
                self._held.popitem(last=False)
        elif make:
            raise NoPlaceForKeys(f"no key could be made for the tenant {tenant_id}: its master key is being changed")
        return keys

    def _new(self, tenant_id: UUID, purpose: str, under: bytes | None = None) -> KeyRow:
        key = os.urandom(KEY_BYTES)
        wrapped = self._with_masters(
            lambda masters: masters.wrap(key, tenant_id=tenant_id, purpose=purpose, version=1, under=under)
        )
        return KeyRow(tenant_id, purpose, 1, wrapped, datetime.now(UTC))

    def _unwrap(self, row: KeyRow) -> bytes:
        return self._with_masters(
            lambda masters: masters.unwrap(
                row.wrapped, tenant_id=row.tenant_id, purpose=row.purpose, version=row.version
            )
        )

    def _unwrapped(self, tenant_id: UUID, rows: Sequence[KeyRow]) -> Keys:
        sealing = [row for row in rows if row.purpose == SEAL]
        return Keys(tenant_id, {row.version: self._unwrap(row) for row in sealing}, in_use(sealing), self.masters)

    def _take(self, rows: Sequence[KeyRow]) -> None:
        """Use the platform's keys as they are now, all of them or none."""
        now = datetime.now(UTC)
        keys = self._unwrapped(PLATFORM, rows)
        deriving = [row for row in rows if row.purpose == DERIVE]
        first = in_use(deriving)
        kept: dict[str, list[bytes]] = {}
        for row in reversed(rows):
            if row.purpose not in (SEAL, DERIVE, OLD) and (row.until is None or row.until > now):
                kept.setdefault(row.purpose, []).append(self._unwrap(row))
        roots = [self._unwrap(row) for row in sorted(deriving, key=lambda row: (row.version != first, -row.version))]
        old = any(row.purpose == OLD for row in rows)
        self._roots = Roots(roots, kept, self.masters if old else None)
        self._platform, self._rows = keys, rows
        turns = [moment for row in rows for moment in (row.use_from, row.until) if moment is not None and moment > now]
        self._turns = min(turns, default=None)

    def _with_masters(self, use: Callable[[MasterKeys], T]) -> T:
        try:
            return use(self.masters)
        except UnknownMasterKey as error:
            if not self._reread(error.key_id):
                raise
            return use(self.masters)

    def _reread(self, key_id: bytes) -> bool:
        """Read the master keys once more; whether the one that is needed is among them now."""
        if self._again is None:
            return False
        try:
            masters = MasterKeys(self._again())
        except (CryptoError, SettingsError) as error:
            log.warning("keys.master_not_read", error=str(error))
            return False
        if key_id not in masters.ids:
            return False
        self.masters = masters
        return True

    async def _look_again(self) -> None:
        said = ""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                said = ""
            except (CryptoError, NotAvailable, asyncpg.PostgresError, OSError) as error:
                # What is in memory goes on working; one line for each new trouble is enough.
                if repr(error) != said:
                    log.warning("keys.not_read", error=str(error) or repr(error))
                said = repr(error)
            except Exception:
                log.exception("keys.look_crashed")


def in_use(rows: Sequence[KeyRow | TenantKey]) -> int:
    """The version that is used of some of one purpose; 0 if there is none."""
    now = datetime.now(UTC)
    return max(
        (row.version for row in rows if row.use_from <= now), default=min((row.version for row in rows), default=0)
    )


def _under(rows: Sequence[KeyRow]) -> bytes | None:
    """The master key that the platform's keys are wrapped with, so that all others are too."""
    return next((wrapped_under(row.wrapped) for row in rows if row.purpose == SEAL), None)
