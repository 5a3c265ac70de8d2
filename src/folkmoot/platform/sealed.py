"""What is sealed at rest, and sealing it anew with the newest key of its tenant.

Rows are compared before they are written, so what somebody changes at the same moment stays as they left it. It can
be cut off anywhere and taken up again: what is sealed with the newest key already is passed over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from folkmoot.ai.service import PURPOSE as CONNECTION
from folkmoot.federation.backends import PURPOSE as LOGIN_METHOD
from folkmoot.federation.returning import PURPOSE as PENDING_SIGN_IN
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.crypto import FILES, OLD, CryptoError, wrapped_under
from folkmoot.kit.idempotency import PURPOSE as IDEMPOTENCY
from folkmoot.kit.storage_errors import Missing, StorageError
from folkmoot.knowledge.password import PURPOSE as DOCUMENT_PASSWORD
from folkmoot.tools.config import PURPOSE as TOOL_SERVER
from folkmoot.websites.secret import PURPOSE as WEBSITE

BATCH = 200
FILES_AT_ONCE = 4
"""A bucket answers slowly and a folder does not mind."""


@dataclass(frozen=True)
class Column:
    """A column of sealed secrets."""

    table: str
    name: str
    purpose: str
    of_row: bool
    """The row's id is part of the seal, so that a secret that was moved to another row does not open."""


COLUMNS = (
    Column("connections", "config", CONNECTION, of_row=False),
    Column("documents", "password", DOCUMENT_PASSWORD, of_row=True),
    Column("login_methods", "config", LOGIN_METHOD, of_row=False),
    Column("sessions", "logout_hint", "logout-hint", of_row=True),
    Column("tool_servers", "config", TOOL_SERVER, of_row=True),
    Column("users", "totp_secret", "totp", of_row=True),
    Column("websites", "auth", WEBSITE, of_row=True),
)
"""All but the files. A test compares it with what the source seals."""
PASSING = frozenset({IDEMPOTENCY, PENDING_SIGN_IN})
"""Purposes of what lies in Redis and is gone within a day; it is not sealed anew."""


@dataclass(frozen=True)
class Fault:
    """Something that cannot be opened, and so cannot be sealed anew."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class Resealing:
    """Seals anew what one tenant has. Whoever reads or writes it meanwhile notices nothing."""

    def __init__(self, app: App, tenant_id: UUID, say: Callable[[str], None]) -> None:
        self._app, self._tenant_id, self._say = app, tenant_id, say
        self.secrets = 0
        self.files = 0
        self.faults: list[Fault] = []

    async def run(self) -> None:
        for column in COLUMNS:
            await self._column(column)
        await self._files()

    async def _column(self, column: Column) -> None:
        keyring = self._app.keyring
        keys = await keyring.of(self._tenant_id)
        after = UUID(int=0)
        while True:
            async with self._app.begin(Principal.system(self._tenant_id)) as work:
                rows = await work.session.execute(
                    text(
                        f"SELECT id, {column.name} AS sealed FROM {column.table} WHERE tenant_id = :tenant"
                        f" AND id > :after AND {column.name} IS NOT NULL AND substring({column.name} FOR 5) <> :head"
                        f" ORDER BY id LIMIT {BATCH}"
                    ),
                    {"tenant": self._tenant_id, "after": after, "head": keys.head},
                )
                found = rows.all()
                for row in found:
                    aad = row.id.bytes if column.of_row else b""
                    try:
                        plain = keys.open(row.sealed, purpose=column.purpose, aad=aad)
                    except CryptoError as error:
                        self.faults.append(Fault(f"{column.table}.{column.name} of {row.id}", str(error)))
                        continue
                    changed = await work.session.execute(
                        text(
                            f"UPDATE {column.table} SET {column.name} = :new"
                            f" WHERE tenant_id = :tenant AND id = :id AND {column.name} = :old RETURNING 1"
                        ),
                        {
                            "tenant": self._tenant_id,
                            "id": row.id,
                            "old": row.sealed,
                            "new": keys.seal(plain, purpose=column.purpose, aad=aad),
                        },
                    )
                    self.secrets += len(changed.all())
            if len(found) < BATCH:
                return
            after = found[-1].id

    async def _files(self) -> None:
        seen = 0
        async for batch, total in files_of(self._app, self._tenant_id):
            for at in range(0, len(batch), FILES_AT_ONCE):
                await asyncio.gather(*(self._file(*one) for one in batch[at : at + FILES_AT_ONCE]))
            seen += len(batch)
            self._say(f"{seen} of {total} files looked at, {self.files} sealed anew")

    async def _file(self, file_id: UUID, key: str) -> None:
        try:
            if not await self._app.storage.reseal(self._tenant_id, key):
                return
        except Missing:
            # It is on its way in, or was removed: both happen.
            return
        except (CryptoError, StorageError) as error:
            self.faults.append(Fault(f"file {file_id}", str(error)))
            return
        self.files += 1
        async with self._app.begin(Principal.system(self._tenant_id)) as work:
            there = await work.session.scalar(text("SELECT 1 FROM files WHERE id = :id"), {"id": file_id})
        if there is None:
            # Removed while it was written anew: its row goes first, so what we put back is nobody's.
            await self._app.storage.delete(self._tenant_id, key)


async def files_of(app: App, tenant_id: UUID) -> AsyncIterator[tuple[Sequence[Any], int]]:
    """The files of a tenant as (id, storage key), in batches, each with how many there are in all."""
    after = UUID(int=0)
    async with app.begin(Principal.system(tenant_id)) as work:
        total = await work.session.scalar(text("SELECT count(*) FROM files WHERE tenant_id = :t"), {"t": tenant_id})
    while True:
        async with app.begin(Principal.system(tenant_id)) as work:
            rows = await work.session.execute(
                text(
                    f"SELECT id, storage_key FROM files WHERE tenant_id = :t AND id > :after ORDER BY id LIMIT {BATCH}"
                ),
                {"t": tenant_id, "after": after},
            )
            batch = rows.all()
        if batch:
            yield batch, total or 0
            after = batch[-1].id
        if len(batch) < BATCH:
            return


async def in_old_form(app: App, tenant_id: UUID) -> dict[bytes, Counter[str]]:
    """What a tenant has that is sealed straight from a master key: by the master key's id, how much of what."""
    found: dict[bytes, Counter[str]] = {}
    for column in COLUMNS:
        async with app.begin(Principal.system(tenant_id)) as work:
            rows = await work.session.execute(
                text(
                    f"SELECT substring({column.name} FROM 2 FOR 4) AS master, count(*) AS number FROM {column.table}"
                    f" WHERE tenant_id = :tenant AND substring({column.name} FOR 1) = :old GROUP BY 1"
                ),
                {"tenant": tenant_id, "old": OLD},
            )
            for row in rows:
                found.setdefault(row.master, Counter())[f"{column.table}.{column.name}"] += row.number
    async for batch, _ in files_of(app, tenant_id):
        for at in range(0, len(batch), FILES_AT_ONCE):
            for head in await asyncio.gather(
                *(_head(app, tenant_id, key) for _, key in batch[at : at + FILES_AT_ONCE])
            ):
                if head.startswith(OLD):
                    found.setdefault(wrapped_under(head), Counter())[FILES] += 1
    return found


async def _head(app: App, tenant_id: UUID, key: str) -> bytes:
    try:
        return await app.storage.seal_of(tenant_id, key)
    except (Missing, CryptoError):
        return b""
