"""LM Studio's server, on somebody's desk or without a window, in OpenAI's dialect."""

from __future__ import annotations

from typing import Any

import msgspec
from folkmoot_sdk import BadResponse, ChatRequest, InvalidRequest, ModelInfo, ModelNotFound, PluginContext
from folkmoot_sdk.chat_completions import Quirks

from folkmoot_provider_local import LmStudioConfig, names
from folkmoot_provider_local.dialect import LocalServer, batch_of, chosen, in_order

DEFAULT_CONTEXT = 4096
"""What it loads a model with that nobody has loaded by hand, unless it is told otherwise."""


class _Loading(msgspec.Struct):
    context_length: int | None = None


class _Instance(msgspec.Struct):
    config: _Loading | None = None


class _Model(msgspec.Struct):
    """A model as `/api/v1/models` tells of it, since 0.4."""

    key: str
    type: str | None = None
    display_name: str | None = None
    max_context_length: int | None = None
    loaded_instances: list[_Instance] | None = None
    capabilities: dict[str, Any] | None = None


class _List(msgspec.Struct):
    models: list[_Model]


class _OldModel(msgspec.Struct):
    """A model as `/api/v0/models` tells of it, since 0.3.6."""

    id: str
    type: str | None = None
    state: str | None = None
    max_context_length: int | None = None
    loaded_context_length: int | None = None
    capabilities: list[str] | None = None


class _OldList(msgspec.Struct):
    data: list[_OldModel]


_list_decoder = msgspec.json.Decoder(_List)
_old_decoder = msgspec.json.Decoder(_OldList)
_NO_SUCH = (BadResponse, InvalidRequest, ModelNotFound)
"""An address that it does not have is answered with 200 and an error inside."""


class LmStudio(LocalServer):
    """Follows `ChatModel` and `Embedder`."""

    product = "LM Studio"
    example = "http://localhost:1234/v1"
    quirks = Quirks(efforts=())
    named_tools = False

    def __init__(self, config: LmStudioConfig, context: PluginContext) -> None:
        super().__init__(context, config.base_url, config.api_key, config.silence_limit)

    async def models(self) -> list[ModelInfo]:
        """What is downloaded, loaded or not: it loads a model when it is asked. Raises `ProviderError`."""
        try:
            told = await self.ask("/api/v1/models", _list_decoder)
        except _NO_SUCH:
            return in_order(await self._older())
        return in_order([info for model in told.models if (info := _describe(model)) is not None])

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """It knows JSON only by a schema, so any object is a schema without properties."""
        body = super().body(request)
        if body.get("response_format") == {"type": "json_object"}:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": request.response_schema_name, "schema": {"type": "object"}},
            }
        return body

    async def _older(self) -> list[ModelInfo]:
        try:
            told = await self.ask("/api/v0/models", _old_decoder)
        except _NO_SUCH:
            return [
                names.describe(name, kind, context_window=None, max_batch=batch_of(kind))
                for name, kind in chosen(await self.listed())
                if kind != "rerank"
            ]
        return [info for model in told.data if (info := _describe_old(model)) is not None]


def _describe(model: _Model) -> ModelInfo | None:
    can = model.capabilities or {}
    sizes = [one.config.context_length for one in model.loaded_instances or [] if one.config is not None]
    loaded = min((size for size in sizes if size), default=None)
    return _info(
        model.key,
        model.type,
        context=_context(loaded, model.max_context_length),
        title=model.display_name or "",
        vision=bool(can.get("vision")),
        tools=bool(can.get("trained_for_tool_use")),
        reasoning=bool(can["reasoning"]) if "reasoning" in can else None,
    )


def _describe_old(model: _OldModel) -> ModelInfo | None:
    return _info(
        model.id,
        model.type,
        context=_context(model.loaded_context_length, model.max_context_length),
        vision=model.type == "vlm",
        tools=None if model.capabilities is None else "tool_use" in model.capabilities,
    )


def _info(name: str, kind: str | None, *, context: int | None, **features: Any) -> ModelInfo | None:
    if not name:
        return None
    if kind in ("embedding", "embeddings"):
        features = {"title": features.get("title", "")}
        return names.describe(name, "embedding", context_window=context, max_batch=batch_of("embedding"), **features)
    return names.describe(name, "chat", context_window=context, **features) if kind in ("llm", "vlm") else None


def _context(loaded: int | None, most: int | None) -> int | None:
    """What a loaded model has; one that is not loaded yet gets the default, or less if that is all it can."""
    return loaded or (min(DEFAULT_CONTEXT, most) if most else None)
