"""One vLLM server: a model (and its adapters) on graphics cards of one's own, in OpenAI's dialect."""

from __future__ import annotations

from typing import Any

import msgspec
from folkmoot_sdk import (
    ChatRequest,
    ContextTooLong,
    ModelInfo,
    PluginContext,
    ProviderError,
    Unavailable,
)
from folkmoot_sdk.chat_completions import Quirks, check_named
from folkmoot_sdk.http import Asked, Said

from folkmoot_provider_local import VllmConfig, names
from folkmoot_provider_local.dialect import RerankingServer, batch_of, chosen, in_order, quiet, templated


class _Count(msgspec.Struct):
    count: int


_count_decoder = msgspec.json.Decoder(_Count)


class Vllm(RerankingServer):
    """Follows `ChatModel`, `TokenCounter`, `Embedder` and `Reranker`; which of them its model can, its name tells."""

    product = "vLLM"
    example = "http://localhost:8000/v1"
    quirks = Quirks(efforts=("low", "medium", "high"))

    def __init__(self, config: VllmConfig, context: PluginContext) -> None:
        super().__init__(context, config.base_url, config.api_key, config.silence_limit, (_rule,))
        self._config = config

    async def models(self) -> list[ModelInfo]:
        """The model and its adapters. Raises `ProviderError`, also if the engine behind the server has died."""
        config = self._config
        rows = await self.listed()
        await self._alive()
        for field in ("chat_models", "embedding_models", "rerank_models"):
            check_named(self.service, getattr(config, field), rows, field)
        by_name = {row.id: row for row in rows}
        found: list[ModelInfo] = []
        for name, kind in chosen(
            rows, chat=config.chat_models, embedding=config.embedding_models, rerank=config.rerank_models
        ):
            row = by_name.get(name)
            # An adapter's row has no length: it is that of the model it sits on.
            parent = by_name.get(str(row.parent)) if row is not None and row.parent else None
            length = (row.context if row else None) or (parent.context if parent else None)
            known = name if parent is None or names.known(name, kind).match else parent.id
            info = names.describe(known, kind, context_window=length, max_batch=batch_of(kind))
            found.append(msgspec.structs.replace(info, name=name))
        return in_order(found)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """vLLM knows no effort of none: a template's own switch does it."""
        if request.reasoning_effort != "none":
            return super().body(request)
        body = super().body(msgspec.structs.replace(request, reasoning_effort=None))
        quiet(body)
        return body

    async def count_tokens(self, request: ChatRequest) -> int:
        """As its own template and tokenizer have it, pictures too. Raises `ProviderError`."""
        body = templated(self.body(request))
        return (await self.tell("/tokenize", body, _count_decoder, Asked(request.model))).count

    async def _alive(self) -> None:
        """`/v1/models` answers also when the engine is dead; `/health` knows, unless a proxy answers for it."""
        try:
            await self.fetch("/health")
        except Unavailable as error:
            raise Unavailable(
                f"{self.service.where} answers, but its engine does not run ({error}). Look at the log of vLLM"
            ) from None
        except ProviderError:
            return  # a proxy that lets only /v1 through


def _rule(status: int, said: Said) -> type[ProviderError] | None:
    """A prompt that leaves no room for an answer is told as a limit below zero, in some releases."""
    if status == 400 and "max_tokens must be at least 1, got -" in said.all:
        return ContextTooLong
    return None
