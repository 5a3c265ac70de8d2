"""Login methods and external accounts, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from folkmoot.federation.models import ExternalAccount, LoginMethod
from folkmoot.kit.structs import Input, Name, Struct

PredefinedRole = Literal["user", "ai-configurator", "owner"]
Kind = Annotated[str, Meta(min_length=1, max_length=100, examples=["oidc"])]
Config = Annotated[
    dict[str, Any],
    Meta(description="As `config_schema` of the kind says.", examples=[{"issuer": "https://id.example"}]),
]
Domain = Annotated[str, Meta(min_length=1, max_length=253, examples=["municipality.example"])]
Domains = Annotated[list[Domain], Meta(max_length=200)]
Secretive = Annotated[str, Meta(min_length=1, max_length=1024, examples=["correct horse battery staple"])]
Identifier = Annotated[str, Meta(min_length=1, max_length=320, examples=["ada"])]
Invitation = Annotated[str, Meta(max_length=1000)]
ReturnTo = Annotated[str, Meta(max_length=4000, examples=["/spaces"])]


class Mapping(Input, frozen=True, kw_only=True):
    """Whoever has `claim` among the groups that the provider tells of gets one of the two."""

    claim: Annotated[str, Meta(min_length=1, max_length=500, examples=["building-office"])]
    """As the provider names the group."""
    group_id: UUID | None = None
    """A group of ours to be in."""
    role: PredefinedRole | None = None
    """A predefined role to have; of several, the highest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.group_id is None) == (self.role is None):
            raise ValueError(f"claim {self.claim!r} must map to a group_id or to a role, and not to both")


Mappings = Annotated[list[Mapping], Meta(max_length=1000, examples=[[{"claim": "building-office", "role": "user"}]])]


class Provisioning(Struct, frozen=True, kw_only=True):
    """What becomes of people who come through a login method."""

    create: bool = False
    """Whether somebody new gets an account at the first sign-in; otherwise only who is invited or has linked it."""
    role: PredefinedRole = "user"
    """Of new people, and of those to whom `group_map` could give a role and gives none."""
    allowed_domains: list[str] = []
    """Only people with a verified e-mail in one of these domains come in, subdomains not included; empty: all. It
    holds at each sign-in, for people who are here already too."""
    group_map: list[Mapping] = []
    """Brought in step at each sign-in. What was given by hand is never touched."""
    remove_from_groups: bool = True
    """Whether a claim that is gone also takes out of the group that it put into, and lowers a role that it gave."""


class ProvisioningUpdate(Input, frozen=True, kw_only=True):
    create: bool | UnsetType = UNSET
    role: PredefinedRole | UnsetType = UNSET
    allowed_domains: Domains | UnsetType = UNSET
    group_map: Mappings | UnsetType = UNSET
    remove_from_groups: bool | UnsetType = UNSET


class LoginMethodCreate(Input, frozen=True, kw_only=True):
    kind: Kind
    name: Name
    config: Config
    enabled: bool = True
    provisioning: ProvisioningUpdate = ProvisioningUpdate()


class LoginMethodUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    config: Config | UnsetType = UNSET
    """Only the fields to change; a secret that is absent, or comes back masked, stays."""
    enabled: bool | UnsetType = UNSET
    provisioning: ProvisioningUpdate | UnsetType = UNSET


class LoginMethodCheck(Input, frozen=True, kw_only=True):
    kind: Kind
    config: Config


class CheckOut(Struct, frozen=True, kw_only=True):
    ok: bool
    code: str | None
    """`config-invalid`, or the code with which a sign-in would fail now; null: nothing is wrong."""
    message: str
    """For the administrator: what works, or what is wrong and where to look."""


class KindOut(Struct, frozen=True, kw_only=True):
    kind: str
    title: str
    description: str
    config_schema: dict[str, Any]
    """JSON Schema 2020-12; what is `writeOnly` is a secret."""


class LoginMethodOut(Struct, frozen=True, kw_only=True):
    id: UUID
    kind: str
    name: str
    enabled: bool
    installed: bool
    """Whether a plugin for its kind is there; without one nobody gets in by it."""
    config: dict[str, Any]
    """Secrets are masked."""
    provisioning: Provisioning
    redirect_uri: str
    """To be registered at an identity provider as where people come back to."""
    backchannel_logout_uri: str
    """To be registered at an identity provider as where it tells of sign-outs."""
    post_logout_redirect_uri: str
    """To be registered at an identity provider as where people come back to from signing out."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, method: LoginMethod, config: dict[str, Any], *, installed: bool, url: str) -> LoginMethodOut:
        return cls(
            id=method.id,
            kind=method.kind,
            name=method.name,
            enabled=method.enabled,
            installed=installed,
            config=config,
            provisioning=provisioning_of(method),
            redirect_uri=redirect_uri(url),
            backchannel_logout_uri=f"{url}/api/v1/auth/methods/{method.id}/backchannel-logout",
            post_logout_redirect_uri=url,
            created_at=method.created_at,
            updated_at=method.updated_at,
        )


class WayIn(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    """On the button."""
    kind: str
    type: Literal["redirect", "credentials"]
    """`redirect`: send the browser to `…/start`; `credentials`: ask for name and password, and post to `…/login`."""


class WaysIn(Struct, frozen=True, kw_only=True):
    items: list[WayIn]
    passwords: bool
    """Whether `POST /auth/login` is offered."""


class CredentialLogin(Input, frozen=True, kw_only=True):
    identifier: Identifier
    """As the directory knows the person."""
    password: Secretive
    invitation: Invitation | None = None
    """The token of an invitation, accepted by this sign-in."""
    code: Annotated[str, Meta(max_length=100)] | None = None
    """Of the authenticator, or a recovery code; only where the account here has a second factor."""


class Credentials(Input, frozen=True, kw_only=True):
    identifier: Identifier
    password: Secretive


class LinkStart(Input, frozen=True, kw_only=True):
    return_to: ReturnTo = "/"
    """Path here to come back to."""


class LinkStarted(Struct, frozen=True, kw_only=True):
    url: str
    """Send the browser there, from the page that asked."""


class LogoutNotice(Struct, frozen=True, kw_only=True):
    """What a provider posts as a form; what else stands in it is passed over."""

    logout_token: Annotated[str, Meta(max_length=32_768)] | None = None


class ProviderLogoutOut(Struct, frozen=True, kw_only=True):
    url: str | None
    """Send the browser there to sign out at the provider as well; null: there is nothing to do there."""


class AccountOut(Struct, frozen=True, kw_only=True):
    id: UUID
    login_method_id: UUID
    method_name: str
    kind: str
    issuer: str
    subject: str
    email: str
    """As the provider last said it."""
    created_at: datetime
    last_used_at: datetime

    @classmethod
    def of(cls, account: ExternalAccount, method: LoginMethod) -> AccountOut:
        return cls(
            id=account.id,
            login_method_id=method.id,
            method_name=method.name,
            kind=method.kind,
            issuer=account.issuer,
            subject=account.subject,
            email=account.email,
            created_at=account.created_at,
            last_used_at=account.last_used_at,
        )


def provisioning_of(method: LoginMethod) -> Provisioning:
    return msgspec.convert(method.provisioning, Provisioning)


def redirect_uri(url: str) -> str:
    """Where every provider sends people back to; from the settings, never from a request."""
    return f"{url}/api/v1/auth/callback"
