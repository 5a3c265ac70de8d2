"""One Ollama server through its own API: lists models, chats, embeds. Every chat is one request, never repeated.

Its own API, since its OpenAI dialect can neither say how long the context is to be nor that nothing may be cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec
from folkmoot_sdk import (
    BadResponse,
    ChatEvent,
    ChatRequest,
    ContextTooLong,
    Embeddings,
    EmbedRequest,
    InvalidRequest,
    ModelInfo,
    ModelNotFound,
    PluginContext,
    ProviderError,
    Unavailable,
)
from folkmoot_sdk.http import ApiKey, Asked, Said, Service, drain, read_body

from folkmoot_provider_local import OllamaConfig, names
from folkmoot_provider_local.addresses import local_address, not_this
from folkmoot_provider_local.ollama_events import AnswerReader, count
from folkmoot_provider_local.ollama_models import MAX_BATCH, describe, is_cloud
from folkmoot_provider_local.ollama_request import chat_body, kept_alive
from folkmoot_provider_local.ollama_wire import (
    Line,
    Listed,
    Shown,
    line_decoder,
    processes_decoder,
    shown_decoder,
    tags_decoder,
    vectors_decoder,
)

_PRODUCT = "Ollama"
_EXAMPLE = "http://localhost:11434"
_ENDINGS = ("/api/chat", "/api/generate", "/api/embed", "/api/tags", "/api", "/v1")
_SMALL_BODY = 16 * 1024 * 1024
_VECTORS_BODY = 256 * 1024 * 1024
_MOST_MODELS = 500
_SHOWN_AT_ONCE = 4
_NOBODY = Asked()
T = TypeVar("T")


class Ollama:
    """Follows `ChatModel` and `Embedder`."""

    def __init__(self, config: OllamaConfig, context: PluginContext) -> None:
        self._config = config
        self._service = Service(
            context,
            local_address(config.base_url, _PRODUCT, _EXAMPLE, _ENDINGS),
            ApiKey(config.api_key),
            silence_limit=config.silence_limit,
            rules=(_rule,),
        )

    async def models(self) -> list[ModelInfo]:
        """What is pulled, most recent first. Raises `ProviderError`."""
        try:
            tags = await self._ask("GET", "/api/tags", None, tags_decoder)
        except (InvalidRequest, BadResponse) as error:
            raise not_this(self._service.where, _PRODUCT, _EXAMPLE, error) from None
        listed = {model.model or model.name: model for model in (tags.models or [])[:_MOST_MODELS]}
        wanted = [model for name, model in listed.items() if name and self._may_see(name, model)]
        loaded: dict[str, int] = {} if self._config.context_length else await self._loaded()
        turn = asyncio.Semaphore(_SHOWN_AT_ONCE)

        async def look(model: Listed) -> ModelInfo | None:
            name = model.model or model.name or ""
            async with turn:
                shown = await self._shown(name)
            if shown is not None and (shown.remote_host or shown.remote_model) and not self._config.cloud_models:
                return None
            return describe(model, shown, context_length=self._config.context_length, loaded_with=loaded.get(name))

        return [info for info in await asyncio.gather(*map(look, wanted)) if info is not None]

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Streams one answer. Raises `ProviderError`."""
        self._stays_here(request.model)
        body = chat_body(request, context_length=self._config.context_length, keep_alive=self._config.keep_alive)
        asked = Asked(request.model)
        reader = AnswerReader()
        async with self._open("POST", "/api/chat", body, asked) as response:
            pieces = response.aiter_bytes()
            try:
                async with aclosing(self._service.lines(pieces)) as lines:
                    async for data in lines:
                        for event in reader.read(self._line(data, asked)):
                            yield event
                        if reader.done:
                            break
            except (httpx.HTTPError, httpx.StreamError):
                if not reader.done:
                    raise
            # Before the end is told: whoever hears it may close us, and the connection would go with the response.
            await drain(pieces)
            for event in reader.end():
                yield event

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector a text, in order; more than a batch goes in several requests. Raises `ProviderError`."""
        self._stays_here(request.model)
        prefix = names.prefix(request.model, request.purpose)
        body: dict[str, Any] = {"model": request.model, "truncate": False, **kept_alive(self._config.keep_alive)}
        if self._config.context_length:
            body["options"] = {"num_ctx": self._config.context_length}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        vectors: list[list[float]] = []
        tokens = 0
        for start in range(0, len(request.texts), MAX_BATCH):
            texts = [prefix + (text if text.strip() else " ") for text in request.texts[start : start + MAX_BATCH]]
            answer = await self._ask(
                "POST", "/api/embed", body | {"input": texts}, vectors_decoder, Asked(request.model), _VECTORS_BODY
            )
            got = answer.embeddings or []
            if len(got) != len(texts) or not all(got):
                raise BadResponse(f"{self._service.where} sent {len(got)} vectors for {len(texts)} texts: ask again")
            vectors += got
            tokens += count(answer.prompt_eval_count)
        if len({len(vector) for vector in vectors}) > 1:
            raise BadResponse(f"{self._service.where} sent vectors of different lengths for {request.model!r}")
        return Embeddings(vectors, tokens or None)

    async def _shown(self, name: str) -> Shown | None:
        """None if Ollama cannot tell: a model whose files are damaged must not hide all others."""
        try:
            return await self._ask("POST", "/api/show", {"model": name}, shown_decoder)
        except ProviderError:
            return None

    async def _loaded(self) -> dict[str, int]:
        """With how much context models are loaded just now; releases before there was such a thing say nothing."""
        try:
            running = await self._ask("GET", "/api/ps", None, processes_decoder)
        except ProviderError:
            return {}
        return {model.model or model.name or "": count(model.context_length) for model in running.models or []}

    def _may_see(self, name: str, model: Listed) -> bool:
        return self._config.cloud_models or not (model.remote_host or model.remote_model or is_cloud(name))

    def _stays_here(self, model: str) -> None:
        """Raises `ModelNotFound` for a model that this server would hand on to ollama.com."""
        if is_cloud(model) and not self._config.cloud_models:
            raise ModelNotFound(
                f"{model!r} runs at ollama.com, not on {self._service.where}, and this connection keeps text on your "
                "own machines: choose another model, or allow cloud models in the connection",
                field="cloud_models",
            )

    def _line(self, data: bytes, asked: Asked) -> Line:
        try:
            line = line_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(
                f"{self._service.where} sent something that is not a line of an answer: is a proxy in between?"
            ) from None
        if line.error:
            said = read_body(str(line.error).encode("utf-8", "replace")) or Said(str(line.error))
            status = line.status if isinstance(line.status, int) and 400 <= line.status < 600 else said.status
            raise self._told(self._service.inside(said._replace(status=status), asked), asked)
        return line

    async def _ask(
        self,
        method: str,
        path: str,
        body: object,
        decoder: msgspec.json.Decoder[T],
        asked: Asked = _NOBODY,
        limit: int = _SMALL_BODY,
    ) -> T:
        async with self._open(method, path, body, asked) as response:
            raw = await self._service.whole(response, limit=limit, asked=asked)
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(
                f"{self._service.where} answers {path} with something that Ollama does not send"
            ) from None

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: object, asked: Asked) -> AsyncGenerator[httpx.Response]:
        try:
            async with self._service.open(method, path, json=body, asked=asked) as response:
                yield response
        except ModelNotFound as error:
            raise self._told(error, asked) from None

    def _told(self, error: ProviderError, asked: Asked) -> ProviderError:
        """With the way out that only Ollama has."""
        if not isinstance(error, ModelNotFound):
            return error
        return ModelNotFound(
            f"{self._service.where} has no model {asked.model!r}: run `ollama pull {asked.model}` there, or refresh "
            "the model list and choose another one"
        )


def _rule(status: int, said: Said) -> type[ProviderError] | None:
    """Some releases say 500 for what is too long, and 499 when a model was unloaded under a request."""
    if status >= 400 and ("exceeds the context" in said.all or "exceed_context" in said.all):
        return ContextTooLong
    return Unavailable if status == 499 else None
