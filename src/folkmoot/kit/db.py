"""Tables and the engine. Each tenant table has a forced row-level-security policy, made by its migration."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from advanced_alchemy.base import AdvancedDeclarativeBase, CommonTableAttributes
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import ForeignKey, ForeignKeyConstraint, UniqueConstraint, func, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from uuid_utils.compat import uuid7

RUNTIME_ROLE = "folkmoot_runtime"
"""What the service connects as: it owns nothing and cannot bypass row-level security."""


class Base(CommonTableAttributes, AdvancedDeclarativeBase):
    """A table with a UUIDv7 key, so that the order of keys is the order of making."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-10)
    created_at: Mapped[datetime] = mapped_column(
        DateTimeUTC(timezone=True),
        default=lambda: datetime.now(UTC),
        server_default=func.now(),
        sort_order=90,
    )


class Changing(Base):
    """A table whose rows people edit: `revision` guards against two edits at once."""

    __abstract__ = True

    updated_at: Mapped[datetime] = mapped_column(
        DateTimeUTC(timezone=True),
        default=lambda: datetime.now(UTC),
        onupdate=lambda: datetime.now(UTC),
        server_default=func.now(),
        sort_order=91,
    )
    revision: Mapped[int] = mapped_column(default=1, server_default=text("1"), sort_order=92)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.revision}


class Tenanted:
    """Every table that is not platform-wide carries its tenant, and a forced policy on it."""

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), index=True, sort_order=-9)


def belongs(column: str, table: str, *, ondelete: str | None = "CASCADE") -> ForeignKeyConstraint:
    """`column` refers to a row of `table` in the same tenant.

    Foreign keys are checked past row-level security, so one by the id alone could point into another tenant.
    """
    return ForeignKeyConstraint([column, "tenant_id"], [f"{table}.id", f"{table}.tenant_id"], ondelete=ondelete)


def referred() -> UniqueConstraint:
    """What `belongs` of other tables needs here."""
    return UniqueConstraint("id", "tenant_id")


async def warm(engine: AsyncEngine, connections: int) -> None:
    """Open connections before the first people come: making one costs as much as answering several requests."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(connections):
            await stack.enter_async_context(engine.connect())


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def make_engine(url: str, *, pool: int = 20, application: str = "folkmoot") -> AsyncEngine:
    """An engine on asyncpg. `url` as `postgresql://…`; JSON goes through msgspec."""
    return create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool,
        max_overflow=0,
        pool_timeout=20,
        pool_pre_ping=False,
        json_serializer=_to_json,
        json_deserializer=msgspec.json.decode,
        connect_args={
            "server_settings": {"application_name": application, "jit": "off", "timezone": "UTC"},
            "timeout": 10,
            "command_timeout": 60,
        },
    )
