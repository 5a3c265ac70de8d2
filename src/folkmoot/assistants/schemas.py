"""Assistants, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.ai.models import ModelMove
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.kit.structs import Input, Name, Struct, Text

Instructions = Annotated[
    str,
    Meta(
        max_length=50_000,
        description="May hold {{date}}, {{time}}, {{user.name}}, {{user.unit}} and {{language}}.",
        examples=["You help residents with building permits. Answer briefly."],
    ),
]
Collections = Annotated[list[UUID], Meta(max_length=100)]
Temperature = Annotated[float, Meta(ge=0, le=2, examples=[0.2])]
Tools = Annotated[list[UUID], Meta(max_length=100)]
BuiltinTools = Annotated[
    list[Literal["search_knowledge", "read_document", "calculate", "current_date"]], Meta(max_length=20)
]
MaxTokens = Annotated[int, Meta(ge=1, le=1_000_000, examples=[1000])]
Retrieval = Annotated[
    Literal["auto", "search", "documents", "off"],
    Meta(
        description="What goes along with a question. `auto`: what a search finds, or all of the collections where they"
        " are small; nothing with a mere thanks. `search`: always what a search finds. `documents`: whole documents, as"
        " far as the model has room for them. `off`: nothing; only tools search.",
        examples=["auto"],
    ),
]


class AssistantOut(Struct, frozen=True, kw_only=True):
    id: UUID
    space_id: UUID
    name: str
    description: str
    instructions: str
    model_id: UUID | None
    """None: the organisation's default model."""
    collection_ids: list[UUID]
    tool_ids: list[UUID]
    """Tools of tool servers that it is given; it uses those that organisation and space still allow."""
    builtin_tools: list[str] | None
    """Our own tools that it may use; null: all of them."""
    temperature: float | None
    max_output_tokens: int | None
    retrieval: Retrieval
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
            tool_ids=list(version.tool_ids),
            builtin_tools=None if version.builtin_tools is None else list(version.builtin_tools),
            temperature=version.parameters.get("temperature"),
            max_output_tokens=version.parameters.get("max_output_tokens"),
            retrieval=version.parameters.get("retrieval", "auto"),
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
    tool_ids: Tools = []
    builtin_tools: BuiltinTools | None = None
    temperature: Temperature | None = None
    max_output_tokens: MaxTokens | None = None
    retrieval: Retrieval = "auto"
    published: bool = False


class AssistantUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    instructions: Instructions | UnsetType = UNSET
    model_id: UUID | UnsetType | None = UNSET
    collection_ids: Collections | UnsetType = UNSET
    tool_ids: Tools | UnsetType = UNSET
    builtin_tools: BuiltinTools | UnsetType | None = UNSET
    """Null: all."""
    temperature: Temperature | UnsetType | None = UNSET
    max_output_tokens: MaxTokens | UnsetType | None = UNSET
    retrieval: Retrieval | UnsetType = UNSET
    published: bool | UnsetType = UNSET


class VersionOut(Struct, frozen=True, kw_only=True):
    id: UUID
    number: int
    name: str
    instructions: str
    model_id: UUID | None
    collection_ids: list[UUID]
    tool_ids: list[UUID]
    builtin_tools: list[str] | None
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
            tool_ids=list(version.tool_ids),
            builtin_tools=None if version.builtin_tools is None else list(version.builtin_tools),
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
