"""__title__: answers by repeating the question, until you put your own service here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from folkmoot_sdk import ChatEvent, ChatRequest, Finish, ModelInfo, PluginContext, ProviderSpec, TextDelta, hookimpl
from msgspec import Struct

FOLKMOOT_SDK_API = 1


class Config(Struct, frozen=True, kw_only=True):
    greeting: str = "You asked:"
    """Fields become the form that an administrator fills in; use `folkmoot_sdk.Secret` for keys."""


class Connection:
    def __init__(self, config: Config, context: PluginContext) -> None:
        self._config = config
        # The only client a plugin may use; the kit notices any other.
        self._http = context.http

    async def models(self) -> list[ModelInfo]:
        return [ModelInfo(name="__kind__-1", kind="chat", title="__title__")]

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield TextDelta(f"{self._config.greeting} {request.messages[-1].text}")
        yield Finish("stop")


@asynccontextmanager
async def connect(config: Config, context: PluginContext) -> AsyncIterator[Connection]:
    yield Connection(config, context)


@hookimpl
def register_ai_providers() -> list[ProviderSpec]:
    return [ProviderSpec(kind="__kind__", title="__title__", config=Config, connect=connect)]
