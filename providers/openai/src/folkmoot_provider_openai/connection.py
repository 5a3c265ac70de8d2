"""One connected service: lists models, chats, embeds, transcribes. Every call is one request, never repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from folkmoot_sdk import (
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    ModelInfo,
    ModelKind,
    PluginContext,
    Price,
    TranscribeRequest,
    Transcript,
)
from folkmoot_sdk.chat_completions import (
    ListedModel,
    Quirks,
    chat_body,
    check_named,
    count_tokens,
    embed,
    list_models,
    list_models_if_any,
    stream_chat,
    transcribe,
)
from folkmoot_sdk.http import ApiKey, Asked, Service

from folkmoot_provider_openai import Config
from folkmoot_provider_openai.known import COMPATIBLE, OPENAI, reach_of

_SMALL_BATCH = 32
"""Texts a request to a server that we know nothing of: small ones take no more."""


class Connection:
    """Follows `ChatModel`, `TokenCounter`, `Embedder` and `Transcriber`."""

    def __init__(self, config: Config, context: PluginContext) -> None:
        """Raises `InvalidRequest` for an address that is none."""
        self._config = config
        more = {"openai-organization": config.organization, "openai-project": config.project}
        self._service = Service(
            context, config.base_url, ApiKey(config.api_key, more=more), silence_limit=config.silence_limit
        )
        self._reach = reach_of(self._service.url.host)
        self._catalogue = OPENAI if self._reach.openai else COMPATIBLE
        self._named: dict[ModelKind, tuple[str, list[str]]] = {
            "chat": ("chat_models", config.chat_models),
            "embedding": ("embedding_models", config.embedding_models),
            "transcription": ("transcription_models", config.transcription_models),
        }

    async def models(self) -> list[ModelInfo]:
        """What the service lists, or what the configuration names. Raises `ProviderError`, with the field to change."""
        if not any(names for _, names in self._named.values()):
            found = [self._described(row) for row in await list_models(self._service)]
            unique = {model.name: model for model in found if model is not None}
            return self._catalogue.preferred(unique.values())
        # A compatible server may have no list; OpenAI has one, so a 404 there is a wrong address.
        lister = list_models if self._reach.openai else list_models_if_any
        rows = await lister(self._service)
        known = {row.id: row for row in rows}
        models: list[ModelInfo] = []
        for kind, (field, names) in self._named.items():
            check_named(self._service, names, rows, field)
            models += [self._describe(name, kind, known.get(name)) for name in dict.fromkeys(names)]
        return models

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Streams one answer. Raises `ProviderError`."""
        known = self._catalogue.known(request.model, "chat")
        new = self._reach.openai or known.fixed_sampling
        quirks = Quirks(
            length_limit="max_completion_tokens" if new else "max_tokens",
            sampling=not known.fixed_sampling,
            stream_usage=self._config.stream_usage,
            parallel_tools=known.parallel_tools,
            efforts=known.efforts,
            tools_effort=known.tools_effort if self._reach.openai else None,
        )
        return stream_chat(self._service, chat_body(request, quirks), Asked(request.model, "chat_models"))

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """By OpenAI's own vocabularies, asking nobody; None for models of others."""
        return await count_tokens(request, request.model)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector a text, in order; more than a batch goes in several requests. Raises `ProviderError`."""
        known = self._catalogue.known(request.model, "embedding")
        return await embed(
            self._service,
            request,
            Asked(request.model, "embedding_models"),
            batch=(known.max_batch if self._reach.openai else None) or _SMALL_BATCH,
            prefix=known.query if request.purpose == "query" else known.document,
        )

    async def transcribe(self, request: TranscribeRequest) -> Transcript:
        """The text of a recording; times and length only from models that tell them. Raises `ProviderError`."""
        return await transcribe(
            self._service,
            request,
            Asked(request.model, "transcription_models"),
            timed=self._catalogue.known(request.model, "transcription").timed,
            # Demanded of recordings longer than half a minute by the model that tells speakers apart.
            more={"chunking_strategy": "auto"} if "diarize" in request.model else None,
        )

    def _described(self, row: ListedModel) -> ModelInfo | None:
        kind: ModelKind | None = "embedding" if row.type == "embedding" else self._catalogue.kind_of(row.id)
        return None if kind is None or kind == "rerank" else self._describe(row.id, kind, row)

    def _describe(self, name: str, kind: ModelKind, row: ListedModel | None) -> ModelInfo:
        reach = self._reach
        model = self._catalogue.describe(
            name,
            kind,
            priced=reach.priced,
            dialect="chat-completions",
            context_window=row.context if row is not None else None,
            max_batch=_SMALL_BATCH,
            strict_tools=reach.openai,
        )
        if not reach.openai and kind == "embedding":
            model = msgspec.structs.replace(model, max_batch=_SMALL_BATCH, max_batch_tokens=None)
        if row is not None and row.tells_retirement:
            model = msgspec.structs.replace(model, retires_on=row.retires_on)
        percent = self._catalogue.known(name, kind).regional_percent if reach.regional else 0
        if model.price is not None and percent:
            model = msgspec.structs.replace(model, price=_raised(model.price, percent))
        return model


def _raised(price: Price, percent: int) -> Price:
    """`price` with so many per cent more, rounded up."""

    def more(value: int) -> int:
        return -(-value * (100 + percent) // 100)

    return msgspec.structs.replace(
        price,
        input=more(price.input),
        output=more(price.output),
        cached_input=None if price.cached_input is None else more(price.cached_input),
        cache_write=None if price.cache_write is None else more(price.cache_write),
    )
