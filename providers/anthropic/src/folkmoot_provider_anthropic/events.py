"""From events on the wire to the events of an answer.

`AnswerReader` keeps what one answer needs to remember: which block is open, what was cited, what was thought,
why it ended. It knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

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

from folkmoot_provider_anthropic.state import Replay, remember
from folkmoot_provider_anthropic.wire import Block, Delta, Event, encoder

_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # the model would go on if asked to
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnswerReader:
    """Takes the events of one answer in turn."""

    def __init__(self, model: str, sources: Mapping[str, int] | None = None) -> None:
        """`sources` maps the `source` of each passage that may be cited to its number."""
        self.stop_reason: str | None = None
        self.stopped = False
        """`message_stop` came: nothing follows."""
        self._replay = Replay(model)
        self._sources = sources or {}
        self._counts: dict[str, int] = {}
        self._calls = 0
        self._said_something = False
        self._explanation = ""
        self._open: dict[int, _Open] = {}

    def read(self, event: Event) -> list[ChatEvent]:
        """The events that one event brings: none for a ping, a signature, or a kind that is new to us."""
        events: list[ChatEvent] = []
        match event.type:
            case "content_block_delta":
                if event.delta is not None:
                    self._more(self._at(event.index or 0, event.delta), event.delta, events)
            case "content_block_start":
                if event.content_block is not None:
                    self._begin(event.index or 0, event.content_block, events)
            case "content_block_stop":
                self._close(event.index or 0, events)
            case "message_start":
                if event.message is not None:
                    self._count(event.message.usage)
            case "message_delta":
                self._count(event.usage)
                if event.delta is not None:
                    self._stop(event.delta.stop_reason, event.delta.stop_details)
            case "message_stop":
                self.stopped = True
            case "message":
                self._whole(event, events)
            case _:
                pass
        return events

    def end(self) -> list[ChatEvent]:
        """The last events. Raises `BadResponse` if the answer is not whole."""
        if self.stop_reason is None:
            raise BadResponse(
                "the answer was cut off before its end (no stop_reason came): ask again, and look at the "
                "service's own status if it happens often"
            )
        events: list[ChatEvent] = []
        for index in list(self._open):
            self._close(index, events)
        reason = _REASONS.get(self.stop_reason, "stop")
        if self._calls and reason == "stop":
            reason = "tool_calls"
        if not self._calls and reason == "tool_calls":
            reason = "stop"
        if reason == "content_filter" and not self._said_something and self._explanation:
            events.append(TextDelta(self._explanation))
        state = self._replay.state() if reason == "tool_calls" else None
        if state is not None:
            events.append(ProviderState(state))
        if self._counts:
            events.append(_usage(self._counts))
        events.append(Finish(reason))
        return events

    def _begin(self, index: int, block: Block, events: list[ChatEvent]) -> None:
        opened = self._open[index] = _Open(block.type or "")
        if block.type == "tool_use":
            opened.call = self._calls
            opened.id = block.id or f"toolu_{self._calls}"
            opened.name = block.name or ""
            self._calls += 1
            if not opened.name:
                raise BadResponse("the service asked for a tool without naming it: ask again")
            events.append(ToolCallStarted(opened.call, opened.id, opened.name))
            if block.input:  # all at once, as gateways do
                self._arguments(opened, encoder.encode(block.input).decode(), events)
        elif block.type == "redacted_thinking":
            opened.data = block.data or ""
        # A block may begin with its first words, or be there at once.
        for citation in block.citations or ():
            self._cite(opened, citation)
        if block.text:
            self._text(opened, block.text, events)
        if block.thinking:
            self._thought(opened, block.thinking, events)
        if block.signature:
            opened.signature = block.signature

    def _more(self, opened: _Open, delta: Delta, events: list[ChatEvent]) -> None:
        match delta.type:
            case "text_delta":
                self._text(opened, delta.text or "", events)
            case "thinking_delta":
                self._thought(opened, delta.thinking or "", events)
            case "signature_delta":
                opened.signature = delta.signature or ""
            case "input_json_delta":
                self._arguments(opened, delta.partial_json or "", events)
            case "citations_delta":
                self._cite(opened, delta.citation)
            case _:
                pass

    def _close(self, index: int, events: list[ChatEvent]) -> None:
        opened = self._open.pop(index, None)
        if opened is None:
            return
        marks = "".join(f" [{n}]" for n in opened.cited)
        if marks or opened.waiting:
            # The marker stands by the words it belongs to, before the white space that follows them.
            events.append(TextDelta(marks + opened.waiting))
        if opened.call is not None and not opened.parts:
            events.append(ToolCallDelta(opened.call, "{}"))
        self._replay.keep(
            remember(
                opened.type,
                "".join(opened.parts),
                signature=opened.signature,
                data=opened.data,
                call_id=opened.id,
                name=opened.name,
            )
        )

    def _text(self, opened: _Open, text: str, events: list[ChatEvent]) -> None:
        if not text:
            return
        opened.parts.append(text)
        self._said_something = True
        if self._sources:
            text = opened.waiting + text
            told = text.rstrip()
            opened.waiting = text[len(told) :]
            text = told
        if text:
            events.append(TextDelta(text))

    @staticmethod
    def _thought(opened: _Open, text: str, events: list[ChatEvent]) -> None:
        if text:
            opened.parts.append(text)
            events.append(ReasoningDelta(text))

    @staticmethod
    def _arguments(opened: _Open, text: str, events: list[ChatEvent]) -> None:
        if text and opened.call is not None:  # a tool that the service runs itself is none of ours
            opened.parts.append(text)
            events.append(ToolCallDelta(opened.call, text))

    def _cite(self, opened: _Open, citation: object) -> None:
        if not isinstance(citation, dict):
            return
        n = self._sources.get(str(cast("dict[str, object]", citation).get("source")))
        if n is not None and n not in opened.cited:
            opened.cited.append(n)

    def _at(self, index: int, delta: Delta) -> _Open:
        """The block that a delta is for; one that never began is what the delta says it is."""
        if index not in self._open:
            self._open[index] = _Open("thinking" if delta.type == "thinking_delta" else "text")
        return self._open[index]

    def _whole(self, event: Event, events: list[ChatEvent]) -> None:
        for index, block in enumerate(event.content or ()):
            self._begin(index, block, events)
            self._close(index, events)
        self._count(event.usage)
        self._stop(event.stop_reason, event.stop_details)
        self.stopped = True

    def _stop(self, reason: str | None, details: object) -> None:
        self.stop_reason = reason or self.stop_reason
        explanation = cast("dict[str, object]", details).get("explanation") if isinstance(details, dict) else None
        if isinstance(explanation, str):
            self._explanation = explanation.strip()

    def _count(self, usage: object) -> None:
        """Counts are totals so far, so the later one holds; one that is left out stays as it was."""
        if not isinstance(usage, dict):
            return
        told = cast("dict[str, Any]", usage)
        details: object = told.get("output_tokens_details")
        if isinstance(details, dict):
            told = {**told, "thinking_tokens": cast("dict[str, Any]", details).get("thinking_tokens")}
        for name in (*_INPUT, "output_tokens", "thinking_tokens"):
            value = told.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                self._counts[name] = value


_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Each counts what the others do not: together they are the prompt."""


class _Open:
    """A block that is on its way."""

    __slots__ = ("call", "cited", "data", "id", "name", "parts", "signature", "type", "waiting")

    def __init__(self, kind: str) -> None:
        self.type = kind
        self.parts: list[str] = []
        self.waiting = ""
        self.cited: list[int] = []
        self.call: int | None = None
        self.id = ""
        self.name = ""
        self.signature = ""
        self.data = ""


def _usage(counts: Mapping[str, int]) -> Usage:
    written = counts.get("output_tokens", 0)
    return Usage(
        input_tokens=sum(counts.get(name, 0) for name in _INPUT),
        output_tokens=written,
        cached_input_tokens=counts.get("cache_read_input_tokens", 0),
        cache_write_tokens=counts.get("cache_creation_input_tokens", 0),
        reasoning_tokens=min(written, counts.get("thinking_tokens", 0)),
    )
