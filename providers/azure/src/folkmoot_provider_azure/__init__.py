"""Azure OpenAI, by key or by Entra ID, for Folkmoot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from folkmoot_sdk import PluginContext, ProviderSpec, Secret, hookimpl
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from folkmoot_provider_azure.connection import Connection

FOLKMOOT_SDK_API = 1


class Deployment(Struct, frozen=True):
    """One deployment of a resource: its name is what people chose, so it tells nothing of the model."""

    name: Annotated[str, Meta(title="Deployment", min_length=1, max_length=128)]
    model: Annotated[
        str,
        Meta(title="Model", description="What is deployed, as gpt-4o: features and prices go by it."),
    ] = ""
    kind: Annotated[
        Literal["chat", "embedding", "transcription"] | None,
        Meta(title="Kind", description="Empty: told by the model's name."),
    ] = None
    global_standard: Annotated[
        bool,
        Meta(
            title="Global Standard",
            description="Switch off for a data zone, a region or provisioned capacity: list prices do not hold there.",
        ),
    ] = True


class Config(Struct, frozen=True):
    """Where the resource is, how it knows us, and what is deployed there."""

    endpoint: Annotated[
        str,
        Meta(
            title="Endpoint",
            pattern="^https?://",
            description="As the portal shows it: https://NAME.openai.azure.com, https://NAME.services.ai.azure.com, "
            "or the address of a Foundry project.",
        ),
    ]
    api_key: Annotated[
        Secret | None,
        Meta(title="API key", description="Empty if Entra ID is used."),
    ] = None
    tenant_id: Annotated[str, Meta(title="Tenant", description="Entra ID: directory (tenant) ID.")] = ""
    client_id: Annotated[str, Meta(title="Client", description="Entra ID: application (client) ID.")] = ""
    client_secret: Annotated[
        Secret | None, Meta(title="Client secret", description="Entra ID: the secret's value.")
    ] = None
    authority: Annotated[
        str,
        Meta(title="Authority", pattern="^https?://", description="Entra ID: another address for sovereign clouds."),
    ] = "https://login.microsoftonline.com"
    scope: Annotated[
        str,
        Meta(title="Scope", description="Entra ID: empty for the one that goes with the endpoint."),
    ] = ""
    api_version: Annotated[
        str,
        Meta(
            title="API version",
            pattern=r"^(v1|preview|\d{4}-\d\d-\d\d(-preview)?)$",
            description="v1, or a dated version, as 2024-10-21, for a gateway that knows nothing newer.",
        ),
    ] = "v1"
    deployments: Annotated[
        list[Deployment],
        Meta(title="Deployments", description="Empty: asked of the service, which only a Foundry project answers."),
    ] = []
    silence_limit: Annotated[
        float,
        Meta(title="Longest silence", ge=1, le=3600, description="Seconds without a byte before giving up."),
    ] = 180.0


@asynccontextmanager
async def connect(config: Config, context: PluginContext) -> AsyncGenerator[Connection]:
    """A connection over the lent client. Asks nobody anything yet."""
    from folkmoot_provider_azure.connection import Connection

    yield Connection(config, context)


@hookimpl
def register_ai_providers() -> list[ProviderSpec]:
    return [
        ProviderSpec(
            kind="azure",
            title="Azure OpenAI",
            config=Config,
            connect=connect,
            description="OpenAI's models deployed in an Azure OpenAI or Foundry resource of your own.",
        )
    ]
