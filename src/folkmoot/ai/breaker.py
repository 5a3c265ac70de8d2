"""A provider that keeps failing is left alone for a moment: a circuit breaker for each connection, over all processes.

    closed      calls go through
    open        it failed several times in a row: nobody calls, for a while that doubles each time
    half-open   the while is over: one call, over all processes, finds out; the others do not call yet
    resting     it asked to be left alone, or refuses our account: nobody calls until then

Redis holds the truth, and each process remembers it for half a second, so that a call costs no round trip. Without
Redis every call is allowed: this protects a service, it guards nothing.

Source of the states: Nygard, "Release It!", circuit breaker.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID, uuid4

import httpx
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)
from redis.exceptions import RedisError

from folkmoot.ai.slots import Busy
from folkmoot.kit.log import get_logger
from folkmoot.kit.redis import Redis

log = get_logger(__name__)

REDIS_SECONDS = 1.0
DEAF_SECONDS = 1.0
"""How long Redis is not asked again after it did not answer."""
MOST_KNOWN = 10_000
REFUSED = (httpx.ConnectError, httpx.ConnectTimeout, ConnectionRefusedError)
State = Literal["closed", "open", "half-open", "resting"]


@dataclass(frozen=True)
class Rules:
    """When a circuit opens and closes; times in seconds."""

    failures: int = 5
    within: float = 30.0
    """So many failures within this time, without a success between, open it."""
    refused: int = 3
    """So many in a row that did not even get a connection open it."""
    cool: float = 5.0
    longest: float = 60.0
    """How long it is left alone: `cool`, then twice as long each time that its probe fails, at most `longest`."""
    probe: float = 30.0
    """How long the one call of a half-open circuit may take to tell, before another is let through."""
    account: float = 30.0
    """Rest after a key that is refused, or an account that is empty."""
    patience: float = 2.0
    """A provider that asks for less than this is waited for by its callers, and for all others is not resting."""
    longest_rest: float = 300.0
    """However long a provider asks to be left alone: then somebody asks again."""
    remembered: float = 0.5
    kept: float = 600.0
    """How long a circuit that nobody uses remembers its last error, and how often it opened."""


@dataclass(frozen=True)
class Health:
    """What administrators see of one connection."""

    state: State
    since: datetime | None
    """When it left `closed`."""
    until: datetime | None
    """When it is tried again."""
    error: str
    """Code of the last error that counted; empty if there was none lately."""


# Answers state, seconds left, failures in a row, whether this call may probe, seconds that a probe has left, since,
# until, code of the last error, and whether this call changed the state.
SCRIPT = """
local key, failures = KEYS[1], KEYS[2]
local what, me, kept = ARGV[1], ARGV[2], tonumber(ARGV[3])
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local v = redis.call('HMGET', key, 'state', 'since', 'until', 'error', 'times', 'probe', 'probe_until')
local state, since, ends, code, times = v[1] or 'closed', tonumber(v[2]) or 0, tonumber(v[3]) or 0, v[4] or '', v[5]
local probe = (tonumber(v[7]) or 0) > now and v[6] or false
local granted, changed = 0, 0

local function close()
    redis.call('HDEL', key, 'state', 'since', 'until', 'times', 'probe', 'probe_until')
    redis.call('DEL', failures)
    state, since, ends, probe = 'closed', 0, 0, false
end

local function shut(new, seconds, count)
    if state == 'closed' then since = now end
    state, ends, probe = new, now + seconds, false
    changed = 1
    redis.call('HSET', key, 'state', new, 'since', tostring(since), 'until', tostring(ends), 'times', count)
    redis.call('HDEL', key, 'probe', 'probe_until')
    redis.call('DEL', failures)
end

if state == 'resting' and ends <= now then close() end
if state == 'open' and ends <= now then state = 'half-open' end

if what == 'probe' then
    if state == 'half-open' and not probe then
        probe, granted = me, 1
        v[7] = tostring(now + tonumber(ARGV[4]))
        redis.call('HSET', key, 'probe', me, 'probe_until', v[7])
    end
elseif what == 'failed' then
    local most, within, refusals = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
    local cool, longest, jitter = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
    if state == 'half-open' and (not probe or probe == me) then
        local count = (tonumber(times) or 0) + 1
        code = ARGV[4]
        shut('open', math.min(longest, cool * 2 ^ math.min(count, 30)) * jitter, count)
        state = 'open'
    elseif state == 'closed' then
        code = ARGV[4]
        redis.call('LPUSH', failures, tostring(now) .. ARGV[5])
        redis.call('LTRIM', failures, 0, math.max(most, refusals) - 1)
        redis.call('PEXPIRE', failures, math.ceil(within * 1000))
        local said, refused, recent = redis.call('LRANGE', failures, 0, -1), 0, 0
        for _, each in ipairs(said) do
            if string.sub(each, -1) ~= 'c' then break end
            refused = refused + 1
        end
        for _, each in ipairs(said) do
            if tonumber((string.gsub(each, '[c-]$', ''))) > now - within then recent = recent + 1 end
        end
        if recent >= most or refused >= refusals then shut('open', cool * jitter, 0) end
    end
    redis.call('HSET', key, 'error', code)
elseif what == 'rest' then
    local seconds = tonumber(ARGV[5])
    if ends < now + seconds then
        code = ARGV[4]
        shut('resting', seconds, 0)
        redis.call('HSET', key, 'error', code)
    end
elseif what == 'succeeded' then
    local accepted = state == 'resting' and code ~= ARGV[4]
    if state == 'half-open' or accepted then changed = 1 end
    if state == 'half-open' or state == 'closed' or accepted then close() end
elseif what == 'let-go' then
    if probe == me then
        probe = false
        redis.call('HDEL', key, 'probe', 'probe_until')
    end
elseif what == 'forget' then
    close()
    code = ''
    redis.call('DEL', key)
end
if what ~= 'look' then redis.call('PEXPIRE', key, math.ceil((math.max(0, ends - now) + kept) * 1000)) end
local probed = probe and tonumber(v[7]) - now or 0
return {state, tostring(ends - now), redis.call('LLEN', failures), granted, tostring(probed), tostring(since),
        tostring(ends), code, changed}
"""


@dataclass
class _Known:
    state: State
    until: float
    """Of the process's monotonic clock."""
    failures: int
    error: str
    granted: bool
    probed_until: float
    asked: float
    """When Redis was asked, not when it answered."""


class Breaker:
    """Lives as long as the process."""

    def __init__(self, redis: Redis, rules: Rules | None = None) -> None:
        self._script = redis.register_script(SCRIPT)
        self._redis, self._rules, self._me = redis, rules or Rules(), uuid4().hex
        self._known: dict[UUID, _Known] = {}
        self._looking: dict[UUID, asyncio.Task[_Known]] = {}
        self._probing: dict[UUID, float] = {}
        self._deaf_until = 0.0

    async def allow(self, connection_id: UUID) -> bool:
        """Whether to call this connection now.

        Who is allowed tells `succeeded` or `failed` once they know, or `let_go` if they never will: in a half-open
        circuit everybody else waits for it.
        """
        now = time.monotonic()
        known = self._known.get(connection_id)
        if known is None or now - known.asked > self._rules.remembered:
            known = await self._look(connection_id)
            now = time.monotonic()
        match known.state:
            case "closed":
                return True
            case "resting":
                return now >= known.until
            case "open" | "half-open":
                if now < known.until or now < known.probed_until:
                    return False
                known = await self._tell(connection_id, "probe", self._rules.probe)
                if known.granted:
                    self._probing[connection_id] = known.asked + self._rules.probe
                return known.granted or known.state == "closed"

    def why_not(self, connection_id: UUID) -> tuple[float, str]:
        """For how many seconds a connection that `allow` refused is left alone, and after which error's code."""
        known = self._known.get(connection_id)
        if known is None:
            return 0.0, ""
        return max(0.0, max(known.until, known.probed_until) - time.monotonic()), known.error

    async def failed(self, connection_id: UUID, error: BaseException) -> None:
        """A call ended with this error. What the provider refuses for good reasons shows that it works."""
        rules = self._rules
        probing = self._may_probe(connection_id)
        if isinstance(error, Busy):
            await self.let_go(connection_id)
            return
        if isinstance(error, Unavailable | BadResponse | TimeoutError):
            self._probing.pop(connection_id, None)
            code = error.code if isinstance(error, ProviderError) else Unavailable.code
            refused = "c" if _never_connected(error) else "-"
            jitter = random.uniform(0.8, 1.2)
            numbers = (rules.failures, rules.within, rules.refused, rules.cool, rules.longest, jitter)
            await self._tell(connection_id, "failed", code, refused, *numbers)
            return
        rest = self._rest(error)
        if rest and isinstance(error, ProviderError):
            self._probing.pop(connection_id, None)
            await self._tell(connection_id, "rest", error.code, rest)
        elif probing and isinstance(error, ProviderError):
            await self.succeeded(connection_id)
        elif probing:
            await self.let_go(connection_id)

    async def succeeded(self, connection_id: UUID) -> None:
        """The provider answered. Costs nothing while all is well."""
        known = self._known.get(connection_id)
        probing = self._probing.pop(connection_id, None) is not None
        if probing or (known is not None and (known.failures or known.state != "closed")):
            # One that only asked for patience still wants it.
            await self._tell(connection_id, "succeeded", RateLimited.code)

    async def let_go(self, connection_id: UUID) -> None:
        """A call that was allowed ended without telling anything: it was stopped, or never made."""
        if self._may_probe(connection_id):
            self._probing.pop(connection_id, None)
            await self._tell(connection_id, "let-go")

    async def forget(self, connection_id: UUID) -> None:
        """The connection was changed: what it failed at before says nothing about it."""
        self._probing.pop(connection_id, None)
        await self._tell(connection_id, "forget")

    async def describe(self, connection_ids: Sequence[UUID]) -> dict[UUID, Health]:
        """The health of each connection; all `closed` if Redis does not answer."""
        pipe = self._redis.pipeline(transaction=False)
        for connection_id in connection_ids:
            await self._script(keys=_keys(connection_id), args=self._arguments("look"), client=pipe)
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answers = await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("breaker.not_asked", error=str(error))
            return {each: Health("closed", None, None, "") for each in connection_ids}
        return {
            each: Health(answer[0].decode(), _moment(answer[5]), _moment(answer[6]), answer[7].decode())
            for each, answer in zip(connection_ids, answers, strict=True)
        }

    def _rest(self, error: BaseException) -> float:
        """How many seconds to leave the connection alone for this error; 0 if it need not be."""
        if isinstance(error, AuthenticationFailed | QuotaExhausted):
            return self._rules.account
        if isinstance(error, RateLimited) and (asked := error.retry_after) is not None and math.isfinite(asked):
            return min(asked, self._rules.longest_rest) if asked > self._rules.patience else 0.0
        return 0.0

    def _may_probe(self, connection_id: UUID) -> bool:
        return self._probing.get(connection_id, 0.0) > time.monotonic()

    async def _look(self, connection_id: UUID) -> _Known:
        """Many may want to know at once; one asks."""
        looking = self._looking.get(connection_id)
        if looking is None:
            looking = self._looking[connection_id] = asyncio.create_task(self._tell(connection_id, "look"))
            looking.add_done_callback(lambda _: self._looking.pop(connection_id, None))
        return await asyncio.shield(looking)

    def _arguments(self, what: str, *more: object) -> list[object]:
        return [what, self._me, self._rules.kept, *more]

    async def _tell(self, connection_id: UUID, what: str, *more: object) -> _Known:
        """What Redis knows of the connection after it was told this."""
        asked = time.monotonic()
        if asked < self._deaf_until:
            return _Known("closed", 0.0, 0, "", True, 0.0, asked)
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answer = await self._script(keys=_keys(connection_id), args=self._arguments(what, *more))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("breaker.not_asked", error=str(error) or type(error).__name__)
            self._deaf_until = time.monotonic() + DEAF_SECONDS
            return _Known("closed", 0.0, 0, "", True, 0.0, asked)
        now = time.monotonic()
        known = _Known(
            state=answer[0].decode(),
            until=now + float(answer[1]),
            failures=int(answer[2]),
            error=answer[7].decode(),
            granted=bool(answer[3]),
            probed_until=now + float(answer[4]),
            asked=asked,
        )
        if answer[8]:
            told = {"connection": str(connection_id), "state": known.state, "error": known.error}
            log.warning("breaker.changed", **told, seconds=round(max(0.0, float(answer[1])), 1))
        before = self._known.get(connection_id)
        if before is None or before.asked <= asked:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[connection_id] = known
        return known


def _keys(connection_id: UUID) -> list[str]:
    return [f"folkmoot:breaker:{connection_id}", f"folkmoot:breaker:{connection_id}:failures"]


def _never_connected(error: BaseException) -> bool:
    """Whether there was no connection at all: then nobody needs five failures to believe it.

    A provider raises `Unavailable from None`, which hides what the client said but does not forget it.
    """
    found: BaseException | None = error
    for _ in range(8):
        if found is None or isinstance(found, REFUSED):
            break
        found = found.__cause__ or found.__context__
    return isinstance(found, REFUSED)


def _moment(seconds: bytes) -> datetime | None:
    value = float(seconds)
    return datetime.fromtimestamp(value, UTC) if value > 0 else None
