"""Spaces and members, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from folkmoot.kit.access import SpaceRole
from folkmoot.kit.structs import Input, Name, Struct, Text
from folkmoot.spaces.models import Space, SpaceMember


class SpaceOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    description: str
    kind: str
    """`shared`, `personal` or `organisation`."""
    role: str
    """The caller's own role here: the highest of their own and those of their groups."""
    data_class_id: UUID | None
    """How confidential its text is; null: as the organisation's default class has it, if there is one."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, space: Space, role: SpaceRole) -> SpaceOut:
        return cls(
            id=space.id,
            name=space.name,
            description=space.description,
            kind=space.kind,
            role=role,
            data_class_id=space.data_class_id,
            created_at=space.created_at,
            updated_at=space.updated_at,
        )


class OrphanOut(Struct, frozen=True, kw_only=True):
    """A space without admin. What lies in it is for its members alone."""

    id: UUID
    name: str
    created_at: datetime

    @classmethod
    def of(cls, space: Space) -> OrphanOut:
        return cls(id=space.id, name=space.name, created_at=space.created_at)


class SpaceCreate(Input, frozen=True, kw_only=True):
    name: Name
    description: Text = ""
    data_class_id: UUID | None = None


class SpaceUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    data_class_id: UUID | UnsetType | None = UNSET
    """A class that guards less than the one before needs the permission `admin`."""


class MemberOut(Struct, frozen=True, kw_only=True):
    """A person or a group that is in a space."""

    user_id: UUID | None
    """None for a group."""
    group_id: UUID | None
    """None for a person."""
    name: str
    email: str | None
    """None for a group."""
    role: str

    @classmethod
    def of(cls, member: SpaceMember, name: str, email: str | None) -> MemberOut:
        return cls(user_id=member.user_id, group_id=member.group_id, name=name, email=email, role=member.role)


class MemberPut(Input, frozen=True, kw_only=True):
    role: Literal["viewer", "editor", "admin"]
    """`owner` is not given: everybody is that in their own personal space alone."""
