"""Spaces and members, from outside."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, UnsetType

from folkmoot.kit.access import SpaceRole
from folkmoot.kit.structs import Input, Name, Struct, Text
from folkmoot.spaces.models import Space, SpaceMember


class SpaceOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    description: str
    role: str
    """The caller's own role here."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, space: Space, role: SpaceRole) -> SpaceOut:
        return cls(
            id=space.id,
            name=space.name,
            description=space.description,
            role=role,
            created_at=space.created_at,
            updated_at=space.updated_at,
        )


class SpaceCreate(Input, frozen=True, kw_only=True):
    name: Name
    description: Text = ""


class SpaceUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET


class MemberOut(Struct, frozen=True, kw_only=True):
    user_id: UUID | None
    role: str

    @classmethod
    def of(cls, member: SpaceMember) -> MemberOut:
        return cls(user_id=member.user_id, role=member.role)


class MemberPut(Input, frozen=True, kw_only=True):
    role: SpaceRole
