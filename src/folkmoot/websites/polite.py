"""One request at a time to each host, with a pause after each, over all workers and organisations together.

What a host is asked is counted where all workers see it: a lock that is given to one request, and beside it the moment
from which the next may be made. Whoever does not get it is told how long to wait, and may do something else meanwhile.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from folkmoot.kit.redis import Redis
from folkmoot.websites.address import Site

PAUSE_SECONDS = 0.5
"""Between two requests to one host."""
LONGEST_PAUSE = 30.0
"""What `Crawl-delay` may ask for."""
LOOK_SECONDS = 0.25
"""How soon to ask again for a host that somebody else is at."""

# The lock is lost with its time, so that a worker that died holds up nobody for longer than one request may take.
_TAKE = """
if redis.call('EXISTS', KEYS[2]) == 1 then return redis.call('PTTL', KEYS[2]) end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return -1
"""
_LEAVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if tonumber(ARGV[2]) > 0 then redis.call('SET', KEYS[2], '1', 'PX', ARGV[2]) end
return 1
"""


@dataclass(frozen=True)
class Visit:
    """The right to make one request."""

    keys: tuple[str, str]
    token: str


class Hosts:
    """Who may ask which host, and when."""

    def __init__(self, redis: Redis) -> None:
        self._take: Any = redis.register_script(_TAKE)
        self._leave: Any = redis.register_script(_LEAVE)

    async def ask(self, url: str, seconds: float) -> Visit | float:
        """The right to one request to the host of `url`, which takes at most `seconds`; or how long to wait."""
        site = Site.of(url)
        name = f"folkmoot:crawl:{{{site.host}:{site.port or ''}}}"
        visit = Visit((f"{name}:lock", f"{name}:pause"), secrets.token_hex(8))
        wait = int(await self._take(keys=list(visit.keys), args=[visit.token, int(seconds * 1000)]))
        if wait == 0:
            return visit
        return LOOK_SECONDS if wait < 0 else max(wait / 1000, 0.01)

    async def leave(self, visit: Visit, pause: float) -> None:
        """The request is over; the next comes `pause` seconds from now at the earliest."""
        await self._leave(keys=list(visit.keys), args=[visit.token, int(pause * 1000)])
