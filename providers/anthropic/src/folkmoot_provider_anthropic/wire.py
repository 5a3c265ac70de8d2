"""What comes over the wire, as typed Structs: msgspec skips all that is not named here.

Every field may be missing or null: gateways leave each of them out somewhere. One Struct stands for all kinds of
events, blocks and deltas, for a kind that nobody knew when this was written must not break an answer.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec


class Counted(msgspec.Struct):
    """What `count_tokens` answers."""

    input_tokens: int


class Block(msgspec.Struct):
    """A block of an answer: `text`, `thinking`, `redacted_thinking`, `tool_use`, or one that does not concern us."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    citations: list[Any] | None = None


class Delta(msgspec.Struct):
    """More of a block, or of the message itself."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_details: Any = None


class Whole(msgspec.Struct):
    """The message as `message_start` opens it."""

    usage: Any = None


class Event(msgspec.Struct):
    """One event of the stream, or the whole answer of a service that ignores `stream`."""

    type: str | None = None
    index: int | None = None
    message: Whole | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Any = None
    error: Any = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_details: Any = None


_EVENTS = frozenset(
    {
        "message", "message_start", "message_delta", "message_stop", "error",
        "content_block_start", "content_block_delta", "content_block_stop",
    }
)  # fmt: skip
_INSIDE = frozenset(
    {
        "text", "thinking", "redacted_thinking", "tool_use",
        "text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta",
    }
)  # fmt: skip


def read_event(data: bytes) -> Event:
    """One event; an empty one for a kind that is new to us, whatever shape it has.

    Raises `msgspec.DecodeError`, `UnicodeDecodeError` or `RecursionError` for what is none.
    """
    try:
        return _event_decoder.decode(data)
    except msgspec.ValidationError:
        if _is_ours(msgspec.json.decode(data)):
            raise
        return Event()


def _is_ours(value: object) -> bool:
    """Whether this should have been one of the events we read, with a block or a delta that we read."""
    if not isinstance(value, dict):
        return True
    event = cast("dict[str, object]", value)
    inside = [_at(event.get(name), "type") for name in ("content_block", "delta") if name in event]
    known = [kind is None or (isinstance(kind, str) and kind in _INSIDE) for kind in inside]
    kind = event.get("type")
    return kind is None or (isinstance(kind, str) and kind in _EVENTS and all(known))


class ListedModel(msgspec.Struct):
    """A model as `GET /v1/models` lists it; gateways know little more than the name."""

    id: str
    display_name: str | None = None
    max_input_tokens: Any = None
    max_tokens: Any = None
    capabilities: Any = None
    lifecycle: str | None = None
    retires_at: str | None = None

    def can(self, feature: str, otherwise: bool = True) -> bool:
        """Whether the service says that it has this; `otherwise` if it does not say."""
        said = _at(_at(self.capabilities, feature), "supported")
        return said if isinstance(said, bool) else otherwise


class Models(msgspec.Struct):
    """One page of them."""

    data: list[ListedModel] | None = None
    has_more: bool | None = None
    last_id: str | None = None
    error: Any = None


def _at(value: object, key: str) -> object:
    return cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None


_event_decoder = msgspec.json.Decoder(Event)
models_decoder = msgspec.json.Decoder(Models)
encoder = msgspec.json.Encoder()
