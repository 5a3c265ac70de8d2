"""What comes over the wire, as typed Structs: msgspec skips all that is not named here.

Every field may be missing or null, for some service leaves each of them out.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """JSON as text; some local servers send the object itself."""


class ToolCallPart(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class ContentPart(msgspec.Struct):
    """Of services that send a list where others send text."""

    type: str | None = None
    text: str | None = None
    thinking: Any = None


class Delta(msgspec.Struct):
    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallPart] | None = None


class Choice(msgspec.Struct):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    """In place of `delta` when a service ignores `stream` and sends the answer whole."""
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    object: str | None = None
    message: Any = None
    code: Any = None
    type: Any = None


class Vector(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class Vectors(msgspec.Struct):
    data: list[Vector] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class ListedModel(msgspec.Struct):
    id: str
    type: Any = None
    context_length: Any = None
    context_window: Any = None
    max_model_len: Any = None
    max_context_length: Any = None


class ModelList(msgspec.Struct):
    data: list[ListedModel]


chunk_decoder = msgspec.json.Decoder(Chunk)
vectors_decoder = msgspec.json.Decoder(Vectors)
models_decoder: msgspec.json.Decoder[ModelList | list[ListedModel]] = msgspec.json.Decoder(
    ModelList | list[ListedModel]
)
encoder = msgspec.json.Encoder()
