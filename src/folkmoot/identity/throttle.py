"""How often somebody may guess: by account and by address, counted in Redis for all processes together.

An account is an e-mail, whether anybody has it or not, so that nothing is learnt from being locked out. After a
few failures each further guess has to wait, twice as long as the one before; who does not wait uses up guesses.
After `login_attempts` of them within a quarter of an hour the account is locked for as long, and even the right
password does not open it. Guesses that are being checked hold a place: many at once get no further than one
after the other. A right password clears an account, but not an e-mail that several organisations know: whoever may
sign in to one of them would otherwise guess at the others without end.

Without Redis nobody is held up: people must get in when it is down, and the log says that it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from redis.exceptions import RedisError
from sqlalchemy import func, select

from folkmoot.identity.models import User
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.caller import caller
from folkmoot.kit.errors import TooManyRequests
from folkmoot.kit.log import get_logger

log = get_logger(__name__)
WINDOW_SECONDS = 15 * 60
FREE = 5
"""Failures before the first delay."""
CHECK_SECONDS = 30
"""A place that is held for longer belongs to a process that died."""
PATIENCE_SECONDS = 10.0
"""How long somebody waits for a place before being told to come back."""
LONGEST_DELAY = 60

# In all scripts: failures and places of the account and of the address, then the lock of each.
_ENTER = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window, holding, free, longest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
for i = 5, 6 do
    local left = redis.call('PTTL', KEYS[i])
    if left > 0 then return {i == 5 and 'account' or 'address', left} end
end
for i = 0, 1 do
    local failures, places, most = KEYS[1 + 2 * i], KEYS[2 + 2 * i], tonumber(ARGV[6 + i])
    redis.call('ZREMRANGEBYSCORE', failures, 0, now - window)
    redis.call('ZREMRANGEBYSCORE', places, 0, now)
    local failed, held = redis.call('ZCARD', failures), redis.call('ZCARD', places)
    if i == 0 and failed >= free then
        local newest = redis.call('ZREVRANGE', failures, 0, 0, 'WITHSCORES')
        local pause = math.min(longest, 2 ^ (failed - free)) * 1000
        local left = newest[2] + pause - now
        if left > 0 then
            redis.call('ZADD', failures, now, ARGV[1])
            redis.call('PEXPIRE', failures, window)
            if failed + 1 >= most then
                redis.call('SET', KEYS[5], 1, 'PX', window)
                redis.call('DEL', failures)
                return {'locked', window}
            end
            return {'delayed', pause * 2}
        end
        if held > 0 then return {'busy', 0} end
    elseif i == 0 and held >= math.min(free, most) - failed then
        return {'busy', 0}
    elseif failed + held >= most then
        return {'busy', 0}
    end
end
for i = 2, 4, 2 do
    redis.call('ZADD', KEYS[i], now + holding, ARGV[1])
    redis.call('PEXPIRE', KEYS[i], holding)
end
return {'go', 0}
"""
_FAILED = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window, locked = tonumber(ARGV[2]), {0, 0}
for i = 0, 1 do
    local failures, most = KEYS[1 + 2 * i], tonumber(ARGV[3 + i])
    redis.call('ZREM', KEYS[2 + 2 * i], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', failures, 0, now - window)
    redis.call('ZADD', failures, now, ARGV[1])
    redis.call('PEXPIRE', failures, window)
    if redis.call('ZCARD', failures) >= most then
        redis.call('SET', KEYS[5 + i], 1, 'PX', window)
        redis.call('DEL', failures)
        locked[i + 1] = 1
    end
end
return locked
"""


class Locked(TooManyRequests):
    """Too many guesses; no password was looked at."""

    def __init__(self, detail: str, retry_after: float, code: str, *, newly: bool = False) -> None:
        super().__init__(detail, retry_after, code=code)
        self.newly = newly
        """Whether the account was locked by this very guess."""


@dataclass
class Attempt:
    """One guess that may be made now. What becomes of it is told once; if nothing is, the place is given back."""

    id: str
    account: str
    address: str
    email: str = field(repr=False)
    _throttle: Throttle = field(repr=False)
    told: bool = False

    async def wrong(self) -> bool:
        """Count it as a failure; returns whether the account is locked from now on."""
        self.told = True
        return await self._throttle.failed(self)

    async def right(self) -> None:
        """Forget the account's failures. Those of the address stay: it may be guessing at others."""
        self.told = True
        await self._throttle.release(self, forget=not await self._throttle.shared(self.email))


class Throttle:
    """Counts what was tried for one e-mail, and from the address of the request."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._limits = app.settings.login_attempts, app.settings.login_attempts_per_address

    @asynccontextmanager
    async def attempt(self, email: str) -> AsyncGenerator[Attempt]:
        """A place for one guess. Raises `Locked` (`too-many-attempts`, `account-locked`, `address-locked`)."""
        attempt = Attempt(uuid4().hex, self.fingerprint(email), caller.get().network, email, self)
        await self._enter(attempt)
        try:
            yield attempt
        finally:
            if not attempt.told:
                # Shielded: a client that hangs up must not keep the place.
                await asyncio.shield(self.release(attempt))

    def fingerprint(self, email: str) -> str:
        """A keyed hash of an e-mail: tells attempts at one account apart without saying whose it is."""
        key = self._app.keyring.derive("email-fingerprint")
        return hmac.new(key, email.strip().lower().encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]

    async def failed(self, attempt: Attempt) -> bool:
        answer = await self._run(_FAILED, attempt, attempt.id, WINDOW_SECONDS * 1000, *self._limits)
        if answer is None:
            return False
        if answer[1]:
            log.warning("sign_in.address_locked", address=attempt.address)
        return bool(answer[0])

    async def release(self, attempt: Attempt, *, forget: bool = False) -> None:
        keys = _keys(attempt)
        with contextlib.suppress(RedisError, OSError):
            async with self._app.redis.pipeline(transaction=True) as pipe:
                pipe.zrem(keys[1], attempt.id)
                pipe.zrem(keys[3], attempt.id)
                if forget:
                    pipe.delete(keys[0])
                await pipe.execute()

    async def forgive(self, email: str) -> None:
        """Unlock an account, since it was shown otherwise whose it is (a link to set a new password was used)."""
        if await self.shared(email):
            return
        keys = _keys(Attempt("", self.fingerprint(email), "", email, self))
        with contextlib.suppress(RedisError, OSError):
            await self._app.redis.delete(keys[0], keys[4])

    async def shared(self, email: str) -> bool:
        """Whether several organisations know the e-mail: what is right in one says nothing of the others."""
        async with self._app.begin(Principal.stranger(email)) as work:
            known = select(func.count()).select_from(User).where(User.email == email, User.state != "deleted")
            return (await work.session.scalar(known) or 0) > 1

    async def _enter(self, attempt: Attempt) -> None:
        limits = self._limits
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            answer = await self._run(
                _ENTER, attempt, attempt.id, WINDOW_SECONDS * 1000, CHECK_SECONDS * 1000, FREE, LONGEST_DELAY, *limits
            )
            if answer is None:
                return
            verdict, seconds = answer[0].decode(), max(1, math.ceil(int(answer[1]) / 1000))
            if verdict == "go":
                return
            if verdict == "busy" and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.05)
                continue
            raise _refusal(verdict, seconds)

    async def _run(self, script: str, attempt: Attempt, *values: object) -> Any:
        """What the script answers, or None if Redis does not."""
        keys = _keys(attempt)
        try:
            return await self._app.redis.eval(script, len(keys), *keys, *values)
        except (RedisError, OSError) as error:
            log.warning("sign_in.not_counted", error=repr(error))
            return None


def _refusal(verdict: str, seconds: int) -> Locked:
    minutes = math.ceil(seconds / 60)
    if verdict in ("account", "locked"):
        return Locked(
            f"too many wrong passwords were given for this account, so it is locked: come back in {minutes} minutes, "
            "or set a new password by link",
            seconds,
            "account-locked",
            newly=verdict == "locked",
        )
    if verdict == "address":
        return Locked(
            f"too many sign-ins from this address failed, so it is locked out: come back in {minutes} minutes",
            seconds,
            "address-locked",
        )
    return Locked(
        f"too many attempts at this account: wait {seconds} seconds before the next",
        seconds,
        "too-many-attempts",
    )


def _keys(attempt: Attempt) -> list[str]:
    account, address = f"folkmoot:guess:account:{attempt.account}", f"folkmoot:guess:address:{attempt.address}"
    return [
        f"{account}:failed",
        f"{account}:held",
        f"{address}:failed",
        f"{address}:held",
        f"{account}:locked",
        f"{address}:locked",
    ]
