"""The organisations on this installation."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Changing


class Tenant(Changing):
    """Platform-wide; a tenant sees its own row, only the platform sees them all."""

    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="active", server_default="active")
    """`active`, or `suspended`: nobody of it gets in."""

    @property
    def active(self) -> bool:
        return self.state == "active"
