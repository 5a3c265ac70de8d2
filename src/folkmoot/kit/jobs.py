"""Work that goes on after the request: tasks, their lanes, their retries.

The row that a task works on is the truth and the queue only makes it quick: a lost message is found by the
sweep, a doubled one finds nothing left to do. Each lane is a Redis stream of its own, so chat never waits
behind ingestion; a task that fails unexpectedly comes back with growing pauses through a sorted set.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from taskiq.kicker import AsyncKicker
from taskiq_redis import RedisStreamBroker

from folkmoot.kit.caller import Caller, called_by, caller
from folkmoot.kit.log import get_logger
from folkmoot.kit.redis import Redis
from folkmoot.settings import LANES

log = get_logger(__name__)
DELAYED = "folkmoot:delayed"


Handler = Callable[..., Awaitable[None]]
"""What runs: `run(app, **payload)`, the payload as it comes out of JSON."""


@dataclass(frozen=True)
class Task:
    """A kind of work, under the name by which it stands in the queue."""

    name: str
    lane: str
    run: Handler
    attempts: int = 5
    """Unexpected failures before it is left to the sweep."""
    first_pause: float = 1.0
    """Seconds before the second attempt; doubled for each one after, with up to a quarter of jitter."""

    def pause(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt`, counted from 1; five minutes at most."""
        return min(300.0, self.first_pause * 2 ** (attempt - 1)) * random.uniform(1, 1.25)


TASKS: dict[str, Task] = {}
RUNNING: set[asyncio.Task[Any]] = set()
"""What this process works on now; a worker that goes down cancels these and waits for them."""
Sweep = Callable[[Any, UUID], Awaitable[None]]
SWEEPS: list[Sweep] = []


def task(name: str, *, lane: str, attempts: int = 5) -> Callable[[Handler], Task]:
    """Register a function as a task: `@task("knowledge.ingest_document", lane="ingest")`."""
    if lane not in LANES:
        raise ValueError(f"task {name!r} names lane {lane!r}: the lanes are {', '.join(LANES)}")

    def register(run: Handler) -> Task:
        made = Task(name, lane, run, attempts)
        TASKS[name] = made
        return made

    return register


def sweep(find: Sweep) -> Sweep:
    """Register `find(app, tenant_id)`, run now and then for each tenant: it re-queues what a crash left."""
    SWEEPS.append(find)
    return find


class Jobs:
    """The sending side of the queue, and the brokers that a worker listens to."""

    def __init__(self, redis_url: str, redis: Redis) -> None:
        self.redis = redis
        self.brokers = {
            lane: RedisStreamBroker(
                redis_url,
                queue_name=f"folkmoot:lane:{lane}",
                consumer_group_name="workers",
                consumer_id="0",
                maxlen=100_000,
                # The sweep finds what a dead worker held, by the row's lease; claiming the message as well
                # would run a long answer twice.
                idle_timeout=24 * 3600 * 1000,
                unacknowledged_lock_timeout=5,
            )
            for lane in LANES
        }

    async def start(self) -> None:
        for broker in self.brokers.values():
            await broker.startup()

    async def close(self) -> None:
        for broker in self.brokers.values():
            await broker.shutdown()

    async def send(self, task: Task, payload: dict[str, Any], *, delay: float = 0, attempt: int = 1) -> None:
        """Put a task into its lane, now or in `delay` seconds. Failing to do so is logged: the sweep finds the row."""
        body, request_id = msgspec.to_builtins(payload, str_keys=True), caller.get().request_id
        try:
            if delay > 0:
                entry = msgspec.json.encode([task.name, body, attempt, request_id, random.getrandbits(32)])
                await self.redis.zadd(DELAYED, {entry: time.time() + delay})
            else:
                kicker: AsyncKicker[Any, Any] = AsyncKicker(task.name, self.brokers[task.lane], {})
                await kicker.kiq(payload=body, attempt=attempt, request_id=request_id)
        except Exception as error:  # noqa: BLE001 - the row is committed: "failed" would be a lie
            log.warning("job.not_queued", task=task.name, error=str(error))

    async def send_due(self, now: float | None = None) -> int:
        """Move delayed tasks whose time has come into their lanes; safe from any number of workers at once."""
        due = await self.redis.zrangebyscore(DELAYED, 0, now or time.time(), start=0, num=500)
        moved = 0
        for entry in due:
            if not await self.redis.zrem(DELAYED, entry):
                continue
            name, body, attempt, request_id, _ = msgspec.json.decode(entry)
            if found := TASKS.get(name):
                with called_by(Caller(request_id)):
                    await self.send(found, body, attempt=attempt)
                moved += 1
        return moved


def bind(jobs: Jobs, app: Any, lanes: tuple[str, ...]) -> None:
    """Give every registered task of `lanes` to its broker, closed over `app`."""
    for found in TASKS.values():
        if found.lane in lanes:
            jobs.brokers[found.lane].register_task(_runner(jobs, app, found), task_name=found.name)


def _runner(jobs: Jobs, app: Any, found: Task) -> Callable[..., Awaitable[None]]:
    async def run(payload: dict[str, Any], attempt: int, request_id: str = "") -> None:
        with called_by(Caller(request_id)):
            await attempted(payload, attempt)

    async def attempted(payload: dict[str, Any], attempt: int) -> None:
        current = asyncio.current_task()
        assert current is not None
        RUNNING.add(current)
        try:
            await found.run(app, **payload)
        except asyncio.CancelledError:
            log.info("job.cancelled", task=found.name, payload=payload)
        except Exception as error:
            if attempt >= found.attempts:
                log.exception("job.gave_up", task=found.name, payload=payload, attempts=attempt)
                return
            pause = found.pause(attempt)
            log.warning("job.retry", task=found.name, payload=payload, error=repr(error), seconds=round(pause, 1))
            await jobs.send(found, payload, delay=pause, attempt=attempt + 1)
        finally:
            RUNNING.discard(current)

    return run
