"""Signing in, and who one is."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from folkmoot.identity.models import User
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
    state: str

    @classmethod
    def of(cls, user: User) -> UserOut:
        return cls(id=user.id, email=user.email, name=user.name, role=user.role, state=user.state)


class MeOut(Struct, frozen=True, kw_only=True):
    user: UserOut
    tenant: TenantOut
    roles: list[str]
    permissions: list[str]
