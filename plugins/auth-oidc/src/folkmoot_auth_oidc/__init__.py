"""OpenID Connect for Folkmoot: people sign in at their organisation's own identity provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from folkmoot_sdk import AuthBackendSpec, PluginContext, hookimpl

from folkmoot_auth_oidc.config import Config

if TYPE_CHECKING:
    from folkmoot_auth_oidc.backend import OpenIDConnect

FOLKMOOT_SDK_API = 1


@asynccontextmanager
async def connect(config: Config, context: PluginContext) -> AsyncGenerator[OpenIDConnect]:
    """A connection over the lent client. Asks the provider nothing yet."""
    # The cryptography behind it is slow to load: only a process that signs people in should pay for it.
    from folkmoot_auth_oidc.backend import OpenIDConnect

    yield OpenIDConnect(config, context)


SPEC = AuthBackendSpec(
    kind="oidc",
    title="OpenID Connect",
    config=Config,
    connect=connect,
    description="Microsoft Entra ID, Keycloak, Google or any other OpenID provider.",
)


@hookimpl
def register_auth_backends() -> list[AuthBackendSpec]:
    """The one way of signing in that this plugin knows."""
    return [SPEC]
