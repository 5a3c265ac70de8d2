"""Where data keys lie: wrapped, in a row each, or in memory alone for what needs no others.

They are read and added outside of any transaction, on the guard's connections: whoever seals may hold a connection
already, and a pool in which everybody waits for a second one stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import asyncpg
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.crypto import PLATFORM, NoPlaceForKeys, wrapped_under
from folkmoot.kit.db import Base, Tenanted
from folkmoot.kit.glance import Pool, glance

SEAL = "seal"
"""Purpose of the data keys of a tenant."""
DERIVE = "derive"
"""Purpose of the platform's roots, from which is derived what signs."""
OLD = "old"
"""Of a row without a key: the tenant has things that are sealed, or signed, straight from a master key."""


class TenantKey(Tenanted, Base):
    """A random key, wrapped with a master key. It goes with its tenant, and with it all that it sealed."""

    __tablename__ = "tenant_keys"
    __table_args__ = (UniqueConstraint("tenant_id", "purpose", "version"),)

    purpose: Mapped[str]
    """`seal`; `derive`; `old`; or, of the platform, the purpose of what is kept of a root that is gone."""
    version: Mapped[int]
    wrapped: Mapped[bytes]
    """Names its master key; see `kit/crypto.py`."""
    use_from: Mapped[datetime] = mapped_column(
        DateTimeUTC(timezone=True), default=lambda: datetime.now(UTC), server_default=func.now()
    )
    """Until then it opens and does not seal: every process must have it before one uses it."""
    until: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """Nothing needs it after this moment, and the next rotation removes it."""


@dataclass(frozen=True)
class KeyRow:
    """A `TenantKey` as it is read."""

    tenant_id: UUID
    purpose: str
    version: int
    wrapped: bytes
    use_from: datetime
    until: datetime | None = None


class KeyStore(Protocol):
    """Where a `Keyring` has its keys from."""

    async def rows(self, tenant_id: UUID) -> Sequence[KeyRow]:
        """All keys of a tenant, by purpose and version. Raises `NoPlaceForKeys`."""
        ...

    async def add(self, row: KeyRow) -> bool:
        """Put in a key unless there is one of its purpose and version: of two, one wins.

        False if it is wrapped with another master key than the platform's are. Raises `NoPlaceForKeys`.
        """
        ...


class Stored:
    """Keys in PostgreSQL, read by one round trip."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def rows(self, tenant_id: UUID) -> Sequence[KeyRow]:
        try:
            found = await glance(self._pool, "SELECT * FROM folkmoot_keys(:tenant)", tenant=tenant_id)
        except asyncpg.UndefinedFunctionError as error:
            raise NoPlaceForKeys("the database has no table of keys yet: run `folkmoot migrate`") from error
        if found is None or found[0] is None:
            return []
        return [KeyRow(tenant_id, *columns) for columns in zip(*found, strict=True)]

    async def add(self, row: KeyRow) -> bool:
        statement = "SELECT folkmoot_add_key(:tenant, :purpose, :version, :wrapped)"
        try:
            found = await glance(
                self._pool,
                statement,
                tenant=row.tenant_id,
                purpose=row.purpose,
                version=row.version,
                wrapped=row.wrapped,
            )
        except asyncpg.ForeignKeyViolationError as error:
            raise NoPlaceForKeys(
                f"there is no tenant {row.tenant_id}, so nothing can be sealed for it: it was deleted, or is being made"
            ) from error
        return found is not None and bool(found[0])


class Remembered:
    """Keys that only this process has: for what is sealed and opened here, and for tests."""

    def __init__(self) -> None:
        self.found: dict[tuple[UUID, str, int], KeyRow] = {}

    async def rows(self, tenant_id: UUID) -> Sequence[KeyRow]:
        return self.of(tenant_id)

    async def add(self, row: KeyRow) -> bool:
        return self.put(row)

    def of(self, tenant_id: UUID) -> Sequence[KeyRow]:
        return sorted(
            (row for row in self.found.values() if row.tenant_id == tenant_id),
            key=lambda row: (row.purpose, row.version),
        )

    def put(self, row: KeyRow) -> bool:
        beside = [other for other in self.of(PLATFORM) if other.purpose == SEAL]
        if (row.tenant_id, row.purpose) != (PLATFORM, SEAL) and not any(
            wrapped_under(row.wrapped) == wrapped_under(other.wrapped) for other in beside
        ):
            return False
        self.found.setdefault((row.tenant_id, row.purpose, row.version), row)
        return True
