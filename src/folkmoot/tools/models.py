"""Tool servers, the tools that they offer, and where those may be used."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import UniqueConstraint, false, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class ToolServer(Tenanted, Changing):
    """An MCP server that the organisation has connected."""

    __tablename__ = "tool_servers"
    __table_args__ = (
        referred(),
        belongs("clearance_id", "data_classes", ondelete=None),
        UniqueConstraint("tenant_id", "name"),
    )

    name: Mapped[str]
    kind: Mapped[str]
    """`http` (Streamable HTTP) or `stdio` (a command that the platform allows)."""
    config: Mapped[bytes]
    """Address or command, and secrets, as JSON sealed with the tenant's key."""
    enabled: Mapped[bool] = mapped_column(default=True, server_default=true())
    country: Mapped[str | None]
    """Where it stands, as ISO 3166-1 alpha-2; None: not known."""
    clearance_id: Mapped[UUID | None] = mapped_column(index=True)
    """The most confidential class of text that calls may come from; None: only text without a class."""
    checked_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """When its list of tools was last read."""
    check_code: Mapped[str] = mapped_column(default="", server_default="")
    check_message: Mapped[str] = mapped_column(default="", server_default="")


class Tool(Tenanted, Changing):
    """One tool of one server. Off until an administrator of the organisation switches it on."""

    __tablename__ = "tools"
    __table_args__ = (
        referred(),
        belongs("server_id", "tool_servers"),
        UniqueConstraint("server_id", "name"),
    )

    server_id: Mapped[UUID]
    name: Mapped[str]
    """The server's own name for it."""
    title: Mapped[str] = mapped_column(default="", server_default="")
    description: Mapped[str] = mapped_column(default="", server_default="")
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    """JSON Schema of its arguments, as `sound.py` leaves it."""
    hints: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    """What the server says of it (`read_only`, `destructive`). Shown to administrators, and never gone by."""
    enabled: Mapped[bool] = mapped_column(default=False, server_default=false())
    approval: Mapped[str] = mapped_column(default="always", server_default="always")
    """`always`: the asker approves each call; `never`: it is called at once."""
    offered: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the server still lists it."""
    changed_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """When it became another than the one that was switched on, and so was switched off; None since it is on again."""


class SpaceTool(Tenanted, Base):
    """A tool that the assistants of a space may be given."""

    __tablename__ = "space_tools"
    __table_args__ = (
        belongs("space_id", "spaces"),
        belongs("tool_id", "tools"),
        UniqueConstraint("space_id", "tool_id"),
    )

    space_id: Mapped[UUID]
    tool_id: Mapped[UUID] = mapped_column(index=True)
