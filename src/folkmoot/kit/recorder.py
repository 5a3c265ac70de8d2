"""Events about what was refused or merely seen, written in batches beside the request.

A change and its event are one transaction (`Work.record`). A refusal changes nothing and its transaction is
rolled back, so it is noted here, and written a moment later in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Any
from uuid import UUID

from folkmoot.kit.access import Principal
from folkmoot.kit.caller import caller
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Sessions, begin, event_row

log = get_logger(__name__)
PAUSE_SECONDS = 0.2
PER_ADDRESS = 600
"""Notes kept of one address in one minute: a flood of refusals must not become a flood of rows."""


class Recorder:
    """Lives as long as the process. `close` writes what is left."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._rows: list[dict[str, Any]] = []
        self._writing: asyncio.Task[None] | None = None
        self._seen: dict[str, int] = {}
        self._minute = 0
        self._lock = asyncio.Lock()

    def note(
        self,
        tenant_id: UUID,
        action: str,
        object_type: str,
        object_id: UUID | None = None,
        *,
        principal: Principal | None = None,
        user_id: UUID | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Write this event soon. Never fails, and never waits."""
        if not self._within_bounds():
            return
        who = principal or Principal()
        self._rows.append(event_row(who, tenant_id, action, object_type, object_id, user_id=user_id, data=data))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        if self._writing is not None:
            await self._writing
        await self.flush()

    async def flush(self) -> None:
        """Write what was noted, tenant by tenant. What cannot be written is logged."""
        # One at a time: who waits here finds written what another has taken.
        async with self._lock:
            await self._flush()

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        by_tenant: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            by_tenant[row["tenant_id"]].append(row)
        for tenant_id, own in by_tenant.items():
            try:
                async with begin(self._sessions, Principal.system(tenant_id)) as work:
                    work.events.extend(own)
            except Exception as error:  # noqa: BLE001 - what one tenant's rows meet must not cost those of the others
                log.warning("recorder.not_written", error=str(error), actions=[row["action"] for row in own])

    async def _write_soon(self) -> None:
        while self._rows:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.flush()

    def _within_bounds(self) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._seen = minute, {}
        network = caller.get().network
        count = self._seen[network] = self._seen.get(network, 0) + 1
        if count == PER_ADDRESS + 1:
            log.warning("recorder.flooded", network=network, per_minute=PER_ADDRESS)
        return count <= PER_ADDRESS
