"""Signing in, and who one is."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from folkmoot.identity.models import User
from folkmoot.identity.standing import Standing
from folkmoot.kit.structs import Email, Input, Struct
from folkmoot.tenants.schemas import TenantOut


class Login(Input, frozen=True, kw_only=True):
    email: Email
    password: Annotated[str, Meta(min_length=1, max_length=1024, examples=["correct horse battery staple"])]
    tenant: Annotated[str, Meta(max_length=200)] | None = None
    """Name of the organisation; only needed by somebody with the same e-mail and password in two."""


class Refresh(Input, frozen=True, kw_only=True):
    refresh_token: Annotated[str, Meta(max_length=1000)] | None = None
    """Only for clients that signed in with `?cookie=false`; browsers send the cookie."""


class TokenOut(Struct, frozen=True, kw_only=True):
    access_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    refresh_token: str | None = None
    """Only with `?cookie=false`; otherwise it is an httpOnly cookie."""


class UserOut(Struct, frozen=True, kw_only=True):
    id: UUID
    email: str
    name: str
    role: str
    """Predefined role: `user`, `ai-configurator` or `owner`."""
    state: str
    """`invited`, `active`, `inactive` or `deleted`."""

    @classmethod
    def of(cls, user: User) -> UserOut:
        return cls(id=user.id, email=user.email, name=user.name, role=user.role, state=user.state)


class MeOut(Struct, frozen=True, kw_only=True):
    user: UserOut
    tenant: TenantOut
    roles: list[str]
    """Predefined roles, one's own and through groups."""
    permissions: list[str]
    """What these, and custom roles, come to together; with an API key, of its owner."""
    second_factor: bool
    """Whether one signs in with a second factor."""

    @classmethod
    def of(cls, standing: Standing) -> MeOut:
        return cls(
            user=UserOut(
                id=standing.user_id,
                email=standing.email,
                name=standing.name,
                role=standing.roles[0],
                state=standing.state,
            ),
            tenant=TenantOut(id=standing.tenant_id, name=standing.tenant_name),
            roles=sorted(set(standing.roles)),
            permissions=sorted(standing.permissions),
            second_factor=standing.second_factor,
        )
