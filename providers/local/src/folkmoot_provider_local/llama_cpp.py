"""One `llama-server` of llama.cpp: a GGUF model, or several behind its router, in OpenAI's dialect."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import msgspec
from folkmoot_sdk import (
    ChatRequest,
    ContextTooLong,
    ImagePart,
    InvalidRequest,
    ModelInfo,
    PluginContext,
    ProviderError,
)
from folkmoot_sdk.chat_completions import ListedModel, check_named
from folkmoot_sdk.http import Asked, Said

from folkmoot_provider_local import LlamaCppConfig, names
from folkmoot_provider_local.dialect import RerankingServer, batch_of, chosen, in_order, quiet, templated


class _Settings(msgspec.Struct):
    n_ctx: int | None = None
    """Of one slot: what one conversation has, of all that the server was given."""


class Props(msgspec.Struct):
    """What `/props` tells of a loaded model."""

    default_generation_settings: _Settings | None = None
    modalities: dict[str, Any] | None = None
    chat_template_caps: dict[str, Any] | None = None

    @property
    def context(self) -> int | None:
        settings = self.default_generation_settings
        return settings.n_ctx if settings and settings.n_ctx and settings.n_ctx > 0 else None

    @property
    def vision(self) -> bool | None:
        value = (self.modalities or {}).get("vision")
        return value if isinstance(value, bool) else None

    @property
    def tools(self) -> bool | None:
        """Without a template that knows tools, llama.cpp describes them in the prompt, which few models follow."""
        value = (self.chat_template_caps or {}).get("supports_tools")
        return value if isinstance(value, bool) else None


class _Prompt(msgspec.Struct):
    prompt: str


class _Tokens(msgspec.Struct):
    tokens: list[int]


_prompt_decoder, _tokens_decoder = msgspec.json.Decoder(_Prompt), msgspec.json.Decoder(_Tokens)
_props_decoder = msgspec.json.Decoder(Props)


class LlamaCpp(RerankingServer):
    """Follows `ChatModel`, `TokenCounter`, `Embedder` and `Reranker`; which it can, its flags and its model tell."""

    product = "llama.cpp"
    example = "http://localhost:8080/v1"
    named_tools = False

    def __init__(self, config: LlamaCppConfig, context: PluginContext) -> None:
        super().__init__(context, config.base_url, config.api_key, config.silence_limit, (_rule,))
        self._config = config

    async def models(self) -> list[ModelInfo]:
        """The loaded model, or all that the router knows. Raises `ProviderError`."""
        config = self._config
        rows = await self.listed()
        for field in ("chat_models", "embedding_models", "rerank_models"):
            check_named(self.service, getattr(config, field), rows, field)
        by_name = {row.id: row for row in rows}
        found: list[ModelInfo] = []
        for name, kind in chosen(
            rows, chat=config.chat_models, embedding=config.embedding_models, rerank=config.rerank_models
        ):
            row = by_name.get(name)
            props = await self._props(name, row)
            seen = props.vision
            found.append(
                names.describe(
                    name,
                    kind,
                    context_window=props.context or _launched_with(row),
                    max_batch=batch_of(kind),
                    title=_title(name),
                    vision=_sees(row) if seen is None else seen,
                    tools=props.tools,
                )
            )
        return in_order(found)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Older releases know no effort, but the template's own switch."""
        body = super().body(request)
        if request.reasoning_effort == "none":
            quiet(body)
        return body

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """As its template and tokenizer have it; None with pictures, which these leave out. Raises `ProviderError`."""
        if any(isinstance(part, ImagePart) for message in request.messages for part in message.content):
            return None
        asked, body = Asked(request.model), templated(self.body(request))
        told = await self.tell("/apply-template", body, _prompt_decoder, asked)
        text = {"model": request.model, "content": told.prompt, "add_special": True, "parse_special": True}
        return len((await self.tell("/tokenize", text, _tokens_decoder, asked)).tokens)

    async def _props(self, name: str, row: ListedModel | None) -> Props:
        """Empty if the server does not tell, or has not loaded the model: to look must not load it."""
        status = _status(row)
        if status not in (None, "loaded"):
            return Props()
        try:
            return await self.ask("/props", _props_decoder, {"model": name, "autoload": "false"} if status else None)
        except ProviderError:
            return Props()


def _status(row: ListedModel | None) -> str | None:
    """`loaded`, `unloaded` and the like, of a router's model; None where there is no router."""
    status = row.status if row is not None else None
    value = cast("dict[str, Any]", status).get("value") if isinstance(status, dict) else None
    return str(value) if value else None


def _launched_with(row: ListedModel | None) -> int | None:
    """The context that a router will start a model with, from the arguments it tells."""
    status = row.status if row is not None else None
    args = cast("dict[str, Any]", status).get("args") if isinstance(status, dict) else None
    if not isinstance(args, list):
        return None
    words = [str(word) for word in cast("list[object]", args)]
    for flag, value in pairwise(words):
        if flag in ("-c", "--ctx-size", "-ctx") and value.isascii() and value.isdigit() and len(value) < 10:
            return int(value) or None
    return None


def _sees(row: ListedModel | None) -> bool | None:
    architecture = row.architecture if row is not None else None
    if not isinstance(architecture, dict):
        return None
    modalities = cast("dict[str, Any]", architecture).get("input_modalities")
    return "image" in cast("list[object]", modalities) if isinstance(modalities, list) else None


def _title(name: str) -> str:
    """A model is called by the path of its file, unless the server was given an alias."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".gguf") if name.endswith(".gguf") else ""


def _rule(status: int, said: Said) -> type[ProviderError] | None:
    """500 for a text longer than a batch, and 501 for what the server was not started for, are no passing faults."""
    if "exceed_context_size" in said.all or "input is too large to process" in said.all:
        return ContextTooLong
    return InvalidRequest if status == 501 else None
