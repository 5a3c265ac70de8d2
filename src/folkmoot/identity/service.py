"""People of an organisation."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Uuid, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from folkmoot.identity.models import Link, Session, User
from folkmoot.identity.standing import Standing
from folkmoot.kit.access import ROLES
from folkmoot.kit.errors import Conflict, NotFound, NotSignedIn, ValidationFailed
from folkmoot.kit.work import Work
from folkmoot.tenants.models import Tenant

PERSONS = text(
    "SELECT p.* FROM unnest(:people) AS wanted(id), LATERAL folkmoot_person(:tenant, wanted.id) AS p"
).bindparams(bindparam("tenant", type_=Uuid()), bindparam("people", type_=ARRAY(Uuid())))
NOT_IN_AN_ADDRESS = frozenset('<>(),;:\\"[]')
"""What only quoted local parts and lists of addresses have; nobody's address needs it, and mail programs differ."""


def clean_email(email: str) -> str:
    """The form in which addresses are stored and compared. Raises `ValidationFailed` for what is no address."""
    email = unicodedata.normalize("NFC", email).strip().lower()
    local, _, domain = email.rpartition("@")
    strange = NOT_IN_AN_ADDRESS.intersection(email) or any(unicodedata.category(char)[0] in "CZ" for char in email)
    if not local or not domain or "@" in local or strange or len(email) > 254:
        detail = f"{email[:100]!r} is not an e-mail address: write it as name@example.org"
        raise ValidationFailed(detail, [("email", detail)])
    return email


class UserService:
    """Use cases around people, within the tenant of the work. Whether the caller may is for the layers above."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def me(self) -> tuple[User, Tenant]:
        """The caller and their organisation. Raises `NotSignedIn` if the account is gone."""
        user = await self._work.session.get(User, self._work.principal.user)
        tenant = await self._work.session.get(Tenant, self._work.principal.tenant)
        if user is None or tenant is None:
            raise NotSignedIn("this account is gone")
        return user, tenant

    async def create(
        self, email: str, password_hash: str | None, *, name: str = "", role: str = "user", state: str = "active"
    ) -> User:
        """Add a person, `active` or `invited`.

        Raises `ValidationFailed` for an unknown role or what is no e-mail, `Conflict` (`already-exists`) for an
        e-mail that somebody here has. Of two at the same moment, the database lets one through.
        """
        if role not in ROLES:
            raise ValidationFailed(f"there is no role {role!r}: the roles are {', '.join(ROLES)}")
        email = clean_email(email)
        taken = select(User.id).where(User.email == email, User.state != "deleted")
        if await self._work.session.scalar(taken.where(User.tenant_id == self._work.principal.tenant)) is not None:
            raise Conflict(
                f"somebody here has the e-mail {email} already: find them in the list of people", code="already-exists"
            )
        user = User(
            tenant_id=self._work.principal.tenant,
            email=email,
            name=name,
            password_hash=password_hash,
            role=role,
            state=state,
            recovery_codes=[],
        )
        self._work.session.add(user)
        await self._work.session.flush()
        action = "user.invited" if state == "invited" else "user.created"
        self._work.record(action, "user", user.id, user_id=user.id, data={"role": role})
        return user

    async def with_email(self, email: str) -> User:
        """Raises `NotFound`; somebody deleted is not found."""
        found = select(User).where(
            User.email == email.strip().lower(),
            User.tenant_id == self._work.principal.tenant,
            User.state != "deleted",
        )
        user = await self._work.session.scalar(found)
        if user is None:
            raise NotFound(
                f"nobody here has the e-mail {email}: `folkmoot user list` shows the people of an organisation"
            )
        return user

    async def list_all(self) -> Sequence[User]:
        """Everybody, oldest first."""
        return (await self._work.session.scalars(select(User).order_by(User.id))).all()

    async def set_password(self, user: User, password_hash: str) -> None:
        """Replace the password; sessions and open links end, since somebody else may have one."""
        user.password_hash = password_hash
        await self.end_sessions(user)
        await self.void_links(user)
        self._work.record("user.password_changed", "user", user.id, user_id=user.id)

    async def set_state(self, user: User, state: str) -> None:
        """`active` or `inactive`; the latter ends all sessions at once. Raises `Conflict` (`last-owner`)."""
        if state != "active":
            await self.keep_an_owner(user)
            await self.end_sessions(user)
            await self.void_links(user)
        user.state = state
        await self._work.session.flush()
        self._work.record(f"user.made_{state}", "user", user.id, user_id=user.id)

    async def end_sessions(self, user: User) -> int:
        """Sign the person out everywhere; how many sessions that ended."""
        ended = await self._work.session.scalars(
            update(Session)
            .where(Session.user_id == user.id, Session.revoked_at.is_(None))
            .values(revoked_at=datetime.now(UTC))
            .returning(Session.id)
        )
        return len(ended.all())

    async def void_links(self, user: User) -> None:
        """No link that was made for the person before is good from now on."""
        await self._work.session.execute(
            update(Link).where(Link.user_id == user.id, Link.used_at.is_(None)).values(used_at=datetime.now(UTC))
        )

    async def keep_an_owner(self, user: User) -> None:
        """Raise `Conflict` (`last-owner`) if without `user` the organisation would have no active owner.

        Whoever asks this is about to take one away: the owners' rows stay locked, in the order of their ids,
        until the transaction ends, so that two owners cannot remove each other at the same moment.
        """
        if user.role != "owner" or user.state != "active":
            return
        owners = await self._work.session.scalars(
            select(User.id)
            .where(User.tenant_id == user.tenant_id, User.role == "owner", User.state == "active")
            .order_by(User.id)
            .with_for_update(key_share=True)
        )
        if set(owners.all()) <= {user.id}:
            raise Conflict(
                "this is the last active owner of the organisation: make somebody else owner first", code="last-owner"
            )

    async def standing(self, user_id: UUID) -> Standing | None:
        """What decides about a person, as the guard reads it; None if there is nobody like that here."""
        return (await self.standings([user_id])).get(user_id)

    async def standings(self, user_ids: Iterable[UUID]) -> dict[UUID, Standing]:
        """`standing` of several people, in one round trip."""
        await self._work.session.flush()
        wanted = {"tenant": self._work.principal.tenant, "people": list(user_ids)}
        rows = await self._work.session.execute(PERSONS, wanted)
        found = (Standing.of(tuple(row)) for row in rows)
        return {standing.user_id: standing for standing in found}
