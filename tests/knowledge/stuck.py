"""A parser that reads for as long as a test wants it to, and waiting for what happens in a worker."""

from __future__ import annotations

import asyncio

from folkmoot_sdk import Block


async def until(condition, seconds: float = 20) -> None:
    """Return once `condition()` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is elsewhere
            await asyncio.sleep(0.02)


class Stuck:
    """In the place of `ParserPool.parse`: names that begin with `slow` are read until `go` is set."""

    def __init__(self, real):
        self._real = real
        self.reading: set[str] = set()
        self.order: list[str] = []
        self.passwords: list[str | None] = []
        self.go = asyncio.Event()

    async def parse(self, pool, file, *, name, password=None, **options):
        self.passwords.append(password)
        self.order.append(name)
        if not name.startswith("slow"):
            async for item in self._real(pool, file, name=name, password=password, **options):
                yield item
            return
        self.reading.add(name)
        try:
            await self.go.wait()
            yield Block(text="The long text is short.")
        finally:
            self.reading.discard(name)
