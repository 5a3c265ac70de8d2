"""What a tenant looks like from outside, and what its own administrators settle."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from folkmoot.kit.structs import Input, Name, Struct
from folkmoot.tenants.models import Tenant

MOST_ORIGINS = 50
Origin = Annotated[str, Meta(max_length=300, examples=["https://intranet.municipality.example"])]
Currency = Annotated[
    str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217. It stays once something was spent.", examples=["EUR"])
]
Rate = Annotated[float, Meta(gt=0, le=1_000_000, description="Units of `currency` for one US dollar.", examples=[0.92])]
AI_MARK = "AI-generated"
Mark = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="Says that a machine wrote an answer; it is worded, never left out.",
        examples=["AI-generated"],
    ),
]
Origins = Annotated[list[Origin], Meta(max_length=MOST_ORIGINS)]


class TenantOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    ai_mark: str
    """What goes along with an answer that is copied or handed on: how the organisation says that a machine wrote it."""


class TenantSettings(Struct, frozen=True, kw_only=True):
    """What is stored in `Tenant.settings`; what is not there has its default."""

    allowed_origins: list[str] = []
    """Web origins that may call the API from a browser, as browsers send them."""
    password_login: bool = True
    """Whether people may sign in with a password of ours, beside the organisation's login methods."""
    require_second_factor: bool = False
    """Whether a password alone is not enough."""
    currency: str = "USD"
    """In which usage is counted and budgets are set (ISO 4217)."""
    usd_rate: float = 1.0
    """Units of `currency` for one US dollar, in which providers' prices are known."""
    ai_mark: str = AI_MARK
    """What exports, and clients when an answer is copied, say of its origin."""

    @classmethod
    def of(cls, stored: dict[str, Any]) -> TenantSettings:
        return msgspec.convert(stored, cls)


class SettingsUpdate(Input, frozen=True, kw_only=True):
    allowed_origins: Origins | UnsetType = UNSET
    password_login: bool | UnsetType = UNSET
    require_second_factor: bool | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    usd_rate: Rate | UnsetType = UNSET
    ai_mark: Mark | UnsetType = UNSET


class OrganisationUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    settings: SettingsUpdate | UnsetType = UNSET
    """Fields that are absent stay as they are."""


class Quotas(Struct, frozen=True, kw_only=True):
    """Limits that the installation sets; null: no limit of its own."""

    max_users: int | None
    """People who are invited, active or inactive."""
    max_storage_bytes: int | None
    """Bytes of uploaded files."""
    max_chunks: int | None
    """Passages that documents are cut into, each of which is searched."""
    requests_per_minute: int | None
    """Requests of all people and keys together."""


class Usage(Struct, frozen=True, kw_only=True):
    users: int
    """People who are invited, active or inactive."""
    storage_bytes: int
    """Bytes of uploaded files."""
    chunks: int
    """Passages that documents are cut into."""


class OrganisationOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    settings: TenantSettings
    quotas: Quotas
    usage: Usage
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, tenant: Tenant, usage: Usage) -> OrganisationOut:
        return cls(
            id=tenant.id,
            name=tenant.name,
            settings=TenantSettings.of(tenant.settings),
            quotas=Quotas(
                max_users=tenant.max_users,
                max_storage_bytes=tenant.max_storage_bytes,
                max_chunks=tenant.max_chunks,
                requests_per_minute=tenant.requests_per_minute,
            ),
            usage=usage,
            created_at=tenant.created_at,
            updated_at=tenant.updated_at,
        )
