"""Spaces and who is in them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted


class Space(Tenanted, Changing):
    """Where people gather around assistants and knowledge."""

    __tablename__ = "spaces"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")


class SpaceMember(Tenanted, Base):
    """One person's role in one space."""

    __tablename__ = "space_members"
    __table_args__ = (UniqueConstraint("space_id", "user_id"),)

    space_id: Mapped[UUID] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    role: Mapped[str]
    """A `SpaceRole`."""
