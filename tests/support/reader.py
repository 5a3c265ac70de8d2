"""A client that reads an answer to its end, whatever happens to the line or to the process at its other end."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

ENDS = ("message.completed", "message.failed")


class Cut(Exception):
    """The client closes the line itself."""


@dataclass
class Reader:
    """One question, asked until it is heard, and its answer, read until it ends."""

    conversation: str
    content: str
    random: random.Random
    cuts: int = 0
    """How often to close the line at a random point."""
    pause: float = 0.2
    """Seconds at most before it tries again."""
    key: str = field(default_factory=lambda: uuid4().hex)
    """Asked twice with the same key, it is one question."""
    text: str = ""
    last: int = 0
    message_id: str = ""
    end: str = ""
    """The event that ended it."""
    ending: dict = field(default_factory=dict)
    resumed: int = 0
    refusals: list[str] = field(default_factory=list)

    async def read(self, clients: Sequence[httpx.AsyncClient], seconds: float = 120) -> Reader:
        """To the end, each time at another process. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while not self.end:
                client = self.random.choice(clients)
                try:
                    await self._once(client)
                except (httpx.TransportError, Cut):
                    self.resumed += 1
                if not self.end:
                    await asyncio.sleep(self.random.uniform(0, self.pause))
        return self

    async def _once(self, client: httpx.AsyncClient) -> None:
        left = self._until_cut()
        headers = {"Accept": "text/event-stream"}
        if self.message_id:
            headers |= {"Last-Event-ID": str(self.last)} if self.last else {}
            asked = client.stream("GET", f"/messages/{self.message_id}/events", headers=headers)
        else:
            headers["Idempotency-Key"] = self.key
            body = {"content": self.content}
            asked = client.stream("POST", f"/conversations/{self.conversation}/messages", json=body, headers=headers)
        async with asked as response:
            if response.status_code >= 300:
                told = (await response.aread()).decode()
                assert response.status_code in (409, 429, 502, 503), f"{response.status_code}: {told}"
                self.refusals.append(told[:200])
                return
            block: list[str] = []
            async for line in response.aiter_lines():
                if line and not line.startswith(":"):
                    block.append(line)
                elif block and not line:
                    self._take(dict(item.split(": ", 1) for item in block))
                    block = []
                    left -= 1
                    if self.end:
                        return
                    if left <= 0:
                        raise Cut

    def _until_cut(self) -> float:
        """Events until the line is cut."""
        if self.resumed >= self.cuts:
            return float("inf")
        return self.random.randint(1, 6)

    def _take(self, event: dict[str, str]) -> None:
        number, data = int(event["id"]), json.loads(event["data"])
        assert number > self.last, f"event {number} came after {self.last}"
        self.last = number
        match event["event"]:
            case "message.created":
                self.message_id = data["message_id"]
            case "text.delta":
                self.text += data["text"]
            case name if name in ENDS:
                self.end, self.ending = name, data
            case _:
                pass
