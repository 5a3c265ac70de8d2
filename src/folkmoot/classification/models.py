"""How confidential text is, in levels that each organisation names itself."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import String

from folkmoot.kit.db import Changing, Tenanted, referred


class DataClass(Tenanted, Changing):
    """One level. What is cleared for it is cleared for the lower ones."""

    __tablename__ = "data_classes"
    __table_args__ = (
        referred(),
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("tenant_id", "level", name="uq_data_classes_level"),
        Index("uq_data_classes_default", "tenant_id", unique=True, postgresql_where=text("is_default")),
    )

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    level: Mapped[int]
    """The higher, the more confidential."""
    countries: Mapped[list[str]] = mapped_column(ARRAY(String), default=list, server_default="{}")
    """Where a model must stand to see such text, as ISO 3166-1 alpha-2; empty: anywhere."""
    is_default: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Of every space that has no class of its own, personal ones and the organisation's among them."""
