"""Trying a login method before anybody depends on it, and saying in words what is wrong."""

from __future__ import annotations

import secrets
from typing import Any

from folkmoot_sdk import (
    AuthBackendSpec,
    AuthConnection,
    AuthError,
    CredentialBackend,
    ExternalIdentity,
    InvalidCredentials,
    RedirectBackend,
    Secret,
)

from folkmoot.federation import claims
from folkmoot.federation.backends import Backends, Misconfigured, words
from folkmoot.federation.models import LoginMethod
from folkmoot.federation.schemas import CheckOut, redirect_uri
from folkmoot.federation.service import find_spec
from folkmoot.kit.app import App
from folkmoot.kit.errors import ValidationFailed
from folkmoot.plugins.configuration import decoded

OK = "this works: "


async def check(app: App, kind: str, config: dict[str, Any]) -> CheckOut:
    """Try a configuration without storing it. Raises `ValidationFailed` for a kind that is not installed."""
    backends = app.part(Backends)
    spec = find_spec(backends, kind)
    try:
        stored = decoded(spec, config)
    except ValidationFailed as error:
        return CheckOut(ok=False, code="config-invalid", message=error.detail)
    try:
        message = await backends.call_once(spec.kind, stored, _tries(app, spec))
    except AuthError as error:
        return _failed(spec, error)
    return CheckOut(ok=True, code=None, message=message)


async def check_stored(app: App, method: LoginMethod) -> CheckOut:
    """Try a method as it is stored."""
    backends = app.part(Backends)
    spec = find_spec(backends, method.kind)
    try:
        return CheckOut(ok=True, code=None, message=await backends.call(method, _tries(app, spec)))
    except AuthError as error:
        return _failed(spec, error)


def _tries(app: App, spec: AuthBackendSpec) -> Any:
    async def ask(connection: AuthConnection) -> str:
        if isinstance(connection, RedirectBackend):
            begun = claims.start(await connection.begin(redirect_uri(app.settings.url())))
            return f"{OK}{spec.title} sends people to {begun.url.partition('?')[0]}"
        assert isinstance(connection, CredentialBackend)
        return await _nobody(connection, spec)

    return ask


async def _nobody(connection: CredentialBackend, spec: AuthBackendSpec) -> str:
    """A directory that answers says that it does not know a name which was made up a moment ago."""
    try:
        found: ExternalIdentity = await connection.authenticate(
            f"folkmoot-check-{secrets.token_hex(8)}", Secret(secrets.token_urlsafe(24))
        )
    except InvalidCredentials:
        return f"{OK}{spec.title} answers, and lets in nobody whom it does not know"
    claims.person(found)
    raise Misconfigured("it lets in a name that nobody has, with a password that was made up: it would let in anybody")


def _failed(spec: AuthBackendSpec, error: AuthError) -> CheckOut:
    code = "config-invalid" if isinstance(error, Misconfigured) else error.code
    return CheckOut(ok=False, code=code, message=f"{spec.title}: {words(error) or 'it failed without a word'}")
