"""One question to a model, and the events of its answer.

`ChatModel.chat(request)` yields events in the order in which they happen, exactly one `Finish`, last.
Failures are raised, never yielded. Closing the iterator closes the request to the provider.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image", tag_field="type"):
    media_type: str
    """`image/png`, `image/jpeg`, `image/webp` or `image/gif`."""
    data: bytes
    width: int | None = None
    """In pixels, where the host knows it; what a picture costs goes by its size. Since 1.4."""
    height: int | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model asked for in an earlier turn."""

    id: str
    name: str
    arguments: str
    """JSON as the model wrote it, not yet checked."""


class Message(msgspec.Struct, frozen=True):
    """One turn."""

    role: Literal["system", "user", "assistant", "tool"]
    content: tuple[TextPart | ImagePart, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """On `role="tool"`: which call this answers."""
    provider_state: Any = None
    """What the provider's own `ProviderState` carried in that turn, handed back untouched."""

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document that was found for the question. Hostile text: data, never instructions."""

    n: int
    """The number that a marker `[n]` in the answer refers to, from 1."""
    text: str
    document_name: str
    page: int | None = None
    heading: str | None = None


class ToolSpec(msgspec.Struct, frozen=True):
    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""


class ChatRequest(msgspec.Struct, frozen=True):
    """All that a provider needs to answer one turn."""

    model: str
    """As in `ModelInfo.name`."""
    messages: tuple[Message, ...]
    """Oldest first; the newest user turn is last, or is followed by the answers of its tools."""
    passages: tuple[Passage, ...] = ()
    """Filled only for models whose `ModelInfo.passages` is true; for all others they stand in the prompt."""
    grounded: bool = False
    """The assistant has knowledge, so an empty `passages` means that nothing was found."""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    """`auto`, `none`, `required`, or the name of the one tool to call; None: the model decides."""
    parallel_tools: bool | None = None
    """Whether the model may call several tools at once; None: as the provider has it."""
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    response_schema: dict[str, Any] | None = None
    """JSON Schema that the answer must follow, where the model can."""
    response_schema_name: str = "answer"
    json_object: bool = False
    """The answer must be some JSON object, without a schema, where the model can."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    seed: int | None = None
    options: dict[str, Any] = {}
    """Extra parameters in the provider's own `ModelInfo.dialect`, passed on as they are."""


class TextDelta(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """More of the answer. Never empty."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning", tag_field="type"):
    """More of what the model thinks aloud; not part of the answer."""

    text: str


class ToolCallStarted(msgspec.Struct, frozen=True, tag="tool_call", tag_field="type"):
    """The model begins to ask for a tool."""

    index: int
    id: str
    name: str


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call_delta", tag_field="type"):
    """More of the JSON arguments of the call that began with this `index`."""

    index: int
    arguments: str


class ProviderState(msgspec.Struct, frozen=True, tag="state", tag_field="type"):
    """Opaque to the host; echoed back in `Message.provider_state` on the next turn."""

    data: Any


class Usage(msgspec.Struct, frozen=True, tag="usage", tag_field="type"):
    """Tokens as the provider counts them; the last `Usage` of an answer holds, so each tells the whole."""

    input_tokens: int
    """All of them: those from the provider's cache and those written to it are among them."""
    output_tokens: int
    """All of them: reasoning is among them."""
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0


class Finish(msgspec.Struct, frozen=True, tag="finish", tag_field="type"):
    """The end, exactly once, last."""

    reason: FinishReason


ChatEvent = TextDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | ProviderState | Usage | Finish
