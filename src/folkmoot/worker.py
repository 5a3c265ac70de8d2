"""The worker: lanes of tasks, the sweep, and the list of task modules."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from taskiq.api import run_receiver_task

from folkmoot.assemble import assemble
from folkmoot.audit import tasks as _audit
from folkmoot.conversations import tasks as _conversations
from folkmoot.conversations.answering.run import Running
from folkmoot.conversations.service import STOP_CHANNEL
from folkmoot.feed.service import ACTIVE
from folkmoot.fulltext import tasks as _merging
from folkmoot.identity import tasks as _identity
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.db import warm
from folkmoot.kit.jobs import RUNNING, SWEEPS, bind
from folkmoot.kit.log import get_logger
from folkmoot.kit.process import settle
from folkmoot.knowledge import tasks as _knowledge
from folkmoot.knowledge.embedding import tasks as _embedding
from folkmoot.knowledge.golden import tasks as _golden
from folkmoot.parsing.pool import ParserPool
from folkmoot.platform import tasks as _platform
from folkmoot.plugins.manager import PluginManager
from folkmoot.settings import Settings
from folkmoot.tenants.service import TenantService
from folkmoot.usage import tasks as _usage
from folkmoot.websites import tasks as _websites

# Importing them is what registers their tasks and sweeps.
TASK_MODULES = (
    *(_identity, _audit, _usage, _merging, _knowledge, _embedding, _golden),
    *(_websites, _conversations, _platform),
)
log = get_logger(__name__)

ALIVE_KEY = "folkmoot:worker:alive"
ALIVE_SECONDS = 15
SWEEP_SECONDS = 5.0
"""Between two sweeps through the tenants that had events within `ACTIVE_WITHIN` seconds."""
ACTIVE_WITHIN = 120.0
SWEEP_ALL_SECONDS = 30.0
"""Between two sweeps through all: with hundreds of tenants that are silent, one takes a while."""
DELAYED_SECONDS = 0.5
RECEIVER_SECONDS = 1.0
RECEIVER_TRIES = 5
LEAVE_SECONDS = 6.0
"""How long running tasks may take to put their rows in order when the worker goes down."""


@asynccontextmanager
async def working(app: App) -> AsyncGenerator[None]:
    """Do the work of the lanes in the settings while the body runs."""
    settings = app.settings
    pool = ParserPool(
        app.part(PluginManager),
        max_processes=settings.ingest_slots,
        memory=settings.parser_memory_bytes,
        seconds=settings.parser_seconds,
    )
    app.add(pool)
    app.add(Running())
    jobs = app.sessions.jobs
    bind(jobs, app, settings.lanes)
    slots = {"chat": settings.chat_slots, "ingest": settings.ingest_slots, "crawl": 8, "maintenance": 4}
    loops: list[asyncio.Task[None]] = [
        asyncio.create_task(
            run_receiver_task(jobs.brokers[lane], max_async_tasks=slots[lane], validate_params=False, sync_workers=1)
        )
        for lane in settings.lanes
    ]
    loops.append(asyncio.create_task(_again(lambda: _alive(app), ALIVE_SECONDS / 3)))
    loops.append(asyncio.create_task(_again(lambda: _delayed(app), DELAYED_SECONDS)))
    if "chat" in settings.lanes:
        loops.append(asyncio.create_task(_again(lambda: _hear_stops(app), 1.0)))
    if "maintenance" in settings.lanes:
        await _sweep_anew(app)
        loops.append(asyncio.create_task(_again(lambda: sweep_active(app), SWEEP_SECONDS)))
        loops.append(asyncio.create_task(_again(lambda: sweep(app), SWEEP_SECONDS)))
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
        _, stuck = await asyncio.wait(loops, timeout=RECEIVER_SECONDS)
        for _ in range(RECEIVER_TRIES):
            if not stuck:
                break
            # A receiver can lose its cancellation inside a blocking read; without its connection that read ends, and
            # told again the receiver does.
            for lane in settings.lanes:
                await jobs.brokers[lane].connection_pool.disconnect()
            for loop in stuck:
                loop.cancel()
            _, stuck = await asyncio.wait(stuck, timeout=RECEIVER_SECONDS)
        if stuck:
            log.warning("worker.receivers_left", count=len(stuck))
        for running in list(RUNNING):
            running.cancel()
        if RUNNING:
            await asyncio.wait(list(RUNNING), timeout=LEAVE_SECONDS)
        await pool.close()


async def _again(step: Callable[[], Awaitable[object]], seconds: float) -> None:
    while True:
        try:
            await step()
        except (RedisError, DBAPIError, OSError) as error:
            log.warning("worker.step_failed", error=repr(error))
        except Exception:
            log.exception("worker.step_crashed")
        await asyncio.sleep(seconds)


async def _alive(app: App) -> None:
    await app.redis.set(ALIVE_KEY, str(os.getpid()), ex=ALIVE_SECONDS)


async def _delayed(app: App) -> None:
    await app.sessions.jobs.send_due()


async def _hear_stops(app: App) -> None:
    async with app.redis.pubsub() as heard:
        await heard.subscribe(STOP_CHANNEL)
        async for message in heard.listen():
            if message["type"] == "message":
                app.part(Running).stop(UUID(message["data"].decode()))


async def _sweep_anew(app: App) -> None:
    """A worker that starts looks at once for what one before it left; that may have been killed as it looked."""
    with contextlib.suppress(RedisError, OSError):
        await app.redis.delete("folkmoot:sweep", "folkmoot:sweep:active")


async def sweep(app: App) -> None:
    """Let every domain look for what a crash left, tenant by tenant; one worker at a time does it."""
    if not await app.redis.set("folkmoot:sweep", str(os.getpid()), nx=True, ex=int(SWEEP_ALL_SECONDS)):
        return
    await _sweep(app, await _tenants(app))
    await app.storage.sweep()


async def sweep_active(app: App) -> None:
    """The same for the tenants where something happened just now: what is left there is waited for."""
    if not await app.redis.set("folkmoot:sweep:active", str(os.getpid()), nx=True, ex=int(SWEEP_SECONDS)):
        return
    await app.redis.zremrangebyscore(ACTIVE, 0, time.time() - ACTIVE_WITHIN)
    active = {UUID(member.decode()) for member in await app.redis.zrange(ACTIVE, 0, -1)}
    if active:
        await _sweep(app, [tenant_id for tenant_id in await _tenants(app) if tenant_id in active])


async def _tenants(app: App) -> Sequence[UUID]:
    async with app.begin(Principal.platform()) as work:
        return await TenantService(work).every_id()


async def _sweep(app: App, tenants: Sequence[UUID]) -> None:
    finds = tuple(SWEEPS)
    for tenant_id in tenants:
        for find in finds:
            await find(app, tenant_id)


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with assemble(settings) as app, working(app):
        await warm(app.sessions.engine, settings.database_pool)
        settle()
        log.info("worker.ready", lanes=list(settings.lanes))
        await stop.wait()
        log.info("worker.leaving", running=len(RUNNING))
