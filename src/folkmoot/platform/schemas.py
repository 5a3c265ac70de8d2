"""Organisations, certificates and platform administrators, from outside."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.kit.structs import Email, Input, Name, Struct
from folkmoot.tenants.models import Certificate, Tenant
from folkmoot.tenants.schemas import Usage

Users = Annotated[int, Meta(ge=1, le=10_000_000, examples=[500])]
Bytes = Annotated[int, Meta(ge=0, le=2**60, examples=[107_374_182_400])]
Chunks = Annotated[int, Meta(ge=0, le=2**53, examples=[5_000_000])]
Requests = Annotated[int, Meta(ge=1, le=1_000_000_000, examples=[60_000])]
Reason = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1_000,
        pattern=r"\S",
        description="For its administrators and for the log.",
        examples=["The contract ended on 30 June."],
    ),
]


class PlatformTenantOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    state: str
    """`active`; `suspended`: nobody of it gets in; `deleting`: its rows and files are being removed."""
    state_reason: str
    """Why it is suspended."""
    max_users: int | None
    """Most people who are invited, active or inactive; null: no limit."""
    max_storage_bytes: int | None
    """Most bytes of uploaded files; null: no limit."""
    max_chunks: int | None
    """Most passages that documents are cut into; null: no limit."""
    requests_per_minute: int | None
    """Of all people and keys together; null: the installation's default."""
    created_at: datetime
    updated_at: datetime
    usage: Usage | UnsetType = UNSET
    """Only when one organisation is read."""

    @classmethod
    def of(cls, tenant: Tenant, usage: Usage | UnsetType = UNSET) -> PlatformTenantOut:
        return cls(
            id=tenant.id,
            name=tenant.name,
            state=tenant.state,
            state_reason=tenant.state_reason,
            max_users=tenant.max_users,
            max_storage_bytes=tenant.max_storage_bytes,
            max_chunks=tenant.max_chunks,
            requests_per_minute=tenant.requests_per_minute,
            created_at=tenant.created_at,
            updated_at=tenant.updated_at,
            usage=usage,
        )


class PlatformTenantCreate(Input, frozen=True, kw_only=True):
    name: Name
    admin_email: Email
    """Of its first administrator."""
    invite: bool = False
    """Let the administrator in by a link, on which they choose their password, instead of a password made here."""
    max_users: Users | None = None
    max_storage_bytes: Bytes | None = None
    max_chunks: Chunks | None = None
    requests_per_minute: Requests | None = None


class FirstAdministrator(Struct, frozen=True, kw_only=True):
    email: str
    password: str | None
    """Shown only now; null for somebody who is invited."""
    invitation_url: str | None
    """To hand over to somebody who is invited; null if it goes to them by mail."""


class PlatformTenantMade(PlatformTenantOut, frozen=True, kw_only=True):
    admin: FirstAdministrator


class PlatformTenantUpdate(Input, frozen=True, kw_only=True):
    """Fields that are absent stay as they are; a quota of null is none."""

    name: Name | UnsetType = UNSET
    max_users: Users | UnsetType | None = UNSET
    max_storage_bytes: Bytes | UnsetType | None = UNSET
    max_chunks: Chunks | UnsetType | None = UNSET
    requests_per_minute: Requests | UnsetType | None = UNSET


class Suspension(Input, frozen=True, kw_only=True):
    reason: Reason | UnsetType = UNSET


class CertificateOut(Struct, frozen=True, kw_only=True):
    """What was removed with an organisation.

    `signature` is Ed25519 (RFC 8032) over the bytes of `statement`, which is JSON with sorted keys and holds
    all that is said here; `public_key` checks it.
    """

    id: UUID
    tenant_id: UUID
    tenant_name: str
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    """Null while the removal goes on."""
    removed: dict[str, Any]
    """`rows` by table, `files`, and `bytes` as they lay encrypted."""
    statement: str | None
    signature: str | None
    """Base64."""
    public_key: str | None
    """Base64, 32 bytes."""
    valid: bool | None
    """Whether the signature fits, and was made with a key of this installation."""

    @classmethod
    def of(cls, row: Certificate, statement: bytes | None, valid: bool | None) -> CertificateOut:
        signed = row.signature is not None and statement is not None
        return cls(
            id=row.id,
            tenant_id=row.tenant_id,
            tenant_name=row.tenant_name,
            requested_by=row.requested_by,
            requested_at=row.requested_at,
            completed_at=row.completed_at,
            removed=row.removed,
            statement=statement.decode() if signed and statement else None,
            signature=base64.b64encode(row.signature).decode() if row.signature else None,
            public_key=base64.b64encode(bytes.fromhex(row.key_id)).decode() if signed else None,
            valid=valid if signed else None,
        )


class PlatformAdminOut(Struct, frozen=True, kw_only=True):
    user_id: UUID
    tenant_id: UUID
    tenant_name: str
    email: str
    name: str
    active: bool
    """Whether the person and their organisation are active: only then may they act."""
    granted_by: str
    created_at: datetime


class PlatformAdminGrant(Input, frozen=True, kw_only=True):
    tenant_id: UUID
    """The person's organisation."""
    user_id: UUID | None = None
    email: Email | None = None
    """Instead of `user_id`."""
