"""People, their sessions, the links that let them in, and who administers the installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import String

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class User(Tenanted, Changing):
    """A person in one organisation; somebody in two has two of these."""

    __tablename__ = "users"
    __table_args__ = (
        referred(),
        Index(
            "uq_users_tenant_id_email", "tenant_id", "email", unique=True, postgresql_where=text("state <> 'deleted'")
        ),
    )

    email: Mapped[str] = mapped_column(index=True)
    """Lower case."""
    name: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str | None]
    """Bcrypt; None for somebody who signs in elsewhere or has not accepted the invitation."""
    role: Mapped[str] = mapped_column(default="user")
    """A key of `access.ROLES`."""
    state: Mapped[str] = mapped_column(default="active", server_default="active")
    """`invited`, `active`, `inactive` or `deleted`."""
    deleted_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    erased_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """When name and e-mail were removed from a deleted account."""
    totp_secret: Mapped[bytes | None]
    """Sealed. There from the moment it is shown; it counts once `totp_confirmed_at` is set."""
    totp_confirmed_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    totp_used_step: Mapped[int] = mapped_column(default=0, server_default="0")
    """The newest time step whose code was used, so that no code is good twice."""
    recovery_codes: Mapped[list[str]] = mapped_column(ARRAY(String), default=list, server_default="{}")
    """Hashes of the codes that are left."""

    @property
    def active(self) -> bool:
        return self.state == "active"


class Session(Tenanted, Base):
    """A sign-in and all refresh tokens that came of it."""

    __tablename__ = "sessions"
    __table_args__ = (belongs("user_id", "users"),)

    user_id: Mapped[UUID] = mapped_column(index=True)
    generation: Mapped[int] = mapped_column(default=1)
    """Which refresh token in the row of them is the valid one; a lower one coming back means it was copied."""
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    last_used_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    ip: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="")
    method: Mapped[str] = mapped_column(default="password", server_default="password")
    """`password`, or the kind of the auth backend."""
    login_method_id: Mapped[UUID | None]
    """Through which of the organisation's login methods; None for a password of ours."""
    external_session: Mapped[str | None] = mapped_column(index=True)
    """The provider's own id of the session (`sid`), which its back-channel logout names."""
    logout_hint: Mapped[bytes | None]
    """Sealed: what the provider wants back at logout (an ID token)."""


class Link(Tenanted, Base):
    """An invitation or a password reset. The link's token is derived from the row, never stored."""

    __tablename__ = "links"
    __table_args__ = (belongs("user_id", "users"),)

    user_id: Mapped[UUID] = mapped_column(index=True)
    purpose: Mapped[str]
    """`invitation` or `reset`."""
    created_by: Mapped[UUID | None]
    """None: asked for by the person."""
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """Used, or replaced by a newer link."""
    mail: Mapped[str] = mapped_column(default="none", server_default="none")
    """`none` (no mail server: an administrator hands it over), `queued`, `sent` or `failed`."""
    mail_attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")


class PlatformAdmin(Tenanted, Base):
    """A person who administers the installation. The runtime role adds and removes these only as the platform."""

    __tablename__ = "platform_admins"
    __table_args__ = (belongs("user_id", "users"),)

    user_id: Mapped[UUID] = mapped_column(unique=True)
    granted_by: Mapped[str] = mapped_column(default="")
    """Who named them: a person's id, or the account that ran the command."""
