"""What `/v1` answers, as OpenAI's clients read it, with a little more where they leave room for it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from folkmoot.kit.structs import Struct

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ModelCard(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["model"] = "model"
    created: int
    """Seconds since 1970."""
    owned_by: str
    """Name of the connection, or of the assistant's space."""
    name: str
    """For people."""
    kind: str
    """`chat`, `embedding`, `transcription` or `assistant`."""
    context_window: int | UnsetType = UNSET


class ModelCards(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class PromptTokens(Struct, frozen=True, kw_only=True):
    cached_tokens: int = 0


class CompletionTokens(Struct, frozen=True, kw_only=True):
    reasoning_tokens: int = 0


class CompletionUsage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens | UnsetType = UNSET
    completion_tokens_details: CompletionTokens | UnsetType = UNSET
    estimated: bool | UnsetType = UNSET
    """True if the provider told no figures."""


class ToolCallFunction(Struct, frozen=True, kw_only=True):
    name: str
    arguments: str


class ToolCallOut(Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["function"] = "function"
    function: ToolCallFunction


class UrlCitation(Struct, frozen=True, kw_only=True):
    start_index: int
    """Where the marker `[n]` stands in the message, in characters."""
    end_index: int
    title: str
    """Name of the document."""
    url: str
    """The original document, at its page; for those who may read it."""


class CitedPlace(Struct, frozen=True, kw_only=True):
    """Ours: exactly what is cited."""

    n: int
    document_id: UUID
    chunk_id: UUID
    page: int | None
    start: int
    """Offset in the document's text; `quote` is exactly what stands from here to `end`."""
    end: int
    quote: str


class Annotation(Struct, frozen=True, kw_only=True):
    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation
    folkmoot: CitedPlace


class ChatAnswer(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    """What the model thought aloud."""
    tool_calls: list[ToolCallOut] | UnsetType = UNSET
    annotations: list[Annotation] | UnsetType = UNSET
    """Of an assistant: its citations."""


class ChatChoice(Struct, frozen=True, kw_only=True):
    index: int = 0
    message: ChatAnswer
    logprobs: None = None
    finish_reason: FinishReason


class ChatCompletion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    """Who answered; another than was asked for if that one could not."""
    choices: list[ChatChoice]
    usage: CompletionUsage


class FunctionDelta(Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    arguments: str


class ToolCallDeltaOut(Struct, frozen=True, kw_only=True):
    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta


class ChatDelta(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallDeltaOut] | UnsetType = UNSET
    annotations: list[Annotation] | UnsetType = UNSET
    """Of an assistant: all citations together, once the text is whole."""


class ChunkChoice(Struct, frozen=True, kw_only=True):
    index: int = 0
    delta: ChatDelta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(Struct, frozen=True, kw_only=True):
    """The data of each event; `[DONE]` is the last."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    """Empty in the chunk with the usage."""
    usage: CompletionUsage | UnsetType | None = UNSET
    """With `stream_options.include_usage`: null, but for the last chunk."""


class EmbeddingData(Struct, frozen=True, kw_only=True):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """With `encoding_format` `base64`: 32-bit floats, little-endian, in base64."""


class EmbeddingUsage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[EmbeddingData]
    model: str
    usage: EmbeddingUsage


class TranscriptionUsage(Struct, frozen=True, kw_only=True):
    type: Literal["tokens", "duration"]
    seconds: float | UnsetType = UNSET
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    total_tokens: int | UnsetType = UNSET


class SpokenSegment(Struct, frozen=True, kw_only=True):
    id: int
    start: float
    """Seconds from the beginning."""
    end: float
    text: str


class Transcription(Struct, frozen=True, kw_only=True):
    text: str
    usage: TranscriptionUsage | UnsetType = UNSET
    task: Literal["transcribe"] | UnsetType = UNSET
    """This and the next three come with `verbose_json`."""
    language: str | UnsetType = UNSET
    duration: float | UnsetType = UNSET
    segments: list[SpokenSegment] | UnsetType = UNSET
