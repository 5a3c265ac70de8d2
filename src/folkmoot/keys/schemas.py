"""API keys, from outside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.keys.models import ApiKey
from folkmoot.kit.access import Scope
from folkmoot.kit.structs import Input, Name, Struct

LONGEST_GRACE = 30 * 24 * 3600
Scopes = Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope), examples=[["read", "chat"]])]
Addresses = Annotated[
    list[Annotated[str, Meta(max_length=60)]], Meta(max_length=100, examples=[["192.0.2.7", "2001:db8::/32"]])
]
Origins = Annotated[
    list[Annotated[str, Meta(max_length=300)]], Meta(max_length=100, examples=[["https://www.municipality.example"]])
]
Moment = Annotated[datetime, Meta(tz=True, examples=["2036-11-22T09:30:00Z"])]
Requests = Annotated[int, Meta(ge=1, le=1_000_000, examples=[600])]
Tokens = Annotated[int, Meta(ge=1, le=2_000_000_000, examples=[2_000_000])]


class KeyOut(Struct, frozen=True, kw_only=True):
    id: UUID
    user_id: UUID
    """Its owner, for whom it acts."""
    name: str
    kind: str
    """`user`, `assistant` or `platform`."""
    hint: str
    """How the key begins and ends, to recognise it by."""
    status: str
    """`active`, `expired` or `revoked`."""
    scopes: list[str]
    assistant_id: UUID | None
    addresses: list[str]
    """Networks that it may be used from; empty: from anywhere."""
    origins: list[str]
    """Origins of web pages that may use it; empty: only programs may."""
    requests_per_minute: int | None
    tokens_per_month: int | None
    """Model tokens, in and out, in one calendar month (UTC)."""
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None
    """The key that rotation made of it."""
    last_used_at: datetime | None
    """To the minute."""
    last_used_from: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        return cls(**_fields(key))


class KeyMade(KeyOut, frozen=True, kw_only=True):
    key: Annotated[str, Meta(examples=["fmu_…"])]
    """Shown this once: only a hash of it is stored."""

    @classmethod
    def made(cls, key: ApiKey, secret: str) -> KeyMade:
        return cls(key=secret, **_fields(key))


class KeyCreate(Input, frozen=True, kw_only=True):
    name: Name
    scopes: Scopes | UnsetType = UNSET
    """`read`, `write` and `chat` if left out. The key of an assistant has `chat` and nothing else."""
    assistant_id: Annotated[UUID, Meta(examples=[None])] | None = None
    """Makes the key of one assistant, which can ask it and do nothing else."""
    expires_at: Moment | None = None
    addresses: Addresses = []
    """Addresses or networks that it may be used from."""
    origins: Origins = []
    """Origins of web pages that may use it."""
    requests_per_minute: Requests | None = None
    tokens_per_month: Tokens | None = None


class KeyUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    addresses: Addresses | UnsetType = UNSET
    origins: Origins | UnsetType = UNSET
    requests_per_minute: Requests | UnsetType | None = UNSET
    tokens_per_month: Tokens | UnsetType | None = UNSET


class KeyRotate(Input, frozen=True, kw_only=True):
    grace_seconds: Annotated[int, Meta(ge=0, le=LONGEST_GRACE, examples=[3600])] = 24 * 3600
    """How long the old key goes on working."""


def status_of(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "active"


def _fields(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in KeyOut.__struct_fields__ if name != "status"} | {
        "status": status_of(key)
    }
