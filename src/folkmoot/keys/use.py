"""When and from where keys are used, written beside the request.

A key in use costs one small write a minute. Its first use from an address is an event that its owner is told
of; an address that this process has seen before costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from folkmoot.keys.models import KeyAddress
from folkmoot.kit.access import Principal
from folkmoot.kit.caller import Caller, called_by, caller
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Sessions, begin

log = get_logger(__name__)
K = TypeVar("K")
V = TypeVar("V")
EVERY_SECONDS = 60.0
PAUSE_SECONDS = 0.1
MOST_KNOWN = 50_000
MOST_WAITING = 2_000
# Not through the mapper: a use is no edit, so neither `revision` nor `updated_at` moves.
TOUCH = text(
    "UPDATE api_keys SET last_used_at = :at, last_used_from = :ip"
    " WHERE id = :key AND (last_used_at IS NULL OR last_used_at <= :before)"
).bindparams(bindparam("key", type_=Uuid()))


@dataclass(frozen=True)
class _Use:
    principal: Principal
    key_id: UUID
    ip: str
    at: datetime
    by: Caller


def keep(kept: dict[K, V], name: K, value: V, most: int) -> None:
    """Put `name` last; of more than `most`, the one that has been there longest goes."""
    kept.pop(name, None)
    if len(kept) >= most:
        del kept[next(iter(kept))]
    kept[name] = value


class Uses:
    """Lives as long as the process. `close` writes what is left."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._seen: dict[tuple[UUID, str], None] = {}
        self._written: dict[UUID, float] = {}
        self._waiting: list[_Use] = []
        self._writing: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    def note(self, principal: Principal, ip: str) -> None:
        """Never fails, and never waits."""
        if (key_id := principal.key_id) is None or len(self._waiting) >= MOST_WAITING:
            return
        now, place = time.monotonic(), (key_id, ip)
        if place in self._seen and now - self._written.get(key_id, -EVERY_SECONDS) < EVERY_SECONDS:
            return
        keep(self._seen, place, None, MOST_KNOWN)
        keep(self._written, key_id, now, MOST_KNOWN)
        self._waiting.append(_Use(principal, key_id, ip, datetime.now(UTC), caller.get()))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        # Not cancelled: what it has taken would be lost.
        if self._writing is not None:
            await self._writing
        await self.flush()

    async def flush(self) -> None:
        """Write what was noted. What cannot be written is logged, and noted again at the next use."""
        async with self._one_at_a_time:
            uses, self._waiting = self._waiting, []
            for use in uses:
                try:
                    with called_by(use.by):
                        await self._write(use)
                except (OSError, DBAPIError) as error:
                    log.warning("keys.use_not_written", key_id=str(use.key_id), error=str(error))
                    self._seen.pop((use.key_id, use.ip), None)

    async def _write(self, use: _Use) -> None:
        tenant_id, owner = use.principal.tenant, use.principal.user
        async with begin(self._sessions, use.principal) as work:
            await work.session.execute(
                TOUCH,
                {"key": use.key_id, "at": use.at, "ip": use.ip, "before": use.at - timedelta(seconds=EVERY_SECONDS)},
            )
            if not use.ip:
                return
            found = insert(KeyAddress).values(tenant_id=tenant_id, key_id=use.key_id, ip=use.ip)
            new = await work.session.scalar(found.on_conflict_do_nothing().returning(KeyAddress.id))
            if new is not None:
                work.record("key.used_from_new_address", "api_key", use.key_id, user_id=owner, data={"ip": use.ip})

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.flush()
