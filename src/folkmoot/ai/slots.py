"""How many calls a connection has under way at the same time: leases in Redis, counted over all processes.

What a process wants and gives back for one connection goes out together, and what comes meanwhile goes in the next
round trip. Who waits stands in one line over all processes. A lease ends by itself unless it is renewed, so a killed
process's calls come back; so does its place in the line.

While Redis does not answer, each process keeps to the limit by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from folkmoot_sdk import Unavailable
from redis.exceptions import RedisError

from folkmoot.kit.log import get_logger
from folkmoot.kit.redis import Redis

log = get_logger(__name__)

LEASE_SECONDS = 30.0
LOOK_SECONDS = 0.025
"""How soon a process that waits sees what another one gave back."""
ABSENT_SECONDS = 2.0
"""Who has not asked for so long stands in the line no more."""
MOST_ASKED = 32
"""Of those who wait in one process, so many stand in the line that all processes share."""
REDIS_SECONDS = 1.0

# Returned leases first; then who is first in the line gets what is free, if it is one of those that ask here. What is
# free for somebody who stands before them stays free.
SCRIPT = """
local leases, line, seen = KEYS[1], KEYS[2], KEYS[3]
local limit, lease, absent, returned = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - absent)) do
    redis.call('ZREM', line, gone)
    redis.call('ZREM', seen, gone)
end
for i = 5, 4 + returned do
    redis.call('ZREM', leases, ARGV[i])
    redis.call('ZREM', line, ARGV[i])
    redis.call('ZREM', seen, ARGV[i])
end
for i = 5 + returned, #ARGV do
    redis.call('ZADD', line, 'NX', now, ARGV[i])
    redis.call('ZADD', seen, now, ARGV[i])
end
local free = limit - redis.call('ZCARD', leases)
local granted = {}
for i = 5 + returned, #ARGV do
    if redis.call('ZRANK', line, ARGV[i]) < free then granted[#granted + 1] = ARGV[i] end
end
for _, token in ipairs(granted) do
    redis.call('ZREM', line, token)
    redis.call('ZREM', seen, token)
    redis.call('ZADD', leases, now + lease, token)
end
redis.call('PEXPIRE', leases, lease)
redis.call('PEXPIRE', line, absent * 2)
redis.call('PEXPIRE', seen, absent * 2)
return granted
"""

# A lease that Redis lost is entered again: the set then says what is really under way.
RENEW = """
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""


class Busy(Unavailable):
    """All calls that a connection may have at the same time are under way. Nothing is wrong with the provider."""


@dataclass(eq=False)
class _Waiter:
    token: bytes
    until: float
    """Of the loop's clock."""
    granted: asyncio.Future[None]


class Slots:
    """Lives as long as the process."""

    def __init__(self, redis: Redis, lease: float = LEASE_SECONDS) -> None:
        """`lease`: seconds after which a call that nobody renews is counted no more."""
        self._take, self._renew = redis.register_script(SCRIPT), redis.register_script(RENEW)
        self._lease = lease
        self._gates: dict[UUID, _Gate] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._me, self._made = uuid4().hex, 0

    @contextlib.asynccontextmanager
    async def taken(self, connection_id: UUID, limit: int | None, wait: float) -> AsyncGenerator[None]:
        """One of `limit` calls at the same time; None is no limit and costs nothing.

        Waits its turn for up to `wait` seconds; with 0 it asks once. Raises `Busy`, an `Unavailable`.
        """
        if limit is None:
            yield
            return
        gate = self._gates.get(connection_id)
        if gate is None:
            self._forget_idle()
            gate = self._gates[connection_id] = _Gate(connection_id, self._take, self._lease)
        self._made += 1
        # By number, so that those who come in the same millisecond stand in order.
        token = f"{self._me}:{self._made:012}".encode()
        await gate.take(token, max(1, limit), wait)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew_all())
        try:
            yield
        finally:
            gate.give_back(token)

    async def close(self) -> None:
        """Hand back what was given back, and stop."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
        for gate in list(self._gates.values()):
            await gate.settled()

    def _forget_idle(self) -> None:
        for connection_id in [each for each, gate in self._gates.items() if gate.idle]:
            del self._gates[connection_id]

    async def _renew_all(self) -> None:
        """One task for all leases of the process, while there are any."""
        while True:
            await asyncio.sleep(self._lease / 3)
            held = [(gate, tuple(gate.held)) for gate in self._gates.values() if gate.held]
            if not held:
                return
            for gate, tokens in held:
                try:
                    async with asyncio.timeout(REDIS_SECONDS):
                        await self._renew(keys=gate.keys[:1], args=[round(self._lease * 1000), *tokens])
                except (RedisError, OSError, TimeoutError) as error:
                    log.warning("slots.not_renewed", error=str(error) or type(error).__name__)
                # Given back while Redis was told that it is held.
                gate.give_back_again(token for token in tokens if token not in gate.held)


class _Gate:
    """One connection's slots, as one process sees them."""

    def __init__(self, connection_id: UUID, script: Any, lease: float) -> None:
        name = f"folkmoot:slots:{connection_id}"
        self.keys = [name, f"{name}:line", f"{name}:seen"]
        self.held: set[bytes] = set()
        self._script, self._lease = script, lease
        self._limit = 1
        self._waiting: deque[_Waiter] = deque()
        self._returned: list[bytes] = []
        self._changed = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._deaf_until = 0.0

    @property
    def idle(self) -> bool:
        return not self.held and not self._waiting and not self._returned and self._rests()

    def _rests(self) -> bool:
        return self._asking is None or self._asking.done()

    async def take(self, token: bytes, limit: int, wait: float) -> None:
        loop = asyncio.get_running_loop()
        self._limit = limit
        waiter = _Waiter(token, loop.time() + wait, loop.create_future())
        self._waiting.append(waiter)
        self._ask_soon()
        try:
            await waiter.granted
        except BaseException as error:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)
            self.give_back(token)
            if isinstance(error, Busy):
                raise Busy(
                    f"this connection may have {limit} calls under way at the same time, and none of them ended within "
                    f"{wait:g} seconds: try again in a moment, or have an administrator raise its limit"
                ) from None
            raise

    def give_back(self, token: bytes) -> None:
        """Does not wait: whoever has their answer need not stay for this, and whoever is cancelled cannot."""
        self.held.discard(token)
        self._returned.append(token)
        self._ask_soon()

    def give_back_again(self, tokens: Iterable[bytes]) -> None:
        for token in tokens:
            self.give_back(token)

    async def settled(self) -> None:
        while not self._rests():
            assert self._asking is not None
            await asyncio.wait([self._asking])

    def _ask_soon(self) -> None:
        self._changed.set()
        if self._rests():
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        """Ask Redis until nobody waits and nothing is to be given back."""
        loop = asyncio.get_running_loop()
        while self._waiting or self._returned:
            self._changed.clear()
            returned, self._returned = self._returned, []
            asked = list(islice(self._waiting, MOST_ASKED))
            granted = await self._told(returned, [waiter.token for waiter in asked])
            for waiter in asked:
                if waiter.token not in granted:
                    continue
                if waiter.granted.done():
                    self._returned.append(waiter.token)
                else:
                    self.held.add(waiter.token)
                    self._waiting.remove(waiter)
                    waiter.granted.set_result(None)
            now = loop.time()
            for waiter in [waiter for waiter in self._waiting if waiter.until <= now]:
                self._waiting.remove(waiter)
                if not waiter.granted.done():
                    waiter.granted.set_exception(Busy())
            more = granted and len(self._waiting) > MOST_ASKED - len(granted)
            if self._waiting and not more and not self._changed.is_set():
                pause = min(LOOK_SECONDS, max(0.0, min(waiter.until for waiter in self._waiting) - now))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()

    async def _told(self, returned: list[bytes], wanted: list[bytes]) -> set[bytes]:
        """Which of `wanted` may go."""
        now = time.monotonic()
        if now >= self._deaf_until:
            numbers = [self._limit, round(self._lease * 1000), round(ABSENT_SECONDS * 1000), len(returned)]
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return set(await self._script(keys=self.keys, args=[*numbers, *returned, *wanted]))
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("slots.not_counted", error=str(error) or type(error).__name__)
                self._deaf_until = time.monotonic() + REDIS_SECONDS
        # What was not given back in Redis ends with its lease.
        return set(wanted[: max(0, self._limit - len(self.held))])
