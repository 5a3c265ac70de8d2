"""__title__: answers by repeating the question, until you put your own service here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from folkmoot_sdk import ChatEvent, ChatRequest, Finish, ModelInfo, PluginContext, ProviderSpec, TextDelta, hookimpl
from msgspec import Struct

FOLKMOOT_SDK_API = 1


class Config(Struct, frozen=True):
    """The form that an administrator fills in; `folkmoot_sdk.Secret` is the type of a key."""

    greeting: str = "You asked:"


class Connection:
    def __init__(self, config: Config, context: PluginContext) -> None:
        self._config, self._context = config, context

    async def models(self) -> list[ModelInfo]:
        return [ModelInfo(name="__kind__-1", kind="chat", title="__title__")]

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        # Your service goes here: folkmoot_sdk.http.Service asks it over self._context.http, the only client to use.
        yield TextDelta(f"{self._config.greeting} {request.messages[-1].text}")
        yield Finish("stop")


@asynccontextmanager
async def connect(config: Config, context: PluginContext) -> AsyncIterator[Connection]:
    yield Connection(config, context)


@hookimpl
def register_ai_providers() -> list[ProviderSpec]:
    return [ProviderSpec(kind="__kind__", title="__title__", config=Config, connect=connect)]
