"""Asking one host, one request at a time: waits for its turn there, and says when waiting would take too long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from folkmoot.websites import fetch
from folkmoot.websites.address import normal
from folkmoot.websites.fetch import REQUEST_SECONDS, Answer, FetchFailed, Secret, Wanted, retry_after
from folkmoot.websites.polite import PAUSE_SECONDS, Hosts, Visit

MOST_HOPS = 10
"""Redirects in a row."""


class Later(Exception):
    """The host is not free before the end of the turn: come again in so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the host is free in {seconds:.1f} s")
        self.seconds = seconds


class Visitor:
    """One crawl, or one preview, on the web. `seconds`: how long it has for waiting."""

    def __init__(self, client: httpx.AsyncClient, hosts: Hosts, seconds: float, secret: Secret | None = None) -> None:
        self._client, self._hosts, self._secret = client, hosts, secret
        self._until = asyncio.get_running_loop().time() + seconds
        self.pause = PAUSE_SECONDS
        """After each request, in seconds."""

    @property
    def seconds_left(self) -> float:
        return self._until - asyncio.get_running_loop().time()

    async def get(self, url: str, wanted: Wanted, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask once, in turn. Raises `Later`, or `FetchFailed`."""
        while not isinstance(turn := await self._hosts.ask(url, REQUEST_SECONDS + 10), Visit):
            if turn > self.seconds_left:
                raise Later(turn)
            await asyncio.sleep(turn)
        pause = self.pause
        try:
            answer = await fetch.get(self._client, url, wanted, secret=self._secret, headers=headers)
            if answer.status in (429, 503):
                pause = max(pause, retry_after(answer.headers))
            return answer
        finally:
            await self._hosts.leave(turn, pause)

    async def follow(self, url: str, wanted: Wanted) -> Answer:
        """Ask, and go where it leads, to other hosts too. Raises `FetchFailed`, `redirect-loop` after ten."""
        seen = {url}
        while True:
            answer = await self.get(url, wanted)
            if answer.location is None:
                return answer
            after = normal(answer.location, url)
            if after is None:
                raise FetchFailed(f"{url} redirects to what is no page", code="bad-answer")
            if after in seen or len(seen) > MOST_HOPS:
                raise FetchFailed(f"{url} redirects for ever", code="redirect-loop")
            seen.add(after)
            url = after
