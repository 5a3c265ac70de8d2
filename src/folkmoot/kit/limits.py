"""How many requests somebody may make: token buckets in Redis, shared by all processes.

A process takes allowances ahead, a fiftieth of the limit at a time, so that most requests cost no round trip
and the limit still holds over all processes together. One request asks for all that come meanwhile, and what was
not used within a second is given back with the next question: else many at once, or one now and then, would be
charged for many times what they use. Small limits are counted one by one.

When Redis does not answer, nobody is refused: limits protect the service, they do not guard anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from folkmoot.kit.errors import TooManyRequests
from folkmoot.kit.log import get_logger
from folkmoot.kit.redis import Redis

log = get_logger(__name__)
AHEAD = 50
LARGEST_TAKE = 500
KEEP_SECONDS = 1.0
MOST_NAMES = 50_000

# A bucket of `cap` tokens that fills at `rate` a second, with `back` unused ones returned; answers what was given,
# and when the next comes.
SCRIPT = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local out = {}
for i, key in ipairs(KEYS) do
    local cap, rate = tonumber(ARGV[4*i-3]), tonumber(ARGV[4*i-2])
    local want, back = tonumber(ARGV[4*i-1]), tonumber(ARGV[4*i])
    local v = redis.call('HMGET', key, 'n', 't')
    local n = math.min(cap, (tonumber(v[1]) or cap) + math.max(0, now - (tonumber(v[2]) or now)) * rate + back)
    local given = math.max(0, math.min(want, math.floor(n)))
    n = n - given
    redis.call('HSET', key, 'n', tostring(n), 't', tostring(now))
    redis.call('PEXPIRE', key, math.ceil(cap / rate * 1000) + 1000)
    out[#out + 1] = given
    out[#out + 1] = tostring(given > 0 and 0 or (1 - n) / rate)
end
return out
"""


@dataclass(frozen=True)
class Limit:
    """`count` requests in `seconds`, counted under `name`; 0 is no limit."""

    kind: str
    """What a client is told: `user`, `key`, `tenant` or `address`."""
    name: str
    count: int
    seconds: int = 60


@dataclass
class _Allowance:
    left: int
    until: float
    """Of the process's monotonic clock: when the allowance is lost, or a refusal is over."""


class Limits:
    """Lives as long as the process."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(SCRIPT)
        self._allowed: dict[str, _Allowance] = {}
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._deaf_until = 0.0

    async def take(self, *limits: Limit) -> None:
        """Count one request against each of `limits`. Raises `TooManyRequests` for the first that is used up."""
        wanted = [limit for limit in limits if limit.count > 0]
        while wanted:
            now = time.monotonic()
            short = [limit for limit in wanted if not self._take_own(limit, now)]
            if not short or now < self._deaf_until:
                return
            asked = {limit.name: self._asking[limit.name] for limit in short if limit.name in self._asking}
            if mine := [limit for limit in short if limit.name not in asked]:
                await self._ask(mine, now)
            if asked:
                await asyncio.wait(asked.values())
            wanted = [limit for limit in short if limit.name in asked]

    def _take_own(self, limit: Limit, now: float) -> bool:
        """Whether this process had an allowance for it. Raises `TooManyRequests` while a refusal holds."""
        own = self._allowed.get(limit.name)
        if own is None or own.until <= now:
            return False
        if own.left <= 0:
            raise _refusal(limit, own.until - now)
        own.left -= 1
        if not own.left:
            del self._allowed[limit.name]
        return True

    async def _ask(self, limits: Sequence[Limit], now: float) -> None:
        arguments: list[float] = []
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for limit in limits:
            ahead = max(1, min(LARGEST_TAKE, limit.count // AHEAD))
            unused = self._allowed.pop(limit.name, None)
            arguments += [limit.count, limit.count / limit.seconds, ahead, unused.left if unused else 0]
            if ahead > 1:
                self._asking[limit.name] = answered
        try:
            answer = await self._script(keys=[f"folkmoot:limit:{limit.name}" for limit in limits], args=arguments)
        except (RedisError, OSError) as error:
            log.warning("limits.not_counted", error=str(error))
            self._deaf_until = now + 1.0
            return
        finally:
            # Also when this request went away: whoever waits asks for themself.
            for limit in limits:
                if self._asking.get(limit.name) is answered:
                    del self._asking[limit.name]
            answered.set_result(None)
        if len(self._allowed) > MOST_NAMES:
            self._allowed.clear()
        refused: TooManyRequests | None = None
        for number, limit in enumerate(limits):
            given, wait = int(answer[2 * number]), float(answer[2 * number + 1])
            if given == 0:
                self._allowed[limit.name] = _Allowance(0, now + min(wait, KEEP_SECONDS))
                refused = refused or _refusal(limit, wait)
            elif given > 1:
                self._allowed[limit.name] = _Allowance(given - 1, now + KEEP_SECONDS)
        if refused is not None:
            raise refused


_WHO = {
    "user": "you have made",
    "key": "this API key has made",
    "tenant": "your organisation has made",
    "address": "this address has made",
}


def _refusal(limit: Limit, wait: float) -> TooManyRequests:
    return TooManyRequests(
        f"{_WHO.get(limit.kind, limit.kind)} {limit.count} requests in {limit.seconds} seconds, which is the limit: "
        "wait as long as `Retry-After` says",
        wait,
        policy=(limit.kind, limit.count, limit.seconds),
    )
