"""Groups, custom roles, and who has them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import String

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class Group(Tenanted, Changing):
    """People who are given rights together."""

    __tablename__ = "groups"
    __table_args__ = (
        referred(),
        UniqueConstraint("tenant_id", "name"),
    )

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    role: Mapped[str | None]
    """A key of `access.ROLES` that all members have, beside their own."""


class GroupMember(Tenanted, Base):
    """One person in one group."""

    __tablename__ = "group_members"
    __table_args__ = (
        belongs("group_id", "groups"),
        belongs("user_id", "users"),
        UniqueConstraint("group_id", "user_id"),
    )

    group_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(index=True)
    login_method_id: Mapped[UUID | None]
    """Put in by that login method's group claims, which also takes out; None: put in by hand."""


class Role(Tenanted, Changing):
    """A custom role: a name for some permissions."""

    __tablename__ = "roles"
    __table_args__ = (
        referred(),
        UniqueConstraint("tenant_id", "name"),
    )

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    permissions: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    """Values of `access.Permission`, all of them in `access.GRANTABLE`."""


class RoleGrant(Tenanted, Base):
    """A custom role given to one person or one group."""

    __tablename__ = "role_grants"
    __table_args__ = (
        belongs("role_id", "roles"),
        belongs("user_id", "users"),
        belongs("group_id", "groups"),
        UniqueConstraint("role_id", "user_id", name="uq_role_grants_user_id"),
        UniqueConstraint("role_id", "group_id", name="uq_role_grants_group_id"),
        CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="one_holder"),
    )

    role_id: Mapped[UUID]
    user_id: Mapped[UUID | None] = mapped_column(index=True)
    group_id: Mapped[UUID | None] = mapped_column(index=True)
