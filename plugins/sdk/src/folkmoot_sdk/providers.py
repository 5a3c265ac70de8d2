"""Who answers, embeds, reranks or transcribes.

A provider is a `ProviderSpec`; connecting it with a configuration gives a connection that lists its models.
What else the connection can do it shows by the Protocols it follows: `ChatModel`, `TokenCounter`, `Embedder`,
`Reranker`, `Transcriber`. A plugin never retries: the host does, and only before the first event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from folkmoot_sdk.chat import ChatEvent, ChatRequest, Usage
from folkmoot_sdk.context import PluginContext

ModelKind = Literal["chat", "embedding", "rerank", "transcription"]


class Price(msgspec.Struct, frozen=True):
    """What a model costs, in millionths of a US dollar: 2.50 $ for a million tokens is 2_500_000.

    All zero is a known price of nothing, as on one's own machines. A model whose price nobody knows has none.
    """

    input: int = 0
    """For a million tokens."""
    output: int = 0
    """For a million tokens."""
    cached_input: int | None = None
    """For a million tokens from the provider's cache; None: as `input`."""
    cache_write: int | None = None
    """For a million tokens written to the provider's cache; None: as `input`."""
    request: int = 0
    """For each call, beside its tokens."""
    audio_minute: int = 0
    """For a minute of audio."""
    as_of: str = ""
    """The day on which the provider's list said so, as `2026-11-01`."""


class ModelInfo(msgspec.Struct, frozen=True):
    """One model as the provider offers it. Capabilities are data, not classes."""

    name: str
    """The provider's own id."""
    kind: ModelKind
    title: str = ""
    """For people; the name, if empty."""
    context_window: int | None = None
    """Tokens, question and answer together; None if the provider does not say."""
    max_output_tokens: int | None = None
    dimensions: int | None = None
    """Of an embedding."""
    max_batch: int | None = None
    """Most texts in one call of `embed`."""
    max_batch_tokens: int | None = None
    """Most tokens of all texts in one call of `embed` together."""
    vision: bool = False
    tools: bool = False
    reasoning: bool = False
    passages: bool = False
    """Takes `ChatRequest.passages` as they are, instead of in the prompt."""
    json_schema: bool = False
    """Keeps to `ChatRequest.response_schema`."""
    dialect: str = ""
    """Whose names `ChatRequest.options` may use: `chat-completions` for OpenAI's; empty: it takes no options."""
    price: Price | None = None
    """None: not known, and the host counts it at a ceiling."""
    retires_on: str | None = None
    """The day on which the provider takes it away, as `2027-01-31`, if it has said so."""


class ProviderConnection(Protocol):
    """What every connection can do."""

    async def models(self) -> list[ModelInfo]:
        """The models on offer, best default of each kind first. Raises `ProviderError`."""
        ...


@runtime_checkable
class ChatModel(Protocol):
    def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Answer one turn. Raises `ProviderError`; closing the iterator closes the upstream request."""
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """Beside `ChatModel`, where the model's own way of counting is known. Since 1.4.

    The host estimates, and asks only when a request may not fit. It goes on with its estimate if this takes longer
    than a few seconds, fails, or answers None.
    """

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """The tokens of the whole input: turns, pictures, passages and tools; None for a model that it cannot count.

        Raises `ProviderError`.
        """
        ...


class EmbedRequest(msgspec.Struct, frozen=True):
    model: str
    texts: tuple[str, ...]
    purpose: Literal["document", "query"] = "document"
    """Some models embed a question unlike a passage."""
    dimensions: int | None = None


class Embeddings(msgspec.Struct, frozen=True):
    vectors: list[list[float]]
    """One for each text, in order, all of one dimension."""
    input_tokens: int | None = None


@runtime_checkable
class Embedder(Protocol):
    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Vectors for texts. Raises `ProviderError`."""
        ...


class RerankRequest(msgspec.Struct, frozen=True):
    model: str
    query: str
    texts: tuple[str, ...]


class Ranked(msgspec.Struct, frozen=True):
    index: int
    """Into `RerankRequest.texts`."""
    score: float


@runtime_checkable
class Reranker(Protocol):
    async def rerank(self, request: RerankRequest) -> list[Ranked]:
        """The texts by how well they answer the query, best first. Raises `ProviderError`."""
        ...


class TranscribeRequest(msgspec.Struct, frozen=True):
    model: str
    audio: bytes
    media_type: str
    language: str | None = None
    """ISO 639-1."""
    file_name: str = ""
    prompt: str = ""
    """Words and names that may occur."""
    temperature: float | None = None


class TranscriptSegment(msgspec.Struct, frozen=True):
    start: float
    """Seconds from the beginning."""
    end: float
    text: str


class Transcript(msgspec.Struct, frozen=True):
    text: str
    segments: tuple[TranscriptSegment, ...] = ()
    language: str | None = None
    seconds: float | None = None
    """Length of the audio, if the provider tells it."""
    usage: Usage | None = None
    """If the provider counts tokens rather than minutes."""


@runtime_checkable
class Transcriber(Protocol):
    async def transcribe(self, request: TranscribeRequest) -> Transcript:
        """Speech to text. Raises `ProviderError`."""
        ...


class ProviderSpec(msgspec.Struct, frozen=True):
    """A kind of provider, as `register_ai_providers` returns it."""

    kind: str
    """Stored with every connection, so never renamed: lower-case letters, digits and hyphens."""
    title: str
    config: type[msgspec.Struct]
    """Its JSON Schema drives the form; `Secret` fields are write-only and encrypted."""
    connect: Callable[[Any, PluginContext], AbstractAsyncContextManager[ProviderConnection]]
    """`connect(config, context)`: an async context manager that gives the connection."""
    description: str = ""
    in_process: bool = False
    """It answers within this process and sends text nowhere, so text of every class may go to it."""
