"""Data classes, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.classification.models import DataClass
from folkmoot.kit.structs import Input, Name, Struct, Text

Level = Annotated[int, Meta(ge=0, le=1000, description="The higher, the more confidential.", examples=[2])]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2.", examples=["SE"])]
Countries = Annotated[list[Country], Meta(max_length=100)]


class DataClassOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    description: str
    level: int
    """The higher, the more confidential."""
    countries: list[str]
    """Where a model must stand to see such text; empty: anywhere."""
    default: bool
    """Whether spaces without a class of their own have this one."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: DataClass) -> DataClassOut:
        return cls(
            id=row.id,
            name=row.name,
            description=row.description,
            level=row.level,
            countries=list(row.countries),
            default=row.is_default,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class DataClassCreate(Input, frozen=True, kw_only=True):
    name: Name
    description: Text = ""
    level: Level
    countries: Countries = []
    default: bool = False


class DataClassUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    level: Level | UnsetType = UNSET
    countries: Countries | UnsetType = UNSET
    default: bool | UnsetType = UNSET
