"""Claude, over Anthropic's Messages API, for Folkmoot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from folkmoot_sdk import PluginContext, ProviderSpec, Secret, hookimpl
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from folkmoot_provider_anthropic.connection import Connection

FOLKMOOT_SDK_API = 1


class Config(Struct, frozen=True):
    """Where the service is and how it knows us."""

    api_key: Annotated[Secret, Meta(title="API key", description="From the Claude Console: sk-ant-…")]
    base_url: Annotated[
        str,
        Meta(
            title="Address",
            pattern="^https?://",
            description="Without the version: another one for a gateway that speaks the Messages API.",
        ),
    ] = "https://api.anthropic.com"
    version: Annotated[
        str,
        Meta(
            title="API version",
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            description="With 2023-06-01, older models keep to `temperature`, and the key goes out as `x-api-key`.",
        ),
    ] = "2026-10-21"
    betas: Annotated[
        list[str],
        Meta(title="Beta features", description="Names for the `anthropic-beta` header; none are needed."),
    ] = []
    chat_models: Annotated[
        list[str],
        Meta(title="Chat models", description="Offer these instead of what the service lists."),
    ] = []
    cache_prompts: Annotated[
        bool,
        Meta(
            title="Cache prompts",
            description="What stays the same from question to question is read from the provider's cache.",
        ),
    ] = True
    native_citations: Annotated[
        bool,
        Meta(
            title="Citations by the provider",
            description="Claude itself notes which passage a sentence rests on, instead of being asked to.",
        ),
    ] = False
    silence_limit: Annotated[
        float,
        Meta(title="Longest silence", ge=1, le=3600, description="Seconds without a byte before giving up."),
    ] = 180.0


@asynccontextmanager
async def connect(config: Config, context: PluginContext) -> AsyncGenerator[Connection]:
    """A connection over the lent client. Asks nobody anything yet."""
    from folkmoot_provider_anthropic.connection import Connection

    yield Connection(config, context)


@hookimpl
def register_ai_providers() -> list[ProviderSpec]:
    return [
        ProviderSpec(
            kind="anthropic",
            title="Anthropic",
            config=Config,
            connect=connect,
            description="Claude from Anthropic, or from a gateway that speaks its Messages API.",
        )
    ]
