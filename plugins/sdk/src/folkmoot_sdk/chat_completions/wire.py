"""What comes over the wire, as typed Structs: msgspec skips all that is not named here.

Every field may be missing or null, for some service leaves each of them out.
"""

from __future__ import annotations

import re
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
    reasoning_content: Any = None
    """Text where it is DeepSeek's, vLLM's or llama.cpp's; others use the name for objects of their own."""
    reasoning: Any = None
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
    usage: Any = None
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
    usage: Any = None
    error: Any = None


class ListedModel(msgspec.Struct):
    """One row of `GET /models`: an id, and what some services tell beside it."""

    id: str
    type: Any = None
    owned_by: Any = None
    context_length: Any = None
    context_window: Any = None
    max_model_len: Any = None
    max_context_length: Any = None
    capabilities: Any = None
    status: Any = None
    lifecycle_status: Any = None
    deprecation: Any = None
    meta: Any = None
    parent: Any = None
    root: Any = None
    architecture: Any = None
    shutdown_date: Any = msgspec.UNSET

    @property
    def context(self) -> int | None:
        """The length of its context in tokens, by whichever name the service tells it."""
        sizes = (self.context_length, self.context_window, self.max_model_len, self.max_context_length)
        return next((size for size in sizes if isinstance(size, int) and size > 0), None)

    @property
    def tells_retirement(self) -> bool:
        """Whether the service says if and when it takes the model away, be it that it has no day yet."""
        return self.shutdown_date is not msgspec.UNSET

    @property
    def retires_on(self) -> str | None:
        """The day on which it is taken away, as `2027-01-31`, if the service tells it (OpenAI does)."""
        day = self.shutdown_date
        return day if isinstance(day, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", day) else None


class ModelList(msgspec.Struct):
    data: list[ListedModel]


class Segment(msgspec.Struct):
    start: float
    end: float
    text: str = ""


class Spoken(msgspec.Struct):
    """A transcript: `json` has the text, `verbose_json` the rest."""

    text: str | None = None
    language: Any = None
    duration: Any = None
    segments: list[Segment] | None = None
    usage: Any = None
    error: Any = None


chunk_decoder = msgspec.json.Decoder(Chunk)
vectors_decoder = msgspec.json.Decoder(Vectors)
spoken_decoder = msgspec.json.Decoder(Spoken, strict=False)
models_decoder: msgspec.json.Decoder[ModelList | list[ListedModel]] = msgspec.json.Decoder(
    ModelList | list[ListedModel]
)
encoder = msgspec.json.Encoder()
