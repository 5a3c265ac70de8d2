"""Tool servers and tools, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.ai.schemas import Country
from folkmoot.kit.structs import Input, Name, Struct
from folkmoot.tools.config import ConfigOut, ServerConfig
from folkmoot.tools.models import Tool, ToolServer

Kind = Annotated[Literal["http", "stdio"], Meta(examples=["http"])]
Approval = Annotated[Literal["always", "never"], Meta(examples=["always"])]
Config = Annotated[
    ServerConfig, Meta(examples=[{"url": "https://tools.example/mcp", "token": "a-long-random-token", "headers": {}}])
]


class ToolServerOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    kind: Annotated[str, Meta(examples=["http"])]
    """`http` (Streamable HTTP) or `stdio` (a command that the platform allows)."""
    config: ConfigOut
    enabled: bool
    country: str | None
    clearance_id: UUID | None
    """The most confidential data class of text that calls may come from."""
    checked_at: datetime | None
    """When its list of tools was last asked for."""
    check_code: str | None
    """Code of the error of that; null: it worked."""
    check_message: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: ToolServer, config: dict[str, Any]) -> ToolServerOut:
        return cls(
            id=row.id,
            name=row.name,
            kind=row.kind,
            config=ConfigOut.of(config),
            enabled=row.enabled,
            country=row.country,
            clearance_id=row.clearance_id,
            checked_at=row.checked_at,
            check_code=row.check_code or None,
            check_message=row.check_message or None,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class ToolServerCreate(Input, frozen=True, kw_only=True):
    name: Name
    kind: Kind
    config: Config
    country: Country | None = None
    """Where it stands; null: not known, and text of a class that names countries does not go there."""
    clearance_id: UUID | None = None


class ToolServerUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    config: Config | UnsetType = UNSET
    """Only the fields to change; a secret that is absent, or comes back masked, stays."""
    enabled: bool | UnsetType = UNSET
    country: Country | UnsetType | None = UNSET
    clearance_id: UUID | UnsetType | None = UNSET


class CommandOut(Struct, frozen=True, kw_only=True):
    command: str
    """As `config.command` of a tool server of the kind `stdio`."""


class RefusedTool(Struct, frozen=True, kw_only=True):
    name: str
    reason: str


class RefreshOut(Struct, frozen=True, kw_only=True):
    """What became of a look at a server's list of tools."""

    ok: bool
    code: str | None
    """Code of the error."""
    message: str
    new: list[str]
    """Names of tools that it did not list before. They are off."""
    changed: list[str]
    """Those that are another than they were; where they were on, they are off again."""
    gone: list[str]
    """Those that it does not list any more."""
    refused: list[RefusedTool]
    """Those that cannot be taken."""


class ToolOut(Struct, frozen=True, kw_only=True):
    """A tool as its administrators see it."""

    id: UUID
    server_id: UUID
    name: str
    title: str
    description: str
    """By the server. Models are told just this, and not what it says today."""
    parameters: dict[str, Any]
    """JSON Schema of its arguments."""
    read_only: bool | None
    """What the server says, which nobody has checked: that it changes nothing. Null: it says nothing."""
    destructive: bool | None
    """What the server says: that it may destroy something."""
    enabled: bool
    approval: Annotated[str, Meta(examples=["always"])]
    """`always`: who asks approves each call. `never`: it is called at once."""
    offered: bool
    """Whether the server still lists it."""
    changed_at: datetime | None
    """When it became another than the one that was switched on; null once it is on again."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Tool) -> ToolOut:
        return cls(
            id=row.id,
            server_id=row.server_id,
            name=row.name,
            title=row.title or row.name,
            description=row.description,
            parameters=row.parameters,
            read_only=row.hints.get("read_only"),
            destructive=row.hints.get("destructive"),
            enabled=row.enabled,
            approval=row.approval,
            offered=row.offered,
            changed_at=row.changed_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class ToolUpdate(Input, frozen=True, kw_only=True):
    enabled: bool | UnsetType = UNSET
    approval: Approval | UnsetType = UNSET


class SpaceToolOut(Struct, frozen=True, kw_only=True):
    """A tool that is switched on for the organisation, as a space sees it."""

    id: UUID
    server: str
    """Name of its server."""
    name: str
    title: str
    description: str
    approval: Annotated[str, Meta(examples=["always"])]
    chosen: bool
    """Whether assistants of the space may be given it. What is not chosen is shown to those who may choose it."""
    blocked: str | None
    """Why text of this space may not go to its server, so that it is not called; null: it may."""


class SpaceToolsPut(Input, frozen=True, kw_only=True):
    tool_ids: Annotated[list[UUID], Meta(max_length=200)]
    """All that assistants of the space may be given."""
