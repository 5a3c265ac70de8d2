"""From Ollama's lines to the events of an answer.

`AnswerReader` keeps what one answer needs to remember; it knows nothing of HTTP.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from folkmoot_sdk import (
    BadResponse,
    ChatEvent,
    Finish,
    FinishReason,
    ProviderState,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)

from folkmoot_provider_local.ollama_request import STATE
from folkmoot_provider_local.ollama_wire import Call, Line

_MOST_TOKENS = 10**9


class AnswerReader:
    """Takes the lines of one answer in turn."""

    def __init__(self) -> None:
        self.done = False
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._ids: set[str] = set()
        self._calls = 0
        self._thinking: list[str] = []

    def read(self, line: Line) -> list[ChatEvent]:
        """The events that one line brings. Raises `BadResponse`."""
        given, written = count(line.prompt_eval_count), count(line.eval_count)
        if given or written:
            self._usage = Usage(input_tokens=given, output_tokens=written)
        events: list[ChatEvent] = []
        message = line.message
        if message is not None:
            if message.thinking:
                self._thinking.append(message.thinking)
                events.append(ReasoningDelta(message.thinking))
            if message.content:
                events.append(TextDelta(message.content))
            for call in message.tool_calls or ():
                self._call(call, events)
        if line.done:
            self.done = True
            self._reason = line.done_reason
        return events

    def end(self) -> list[ChatEvent]:
        """The last events. Raises `BadResponse` if the answer is not whole."""
        if not self.done:
            raise BadResponse(
                "the answer was cut off before its end (no line said that it is done): ask again, and look at the "
                "log of Ollama if it happens often"
            )
        reason: FinishReason = "length" if self._reason == "length" else "tool_calls" if self._calls else "stop"
        events: list[ChatEvent] = []
        if self._calls and self._thinking:
            # A model that thinks between its calls wants to see what it thought.
            events.append(ProviderState({STATE: "".join(self._thinking)}))
        if self._usage is not None:
            events.append(self._usage)
        return [*events, Finish(reason)]

    def _call(self, call: Call, events: list[ChatEvent]) -> None:
        """A call comes whole; older releases give it no id."""
        function = call.function
        if function is None or not function.name:
            raise BadResponse("Ollama asked for a tool without naming it: ask again, or another model")
        name, index = function.name, self._calls
        known = call.id if call.id and call.id not in self._ids else f"call_{secrets.token_hex(8)}"
        self._ids.add(known)
        self._calls += 1
        events.append(ToolCallStarted(index, known, name))
        events.append(ToolCallDelta(index, _text(function.arguments)))


def count(value: Any) -> int:
    """A number of tokens; 0 if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else 0


def _text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments or "{}"
    return msgspec.json.encode({} if arguments is None else arguments).decode()
