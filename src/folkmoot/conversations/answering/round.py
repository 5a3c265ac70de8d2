"""One call of a model within an answer: what it said and asked for, kept within bounds whatever it sends."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from folkmoot_sdk import (
    BadResponse,
    Finish,
    FinishReason,
    ProviderState,
    TextPart,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from folkmoot_sdk import Message as Said

from folkmoot.ai.guard import storable
from folkmoot.conversations.toolcalls.kept import arguments_of

MOST_ASKED = 64
"""Calls in one round; a model that asks for more is broken."""
MOST_ARGUMENTS = 100_000
"""Characters of the arguments of one call."""
MOST_ARGUMENTS_TOGETHER = 400_000
MOST_STATE = 4_000_000
_NAME = re.compile(r"[^A-Za-z0-9_-]")


def _stated(data: Any) -> Any:
    """A provider's own state, as a JSON column can hold it; None if it cannot."""
    try:
        text = storable(json.dumps(data, default=str, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return None
    return json.loads(text.replace("\\u0000", "")) if len(text) <= MOST_STATE else None


@dataclass
class Begun:
    """A call whose arguments are still coming."""

    id: str
    name: str
    parts: list[str] = field(default_factory=list[str])
    size: int = 0


@dataclass
class Round:
    text: list[str] = field(default_factory=list[str])
    held: str = ""
    """White space that it began with: nothing is shown before there is more."""
    spoken: bool = False
    thought: int = 0
    """Characters of reasoning."""
    begun: dict[int, Begun] = field(default_factory=dict[int, Begun])
    """By the index that the model gives them."""
    state: Any = None
    usage: Usage | None = None
    reason: FinishReason | None = None
    _size: int = 0

    def takes(self, event: object) -> None:
        """All that is not text. Raises `BadResponse` for calls without measure."""
        match event:
            case ToolCallStarted():
                self._starts(event)
            case ToolCallDelta():
                self._goes_on(event)
            case ProviderState():
                self.state = _stated(event.data)
            case Usage():
                # Each tells the whole of this call.
                self.usage = event
            case Finish():
                self.reason = event.reason
            case _:
                pass

    def _starts(self, event: ToolCallStarted) -> None:
        if event.index in self.begun:
            return
        if len(self.begun) >= MOST_ASKED:
            raise BadResponse(f"the model asked for more than {MOST_ASKED} tools at once: ask again, or another model")
        self.begun[event.index] = Begun(event.id, event.name)

    def _goes_on(self, event: ToolCallDelta) -> None:
        call = self.begun.get(event.index)
        if call is None:  # arguments of a call that never began belong to nothing
            return
        call.parts.append(event.arguments)
        call.size += len(event.arguments)
        self._size += len(event.arguments)
        if call.size > MOST_ARGUMENTS or self._size > MOST_ARGUMENTS_TOGETHER:
            raise BadResponse("the model wrote arguments for a tool that have no end: ask again, or another model")

    @property
    def calls(self) -> list[ToolCall]:
        """What it asks for, as it wrote it."""
        return [ToolCall(call.id, call.name, "".join(call.parts)) for call in self.begun.values()]

    def turn(self, number: int, before: Sequence[Said]) -> Said:
        """As the model is told of it in the next round: with ids that are there once, and arguments that are JSON."""
        taken = {call.id for turn in before for call in turn.tool_calls}
        made: list[ToolCall] = []
        for place, call in enumerate(self.calls, start=1):
            own = call.id if 0 < len(call.id) <= 200 and call.id not in taken else f"call_{number}_{place}"
            taken.add(own)
            name = _NAME.sub("_", call.name)[:64] or "unnamed"
            arguments = storable(call.arguments) if arguments_of(storable(call.arguments)) is not None else "{}"
            made.append(ToolCall(storable(own), name, arguments or "{}"))
        text = "".join(self.text)
        return Said(
            role="assistant",
            content=(TextPart(text),) if text.strip() else (),
            tool_calls=tuple(made),
            provider_state=self.state,
        )
