"""The hooks a plugin may implement. Each takes no argument, does no I/O and returns specs.

The host calls them once, at start-up. A hook that raises makes its plugin "broken": it is listed with
its error and left out, and everything else goes on.
"""

from __future__ import annotations

import pluggy

from folkmoot_sdk.auth import AuthBackendSpec
from folkmoot_sdk.parsers import ParserSpec
from folkmoot_sdk.providers import ProviderSpec

SDK_API = 1
"""The major version of these contracts; a plugin module repeats it as `FOLKMOOT_SDK_API`."""

hookspec = pluggy.HookspecMarker("folkmoot")
hookimpl = pluggy.HookimplMarker("folkmoot")


@hookspec
def register_ai_providers() -> list[ProviderSpec]:  # pyright: ignore[reportReturnType]
    """Model providers: who answers, embeds, reranks or transcribes."""


@hookspec
def register_parsers() -> list[ParserSpec]:  # pyright: ignore[reportReturnType]
    """File formats: bytes in, blocks of text with their place out."""


@hookspec
def register_auth_backends() -> list[AuthBackendSpec]:  # pyright: ignore[reportReturnType]
    """Ways to sign in that are somebody else's: a directory, an identity provider."""
