"""The unit of work: on whose behalf, in which transaction, and what follows the commit.

Requests, tasks, commands and tests all come through `begin()`; `.commit(` stands nowhere else. What is
enqueued or announced inside goes out only after the commit, so nobody hears of what did not happen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from uuid_utils.compat import uuid7

from folkmoot.kit.access import Principal
from folkmoot.kit.caller import caller
from folkmoot.kit.events import Event
from folkmoot.kit.glance import Pool
from folkmoot.kit.jobs import Jobs, Task
from folkmoot.kit.log import get_logger

log = get_logger(__name__)


@dataclass
class Sessions:
    """What a transaction needs around it: the engine, the queue, and the bell that tells of new events."""

    engine: AsyncEngine
    jobs: Jobs
    ring: Callable[[UUID], Awaitable[None]]
    """Says that a tenant has new events; losing a call only delays."""
    glances: Pool
    """Connections for the guard's reads."""


@dataclass
class Work:
    """One transaction on behalf of one principal."""

    session: AsyncSession
    principal: Principal
    sessions: Sessions
    follow: list[Callable[[], Awaitable[None]]] = field(default_factory=list[Callable[[], Awaitable[None]]])
    """What `begin()` does after the commit; add to it by `enqueue` and `after_commit`."""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Recorded, and written as the last statement before the commit."""

    def enqueue(self, task: Task, *, delay: float = 0, **payload: Any) -> None:
        """Queue `task` once this transaction is committed; `delay` in seconds."""
        self.follow.append(lambda: self.sessions.jobs.send(task, payload, delay=delay))

    def after_commit(self, call: Callable[[], Awaitable[None]]) -> None:
        """Run `call` once this transaction is committed. It must be harmless to lose."""
        self.follow.append(call)

    def record(
        self,
        action: str,
        object_type: str,
        object_id: UUID | None = None,
        *,
        space_id: UUID | None = None,
        user_id: UUID | None = None,
        data: dict[str, Any] | None = None,
        tenant_id: UUID | None = None,
    ) -> None:
        """Write an event in this transaction. `user_id` narrows who hears of it to that person."""
        self.events.append(
            event_row(
                self.principal,
                tenant_id or self.principal.tenant,
                action,
                object_type,
                object_id,
                space_id=space_id,
                user_id=user_id,
                data=data,
            )
        )

    async def enter(self, tenant_id: UUID) -> None:
        """Become the given tenant, once a stranger has shown who they are or a tenant has been made."""
        self.principal = replace(self.principal, tenant_id=tenant_id)
        await _say_who(self.session, self.principal)


def event_row(
    who: Principal,
    tenant_id: UUID,
    action: str,
    object_type: str,
    object_id: UUID | None,
    *,
    space_id: UUID | None = None,
    user_id: UUID | None = None,
    data: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An event as a row to insert: who did it, from where, to what."""
    source = caller.get()
    return {
        "id": uuid7(),
        "tenant_id": tenant_id,
        "created_at": datetime.now(UTC),
        "actor_kind": who.kind,
        "actor_id": who.user_id,
        "key_id": who.key_id,
        "action": action,
        "object_type": object_type,
        "object_id": object_id,
        "space_id": space_id,
        "user_id": user_id,
        "request_id": source.request_id,
        "ip": source.ip,
        "user_agent": source.user_agent[:300],
        "data": data or {},
    }


@asynccontextmanager
async def begin(sessions: Sessions, principal: Principal) -> AsyncGenerator[Work]:
    """Open a transaction as `principal`; commit at the end, roll back on any error.

    Errors leave as they came: an `IntegrityError` is told apart where it is shown (`errors.from_database`).
    """
    async with AsyncSession(sessions.engine, expire_on_commit=False, autoflush=True) as session:
        work = Work(session, principal, sessions)
        await _say_who(session, principal)
        yield work
        if work.events:
            await session.flush()
            await session.execute(_RECORD, work.events)
        await session.commit()
    if work.events and work.principal.tenant_id is not None:
        work.after_commit(lambda: sessions.ring(work.principal.tenant))
    # In order: the stream of an answer is opened before the worker hears of it.
    for call in work.follow:
        try:
            await call()
        except Exception:
            # It is committed: an error now would tell the client that it is not.
            log.exception("work.follow_up_failed")


_RECORD = insert(cast("Table", Event.__table__))
_SAY_WHO = text(
    "SELECT set_config('folkmoot.tenant', :tenant, true), set_config('folkmoot.lookup', :lookup, true),"
    " set_config('folkmoot.platform', :platform, true)"
)


async def _say_who(session: AsyncSession, principal: Principal) -> None:
    await session.execute(
        _SAY_WHO,
        {
            "tenant": str(principal.tenant_id or ""),
            "lookup": principal.lookup,
            "platform": "on" if principal.kind == "platform" else "",
        },
    )
