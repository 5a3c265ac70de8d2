"""What comes over the wire, as typed Structs: msgspec skips all that is not named here.

Every field may be missing or null: gateways leave each of them out somewhere. One Struct stands for all kinds of
events, blocks and deltas, for a kind that nobody knew when this was written must not break an answer.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec


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


event_decoder = msgspec.json.Decoder(Event)
models_decoder = msgspec.json.Decoder(Models)
encoder = msgspec.json.Encoder()
