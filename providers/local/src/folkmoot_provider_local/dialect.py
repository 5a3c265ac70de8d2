"""What vLLM, llama.cpp and LM Studio share: OpenAI's dialect on one's own machine, under `/v1`.

Each has its own way to tell of its models, and takes a little less than OpenAI does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import msgspec
from folkmoot_sdk import (
    BadResponse,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    InvalidRequest,
    ModelInfo,
    ModelKind,
    PluginContext,
    Ranked,
    RerankRequest,
    Secret,
)
from folkmoot_sdk.chat_completions import ListedModel, Quirks, chat_body, embed, list_models, stream_chat
from folkmoot_sdk.http import ApiKey, Asked, FailureRule, Service

from folkmoot_provider_local import names
from folkmoot_provider_local.addresses import local_address, not_this
from folkmoot_provider_local.ranks import rerank

_ENDINGS = ("/chat/completions", "/completions", "/embeddings", "/models", "/rerank", "/props", "/health", "/api/v0")
_LIMIT = 16 * 1024 * 1024
_OWNERS = {"vllm": "vLLM", "llamacpp": "llama.cpp", "library": "Ollama", "organization_owner": "LM Studio"}
"""What each product writes into `owned_by` of every model it lists."""
EMBED_BATCH = 64
RERANK_BATCH = 256
T = TypeVar("T")


class LocalServer:
    """A server that speaks the dialect; `service` is its `/v1`, `root` the rest of it."""

    product = ""
    example = ""
    quirks = Quirks()
    named_tools = True
    """Takes a tool by name as `tool_choice`; without, that tool alone is offered and some call required."""

    def __init__(
        self,
        context: PluginContext,
        base_url: str,
        api_key: Secret | None,
        silence_limit: float,
        rules: tuple[FailureRule, ...] = (),
    ) -> None:
        address = local_address(base_url, self.product, self.example, _ENDINGS, version="/v1")
        self.service = Service(context, address, ApiKey(api_key), silence_limit=silence_limit, rules=rules)
        outside = address.rstrip("/").removesuffix("/v1")
        self.root = Service(context, outside, ApiKey(api_key), silence_limit=silence_limit, rules=rules)

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Streams one answer. Raises `ProviderError`."""
        return stream_chat(self.service, self.body(request), Asked(request.model))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector a text, in order; more than a batch goes in several requests. Raises `ProviderError`."""
        prefix = names.prefix(request.model, request.purpose)
        return await embed(self.service, request, Asked(request.model), batch=EMBED_BATCH, prefix=prefix)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """What goes out. Raises `InvalidRequest`."""
        choice = request.tool_choice
        if not self.named_tools and choice not in (None, "auto", "none", "required"):
            tools = tuple(tool for tool in request.tools if tool.name == choice)
            if not tools:
                raise InvalidRequest(f"tool_choice names the tool {choice!r}, which is not among the request's tools")
            request = msgspec.structs.replace(request, tools=tools, tool_choice="required")
        return chat_body(request, self.quirks)

    async def listed(self) -> list[ListedModel]:
        """What `/v1/models` lists. Raises `ProviderError`, also if another product answers than was said."""
        try:
            rows = await list_models(self.service)
        except (InvalidRequest, BadResponse) as error:
            raise not_this(self.service.where, self.product, error) from None
        found = {_OWNERS.get(str(row.owned_by)) for row in rows} - {None}
        if len(found) == 1 and self.product not in found:
            (other,) = found
            raise InvalidRequest(
                f"{self.service.where} is {other}, not {self.product}: connect it as {other}, so that what is special "
                "about it is known",
                field="base_url",
            )
        return rows

    async def ask(self, path: str, decoder: msgspec.json.Decoder[T]) -> T:
        """What the server says beside the dialect. Raises `ProviderError`."""
        async with self.root.open("GET", path) as response:
            raw = await self.root.whole(response, limit=_LIMIT)
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(f"{self.root.where} answers {path} with something unknown") from None


class RerankingServer(LocalServer):
    """A server that also follows `Reranker`, by `/v1/rerank`."""

    async def rerank(self, request: RerankRequest) -> list[Ranked]:
        """Best first. Raises `ProviderError`."""
        return await rerank(self.service, "/rerank", request, batch=RERANK_BATCH)


def chosen(rows: Sequence[ListedModel], **named: Sequence[str]) -> list[tuple[str, ModelKind]]:
    """Names and kinds to offer: those that the configuration names, or else those of the list, each by its name."""
    kinds: dict[str, ModelKind] = {"chat": "chat", "embedding": "embedding", "rerank": "rerank"}
    given = [(name.strip(), kinds[kind]) for kind in kinds for name in named.get(kind, ()) if name.strip()]
    if given:
        return list(dict.fromkeys(given))
    found = {row.id: names.kind_of(row.id) for row in rows}
    return [(name, kind) for name, kind in found.items() if kind is not None and kind != "transcription"]


def batch_of(kind: ModelKind) -> int | None:
    """Most texts of one call."""
    return {"embedding": EMBED_BATCH, "rerank": RERANK_BATCH}.get(kind)


def in_order(models: Sequence[ModelInfo]) -> list[ModelInfo]:
    """Chat, then embedding, then reranking, each in the server's own order."""
    order = ("chat", "embedding", "rerank")
    return sorted(models, key=lambda model: order.index(model.kind))


def quiet(body: dict[str, Any]) -> None:
    """Have a model answer without thinking, by the switches of the templates that have one."""
    switches: dict[str, Any] = {"enable_thinking": False, "thinking": False}
    body["chat_template_kwargs"] = switches | (body.get("chat_template_kwargs") or {})
