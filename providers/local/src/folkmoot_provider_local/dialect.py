"""What vLLM, llama.cpp and LM Studio share: OpenAI's dialect on one's own machine, under `/v1`.

Each has its own way to tell of its models, and takes a little less than OpenAI does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
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
_KINDS: tuple[ModelKind, ...] = ("chat", "embedding", "rerank")
EMBED_BATCH = 64
RERANK_BATCH = 256
T = TypeVar("T")


class LocalServer:
    """A server that speaks the dialect; `service` is its `/v1`."""

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
        outside = address.rstrip("/").removesuffix("/v1")

        def server(at: str, query: Mapping[str, str] | None = None) -> Service:
            return Service(context, at, ApiKey(api_key), query=query, silence_limit=silence_limit, rules=rules)

        self.service = server(address)
        self._root = partial(server, outside)

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
            raise not_this(self.service.where, self.product, self.example, error) from None
        found = {_OWNERS.get(str(row.owned_by)) for row in rows} - {None}
        if len(found) == 1 and self.product not in found:
            (other,) = found
            raise InvalidRequest(
                f"{self.service.where} is {other}, not {self.product}: connect it as {other}, so that what is special "
                "about it is known",
                field="base_url",
            )
        return rows

    async def ask(self, path: str, decoder: msgspec.json.Decoder[T], query: Mapping[str, str] | None = None) -> T:
        """What the server says beside the dialect, outside of `/v1`. Raises `ProviderError`."""
        raw = await self.fetch(path, query)
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(f"{self.service.where} answers {path} with something unknown") from None

    async def tell(self, path: str, body: Mapping[str, Any], decoder: msgspec.json.Decoder[T], asked: Asked) -> T:
        """As `ask`, of something that is told. Raises `ProviderError`."""
        root = self._root()
        async with root.open("POST", path, json=body, asked=asked) as response:
            raw = await root.whole(response, limit=_LIMIT, asked=asked)
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(f"{self.service.where} answers {path} with something unknown") from None

    async def fetch(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """The body of an answer from outside of `/v1`. Raises `ProviderError`."""
        root = self._root(query)
        async with root.open("GET", path) as response:
            return await root.whole(response, limit=_LIMIT)


def templated(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of the body of a question goes into the model's template."""
    return {name: body[name] for name in ("model", "messages", "tools", "chat_template_kwargs") if name in body}


class RerankingServer(LocalServer):
    """A server that also follows `Reranker`, by `/v1/rerank`."""

    async def rerank(self, request: RerankRequest) -> list[Ranked]:
        """Best first. Raises `ProviderError`."""
        return await rerank(self.service, "/rerank", request, batch=RERANK_BATCH)


def chosen(rows: Sequence[ListedModel], **named: Sequence[str]) -> list[tuple[str, ModelKind]]:
    """Names and kinds to offer: those that the configuration names, or else those of the list, each by its name."""
    found: dict[tuple[str, ModelKind], None] = {}
    for kind in _KINDS:
        found.update(((name.strip(), kind), None) for name in named.get(kind, ()) if name.strip())
    if not found:
        for row in rows:
            kind = names.kind_of(row.id)
            if kind is not None and kind in _KINDS:
                found[row.id, kind] = None
    return list(found)


def batch_of(kind: ModelKind) -> int | None:
    """Most texts of one call."""
    return {"embedding": EMBED_BATCH, "rerank": RERANK_BATCH}.get(kind)


def in_order(models: Sequence[ModelInfo]) -> list[ModelInfo]:
    """Chat, then embedding, then reranking, each in the server's own order."""
    return sorted(models, key=lambda model: _KINDS.index(model.kind))


def quiet(body: dict[str, Any]) -> None:
    """Have a model answer without thinking, by the switches of the templates that have one."""
    switches: dict[str, Any] = {"enable_thinking": False, "thinking": False}
    body["chat_template_kwargs"] = switches | (body.get("chat_template_kwargs") or {})
