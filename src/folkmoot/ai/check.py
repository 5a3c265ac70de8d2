"""Trying a connection before anybody depends on it, and saying in words which field is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import msgspec
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ChatModel,
    ChatRequest,
    Embedder,
    EmbedRequest,
    Message,
    ModelInfo,
    ModelNotFound,
    ProviderConnection,
    ProviderError,
    ProviderSpec,
    TextPart,
    Unavailable,
    config_schema,
)

from folkmoot.ai.guard import guarded
from folkmoot.ai.listed import sound
from folkmoot.ai.open import OpenConnections
from folkmoot.ai.schemas import CheckedModel, CheckOut
from folkmoot.kit.errors import ValidationFailed
from folkmoot.kit.log import get_logger
from folkmoot.plugins.manager import PluginManager

log = get_logger(__name__)
T = TypeVar("T")
LIST_SECONDS = 30.0
WORD_SECONDS = 90.0
"""A local model may have to be loaded first."""
HELLO = Message("user", (TextPart("Say hello."),))
FEW_TOKENS = 16


@dataclass
class Tried:
    """How it went, with what the provider lists."""

    out: CheckOut
    models: list[ModelInfo] = field(default_factory=list[ModelInfo])

    def require(self) -> list[ModelInfo]:
        """The models. Raises `ValidationFailed` naming the field if it did not work."""
        if not self.out.ok:
            raise ValidationFailed(self.out.message, [(self.out.field or "config", self.out.message)])
        return self.models


def find_spec(plugins: PluginManager, kind: str) -> ProviderSpec:
    """Raises `ValidationFailed` for a kind that nothing installed offers."""
    spec = plugins.providers.get(kind)
    if spec is None:
        there = ", ".join(sorted(plugins.providers)) or "none"
        detail = f"no installed plugin offers the provider {kind!r} (installed: {there}): install it first"
        raise ValidationFailed(detail, [("kind", detail)])
    return spec


async def try_out(connections: OpenConnections, spec: ProviderSpec, config: dict[str, Any]) -> Tried:
    """List the models, and ask one of them for a word. Stores nothing, and bills nobody but the account itself."""
    asked: list[str] = []
    connecting = connections.connect(spec.kind, config)
    try:
        async with connecting as connection:
            with guarded(spec.title, connecting.secrets):
                models = sound(await _limited(connection.models, LIST_SECONDS, spec))
                if not models:
                    raise ModelNotFound(f"{spec.title} answers, and lists no model: name those that it should offer")
                milliseconds = await _one_word(connection, spec, models, asked)
    except ProviderError as error:
        return Tried(_failed(spec, config, error, asked))
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        log.error("provider.misbehaved", kind=spec.kind, error=type(error).__name__)
        message = f"the plugin for {spec.title} failed in a way that it should not ({type(error).__name__})"
        return Tried(_out(ok=False, code="provider-error", message=message))
    listed = [CheckedModel(name=info.name, kind=info.kind, title=info.title or info.name) for info in models]
    tried = asked[0] if asked else None
    message = f"this works: {len(models)} models" + (f", and {tried} answers" if tried else "")
    return Tried(_out(ok=True, message=message, models=listed, tried=tried, milliseconds=milliseconds), models)


async def _one_word(
    connection: ProviderConnection, spec: ProviderSpec, models: list[ModelInfo], asked: list[str]
) -> int | None:
    """Milliseconds until the first word of the first model that can be asked; None if there is none to ask."""
    if spec.in_process:
        return None
    began = monotonic()
    for info in models:
        if info.kind == "chat" and isinstance(connection, ChatModel):
            asked.append(info.name)
            await _limited(partial(_hear, connection, info), WORD_SECONDS, spec)
        elif info.kind == "embedding" and isinstance(connection, Embedder):
            asked.append(info.name)
            await _limited(partial(connection.embed, EmbedRequest(info.name, ("hello",))), WORD_SECONDS, spec)
        else:
            continue
        return round((monotonic() - began) * 1000)
    return None


async def _hear(connection: ChatModel, info: ModelInfo) -> None:
    request = ChatRequest(info.name, (HELLO,), max_output_tokens=FEW_TOKENS)
    events = connection.chat(request)
    try:
        if await anext(events, None) is None:
            raise BadResponse(f"{info.name} answers nothing at all: check the address and the model")
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _limited(call: Callable[[], Awaitable[T]], seconds: float, spec: ProviderSpec) -> T:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call()
    except TimeoutError:
        if not limit.expired():
            raise
        raise Unavailable(f"{spec.title} did not answer within {seconds:.0f} seconds: check its address") from None


def _failed(spec: ProviderSpec, config: dict[str, Any], error: ProviderError, asked: list[str]) -> CheckOut:
    name = error.field or _guess(spec, config, error)
    message = str(error) or f"{spec.title} failed without a word"
    return _out(
        ok=False,
        code=error.code,
        field=f"config.{name}" if name else None,
        message=f"{message} (config.{name})" if name else message,
        tried=asked[0] if asked else None,
    )


def _guess(spec: ProviderSpec, config: dict[str, Any], error: ProviderError) -> str | None:
    """The field that such an error is about, where the plugin does not say."""
    fields = [known.encode_name for known in msgspec.structs.fields(spec.config)]
    if isinstance(error, AuthenticationFailed):
        return next((name for name in fields if name in secrets_of(spec)), None)
    if isinstance(error, Unavailable):
        return next((name for name in fields if _is_address(config.get(name)) or "url" in name), None)
    if isinstance(error, ModelNotFound):
        return next((name for name in fields if "model" in name or "deployment" in name), None)
    return None


def secrets_of(spec: ProviderSpec) -> set[str]:
    """Names of the fields of a configuration that are secrets."""
    schema = config_schema(spec.config)
    described = schema.get("$defs", {}).get(spec.config.__name__, schema).get("properties", {})
    return {
        name
        for name, known in described.items()
        if any(option.get("writeOnly") for option in (known, *known.get("anyOf", [])))
    }


def _is_address(value: object) -> bool:
    return isinstance(value, str) and "://" in value


def _out(
    *,
    ok: bool,
    message: str,
    code: str | None = None,
    field: str | None = None,
    models: list[CheckedModel] | None = None,
    tried: str | None = None,
    milliseconds: int | None = None,
) -> CheckOut:
    return CheckOut(
        ok=ok, code=code, field=field, message=message, models=models or [], tried=tried, milliseconds=milliseconds
    )
