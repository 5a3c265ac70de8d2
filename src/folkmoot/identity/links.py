"""Links that let somebody in: an invitation, or a new password.

The token is derived from the link's row and never stored, so neither the database, nor a backup, nor the queue
holds anything that opens an account. A link is good once, for a while, for a person who may come in, and until a
newer one is made. It stands behind `#` in its address, which no browser sends to a server and no proxy logs.
"""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from folkmoot.identity import passwords
from folkmoot.identity.link_tokens import link_invalid, link_url, read
from folkmoot.identity.mailing import mail_link
from folkmoot.identity.models import Link, User
from folkmoot.identity.service import UserService
from folkmoot.identity.throttle import Throttle
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.caller import caller, network_of
from folkmoot.kit.errors import AppError, BadRequest, Conflict, Forbidden, TooManyRequests, ValidationFailed
from folkmoot.kit.limits import Limit, Limits
from folkmoot.kit.log import get_logger
from folkmoot.kit.recorder import Recorder
from folkmoot.kit.work import Work
from folkmoot.tenants.models import PLATFORM, Tenant
from folkmoot.tenants.schemas import TenantSettings

log = get_logger(__name__)
FORGOT_PER_ADDRESS = 20
FORGOT_PER_EMAIL = 3
FORGOT_SECONDS = 900
_asking: set[asyncio.Task[None]] = set()


@dataclass(frozen=True)
class Opened:
    """What a link is for."""

    link: Link
    user: User
    tenant: Tenant


async def accept_for_external(app: App, work: Work, token: str) -> User:
    """An invitation accepted by signing in elsewhere: the person becomes active, without a password.

    `work` is of the organisation whose login method vouched for them. Raises as `Links.accept` does.
    """
    found = read(app.keyring, token)
    if found.tenant_id != work.principal.tenant_id:
        raise link_invalid()
    opened = await _open(work, found.link_id, lock=True)
    if opened.link.purpose != "invitation":
        raise BadRequest("this link sets a password: it is no invitation", code="link-invalid")
    await _use(work, opened)
    return opened.user


class Links:
    """Use cases around links. Those of somebody who is not signed in open their own transactions."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def make(self, work: Work, user: User, purpose: str) -> Link:
        """A new link for `user`, an `invitation` or a `reset`; it replaces the ones before.

        With a mail server it is sent to them after the commit, else `url` is for whoever made it.
        """
        # So that of two made at the same moment one is the newer.
        await work.session.execute(select(User.id).where(User.id == user.id).with_for_update(key_share=True))
        await UserService(work).void_links(user)
        settings = self._app.settings
        life = (
            timedelta(days=settings.invitation_days)
            if purpose == "invitation"
            else timedelta(minutes=settings.reset_minutes)
        )
        link = Link(
            tenant_id=user.tenant_id,
            user_id=user.id,
            purpose=purpose,
            created_by=work.principal.user_id,
            expires_at=datetime.now(UTC) + life,
            mail="queued" if settings.smtp_url else "none",
            mail_attempts=0,
            details={},
        )
        work.session.add(link)
        await work.session.flush()
        work.record("link.made", "link", link.id, user_id=user.id, data={"purpose": purpose, "mail": link.mail})
        if link.mail == "queued":
            work.enqueue(mail_link, tenant_id=link.tenant_id, link_id=link.id)
        return link

    def url(self, link: Link) -> str | None:
        """The address to hand over; None if it goes by mail."""
        return link_url(self._app, link) if link.mail == "none" else None

    async def look(self, token: str) -> Opened:
        """What a link is for, without using it. Raises as `accept` does."""
        with self._noted(token):
            return await self._look(token)

    async def accept(self, token: str, password: str, name: str | None = None) -> Opened:
        """Set the password; an invited person becomes active, and all sessions end.

        A second factor stays: who forgot a password still has to show it. Raises `BadRequest` (`link-invalid`),
        `Conflict` (`link-used`, `link-expired`, `link-void`), `Forbidden` (`account-inactive`,
        `tenant-suspended`, `password-login-off`), or `ValidationFailed` for a password that is too short or can be
        guessed, which leaves the link good.
        """
        with self._noted(token):
            return await self._accept(token, password, name)

    async def _look(self, token: str) -> Opened:
        found = read(self._app.keyring, token)
        async with self._app.begin(Principal.system(found.tenant_id)) as work:
            return await _open(work, found.link_id)

    async def _accept(self, token: str, password: str, name: str | None) -> Opened:
        seen = await self._look(token)
        if not password_login(seen.tenant):
            raise Forbidden(
                "your organisation signs its people in elsewhere: choose one of its ways to sign in",
                code="password-login-off",
            )
        words = passwords.words_of(seen.user.email, name or seen.user.name, seen.tenant.name)
        passwords.check(password, minimum=self._app.settings.password_min_length, words=words)
        # No connection is held while bcrypt works.
        hashed = await passwords.hash_password(password)
        who = Principal(tenant_id=seen.user.tenant_id, user_id=seen.user.id, kind="user")
        async with self._app.begin(who) as work:
            opened = await _open(work, seen.link.id, lock=True)
            await _use(work, opened)
            if name is not None:
                opened.user.name = name
            await UserService(work).set_password(opened.user, hashed)
        await Throttle(self._app).forgive(opened.user.email)
        return opened

    @contextmanager
    def _noted(self, token: str) -> Generator[None]:
        """A link that lets nobody in is an event: of the organisation whose it is, or of the platform."""
        try:
            yield
        except ValidationFailed:
            raise
        except AppError as refusal:
            try:
                found = read(self._app.keyring, token)
            except BadRequest:
                found = None
            of, link_id = (found.tenant_id, found.link_id) if found is not None else (PLATFORM, None)
            self._app.part(Recorder).note(of, "link.refused", "link", link_id, data={"code": refusal.code})
            raise

    async def forgot(self, email: str, tenant: str | None) -> None:
        """Somebody wants a new password. Says nothing and takes no time, whether the e-mail is known or not.

        Raises `TooManyRequests` for an address that asks too often; an e-mail that is asked for too often is
        passed over in silence.
        """
        limits = _limits(self._app)
        ip = caller.get().ip
        await limits.take(Limit("address", f"forgot:address:{network_of(ip)}", FORGOT_PER_ADDRESS, FORGOT_SECONDS))
        # The form in which `UserService` stores them.
        email = unicodedata.normalize("NFC", email).strip().lower()
        digest = hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()
        try:
            await limits.take(Limit("e-mail", f"forgot:email:{digest}", FORGOT_PER_EMAIL, FORGOT_SECONDS))
        except TooManyRequests:
            log.info("forgot.too_often", ip=ip)
            return
        # Beside the request: what is looked up and written must not show in how long the answer takes.
        asked = asyncio.create_task(self._forgotten(email, tenant))
        _asking.add(asked)
        asked.add_done_callback(_asking.discard)

    async def _forgotten(self, email: str, tenant: str | None) -> None:
        try:
            async with self._app.begin(Principal.stranger(email)) as work:
                known = (await work.session.scalars(select(User).where(User.email == email))).all()
            for found in known:
                # Who signs in elsewhere has no password to forget; a new one would go round their organisation.
                if found.active and found.password_hash is not None:
                    await self._ask_for_reset(found, tenant)
        except Exception:
            log.exception("forgot.failed")

    async def _ask_for_reset(self, found: User, tenant: str | None) -> None:
        async with self._app.begin(Principal(tenant_id=found.tenant_id)) as work:
            own = await work.session.get(Tenant, found.tenant_id)
            user = await work.session.get(User, found.id)
            if own is None or user is None or not own.active or not password_login(own):
                return
            if tenant is not None and tenant.strip().casefold() != own.name.casefold():
                return
            by_mail = bool(self._app.settings.smtp_url)
            work.record("user.reset_requested", "user", user.id, user_id=user.id, data={"mail": by_mail})
            if by_mail:
                await self.make(work, user, "reset")


def password_login(tenant: Tenant) -> bool:
    """Whether people of this organisation sign in with a password of ours."""
    return TenantSettings.of(tenant.settings).password_login


async def _open(work: Work, link_id: UUID, *, lock: bool = False) -> Opened:
    """A link that can be used now, its person and their organisation; with `lock`, nobody else uses it meanwhile."""
    link = await work.session.get(Link, link_id)
    if link is None:
        raise link_invalid()
    # The person first, as everything that replaces links does.
    held = {"key_share": True} if lock else None
    user = await work.session.get(User, link.user_id, with_for_update=held)
    if lock:
        await work.session.refresh(link, with_for_update=held)
    tenant = await work.session.get(Tenant, link.tenant_id)
    if user is None or tenant is None or user.state == "deleted":
        raise link_invalid()
    if refusal := _refusal(link, user, tenant):
        raise refusal
    await _check_maker(work, link, user)
    return Opened(link, user, tenant)


async def _check_maker(work: Work, link: Link, user: User) -> None:
    """Raise `Conflict` (`link-void`) for a link that opens more than whoever was handed it may give.

    Without a mail server the maker holds the link. They must not come in by it once they are shut out, nor to an
    account that was given more than they have since. Somebody of the platform is no person of the organisation.
    """
    if link.mail != "none" or link.created_by is None:
        return
    standings = await UserService(work).standings([link.created_by, user.id])
    maker = standings.get(link.created_by)
    if maker is not None and (maker.state != "active" or standings[user.id].permissions - maker.permissions):
        raise Conflict(
            "whoever made this link may not let you in any more: ask an administrator for another", code="link-void"
        )


def _refusal(link: Link, user: User, tenant: Tenant) -> AppError | None:
    if not tenant.active:
        return Forbidden("your organisation is suspended: ask its administrators", code="tenant-suspended")
    if user.state == "inactive":
        return Forbidden("this account is not active: ask your administrator", code="account-inactive")
    if link.used_at is not None:
        return Conflict(
            "this link was used, or a newer one has replaced it: use the newest, or ask for another", code="link-used"
        )
    if link.expires_at <= datetime.now(UTC):
        return Conflict("this link has expired: ask for another", code="link-expired")
    return None


async def _use(work: Work, opened: Opened) -> None:
    link, user = opened.link, opened.user
    link.used_at = datetime.now(UTC)
    work.record("link.used", "link", link.id, user_id=user.id, data={"purpose": link.purpose})
    if user.state == "invited":
        user.state = "active"
        work.record("user.made_active", "user", user.id, user_id=user.id, data={"by": "invitation"})
    await work.session.flush()


def _limits(app: App) -> Limits:
    if Limits not in app.parts:
        app.add(Limits(app.redis))
    return app.part(Limits)
