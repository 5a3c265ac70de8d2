"""Signing in, and who one is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from folkmoot.identity.models import Session, User
from folkmoot.identity.standing import Standing
from folkmoot.kit.structs import Email, Input, Struct
from folkmoot.tenants.schemas import AI_MARK, TenantOut

Password = Annotated[str, Meta(min_length=1, max_length=1024, examples=["correct horse battery staple"])]
Code = Annotated[str, Meta(min_length=6, max_length=100, examples=["492039"])]


class Login(Input, frozen=True, kw_only=True):
    email: Email
    password: Password
    tenant: Annotated[str, Meta(max_length=200)] | None = None
    """Name of the organisation; only needed by somebody with the same e-mail and password in two."""
    code: Annotated[str, Meta(max_length=100)] | None = None
    """Of the authenticator, or a recovery code; only where the account has a second factor."""


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


class SessionOut(Struct, frozen=True, kw_only=True):
    id: UUID
    current: bool
    """Whether it is the one that asks."""
    method: str
    """`password`, or the kind of the auth backend."""
    ip: str
    user_agent: str
    created_at: datetime
    last_used_at: datetime
    """When its tokens were renewed last."""
    expires_at: datetime
    """When it ends unless it is used."""

    @classmethod
    def of(cls, session: Session, current: UUID | None) -> SessionOut:
        return cls(
            id=session.id,
            current=session.id == current,
            method=session.method,
            ip=session.ip,
            user_agent=session.user_agent,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
        )


class PasswordChange(Input, frozen=True, kw_only=True):
    current_password: Password
    new_password: Password


class SecondFactorBegin(Input, frozen=True, kw_only=True):
    password: Password


class SecondFactorCode(Input, frozen=True, kw_only=True):
    code: Code


class SecondFactorProof(Input, frozen=True, kw_only=True):
    password: Password
    code: Code
    """Of the authenticator, or a recovery code."""


class EnrolmentOut(Struct, frozen=True, kw_only=True):
    secret: str
    """To type into an authenticator, in base32."""
    uri: str
    """The same as `otpauth://`, to show as a QR code."""


class RecoveryCodesOut(Struct, frozen=True, kw_only=True):
    recovery_codes: list[str]
    """Each is good once, in place of a code. They are shown this once."""


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
    second_factor_needed: bool
    """The organisation asks for one: until it is set up, nothing else works."""

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
            tenant=TenantOut(
                id=standing.tenant_id,
                name=standing.tenant_name,
                ai_mark=standing.settings.get("ai_mark", AI_MARK),
            ),
            roles=sorted(set(standing.roles)),
            permissions=sorted(standing.permissions),
            second_factor=standing.second_factor,
            second_factor_needed=standing.second_factor_needed,
        )
