"""Ways to sign in that are somebody else's: a directory, an identity provider.

A backend proves who somebody is. Whether that person has an account, in which organisation, and what the
person may do is the host's to say. A backend either takes a name and a password (`CredentialBackend`, as
LDAP does) or sends the browser away and hears from it again (`RedirectBackend`, as OpenID Connect does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

import msgspec

from folkmoot_sdk.config import Secret
from folkmoot_sdk.context import PluginContext


class ExternalIdentity(msgspec.Struct, frozen=True):
    """A person as the backend knows them. `issuer` and `subject` together never change and are never reused."""

    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    groups: tuple[str, ...] = ()
    claims: dict[str, Any] = {}
    session: str | None = None
    """The provider's id of this sign-in (`sid`); a `LogoutNotice` may name it."""
    logout_hint: str | None = None
    """Kept sealed by the host and given to `end_session_url` (an ID token, for OpenID Connect)."""


class LogoutNotice(msgspec.Struct, frozen=True):
    """The provider says that a sign-in has ended: of `session`, or all of `subject` if that is None."""

    issuer: str
    subject: str | None = None
    session: str | None = None
    token_id: str = ""
    """Of this notice, so that the host takes it once."""


class RedirectStart(msgspec.Struct, frozen=True):
    url: str
    """Where the browser goes."""
    state: str
    """The host binds it to this browser and looks `kept` up by it."""
    kept: dict[str, str]
    """What `complete` needs again (nonce, code verifier); the host keeps it for ten minutes, once."""


@runtime_checkable
class CredentialBackend(Protocol):
    async def authenticate(self, identifier: str, password: Secret) -> ExternalIdentity:
        """Check a name and a password. Raises `AuthError`; a wrong name costs what a wrong password does."""
        ...


@runtime_checkable
class RedirectBackend(Protocol):
    async def begin(self, redirect_uri: str) -> RedirectStart:
        """Start a sign-in that comes back to `redirect_uri`. Raises `AuthError`."""
        ...

    async def complete(
        self, redirect_uri: str, parameters: Mapping[str, str], kept: Mapping[str, str]
    ) -> ExternalIdentity:
        """Finish with the query parameters that the browser brought back. Raises `AuthError`."""
        ...


@runtime_checkable
class EndsSession(Protocol):
    """A redirect backend that can also sign the person out at the provider."""

    async def end_session_url(self, return_to: str, logout_hint: str | None) -> str | None:
        """Where the browser goes to sign out there; None if the provider does not offer it. Raises `AuthError`."""
        ...


@runtime_checkable
class HearsLogout(Protocol):
    """A redirect backend whose provider tells of sign-outs by calling us (back-channel logout)."""

    async def read_logout(self, token: str) -> LogoutNotice:
        """Check a logout token. Raises `AuthError` for one that the provider did not make for us."""
        ...


AuthConnection = CredentialBackend | RedirectBackend


class AuthBackendSpec(msgspec.Struct, frozen=True):
    """A kind of sign-in, as `register_auth_backends` returns it."""

    kind: str
    """Stored with every account that came through it, so never renamed."""
    title: str
    config: type[msgspec.Struct]
    connect: Callable[[Any, PluginContext], AbstractAsyncContextManager[AuthConnection]]
    description: str = ""
