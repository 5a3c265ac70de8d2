"""People of an organisation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select, update

from folkmoot.identity.models import Session, User
from folkmoot.kit.access import ROLES
from folkmoot.kit.errors import NotFound, NotSignedIn, ValidationFailed
from folkmoot.kit.work import Work
from folkmoot.tenants.models import Tenant


class UserService:
    """Use cases around people, within the tenant of the work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def me(self) -> tuple[User, Tenant]:
        """The caller and their organisation. Raises `NotSignedIn` if the account is gone."""
        user = await self._work.session.get(User, self._work.principal.user)
        tenant = await self._work.session.get(Tenant, self._work.principal.tenant)
        if user is None or tenant is None:
            raise NotSignedIn("this account is gone")
        return user, tenant

    async def create(self, email: str, password_hash: str | None, *, name: str = "", role: str = "user") -> User:
        """Add a person. Raises `ValidationFailed` for an unknown role; a taken e-mail is `already-exists`."""
        if role not in ROLES:
            raise ValidationFailed(f"there is no role {role!r}: the roles are {', '.join(ROLES)}")
        email = email.strip().lower()
        if "@" not in email:
            raise ValidationFailed(f"{email!r} is not an e-mail address")
        user = User(
            tenant_id=self._work.principal.tenant, email=email, name=name, password_hash=password_hash, role=role
        )
        self._work.session.add(user)
        await self._work.session.flush()
        self._work.record("user.created", "user", user.id, user_id=user.id, data={"role": role})
        return user

    async def with_email(self, email: str) -> User:
        """Raises `NotFound`."""
        found = select(User).where(User.email == email.strip().lower(), User.tenant_id == self._work.principal.tenant)
        user = await self._work.session.scalar(found)
        if user is None:
            raise NotFound(f"nobody here has the e-mail {email}")
        return user

    async def list_all(self) -> Sequence[User]:
        """Everybody, oldest first."""
        return (await self._work.session.scalars(select(User).order_by(User.id))).all()

    async def set_password(self, user: User, password_hash: str) -> None:
        """Replace the password and end all sessions, since somebody else may sit in one."""
        user.password_hash = password_hash
        await self.end_sessions(user)
        self._work.record("user.password_changed", "user", user.id, user_id=user.id)

    async def set_state(self, user: User, state: str) -> None:
        """`active` or `inactive`; the latter ends all sessions at once."""
        user.state = state
        if state != "active":
            await self.end_sessions(user)
        self._work.record(f"user.made_{state}", "user", user.id, user_id=user.id)

    async def end_sessions(self, user: User) -> None:
        """Sign the person out everywhere."""
        await self._work.session.execute(
            update(Session)
            .where(Session.user_id == user.id, Session.revoked_at.is_(None))
            .values(revoked_at=datetime.now(UTC))
        )
