"""One's own sessions, seen and ended one by one; and a change of password, which ends the others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select, update

from folkmoot.identity import passwords
from folkmoot.identity.models import Session, User
from folkmoot.identity.second_factor import own_account, prove_password
from folkmoot.identity.service import UserService
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotFound, changed_at_once
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.tenants.models import Tenant


class SessionService:
    """Use cases around the caller's own sessions."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def page(self, limit: int, cursor: str | None) -> tuple[Sequence[Session], str | None]:
        """Those that still hold, newest first."""
        query = select(Session).where(
            Session.user_id == self._work.principal.user,
            Session.revoked_at.is_(None),
            Session.expires_at > datetime.now(UTC),
        )
        return await page(self._work.session, query, by=Session.id, limit=limit, cursor=cursor)

    async def end(self, session_id: UUID) -> None:
        """Sign out there. Raises `NotFound` for one that is somebody else's or has ended."""
        session = await self._work.session.get(Session, session_id, with_for_update=True)
        mine = session is not None and session.user_id == self._work.principal.user
        if session is None or not mine or session.revoked_at is not None:
            raise NotFound("you have no such session: it has ended, or never was")
        session.revoked_at = datetime.now(UTC)
        self._record(session.id, "ended-by-person")

    async def end_others(self, reason: str = "ended-by-person") -> int:
        """Sign out everywhere but here; returns how many sessions that were."""
        ended = (
            update(Session)
            .where(
                Session.user_id == self._work.principal.user,
                Session.revoked_at.is_(None),
                Session.id != self._work.principal.session_id,
            )
            .values(revoked_at=datetime.now(UTC))
            .execution_options(synchronize_session=False)
        )
        ids = (await self._work.session.execute(ended.returning(Session.id))).scalars().all()
        for session_id in ids:
            self._record(session_id, reason)
        return len(ids)

    def _record(self, session_id: UUID, reason: str) -> None:
        self._work.record(
            "session.ended", "session", session_id, user_id=self._work.principal.user, data={"reason": reason}
        )


async def change_password(app: App, principal: Principal, current: str, new: str) -> None:
    """Replace one's own password and end all other sessions; links to set a new one are void.

    Raises `ValidationFailed` (`password-wrong`, and what `passwords.check` raises), `Conflict` (`no-password`) or
    `Locked`.
    """
    proven = await prove_password(app, principal, current, field="current_password")
    async with app.begin(principal) as work:
        tenant = await work.session.get_one(Tenant, principal.tenant)
    words = passwords.words_of(proven.email, proven.name, tenant.name)
    passwords.check(new, minimum=app.settings.password_min_length, words=words, field="new_password")
    hashed = await passwords.hash_password(new)
    async with app.begin(principal) as work:
        user: User = await own_account(work, lock=True)
        if user.password_hash != proven.password_hash:
            # Somebody set another one while we counted: what was proven is proven no more.
            raise changed_at_once()
        user.password_hash = hashed
        await SessionService(work).end_others("password-changed")
        await UserService(work).void_links(user)
        work.record("user.password_changed", "user", user.id, user_id=user.id)
