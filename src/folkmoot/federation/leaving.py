"""Signing out at the provider, and hearing from it that somebody did."""

from __future__ import annotations

import hashlib
from uuid import UUID

from folkmoot_sdk import AuthConnection, AuthError, BackendUnavailable, EndsSession, HearsLogout, LogoutNotice
from sqlalchemy import select

from folkmoot.federation import claims
from folkmoot.federation.backends import Backends, words
from folkmoot.federation.enter import open_method
from folkmoot.federation.models import ExternalAccount, LoginMethod
from folkmoot.federation.service import end_sessions
from folkmoot.identity.models import Session
from folkmoot.identity.sign_in import SignIn
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.errors import BadRequest, NotAvailable
from folkmoot.kit.log import get_logger
from folkmoot.kit.recorder import Recorder

log = get_logger(__name__)
ONCE_SECONDS = 24 * 3600
LONGEST_TOKEN = 32_768


async def provider_logout(app: App, principal: Principal) -> str | None:
    """End the caller's session; where to send the browser to end the provider's too, or None.

    A provider that does not answer must not keep anybody signed in here: then there is nowhere to go.
    """
    hint: str | None = None
    async with app.begin(principal) as work:
        session = await work.session.get(Session, principal.session_id)
        found = session.login_method_id if session is not None else None
        method = await work.session.get(LoginMethod, found) if found is not None else None
        if session is not None and method is not None:
            try:
                hint = await SignIn(app).logout_hint(session)
            except CryptoError as error:
                log.warning("provider_logout.hint_lost", error=str(error))
    await SignIn(app).logout(principal)
    if method is None:
        return None

    async def ask(connection: AuthConnection) -> str | None:
        if not isinstance(connection, EndsSession):
            return None
        return claims.web_url(await connection.end_session_url(app.settings.url(), hint))

    try:
        return await app.part(Backends).call(method, ask)
    except AuthError as error:
        log.warning("provider_logout.failed", login_method=str(method.id), error=words(error))
        return None


async def backchannel_logout(app: App, method_id: UUID, token: str | None) -> int:
    """The provider says that somebody signed out there; how many sessions ended.

    One that we know nothing of (any more) is no error. Raises `BadRequest` (`logout-token-invalid`) for a token
    that the provider did not make, or that was sent before, and `NotFound` or `NotAvailable`.
    """
    # Also of a method that is switched off, or an organisation that is suspended: both may come back.
    method = await open_method(app, method_id, any_state=True)
    try:
        notice = await _read(app, method, token)
        # Of the token if it has no id: what matters is that the same one does nothing twice.
        once = hashlib.sha256((notice.token_id or token or "").encode("utf-8", "surrogatepass")).hexdigest()
        name = f"folkmoot:logout:{method.id}:{once}"
        if not await app.redis.set(name, 1, nx=True, ex=ONCE_SECONDS):
            raise _invalid("it was used before")
    except BadRequest as error:
        app.part(Recorder).note(
            method.tenant_id,
            "logout.refused",
            "login_method",
            method.id,
            data={"method": method.kind, "code": error.code},
        )
        raise
    try:
        async with app.begin(Principal.system(method.tenant_id)) as work:
            which = [Session.login_method_id == method.id]
            if notice.session is not None:
                which.append(Session.external_session == notice.session)
            if notice.subject is not None:
                person = select(ExternalAccount.user_id).where(
                    ExternalAccount.tenant_id == method.tenant_id,
                    ExternalAccount.issuer == notice.issuer,
                    ExternalAccount.subject == notice.subject,
                )
                which.append(Session.user_id.in_(person))
            return await end_sessions(work, "provider-logout", *which)
    except BaseException:
        # Nothing was ended, and the provider will say it again.
        await app.redis.delete(name)
        raise


async def _read(app: App, method: LoginMethod, token: str | None) -> LogoutNotice:
    if not token or len(token) > LONGEST_TOKEN:
        raise _invalid("send it as the form field `logout_token`")

    async def ask(connection: AuthConnection) -> LogoutNotice | None:
        if not isinstance(connection, HearsLogout):
            return None
        return claims.notice(await connection.read_logout(token))

    try:
        notice = await app.part(Backends).call(method, ask)
    except BackendUnavailable as error:
        raise NotAvailable(
            f"{method.name} cannot be asked now: send it again in a moment", code="provider-unavailable"
        ) from error
    except AuthError as error:
        raise _invalid(words(error)) from error
    if notice is None:
        raise _invalid(f"{method.name} does not hear of sign-outs")
    return notice


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"this logout token does nothing: {why}", code="logout-token-invalid")
