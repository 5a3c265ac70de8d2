"""One Infinity server: several models, each of which embeds or reranks, in OpenAI's and Cohere's dialects."""

from __future__ import annotations

from typing import Any

import msgspec
from folkmoot_sdk import (
    BadResponse,
    ContextTooLong,
    Embeddings,
    EmbedRequest,
    InvalidRequest,
    ModelInfo,
    ModelKind,
    ModelNotFound,
    PluginContext,
    ProviderError,
    Ranked,
    RerankRequest,
)
from folkmoot_sdk.chat_completions import embed
from folkmoot_sdk.http import ApiKey, Asked, Said, Service

from folkmoot_provider_local import InfinityConfig, names
from folkmoot_provider_local.addresses import local_address, not_this
from folkmoot_provider_local.ranks import rerank

_PRODUCT = "Infinity"
_EXAMPLE = "http://localhost:7997"
_ENDINGS = ("/embeddings", "/rerank", "/models", "/health", "/docs")
_LIST_LIMIT = 16 * 1024 * 1024
_MOST_TEXTS = 2048
_KINDS: tuple[tuple[str, ModelKind], ...] = (("embed", "embedding"), ("rerank", "rerank"))


class _Stats(msgspec.Struct):
    batch_size: int | None = None


class _Listed(msgspec.Struct):
    id: str
    capabilities: list[str] | None = None
    """Older releases say none: they only embed."""
    stats: _Stats | None = None


class _List(msgspec.Struct):
    data: list[_Listed] | _Listed
    """Older releases have one model, and no list."""


_list_decoder = msgspec.json.Decoder(_List)


class Infinity:
    """Follows `Embedder` and `Reranker`."""

    def __init__(self, config: InfinityConfig, context: PluginContext) -> None:
        self._config = config
        self._service = Service(
            context,
            local_address(config.base_url, _PRODUCT, _EXAMPLE, _ENDINGS),
            ApiKey(config.api_key),
            silence_limit=config.silence_limit,
            rules=(_rule,),
        )

    async def models(self) -> list[ModelInfo]:
        """Those that embed, then those that rerank. Raises `ProviderError`.

        Infinity does not tell how long a text may be, and cuts what is longer.
        """
        try:
            listed = await self._list()
        except (InvalidRequest, BadResponse) as error:
            raise not_this(self._service.where, _PRODUCT, _EXAMPLE, error) from None
        found: dict[tuple[str, ModelKind], ModelInfo] = {}
        for model in listed:
            can = ["embed"] if model.capabilities is None else model.capabilities
            batch = model.stats.batch_size if model.stats else None
            for capability, kind in _KINDS:
                if capability in can and model.id:
                    size = min(max(1, batch or 32), _MOST_TEXTS)
                    found[model.id, kind] = names.describe(model.id, kind, context_window=None, max_batch=size)
        return sorted(found.values(), key=lambda info: info.kind)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector a text, in order. Raises `ProviderError`."""
        config = self._config
        prefix = config.query_prefix if request.purpose == "query" else config.document_prefix
        if prefix is None:
            prefix = names.prefix(request.model, request.purpose)
        return await embed(self._service, request, Asked(request.model), batch=_MOST_TEXTS, prefix=prefix)

    async def rerank(self, request: RerankRequest) -> list[Ranked]:
        """Best first; each score is between 0 and 1. Raises `ProviderError`."""
        return await rerank(self._service, "/rerank", request, batch=_MOST_TEXTS)

    async def _list(self) -> list[_Listed]:
        async with self._service.open("GET", "/models") as response:
            raw = await self._service.whole(response, limit=_LIST_LIMIT)
        try:
            listed: Any = _list_decoder.decode(raw).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse("its /models are no list") from None
        return [listed] if isinstance(listed, _Listed) else listed


def _rule(status: int, said: Said) -> type[ProviderError] | None:
    """Infinity says 400 for a model that is not there, and 422 for a text of more than 122,880 characters."""
    if status == 400 and "invalid model" in said.all:
        return ModelNotFound
    if status == 422 and "at most" in said.all and "characters" in said.all:
        return ContextTooLong
    return None
