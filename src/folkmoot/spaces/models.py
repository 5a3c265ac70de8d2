"""Spaces and who is in them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class Space(Tenanted, Changing):
    """Where people gather around assistants and knowledge."""

    __tablename__ = "spaces"
    __table_args__ = (
        referred(),
        belongs("owner_id", "users"),
        belongs("data_class_id", "data_classes", ondelete=None),
        Index("uq_spaces_owner_id", "owner_id", unique=True),
        Index("uq_spaces_organisation", "tenant_id", unique=True, postgresql_where=text("kind = 'organisation'")),
        CheckConstraint("(kind = 'personal') = (owner_id IS NOT NULL)", name="owner_of_personal"),
    )

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    kind: Mapped[str] = mapped_column(default="shared", server_default="shared")
    """An `access.SpaceKind`."""
    owner_id: Mapped[UUID | None]
    """Of a personal space; its owner is also in `space_members`."""
    data_class_id: Mapped[UUID | None] = mapped_column(index=True)
    """How confidential its text is; None: as the organisation's default class has it."""


class SpaceMember(Tenanted, Base):
    """The role of one person, or of one group, in one space."""

    __tablename__ = "space_members"
    __table_args__ = (
        belongs("space_id", "spaces"),
        belongs("user_id", "users"),
        belongs("group_id", "groups"),
        UniqueConstraint("space_id", "user_id"),
        UniqueConstraint("space_id", "group_id", name="uq_space_members_group_id"),
        CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="one_member"),
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID | None] = mapped_column(index=True)
    group_id: Mapped[UUID | None] = mapped_column(index=True)
    role: Mapped[str]
    """A `SpaceRole`."""
