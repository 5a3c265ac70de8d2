"""What an administrator says of an OpenID provider, checked before anybody is asked."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from folkmoot_sdk import Secret
from msgspec import Meta, Struct

from folkmoot_auth_oidc.address import check_address

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures with a key pair only. `none` proves nothing, and HS256 is made with what anybody may read (a public
key taken for a password), so neither can even be chosen."""

_WELL_KNOWN = "/.well-known/"
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
"""RFC 6749, 3.3."""
_PRINTABLE = re.compile(r"[\x20-\x7e]+")


class Config(Struct, frozen=True, kw_only=True):
    """Which provider, what it knows us as, and how its answers are read."""

    issuer: Annotated[
        str,
        Meta(
            title="Issuer",
            max_length=500,
            description="The provider's address, letter by letter as it names itself, without /.well-known/…",
        ),
    ]
    client_id: Annotated[str, Meta(title="Client id", min_length=1, max_length=500)]
    client_secret: Annotated[
        Secret | None,
        Meta(title="Client secret", description="Leave empty for a public client; PKCE is used either way."),
    ] = None
    scopes: Annotated[
        tuple[str, ...],
        Meta(title="Scopes", max_length=30, description="What is asked for; openid is always among them."),
    ] = ("openid", "profile", "email")
    groups_claim: Annotated[
        str,
        Meta(
            title="Claim with groups",
            max_length=200,
            description="A claim, or a path as in realm_access.roles; empty to read no groups.",
        ),
    ] = "groups"
    email_claim: Annotated[
        str,
        Meta(
            title="Claim with e-mail",
            min_length=1,
            max_length=200,
            description="Another than email counts as verified only with the next setting.",
        ),
    ] = "email"
    email_always_verified: Annotated[
        bool,
        Meta(
            title="Trust e-mail addresses",
            description="The provider sends no email_verified, and only its administrators can set an address.",
        ),
    ] = False
    userinfo: Annotated[
        bool,
        Meta(title="Ask for more", description="Ask the userinfo endpoint for e-mail and groups the ID token lacks."),
    ] = True
    prompt: Annotated[
        Literal["", "login", "select_account", "consent"],
        Meta(title="Prompt", description="What the provider asks even of people it already knows."),
    ] = ""
    algorithms: Annotated[
        tuple[Algorithm, ...],
        Meta(title="Signature algorithms", min_length=1, description="Of ID and logout tokens."),
    ] = ("RS256", "ES256", "EdDSA", "PS256")
    token_endpoint_auth_method: Annotated[
        Literal["auto", "client_secret_basic", "client_secret_post", "none"],
        Meta(title="How the client secret is sent", description="auto follows what the provider says it takes."),
    ] = "auto"  # noqa: S105  the name of a way, no secret
    clock_skew_seconds: Annotated[
        int,
        Meta(title="Clock skew", ge=0, le=600, description="How far the provider's clock may be off, in seconds."),
    ] = 120

    def __post_init__(self) -> None:
        issuer = check_address(self.issuer, "issuer")
        if _WELL_KNOWN in self.issuer:
            raise ValueError(f"issuer ends before {_WELL_KNOWN}: write {self.issuer.partition(_WELL_KNOWN)[0]!r}")
        if issuer.query:
            raise ValueError("issuer cannot have a query (?…): write the address as the provider names itself")
        if not _PRINTABLE.fullmatch(self.client_id):
            raise ValueError("client_id has characters that no client id has: copy it again")
        if "openid" not in self.scopes:
            raise ValueError("scopes must contain openid: without it the provider does not say who signed in")
        for scope in self.scopes:
            if not _SCOPE.fullmatch(scope):
                raise ValueError(f"scopes has {scope[:40]!r}, which is not one scope: give each as an item of its own")
        if self.token_endpoint_auth_method in ("client_secret_basic", "client_secret_post") and not self.secret:
            raise ValueError(f"token_endpoint_auth_method is {self.token_endpoint_auth_method}: give a client_secret")

    @property
    def secret(self) -> str:
        """The client secret, or nothing for a public client."""
        return self.client_secret.reveal() if self.client_secret else ""
