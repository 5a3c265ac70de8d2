"""The log, from outside."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

from folkmoot.audit.models import AuditReason
from folkmoot.kit.structs import Input, Struct

Reason = Annotated[
    str,
    Meta(
        min_length=10,
        max_length=2_000,
        pattern=r"\S",
        description="Why you read the log. It is kept in the log.",
        examples=["Case 2026-114: who changed the role of an administrator"],
    ),
]


class ReasonCreate(Input, frozen=True, kw_only=True):
    reason: Reason


class ReasonOut(Struct, frozen=True, kw_only=True):
    id: UUID
    """Give it as `reason_id`; it is good for the person who stated it."""
    reason: str
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: AuditReason) -> ReasonOut:
        return cls(id=row.id, reason=row.reason, created_at=row.created_at, expires_at=row.expires_at)


class EventOut(Struct, frozen=True, kw_only=True):
    id: UUID
    created_at: datetime
    position: int | None
    """In the sealed log; null while it waits for its seal, some seconds."""
    seq: int
    actor_kind: str
    actor_id: UUID | None
    actor_name: str | None
    """As it is today; null for nobody, and for somebody whose personal data were removed."""
    actor_email: str | None
    key_id: UUID | None
    action: Annotated[str, Meta(examples=["session.started"])]
    object_type: str
    object_id: UUID | None
    space_id: UUID | None
    user_id: UUID | None
    """Whom it concerns."""
    request_id: str
    ip: str
    user_agent: str
    data: dict[str, Any]


class CheckpointOut(Struct, frozen=True, kw_only=True):
    number: int
    position: int
    """Of the last event that is in."""
    link: str
    """SHA-256 of the chain up to here, in hex."""
    key_id: str
    signature: str
    """Ed25519 over the bytes of `signed_text`, in base64."""
    signed_text: str
    created_at: datetime


class PublicKeyOut(Struct, frozen=True, kw_only=True):
    key_id: str
    algorithm: str
    public_key: str
    """Its 32 bytes in base64."""


class LogStateOut(Struct, frozen=True, kw_only=True):
    position: int
    """Events that are sealed."""
    pending: int
    """Events that wait for their seal."""
    whole: bool
    """Whether the log still reaches as far as it was last seen to; its rows are checked by `folkmoot audit verify`."""
    checkpoint: CheckpointOut | None
    """The newest."""
    public_keys: list[PublicKeyOut]
    """What checkpoints are signed with; the one that signs now comes first."""


def base64_of(value: bytes) -> str:
    return base64.b64encode(value).decode()
