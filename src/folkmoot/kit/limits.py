"""How many requests somebody may make: token buckets in Redis, shared by all processes.

A process takes allowances ahead, a fiftieth of the limit at a time, so that most requests cost no round trip
and the limit still holds over all processes together; what is not used within a second is lost to its taker.
Small limits are counted one by one. When Redis does not answer, nobody is refused: limits protect the service,
they do not guard anything.
"""

from __future__ import annotations

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

# A bucket of `cap` tokens that fills at `rate` a second; answers what was given, and when the next comes.
SCRIPT = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local out = {}
for i, key in ipairs(KEYS) do
    local cap, rate, want = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
    local v = redis.call('HMGET', key, 'n', 't')
    local n = math.min(cap, (tonumber(v[1]) or cap) + math.max(0, now - (tonumber(v[2]) or now)) * rate)
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
        self._deaf_until = 0.0

    async def take(self, *limits: Limit) -> None:
        """Count one request against each of `limits`. Raises `TooManyRequests` for the first that is used up."""
        now = time.monotonic()
        short: list[Limit] = []
        for limit in limits:
            if limit.count <= 0:
                continue
            own = self._allowed.get(limit.name)
            if own is None or own.until <= now:
                short.append(limit)
            elif own.left <= 0:
                raise _refusal(limit, own.until - now)
            else:
                own.left -= 1
                if not own.left:
                    del self._allowed[limit.name]
        if short and now >= self._deaf_until:
            await self._ask(short, now)

    async def _ask(self, limits: Sequence[Limit], now: float) -> None:
        arguments: list[float] = []
        for limit in limits:
            ahead = max(1, min(LARGEST_TAKE, limit.count // AHEAD))
            arguments += [limit.count, limit.count / limit.seconds, ahead]
        try:
            answer = await self._script(keys=[f"folkmoot:limit:{limit.name}" for limit in limits], args=arguments)
        except (RedisError, OSError) as error:
            log.warning("limits.not_counted", error=str(error))
            self._deaf_until = now + 1.0
            return
        if len(self._allowed) > MOST_NAMES:
            self._allowed.clear()
        for number, limit in enumerate(limits):
            given, wait = int(answer[2 * number]), float(answer[2 * number + 1])
            if given == 0:
                self._allowed[limit.name] = _Allowance(0, now + min(wait, KEEP_SECONDS))
                raise _refusal(limit, wait)
            if given > 1:
                self._allowed[limit.name] = _Allowance(given - 1, now + KEEP_SECONDS)


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
