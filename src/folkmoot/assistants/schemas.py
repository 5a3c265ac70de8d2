"""Assistants, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.ai.models import ModelMove
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.kit.structs import Input, Name, Struct, Text

Instructions = Annotated[
    str, Meta(max_length=50_000, examples=["You help residents with building permits. Answer briefly."])
]
Collections = Annotated[list[UUID], Meta(max_length=100)]
Temperature = Annotated[float, Meta(ge=0, le=2, examples=[0.2])]
MaxTokens = Annotated[int, Meta(ge=1, le=1_000_000, examples=[1000])]


class AssistantOut(Struct, frozen=True, kw_only=True):
    id: UUID
    space_id: UUID
    name: str
    description: str
    instructions: str
    model_id: UUID | None
    """None: the organisation's default model."""
    collection_ids: list[UUID]
    temperature: float | None
    max_output_tokens: int | None
    version: int
    """Grows by one with each save."""
    version_id: UUID
    published: bool
    """Whether viewers of the space see it, and may ask it."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, assistant: Assistant, version: AssistantVersion) -> AssistantOut:
        return cls(
            id=assistant.id,
            space_id=assistant.space_id,
            name=assistant.name,
            description=assistant.description,
            instructions=version.instructions,
            model_id=version.model_id,
            collection_ids=list(version.collection_ids),
            temperature=version.parameters.get("temperature"),
            max_output_tokens=version.parameters.get("max_output_tokens"),
            version=version.number,
            version_id=version.id,
            published=assistant.published,
            created_at=assistant.created_at,
            updated_at=assistant.updated_at,
        )


class AssistantCreate(Input, frozen=True, kw_only=True):
    name: Name
    description: Text = ""
    instructions: Instructions = ""
    model_id: UUID | None = None
    collection_ids: Collections = []
    temperature: Temperature | None = None
    max_output_tokens: MaxTokens | None = None
    published: bool = False


class AssistantUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    instructions: Instructions | UnsetType = UNSET
    model_id: UUID | UnsetType | None = UNSET
    collection_ids: Collections | UnsetType = UNSET
    temperature: Temperature | UnsetType | None = UNSET
    max_output_tokens: MaxTokens | UnsetType | None = UNSET
    published: bool | UnsetType = UNSET


class VersionOut(Struct, frozen=True, kw_only=True):
    id: UUID
    number: int
    name: str
    instructions: str
    model_id: UUID | None
    collection_ids: list[UUID]
    created_at: datetime
    created_by: UUID | None

    @classmethod
    def of(cls, version: AssistantVersion) -> VersionOut:
        return cls(
            id=version.id,
            number=version.number,
            name=version.name,
            instructions=version.instructions,
            model_id=version.model_id,
            collection_ids=list(version.collection_ids),
            created_at=version.created_at,
            created_by=version.created_by,
        )


class MoveIn(Input, frozen=True, kw_only=True):
    to_model: UUID
    """The model that takes over."""


class MovingOut(Struct, frozen=True, kw_only=True):
    """One assistant that uses a model."""

    assistant_id: UUID
    space_id: UUID
    name: str | None
    """Null if you are not in its space."""
    blocked: str | None
    """Why it cannot move: its text may not go to the new model."""


class MoveOut(Struct, frozen=True, kw_only=True):
    id: UUID
    from_id: UUID
    to_id: UUID
    assistants: int
    """How many were moved."""
    created_at: datetime
    undone_at: datetime | None

    @classmethod
    def of(cls, row: ModelMove) -> MoveOut:
        return cls(
            id=row.id,
            from_id=row.from_id,
            to_id=row.to_id,
            assistants=len(row.moved),
            created_at=row.created_at,
            undone_at=row.undone_at,
        )


class UndoneOut(Struct, frozen=True, kw_only=True):
    back: int
    """Assistants that have their old model again."""
    left: int
    """Those that were changed or deleted since, and stay as they are."""
