"""Tools for tests: they note how they were called, and do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from folkmoot_sdk import ToolSpec

from folkmoot.tools.offer import Offer, Outcome

ANY = {"type": "object", "properties": {"a": {"type": "integer"}, "text": {"type": "string"}}}
SPACE = UUID("00000000-0000-4000-8000-000000000000")


@dataclass
class Toolbox:
    """What an answer's model is offered, instead of what the organisation's servers bring."""

    offers: list[Offer] = field(default_factory=list[Offer])
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    """(name, arguments) in the order in which they were made."""

    def has(
        self,
        name: str,
        answer: str | Callable[[dict[str, Any]], Awaitable[Outcome]] = "done",
        *,
        approval: bool = False,
        reads_only: bool = True,
        schema: dict[str, Any] | None = None,
        seconds: float = 20.0,
        description: str = "A tool.",
    ) -> None:
        async def call(arguments: dict[str, Any]) -> Outcome:
            self.calls.append((name, arguments))
            return await answer(arguments) if callable(answer) else Outcome(answer)

        spec = ToolSpec(name, description, schema or ANY)
        known = {"approval": approval, "reads_only": reads_only, "seconds": seconds}
        self.offers.append(Offer(spec, name.title(), call, tool_id=uuid5(SPACE, name), **known))

    def called(self, name: str) -> list[dict[str, Any]]:
        return [arguments for made, arguments in self.calls if made == name]

    async def until_called(self, name: str) -> None:
        async with asyncio.timeout(15):
            while not self.called(name):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
