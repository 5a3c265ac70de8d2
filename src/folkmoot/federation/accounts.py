"""One's own ways in through others: seen, and given up."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from folkmoot.federation.models import ExternalAccount, LoginMethod
from folkmoot.federation.service import end_sessions
from folkmoot.identity.models import Session, User
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.tenants.schemas import TenantSettings
from folkmoot.tenants.service import TenantService


class AccountService:
    """Use cases around the caller's own external accounts."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def page(
        self, limit: int, cursor: str | None
    ) -> tuple[list[tuple[ExternalAccount, LoginMethod]], str | None]:
        """Newest first, each with the method that it comes through."""
        query = select(ExternalAccount).where(ExternalAccount.user_id == self._work.principal.user)
        rows, after = await page(self._work.session, query, by=ExternalAccount.id, limit=limit, cursor=cursor)
        methods = await self._methods(rows)
        return [(row, methods[row.login_method_id]) for row in rows], after

    async def unlink(self, account_id: UUID) -> None:
        """Give up a way in; other sessions that came through it end. Raises `NotFound`, `Conflict` (`last-way-in`)."""
        who = self._work.principal
        # Login methods and passwords are switched off by those who hold the same row.
        tenant = await TenantService(self._work).get(who.tenant, lock=True)
        account = await self._work.session.get(ExternalAccount, account_id, with_for_update=True)
        if account is None or account.user_id != who.user:
            raise NotFound("you have no such account at a provider: `GET /me/accounts` lists yours")
        user = await self._work.session.get_one(User, who.user)
        by_password = user.password_hash is not None and TenantSettings.of(tenant.settings).password_login
        others = select(ExternalAccount.id).where(
            ExternalAccount.user_id == user.id,
            ExternalAccount.id != account.id,
            ExternalAccount.login_method_id == LoginMethod.id,
            LoginMethod.enabled,
        )
        if not by_password and await self._work.session.scalar(others.limit(1)) is None:
            raise Conflict("this is your only way in: set a password or link another account first", code="last-way-in")
        await self._work.session.delete(account)
        await end_sessions(
            self._work,
            "account-unlinked",
            Session.user_id == user.id,
            Session.login_method_id == account.login_method_id,
            Session.id != who.session_id,
        )
        said = {
            "account_id": str(account.id),
            "issuer": account.issuer,
            "login_method_id": str(account.login_method_id),
        }
        self._work.record("account.unlinked", "user", user.id, user_id=user.id, data=said)

    async def _methods(self, accounts: Sequence[ExternalAccount]) -> dict[UUID, LoginMethod]:
        wanted = select(LoginMethod).where(LoginMethod.id.in_({account.login_method_id for account in accounts}))
        return {method.id: method for method in await self._work.session.scalars(wanted)}
