"""Login methods of an organisation, and the accounts that came through them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class LoginMethod(Tenanted, Changing):
    """One way in: an auth backend with its configuration, and what becomes of who comes through it."""

    __tablename__ = "login_methods"
    __table_args__ = (
        referred(),
        UniqueConstraint("tenant_id", "name"),
    )

    kind: Mapped[str]
    """Of the auth backend; a plugin registers it."""
    name: Mapped[str]
    """On the button."""
    config: Mapped[bytes]
    """Sealed with the tenant's key."""
    enabled: Mapped[bool] = mapped_column(default=True)
    provisioning: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """`federation.schemas.Provisioning`: who gets an account, with which role, and how group claims map."""


class ExternalAccount(Tenanted, Base):
    """A person as an issuer knows them. Found by issuer and subject, never by an e-mail."""

    __tablename__ = "external_accounts"
    __table_args__ = (
        belongs("user_id", "users"),
        belongs("login_method_id", "login_methods"),
        UniqueConstraint("tenant_id", "issuer", "subject"),
    )

    user_id: Mapped[UUID] = mapped_column(index=True)
    login_method_id: Mapped[UUID] = mapped_column(index=True)
    issuer: Mapped[str]
    subject: Mapped[str]
    email: Mapped[str] = mapped_column(default="")
    """As the issuer last said it; for people to read, nothing is looked up by it."""
    last_used_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
