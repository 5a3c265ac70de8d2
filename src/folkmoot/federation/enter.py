"""Signing in through somebody else: sending the browser away and hearing from it again, or asking a directory.

Each use case reads what it needs in a short transaction, lets go, talks to the backend, and writes in another.
What fails is told with a code of ours, and noted in the log of the organisation whose way in it was.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from folkmoot_sdk import (
    AccountNotAllowed,
    AuthConnection,
    AuthError,
    BackendUnavailable,
    CredentialBackend,
    InvalidCredentials,
    LoginExpired,
    RedirectBackend,
    RedirectStart,
    Secret,
)
from sqlalchemy import String, cast, func, or_, select

from folkmoot.federation import claims, provision, returning
from folkmoot.federation.backends import Backends, words
from folkmoot.federation.models import LoginMethod
from folkmoot.federation.schemas import WayIn, WaysIn, redirect_uri
from folkmoot.identity.models import Session, User
from folkmoot.identity.second_factor import use_code
from folkmoot.identity.sign_in import SignedIn, SignIn
from folkmoot.identity.throttle import Attempt, Locked, Throttle
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.errors import AppError, BadRequest, Forbidden, NotAvailable, NotFound, NotSignedIn
from folkmoot.kit.recorder import Recorder
from folkmoot.tenants.models import PLATFORM, Tenant
from folkmoot.tenants.schemas import TenantSettings

EXPIRED = "this sign-in was not started here, took longer than ten minutes, or was ended before: start again"
Person = claims.Person


class _WrongCode(NotSignedIn):
    """Counted as a guess."""


@dataclass(frozen=True)
class Started:
    url: str
    """Where the browser goes."""
    browser: str
    """The cookie that it shows when it comes back."""


@dataclass(frozen=True)
class Ended:
    signed: SignedIn | None
    """None: a way in was linked to somebody who is signed in already."""
    return_to: str


class ExternalSignIn:
    """Use cases of somebody who is not a principal yet."""

    def __init__(self, app: App) -> None:
        self._app, self._backends = app, app.part(Backends)

    async def ways_in(self, tenant: str | None) -> WaysIn:
        """How one may sign in to an organisation; to one that is not there, as to one without login methods."""
        found = await self._tenant(tenant)
        if found is None:
            return WaysIn(items=[], passwords=True)
        async with self._app.begin(Principal.system(found.id)) as work:
            query = select(LoginMethod).where(LoginMethod.tenant_id == found.id, LoginMethod.enabled)
            methods = (await work.session.scalars(query.order_by(LoginMethod.id))).all()
        types = await asyncio.gather(*(self._backends.type_of(method) for method in methods))
        items = [
            WayIn(id=method.id, name=method.name, kind=method.kind, type=kind)
            for method, kind in zip(methods, types, strict=True)
            # What has no plugin, or cannot be connected, would only lead to an error.
            if kind is not None
        ]
        return WaysIn(items=items, passwords=TenantSettings.of(found.settings).password_login)

    async def start(
        self,
        method_id: UUID,
        *,
        browser: str | None,
        return_to: str | None,
        invitation: str | None = None,
        link: Principal | None = None,
    ) -> Started:
        """Send a browser to its provider. Raises `NotFound`, `BadRequest`, `Forbidden` or `NotAvailable`."""
        method = await open_method(self._app, method_id, within=link.tenant if link else None)
        with self.noted(method):
            begun = await self._begin(method)
            cookie = browser if browser is not None and returning.is_browser(browser) else secrets.token_urlsafe(32)
            pending = returning.Pending(
                tenant_id=method.tenant_id,
                method_id=method.id,
                browser=returning.digest(cookie),
                kept=begun.kept,
                return_to=returning.local_path(return_to),
                invitation=invitation,
                link_user=link.user if link else None,
                link_session=link.session_id if link else None,
            )
            if not await returning.keep(self._app, begun.state, pending):
                raise refusal(claims.Broken("it used the same state for two sign-ins"), method)
        return Started(begun.url, cookie)

    async def end(self, parameters: dict[str, str], browser: str | None) -> Ended:
        """A browser is back. Raises `NotSignedIn` (`login-expired`), `Forbidden` (`login-state-mismatch`, …), …"""
        pending = await self._pending(parameters.get("state"))
        if pending is None:
            self._note(PLATFORM, None, "login-expired", {})
            raise NotSignedIn(EXPIRED, code="login-expired")
        if browser is None or not hmac.compare_digest(returning.digest(browser), pending.browser):
            self._note(pending.tenant_id, pending.method_id, "login-state-mismatch", {})
            raise Forbidden(
                "this sign-in was started in another browser, or under another address than "
                f"{self._app.settings.url()}: start again there",
                code="login-state-mismatch",
            )
        method = await open_method(self._app, pending.method_id)
        with self.noted(method):
            person = await self._complete(method, parameters, pending.kept)
            if pending.link_user is not None:
                await self._link(method, person, pending.link_user, pending.link_session)
                return Ended(None, pending.return_to)
            async with self._app.begin(Principal.system(method.tenant_id)) as work:
                user = await provision.arrive(self._app, work, method, person, pending.invitation)
            return Ended(await self._open(user, method, person), pending.return_to)

    async def login(
        self, method_id: UUID, identifier: str, password: str, *, invitation: str | None, code: str | None
    ) -> SignedIn:
        """Ask a directory. Raises `NotSignedIn` (`invalid-credentials`, `second-factor-required`, …), `Locked`, …"""
        method = await open_method(self._app, method_id)
        with self.noted(method):
            async with Throttle(self._app).attempt(_account(method, identifier)) as attempt:
                person = await self._ask_directory(attempt, method, identifier, password)
                try:
                    user = await self._arrive_with_code(method, person, invitation, code)
                except _WrongCode:
                    await self._wrong(attempt, method, "second-factor")
                    raise
                signed = await self._open(user, method, person)
                await attempt.right()
        return signed

    async def link_by_password(self, principal: Principal, method_id: UUID, identifier: str, password: str) -> None:
        """A directory's account for somebody who is signed in. Raises as `login` does."""
        method = await open_method(self._app, method_id, within=principal.tenant)
        with self.noted(method):
            async with Throttle(self._app).attempt(_account(method, identifier)) as attempt:
                person = await self._ask_directory(attempt, method, identifier, password)
                await attempt.right()
            await self._link(method, person, principal.user, principal.session_id)

    @contextmanager
    def noted(self, method: LoginMethod) -> Generator[None]:
        """What the backend refuses becomes an error of ours, and each refusal an event."""
        try:
            yield
        except (AuthError, AppError) as error:
            told = error if isinstance(error, AppError) else refusal(error, method)
            said = {"method": method.kind}
            if told.code not in ("second-factor-required", "wrong-login-type"):
                self._note(method.tenant_id, method.id, told.code, said)
            if isinstance(told, Locked) and told.newly:
                self._app.part(Recorder).note(
                    method.tenant_id, "account.locked", "login_method", method.id, data=said | {"reason": "password"}
                )
            if told is error:
                raise
            raise told from error

    def _note(self, tenant_id: UUID, method_id: UUID | None, reason: str, said: dict[str, Any]) -> None:
        data = {"reason": reason} | said
        self._app.part(Recorder).note(tenant_id, "session.failed", "login_method", method_id, data=data)

    async def _tenant(self, tenant: str | None) -> Tenant | None:
        if tenant is None:
            async with self._app.begin(Principal.platform()) as work:
                some = (await work.session.scalars(select(Tenant).where(Tenant.id != PLATFORM).limit(2))).all()
            return some[0] if len(some) == 1 else None
        wanted = " ".join(unicodedata.normalize("NFC", tenant).split()).lower()
        if "\x00" in wanted:
            return None
        async with self._app.begin(Principal.stranger(wanted)) as work:
            query = select(Tenant).where(
                or_(func.lower(Tenant.name) == wanted, cast(Tenant.id, String) == wanted), Tenant.id != PLATFORM
            )
            return await work.session.scalar(query.limit(1))

    async def _begin(self, method: LoginMethod) -> RedirectStart:
        async def ask(connection: AuthConnection) -> RedirectStart | None:
            if not isinstance(connection, RedirectBackend):
                return None
            return claims.start(await connection.begin(redirect_uri(self._app.settings.url())))

        begun = await self._backends.call(method, ask)
        if begun is None:
            raise BadRequest(
                f"{method.name} asks for name and password: `POST /auth/methods/{method.id}/login` takes them",
                code="wrong-login-type",
            )
        return begun

    async def _complete(self, method: LoginMethod, parameters: dict[str, str], kept: dict[str, str]) -> Person:
        async def ask(connection: AuthConnection) -> Person:
            if not isinstance(connection, RedirectBackend):
                raise LoginExpired("the login method was changed during this sign-in: start again")
            uri = redirect_uri(self._app.settings.url())
            return claims.person(await connection.complete(uri, parameters, kept))

        return await self._backends.call(method, ask)

    async def _ask_directory(self, attempt: Attempt, method: LoginMethod, identifier: str, password: str) -> Person:
        async def ask(connection: AuthConnection) -> Person | None:
            if not isinstance(connection, CredentialBackend):
                return None
            return claims.person(await connection.authenticate(identifier, Secret(password)))

        try:
            person = await self._backends.call(method, ask)
        except InvalidCredentials:
            await self._wrong(attempt, method, "password")
            raise NotSignedIn("the name or the password is wrong", code="invalid-credentials") from None
        if person is None:
            raise BadRequest(
                f"{method.name} asks for the password itself: send the browser to `/auth/methods/{method.id}/start`",
                code="wrong-login-type",
            )
        return person

    async def _arrive_with_code(
        self, method: LoginMethod, person: Person, invitation: str | None, code: str | None
    ) -> User:
        """A directory's password is only a password: who has a second factor here shows it as well."""
        async with self._app.begin(Principal.system(method.tenant_id)) as work:
            user = await provision.arrive(self._app, work, method, person, invitation)
            if user.totp_confirmed_at is None:
                return user
            if not code:
                raise NotSignedIn(
                    "this account has a second factor: send its code as `code`, or a recovery code",
                    code="second-factor-required",
                )
            if not await use_code(work, self._app.keyring, user, code):
                # Nothing of this arrival stays, an invitation neither.
                raise _WrongCode("the code is wrong or was used before: wait for the next", code="second-factor-wrong")
            return user

    async def _wrong(self, attempt: Attempt, method: LoginMethod, reason: str) -> None:
        if await attempt.wrong():
            said = {"method": method.kind, "reason": reason}
            self._app.part(Recorder).note(method.tenant_id, "account.locked", "login_method", method.id, data=said)

    async def _open(self, user: User, method: LoginMethod, person: Person) -> SignedIn:
        return await SignIn(self._app).open(
            user,
            method=method.kind,
            login_method_id=method.id,
            external_session=person.session,
            logout_hint=person.logout_hint,
        )

    async def _link(self, method: LoginMethod, person: Person, user_id: UUID, session_id: UUID | None) -> None:
        who = Principal(tenant_id=method.tenant_id, user_id=user_id, kind="user", session_id=session_id)
        async with self._app.begin(who) as work:
            session = await work.session.get(Session, session_id) if session_id else None
            if session is None or session.user_id != user_id or session.revoked_at is not None:
                raise NotSignedIn(
                    "the session in which this was started has ended: sign in again", code="session-ended"
                )
            await provision.link(work, method, person, user_id)

    async def _pending(self, state: str | None) -> returning.Pending | None:
        if not state:
            return None
        try:
            return await returning.take(self._app, state)
        except CryptoError:
            return None


async def open_method(app: App, method_id: UUID, *, within: UUID | None = None, any_state: bool = False) -> LoginMethod:
    """A way in that is open, or with `any_state` any. Raises `NotFound`, also for one outside `within`."""
    async with app.begin(Principal.stranger(str(method_id))) as work:
        method = await work.session.get(LoginMethod, method_id)
        if method is None or within not in (None, method.tenant_id) or not (method.enabled or any_state):
            raise NotFound("there is no such way to sign in: `GET /auth/methods` lists those of an organisation")
        await work.enter(method.tenant_id)
        tenant = await work.session.get(Tenant, method.tenant_id)
    if not any_state and (tenant is None or not tenant.active):
        app.part(Recorder).note(
            method.tenant_id, "session.failed", "login_method", method.id, data={"reason": "tenant-suspended"}
        )
        raise Forbidden(
            "your organisation is suspended: ask its administrators, or whoever runs this installation",
            code="tenant-suspended",
        )
    return method


def refusal(error: AuthError, method: LoginMethod) -> AppError:
    """What a person is told when the backend does not let them in."""
    match error:
        case BackendUnavailable():
            # What exactly is wrong is the administrators' to know: the check of the method tells them.
            return NotAvailable(
                f"{method.name} cannot be asked now: try again in a moment, or tell your administrator",
                code="provider-unavailable",
            )
        case AccountNotAllowed():
            return Forbidden(words(error) or f"{method.name} does not let you in", code="account-not-allowed")
        case LoginExpired():
            return NotSignedIn(words(error) or EXPIRED, code="login-expired")
        case InvalidCredentials():
            return NotSignedIn(words(error) or "the name or the password is wrong", code="invalid-credentials")
        case _:
            return NotSignedIn(words(error) or f"signing in at {method.name} did not work", code="login-failed")


def _account(method: LoginMethod, identifier: str) -> str:
    """What guesses are counted by: a name in one directory.

    Directories take many spellings for one name (RFC 4518; Active Directory also leaves out accents), and each
    would otherwise be guessed at anew.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", identifier).casefold())
    letters = (
        char for char in plain if unicodedata.category(char) not in ("Cc", "Cf", "Mn", "Me") and not char.isspace()
    )
    return f"{method.id}:{''.join(letters)}"
