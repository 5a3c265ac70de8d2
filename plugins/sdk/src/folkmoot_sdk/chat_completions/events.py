"""From chunks on the wire to the events of an answer.

`AnswerReader` keeps what one answer needs to remember: which tool calls have begun, the last usage, why it
ended. It knows nothing of HTTP.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from folkmoot_sdk.chat import (
    ChatEvent,
    Finish,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from folkmoot_sdk.chat_completions.wire import Choice, Chunk, ContentPart, ToolCallPart, encoder
from folkmoot_sdk.errors import BadResponse

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class AnswerReader:
    """Takes the chunks of one answer in turn."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._usage: Usage | None = None
        self._refused = False
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def read(self, chunk: Chunk) -> list[ChatEvent]:
        """The events that one chunk brings; none if it only sets a role, counts or keeps alive."""
        if chunk.usage:
            self._usage = read_usage(chunk.usage) or self._usage
        if not chunk.choices:
            return []
        events: list[ChatEvent] = []
        for choice in chunk.choices:
            if not choice.index:  # one answer was asked for; others would interleave
                self._read_choice(choice, events)
        return events

    def end(self) -> list[ChatEvent]:
        """The last events. Raises `BadResponse` if the answer is not whole."""
        if self.finish_reason is None:
            raise BadResponse(
                "the answer was cut off before its end (no finish_reason came): ask again, and look at the "
                "service's own log if it happens often"
            )
        if self.finish_reason == "error":
            raise BadResponse("the service broke off its own answer (finish_reason is 'error'): ask again")
        if any(not call.started for call in self._calls):
            raise BadResponse("the service asked for a tool without naming it")
        reason = _REASONS.get(self.finish_reason, "stop")
        if self._calls and reason == "stop":  # several local servers say "stop" after a tool call
            reason = "tool_calls"
        if self._refused and reason == "stop":
            reason = "content_filter"
        end = Finish(reason)
        return [end] if self._usage is None else [self._usage, end]

    def _read_choice(self, choice: Choice, events: list[ChatEvent]) -> None:
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        delta = choice.delta or choice.message
        if delta is None:
            return
        thought = delta.reasoning_content or delta.reasoning
        if thought and isinstance(thought, str):
            events.append(ReasoningDelta(thought))
        content = delta.content
        if content:
            if isinstance(content, str):
                events.append(TextDelta(content))
            else:
                _parts(content, events)
        if delta.refusal:
            # The model itself declines, in words meant for the reader: text, not an error.
            self._refused = True
            events.append(TextDelta(delta.refusal))
        for part in delta.tool_calls or ():
            self._call(part, events)

    def _call(self, part: ToolCallPart, events: list[ChatEvent]) -> None:
        call = self._which(part)
        function = part.function
        if part.id and not call.id:
            call.id = part.id
        if function is not None:
            if function.name and not call.name:
                call.name = function.name
            arguments = function.arguments
            if isinstance(arguments, dict):
                arguments = encoder.encode(arguments).decode()
            if arguments:
                call.waiting += arguments
        if not call.started and call.name:
            call.started = True
            events.append(ToolCallStarted(call.index, call.id or f"call_{call.index}", call.name))
        if call.started and call.waiting:
            events.append(ToolCallDelta(call.index, call.waiting))
            call.waiting = ""

    def _which(self, part: ToolCallPart) -> _Call:
        """The call that a part belongs to; services disagree on how to say so.

        OpenAI numbers them. Others send each call whole without a number, or give all the number 0 and
        tell them apart by id.
        """
        name = part.function.name if part.function else None
        if part.index is None:
            same = next((call for call in self._calls if part.id and call.id == part.id), None)
            if same is not None:
                return same
            if self._calls and not part.id and not name:
                return self._calls[-1]
            return self._begin(part.index)
        call = self._by_index.get(part.index)
        if call is None or (part.id and call.id and part.id != call.id and name):
            return self._begin(part.index)
        return call

    def _begin(self, index: int | None) -> _Call:
        call = _Call(len(self._calls))
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call


class _Call:
    __slots__ = ("id", "index", "name", "started", "waiting")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.started = False
        self.waiting = ""


def _parts(parts: list[ContentPart], events: list[ChatEvent]) -> None:
    for part in parts:
        if part.text:
            events.append(TextDelta(part.text))
        elif part.thinking:
            thought = _thought(part.thinking)
            if thought:
                events.append(ReasoningDelta(thought))


def _thought(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return "".join(part.text or "" for part in msgspec.convert(value, list[ContentPart]))
    except msgspec.ValidationError:
        return ""


def read_usage(counts: object) -> Usage | None:
    """Counts as the service tells them; None if they are not counts at all."""
    given, written = count(counts, "prompt_tokens"), count(counts, "completion_tokens")
    if not given and not written:
        return None
    details, thoughts = part_of(counts, "prompt_tokens_details"), part_of(counts, "completion_tokens_details")
    # DeepSeek tells cache hits beside the rest; gateways that speak for Anthropic have two names for what is written.
    cached = min(given, count(details, "cached_tokens") or count(counts, "prompt_cache_hit_tokens"))
    stored = count(details, "cache_write_tokens") or count(details, "cache_creation_tokens")
    return Usage(
        input_tokens=given,
        output_tokens=written,
        cached_input_tokens=cached,
        reasoning_tokens=min(written, count(thoughts, "reasoning_tokens")),
        cache_write_tokens=min(given - cached, stored),
    )


def count(counts: object, name: str) -> int:
    """A number of tokens out of whatever a service sends; 0 for what is none."""
    value = part_of(counts, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def part_of(value: object, name: str) -> object:
    """One field of whatever a service sends; None if it has no such thing."""
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
