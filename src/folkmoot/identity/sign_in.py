"""Signing in, staying in, and getting out.

Nothing is told to somebody who has not given the right password: not whether the e-mail is known, nor that the
organisation is suspended, nor that a second factor is asked for. Until then every answer is the same, and costs
the same.
"""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import exists, select

from folkmoot.identity import passwords
from folkmoot.identity.models import Session, User
from folkmoot.identity.second_factor import use_code
from folkmoot.identity.standing import SignedInStanding
from folkmoot.identity.throttle import Attempt, Locked, Throttle
from folkmoot.identity.tokens import AccessClaims, RefreshClaims, Tokens
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.caller import caller
from folkmoot.kit.errors import AppError, Conflict, Forbidden, NotSignedIn
from folkmoot.kit.glance import glance
from folkmoot.kit.recorder import Recorder
from folkmoot.kit.work import Work
from folkmoot.tenants.models import PLATFORM, Tenant

STANDING = "SELECT * FROM folkmoot_standing(:tenant, :user, :session)"
WRONG = "the e-mail or the password is wrong"
ENDED = "this session has ended: sign in again"


@dataclass(frozen=True)
class SignedIn:
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds, of the access token."""
    session_id: UUID


class _Reused(NotSignedIn):
    """The session ended by this."""


class SignIn:
    """Use cases of somebody who is not a principal yet; each opens its own short transactions."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tokens = app.part(Tokens)
        self._life = timedelta(days=app.settings.refresh_token_days)

    async def login(self, email: str, password: str, tenant: str | None = None, *, code: str | None = None) -> SignedIn:
        """Check the password, and the second factor if there is one, and open a session.

        Raises `NotSignedIn` (`invalid-credentials`, `second-factor-required`, `second-factor-wrong`), `Forbidden`
        (`tenant-suspended`, `password-login-off`), `Conflict` (`tenant-required`) or `Locked`.
        """
        # The form in which `UserService` stores them.
        email = unicodedata.normalize("NFC", email).strip().lower()
        throttle = Throttle(self._app)
        try:
            async with throttle.attempt(email) as attempt:
                return await self._try(attempt, email, password, tenant, code)
        except Locked as refusal:
            await self._refused_unchecked(throttle, email, refusal)
            raise

    async def open(
        self,
        user: User,
        *,
        method: str,
        login_method_id: UUID | None = None,
        external_session: str | None = None,
        logout_hint: str | None = None,
        password_hash: str | None = None,
    ) -> SignedIn:
        """Open a session for somebody who was proven, here or elsewhere.

        `logout_hint` is sealed here; `SignIn.logout_hint` opens it. With `password_hash` it must still be theirs.
        Raises `Forbidden` (`tenant-suspended`, `account-inactive`) or, for a password that was replaced while it
        was being checked, `NotSignedIn`.
        """
        now, source = datetime.now(UTC), caller.get()
        async with self._app.begin(Principal(tenant_id=user.tenant_id, user_id=user.id, kind="user")) as work:
            # Shared lock: a change of password or state is either seen here, or finds this session and ends it.
            fresh = await work.session.get(User, user.id, with_for_update={"read": True}, populate_existing=True)
            tenant = await work.session.get(Tenant, user.tenant_id)
            if tenant is None or not tenant.active:
                raise _suspended()
            if fresh is None or not fresh.active:
                raise Forbidden("this account is not active: ask your administrator", code="account-inactive")
            if password_hash is not None and fresh.password_hash != password_hash:
                raise NotSignedIn(WRONG, code="invalid-credentials")
            known = exists().where(Session.user_id == user.id, Session.ip == source.ip)
            seen = bool(await work.session.scalar(select(known)))
            session = Session(
                tenant_id=user.tenant_id,
                user_id=user.id,
                generation=1,
                expires_at=now + self._life,
                last_used_at=now,
                ip=source.ip,
                user_agent=source.user_agent[:300],
                method=method,
                login_method_id=login_method_id,
                external_session=external_session,
            )
            work.session.add(session)
            await work.session.flush()
            if logout_hint is not None:
                session.logout_hint = await self._app.keyring.seal(
                    logout_hint.encode(), purpose="logout-hint", tenant_id=user.tenant_id, aad=session.id.bytes
                )
            work.record(
                "session.started",
                "session",
                session.id,
                user_id=user.id,
                data={"method": method, "new_address": not seen},
            )
        return self._issue(user.tenant_id, user.id, session)

    async def logout_hint(self, session: Session) -> str | None:
        """What the provider wants back at logout."""
        if session.logout_hint is None:
            return None
        hint = await self._app.keyring.open(
            session.logout_hint, purpose="logout-hint", tenant_id=session.tenant_id, aad=session.id.bytes
        )
        return hint.decode()

    async def refresh(self, token: str) -> SignedIn:
        """Exchange a refresh token. A token that was exchanged before ends the whole session.

        Of two that arrive at the same moment one wins, and the other is refused without ending anything: it was
        on its way before a new token existed, as from two tabs. It came later by as little as one answer takes,
        and it is a copy. Raises `NotSignedIn` (`token-invalid`, `session-ended`, `token-reused`) or `Forbidden`
        (`tenant-suspended`).
        """
        arrived = datetime.now(UTC)
        try:
            claims = self._tokens.read_refresh(token)
        except NotSignedIn as refusal:
            self._app.part(Recorder).note(PLATFORM, "token.refused", "token", data={"code": refusal.code})
            raise
        try:
            tenant_id, user_id, session = await self._exchange(claims, arrived)
        except _Reused:
            # In the log already, by the transaction that ended the session.
            raise
        except (NotSignedIn, Forbidden) as refusal:
            self._app.part(Recorder).note(
                claims.tenant_id, "token.refused", "session", claims.session_id, data={"code": refusal.code}
            )
            raise
        return self._issue(tenant_id, user_id, session)

    async def _exchange(self, claims: RefreshClaims, arrived: datetime) -> tuple[UUID, UUID, Session]:
        async with self._app.begin(Principal.system(claims.tenant_id)) as work:
            session = await work.session.get(Session, claims.session_id, with_for_update=True)
            user = await work.session.get(User, session.user_id) if session else None
            now = datetime.now(UTC)
            if session is None or user is None or session.revoked_at or session.expires_at < now:
                raise NotSignedIn(ENDED, code="session-ended")
            reused = claims.generation != session.generation
            if reused and claims.generation == session.generation - 1 and session.last_used_at > arrived:
                raise NotSignedIn(
                    "this refresh token is being exchanged by another request at this moment: use what that one gets",
                    code="token-reused",
                )
            tenant = await work.session.get(Tenant, claims.tenant_id)
            if reused:
                session.revoked_at = now
                work.record("session.token_reused", "session", session.id, user_id=user.id)
            elif tenant is None or not tenant.active:
                raise _suspended()
            elif not user.active:
                raise NotSignedIn("this account is not active: ask your administrator", code="session-ended")
            else:
                session.generation += 1
                session.last_used_at = now
                session.expires_at = now + self._life
        # Raised after the commit: the revocation must stay.
        if reused:
            raise _Reused(
                "this refresh token was used before, so it may have been copied: the session is ended, sign in again",
                code="token-reused",
            )
        return claims.tenant_id, user.id, session

    async def logout(self, principal: Principal) -> None:
        """End the session; its tokens are refused from now on."""
        async with self._app.begin(principal) as work:
            session = await work.session.get(Session, principal.session_id)
            if session is not None and session.revoked_at is None:
                session.revoked_at = datetime.now(UTC)
                work.record(
                    "session.ended", "session", session.id, user_id=principal.user_id, data={"reason": "signed-out"}
                )

    async def authenticate(self, token: str) -> tuple[Principal, SignedInStanding]:
        """Who an access token speaks for, as they stand now. Raises `NotSignedIn`, or `Forbidden` if shut out."""
        try:
            claims = self._tokens.read_access(token)
        except NotSignedIn as refusal:
            # Whose it would be is not known: nothing in it can be believed.
            self._app.part(Recorder).note(PLATFORM, "token.refused", "token", data={"code": refusal.code})
            raise
        row = await glance(
            self._app.sessions.glances,
            STANDING,
            tenant=claims.tenant_id,
            user=claims.user_id,
            session=claims.session_id,
        )
        standing = SignedInStanding.of(row) if row is not None else None
        if standing is None or (standing.tenant_state == "active" and standing.ended):
            of, user_id = (claims.tenant_id, claims.user_id) if standing is not None else (PLATFORM, None)
            data = {"code": "session-ended"}
            self._app.part(Recorder).note(of, "token.refused", "session", claims.session_id, user_id=user_id, data=data)
            raise NotSignedIn(ENDED, code="session-ended")
        principal = Principal(
            tenant_id=claims.tenant_id,
            user_id=claims.user_id,
            kind="user",
            permissions=standing.permissions,
            session_id=claims.session_id,
        )
        try:
            standing.check()
        except Forbidden as refusal:
            self._app.part(Recorder).note(
                claims.tenant_id,
                "access.refused",
                "session",
                claims.session_id,
                principal=principal,
                user_id=claims.user_id,
                data={"code": refusal.code},
            )
            raise
        return principal, standing

    async def _try(self, attempt: Attempt, email: str, password: str, tenant: str | None, code: str | None) -> SignedIn:
        known = await self._candidates(email)
        # No connection is held while bcrypt works. Somebody without a password costs what one with it does.
        hashes = [(user, user.password_hash) for user in known if user.password_hash is not None]
        checks = [passwords.matches(password, stored) for _, stored in hashes] or [passwords.matches(password, None)]
        matching = await asyncio.gather(*checks)
        right = [user for (user, _), fits in zip(hashes, matching, strict=False) if fits]
        entries = [(user, await self._tenant_of(user)) for user in right if user.active]
        entries = [(user, found) for user, found in entries if tenant in (None, found.name)]
        if not entries:
            await self._count(attempt, known, "password" if not right else "inactive" if not tenant else "elsewhere")
            raise NotSignedIn(WRONG, code="invalid-credentials")
        user = await self._choose(entries)
        if user.totp_confirmed_at is not None:
            await self._second_factor(attempt, user, code)
        signed = await self.open(user, method="password", password_hash=user.password_hash)
        await attempt.right()
        return signed

    async def _candidates(self, email: str) -> list[User]:
        async with self._app.begin(Principal.stranger(email)) as work:
            # A deleted account may have a successor with the same e-mail.
            query = select(User).where(User.email == email, User.state != "deleted").order_by(User.id)
            return list((await work.session.scalars(query)).all())

    async def _choose(self, entries: list[tuple[User, Tenant]]) -> User:
        """The one account that may enter. Their password was right, so they are told why none does."""
        active = [(user, tenant) for user, tenant in entries if tenant.active]
        opened = [user for user, tenant in active if tenant.settings.get("password_login", True)]
        if len(opened) > 1:
            raise Conflict("you are in several organisations: say which, in `tenant`", code="tenant-required")
        if opened:
            return opened[0]
        refusal = _password_login_off() if active else _suspended()
        for user, _ in entries:
            async with self._app.begin(_nobody(user.tenant_id)) as work:
                _failed(work, user, refusal.code)
        raise refusal

    async def _second_factor(self, attempt: Attempt, user: User, code: str | None) -> None:
        if not code:
            raise NotSignedIn(
                "this account has a second factor: send its code as `code`, or a recovery code",
                code="second-factor-required",
            )
        async with self._app.begin(Principal(tenant_id=user.tenant_id, user_id=user.id, kind="user")) as work:
            if await use_code(work, self._app.keyring, user, code):
                return
        await self._count(attempt, [user], "second-factor")
        raise NotSignedIn("the code is wrong or was used before: wait for the next", code="second-factor-wrong")

    async def _count(self, attempt: Attempt, known: list[User], reason: str) -> None:
        """A failure: counted, and told to the logs of the organisations that know the e-mail, or to ours."""
        locked = await attempt.wrong()
        for user in known:
            async with self._app.begin(_nobody(user.tenant_id)) as work:
                _failed(work, user, reason, locked=locked)
        if not known:
            # The same work as for somebody known, so that it takes as long.
            async with self._app.begin(_nobody(PLATFORM)) as work:
                work.record("session.failed", "user", data={"reason": "unknown", "email_hash": attempt.account})

    async def _refused_unchecked(self, throttle: Throttle, email: str, refusal: Locked) -> None:
        """Note what was refused before any password was looked at, for those whom it concerns."""
        recorder, known = self._app.part(Recorder), await self._candidates(email)
        for user in known:
            noted = {"session.failed": refusal.code} | ({"account.locked": "password"} if refusal.newly else {})
            for action, reason in noted.items():
                # Beside the answer, which must not take longer for somebody who is known.
                recorder.note(user.tenant_id, action, "user", user.id, user_id=user.id, data={"reason": reason})
        if not known:
            data = {"reason": refusal.code, "email_hash": throttle.fingerprint(email)}
            recorder.note(PLATFORM, "session.failed", "user", data=data)

    async def _tenant_of(self, user: User) -> Tenant:
        async with self._app.begin(Principal.system(user.tenant_id)) as work:
            return await work.session.get_one(Tenant, user.tenant_id)

    def _issue(self, tenant_id: UUID, user_id: UUID, session: Session) -> SignedIn:
        return SignedIn(
            access_token=self._tokens.access(AccessClaims(tenant_id, user_id, session.id)),
            refresh_token=self._tokens.refresh(RefreshClaims(tenant_id, session.id, session.generation)),
            expires_in=self._tokens.access_seconds,
            session_id=session.id,
        )


def _nobody(tenant_id: UUID) -> Principal:
    return Principal(tenant_id=tenant_id, kind="nobody")


def _failed(work: Work, user: User, reason: str, *, locked: bool = False) -> None:
    work.record("session.failed", "user", user.id, user_id=user.id, data={"reason": reason})
    if locked:
        work.record("account.locked", "user", user.id, user_id=user.id, data={"reason": reason})


def _suspended() -> AppError:
    return Forbidden(
        "your organisation is suspended: ask its administrators, or whoever runs this installation",
        code="tenant-suspended",
    )


def _password_login_off() -> AppError:
    return Forbidden(
        "your organisation does not sign people in by password here: use its own way to sign in",
        code="password-login-off",
    )
