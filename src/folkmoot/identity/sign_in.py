"""Signing in, staying in, and getting out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Uuid, bindparam, select, text

from folkmoot.identity import passwords
from folkmoot.identity.models import Session, User
from folkmoot.identity.standing import Standing
from folkmoot.identity.tokens import AccessClaims, RefreshClaims, Tokens
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.caller import caller
from folkmoot.kit.errors import Conflict, NotSignedIn
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import glance
from folkmoot.tenants.models import Tenant

log = get_logger(__name__)
STANDING = text("SELECT * FROM folkmoot_standing(:tenant, :user, :session)").bindparams(
    bindparam("tenant", type_=Uuid()), bindparam("user", type_=Uuid()), bindparam("session", type_=Uuid())
)
WRONG = "the e-mail or the password is wrong"


@dataclass(frozen=True)
class SignedIn:
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds, of the access token."""


class SignIn:
    """Use cases of somebody who is not a principal yet; each opens its own short transactions."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tokens = app.part(Tokens)
        self._life = timedelta(days=app.settings.refresh_token_days)

    async def login(self, email: str, password: str, tenant: str | None = None) -> SignedIn:
        """Check the password and open a session. Raises `NotSignedIn`, or `Conflict` (`tenant-required`)."""
        email = email.strip().lower()
        async with self._app.begin(Principal.stranger(email)) as work:
            known = (await work.session.scalars(select(User).where(User.email == email).order_by(User.id))).all()
        # No connection is held while bcrypt works. All candidates are checked, and somebody unknown costs one.
        right = [user for user in known if await passwords.matches(password, user.password_hash) and user.active]
        if not known:
            await passwords.matches(password, None)
            log.info("session.failed", reason="unknown")
        opened = [user for user in right if await self._may_enter(user, tenant)]
        if not opened:
            for user in known:
                await self._failed(user)
            raise NotSignedIn(WRONG, code="invalid-credentials")
        if len(opened) > 1:
            raise Conflict("you are in several organisations: say which, in `tenant`", code="tenant-required")
        return await self._open(opened[0])

    async def refresh(self, token: str) -> SignedIn:
        """Exchange a refresh token. A token that was exchanged before ends the whole session.

        Raises `NotSignedIn` (`token-invalid`, `session-ended` or `token-reused`).
        """
        claims = self._tokens.read_refresh(token)
        now = datetime.now(UTC)
        async with self._app.begin(Principal.system(claims.tenant_id)) as work:
            session = await work.session.get(Session, claims.session_id, with_for_update=True)
            user = await work.session.get(User, session.user_id) if session else None
            if session is None or user is None or session.revoked_at or session.expires_at < now:
                raise NotSignedIn("this session has ended: sign in again", code="session-ended")
            reused = claims.generation != session.generation
            if reused:
                session.revoked_at = now
                work.record("session.token_reused", "session", session.id, user_id=user.id)
            else:
                session.generation += 1
                session.last_used_at = now
                session.expires_at = now + self._life
            tenant = await work.session.get(Tenant, claims.tenant_id)
            allowed = user.active and tenant is not None and tenant.active
        # Raised after the commit: the revocation must stay.
        if reused:
            raise NotSignedIn(
                "this refresh token was used before, so it may have been copied: the session is ended, sign in again",
                code="token-reused",
            )
        if not allowed:
            raise NotSignedIn("this account is not active", code="session-ended")
        return self._issue(claims.tenant_id, user.id, session)

    async def logout(self, principal: Principal) -> None:
        """End the session; its tokens are refused from now on."""
        async with self._app.begin(principal) as work:
            session = await work.session.get(Session, principal.session_id)
            if session is not None and session.revoked_at is None:
                session.revoked_at = datetime.now(UTC)
                work.record("session.ended", "session", session.id, user_id=principal.user_id)

    async def authenticate(self, token: str) -> tuple[Principal, Standing]:
        """Who an access token speaks for, as they stand now. Raises `NotSignedIn`, or `Forbidden` if shut out."""
        claims = self._tokens.read_access(token)
        row = await glance(
            self._app.sessions, STANDING, tenant=claims.tenant_id, user=claims.user_id, session=claims.session_id
        )
        if row is None:
            raise NotSignedIn("this session has ended: sign in again", code="session-ended")
        standing = Standing.of(row)
        if standing.tenant_state == "active" and row[-2]:
            raise NotSignedIn("this session has ended: sign in again", code="session-ended")
        standing.check()
        principal = Principal(
            tenant_id=claims.tenant_id,
            user_id=claims.user_id,
            kind="user",
            permissions=standing.permissions,
            session_id=claims.session_id,
        )
        return principal, standing

    async def _may_enter(self, user: User, tenant: str | None) -> bool:
        async with self._app.begin(Principal.system(user.tenant_id)) as work:
            found = await work.session.get(Tenant, user.tenant_id)
        return found is not None and found.active and tenant in (None, found.name)

    async def _open(self, user: User) -> SignedIn:
        now, source = datetime.now(UTC), caller.get()
        async with self._app.begin(Principal(tenant_id=user.tenant_id, user_id=user.id, kind="user")) as work:
            session = Session(
                tenant_id=user.tenant_id,
                user_id=user.id,
                generation=1,
                expires_at=now + self._life,
                last_used_at=now,
                ip=source.ip,
                user_agent=source.user_agent[:300],
            )
            work.session.add(session)
            await work.session.flush()
            work.record("session.started", "session", session.id, user_id=user.id)
        return self._issue(user.tenant_id, user.id, session)

    async def _failed(self, user: User) -> None:
        async with self._app.begin(Principal(tenant_id=user.tenant_id, kind="nobody")) as work:
            work.record("session.failed", "user", user.id, user_id=user.id)

    def _issue(self, tenant_id: UUID, user_id: UUID, session: Session) -> SignedIn:
        return SignedIn(
            access_token=self._tokens.access(AccessClaims(tenant_id, user_id, session.id)),
            refresh_token=self._tokens.refresh(RefreshClaims(tenant_id, session.id, session.generation)),
            expires_in=self._tokens.access_seconds,
        )
