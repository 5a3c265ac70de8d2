"""OpenAI, and every service that speaks its Chat Completions dialect, for Folkmoot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from folkmoot_sdk import PluginContext, ProviderSpec, Secret, hookimpl
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from folkmoot_provider_openai.connection import Connection

FOLKMOOT_SDK_API = 1


class Config(Struct, frozen=True):
    """Where the service is and how it knows us."""

    api_key: Annotated[
        Secret | None,
        Meta(title="API key", description="Leave empty for a service on your own machines that asks for none."),
    ] = None
    base_url: Annotated[
        str,
        Meta(
            title="Address",
            pattern="^https?://",
            description="Up to and including the version, as in http://localhost:11434/v1.",
        ),
    ] = "https://api.openai.com/v1"
    organization: Annotated[str | None, Meta(title="Organisation", description="OpenAI only: org-…")] = None
    project: Annotated[str | None, Meta(title="Project", description="OpenAI only: proj_…")] = None
    chat_models: Annotated[
        list[str],
        Meta(title="Chat models", description="Offer these instead of what the service lists."),
    ] = []
    embedding_models: Annotated[
        list[str],
        Meta(title="Embedding models", description="Offer these instead of what the service lists."),
    ] = []
    transcription_models: Annotated[
        list[str],
        Meta(title="Transcription models", description="Offer these instead of what the service lists."),
    ] = []
    stream_usage: Annotated[
        bool,
        Meta(
            title="Ask for token counts",
            description="Switch off for an older service that refuses `stream_options`.",
        ),
    ] = True
    silence_limit: Annotated[
        float,
        Meta(title="Longest silence", ge=1, le=3600, description="Seconds without a byte before giving up."),
    ] = 180.0


@asynccontextmanager
async def connect(config: Config, context: PluginContext) -> AsyncGenerator[Connection]:
    """A connection over the lent client. Asks nobody anything yet."""
    from folkmoot_provider_openai.connection import Connection

    yield Connection(config, context)


@hookimpl
def register_ai_providers() -> list[ProviderSpec]:
    return [
        ProviderSpec(
            kind="openai",
            title="OpenAI or compatible",
            config=Config,
            connect=connect,
            description="OpenAI, or any service or local server that speaks its Chat Completions dialect.",
        )
    ]
