"""People and their sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.access import ROLES, Permission
from folkmoot.kit.db import Base, Changing, Tenanted


class User(Tenanted, Changing):
    """A person in one organisation; somebody in two has two of these."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("tenant_id", "email"),)

    email: Mapped[str] = mapped_column(index=True)
    """Lower case."""
    name: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str | None]
    """Bcrypt; None for somebody who signs in elsewhere."""
    role: Mapped[str] = mapped_column(default="user")
    """A key of `access.ROLES`."""
    state: Mapped[str] = mapped_column(default="active", server_default="active")
    """`active` or `inactive`."""

    @property
    def permissions(self) -> frozenset[Permission]:
        return ROLES.get(self.role, frozenset())

    @property
    def active(self) -> bool:
        return self.state == "active"


class Session(Tenanted, Base):
    """A sign-in and all refresh tokens that came of it."""

    __tablename__ = "sessions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    generation: Mapped[int] = mapped_column(default=1)
    """Which refresh token in the row of them is the valid one; a lower one coming back means it was copied."""
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    last_used_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    ip: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="")
