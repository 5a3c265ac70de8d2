"""Administering the installation: making, changing, suspending and deleting organisations.

Each use case opens its own short transactions, as the platform and in the name of the person who acts. What it
does is written into the log of the organisation and into the platform's own, which stays when the
organisation is gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, func, insert, select, text

from folkmoot.ai.connect import connect_defaults
from folkmoot.identity.links import Links
from folkmoot.identity.models import PlatformAdmin, User
from folkmoot.identity.passwords import hash_password
from folkmoot.identity.service import UserService
from folkmoot.keys.authenticate import Keys
from folkmoot.kit.access import Permission, Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict, NotFound, ValidationFailed
from folkmoot.kit.events import Event
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.work import Work, event_row
from folkmoot.platform.schemas import FirstAdministrator, PlatformTenantCreate, PlatformTenantUpdate
from folkmoot.settings import SettingsError
from folkmoot.tenants.models import PLATFORM, Certificate, Tenant
from folkmoot.tenants.schemas import Usage
from folkmoot.tenants.service import ORGANISATION, TenantService, update_tenant, usage

FIRST_TENANT = "Folkmoot"
FIRST_EMAIL = "admin@folkmoot.example"
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7020001)")
"""Held by what could make or remove the last platform administrator, or the first."""


@dataclass(frozen=True)
class Actor:
    """Who administers the installation: a person, through a session or a key, or the account that runs a command."""

    principal: Principal
    """Of the kind `platform`; it sees no organisation's rows before it enters one."""
    home: UUID | None = None
    """The person's own organisation."""
    operator: str = ""

    @classmethod
    def person(cls, principal: Principal) -> Actor:
        """Raises `Forbidden` unless they are named."""
        principal.require(Permission.PLATFORM)
        acting = Principal(
            user_id=principal.user_id,
            key_id=principal.key_id,
            kind="platform",
            permissions=frozenset({Permission.PLATFORM}),
        )
        return cls(acting, home=principal.tenant_id)

    @classmethod
    def command(cls, operator: str) -> Actor:
        return cls(Principal.platform(), operator=operator)

    @property
    def data(self) -> dict[str, Any]:
        return {"operator": self.operator} if self.operator else {}


@dataclass(frozen=True)
class Made:
    tenant_id: UUID
    email: str
    password: str = field(repr=False)
    generated: bool
    """The password was made here, and is shown this once."""


async def record(
    work: Work,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: UUID,
    *,
    tenant: Tenant,
    data: dict[str, Any] | None = None,
    only_platform: bool = False,
) -> None:
    """Write an event into the log of `tenant` and into the platform's. The work is within the platform's after it."""
    said = actor.data | (data or {})
    logs = {PLATFORM: {"tenant_id": tenant.id, "tenant": tenant.name} | said}
    if not only_platform:
        logs = {tenant.id: said} | logs
    await work.session.flush()
    for log, content in logs.items():
        await work.enter(log)
        row = event_row(work.principal, log, action, object_type, object_id, data=content)
        await work.session.execute(insert(cast("Table", Event.__table__)), [row])
        work.after_commit(lambda log=log: work.sessions.ring(log))


class PlatformService:
    """Use cases of those who administer the installation."""

    def __init__(self, app: App, actor: Actor) -> None:
        self._app, self._actor = app, actor

    async def page(self, limit: int, cursor: str | None, state: str | None) -> tuple[Sequence[Tenant], str | None]:
        """Organisations, newest first."""
        query = select(Tenant).where(ORGANISATION)
        if state is not None:
            query = query.where(Tenant.state == state)
        async with self._app.begin(self._actor.principal) as work:
            return await page(work.session, query, by=Tenant.id, limit=limit, cursor=cursor)

    async def get(self, tenant_id: UUID) -> tuple[Tenant, Usage]:
        """Raises `NotFound`."""
        async with self._app.begin(self._actor.principal) as work:
            tenant = await TenantService(work).get(tenant_id)
            await work.enter(tenant.id)
            return tenant, await usage(work)

    async def create(self, wanted: PlatformTenantCreate) -> tuple[Tenant, FirstAdministrator]:
        """A tenant and its administrator, whose password or link is told once. Raises `Conflict` for a taken name."""
        password = None if wanted.invite else secrets.token_urlsafe(max(15, self._app.settings.password_min_length))
        quotas = {
            name: getattr(wanted, name)
            for name in ("max_users", "max_storage_bytes", "max_chunks", "requests_per_minute")
        }
        tenant, user, url = await _make(self._app, self._actor, wanted.name, wanted.admin_email, password, quotas)
        return tenant, FirstAdministrator(email=user.email, password=password, invitation_url=url)

    async def update(self, tenant_id: UUID, change: PlatformTenantUpdate, if_match: str | None) -> Tenant:
        """Name and quotas; a quota below what is used removes nothing. Raises `Stale` or `Conflict`."""
        async with self._app.begin(self._actor.principal) as work:
            tenant = await TenantService(work).get(tenant_id, lock=True)
            check_match(if_match, tenant.revision)
            _refuse_deleting(tenant)
            if changed := await update_tenant(tenant, change, work):
                values = {name: getattr(tenant, name) for name in changed}
                await self._record(work, "tenant.updated", tenant, {"changed": values})
        return tenant

    async def suspend(self, tenant_id: UUID, reason: str) -> Tenant:
        """Shut out everybody of a tenant at once; their sessions hold again after `resume`.

        `reason` may be empty, since in an emergency nobody should be held up by a form, and leaves one that stands.
        Raises `Conflict`: `tenant-deleting`, or `last-platform-admin` if nobody could administer the
        installation any more.
        """
        async with self._app.begin(self._actor.principal) as work:
            await work.session.execute(ONE_AT_A_TIME)
            tenant = await TenantService(work).get(tenant_id, lock=True)
            _refuse_deleting(tenant)
            if tenant.state == "suspended" and reason in ("", tenant.state_reason):
                return tenant
            await keep_an_admin(work, without_tenant=tenant.id)
            tenant.state, tenant.state_reason = "suspended", reason
            await self._record(work, "tenant.suspended", tenant, {"reason": reason})
            work.after_commit(lambda: self._forget_keys(tenant_id))
        return tenant

    async def resume(self, tenant_id: UUID) -> Tenant:
        """Let the people of a suspended tenant in again; no event if it is active already."""
        async with self._app.begin(self._actor.principal) as work:
            tenant = await TenantService(work).get(tenant_id, lock=True)
            _refuse_deleting(tenant)
            if tenant.state == "suspended":
                tenant.state, tenant.state_reason = "active", ""
                await self._record(work, "tenant.resumed", tenant)
        return tenant

    async def delete(self, tenant_id: UUID, name: str | None, follow: Task) -> Certificate:
        """Begin to remove a tenant with all its rows and files; `follow` does it. Once begun, it cannot be undone.

        Returns the certificate, which is signed when nothing is left. Asked again, it is the same one. Raises
        `ValidationFailed` unless `name` is the tenant's, and `Conflict` as `suspend` does.
        """
        async with self._app.begin(self._actor.principal) as work:
            await work.session.execute(ONE_AT_A_TIME)
            tenant = await TenantService(work).get(tenant_id, lock=True)
            if name != tenant.name:
                raise ValidationFailed(
                    "`name` must repeat the name of the organisation that is to be deleted for ever",
                    [("name", "is not the name of this organisation")],
                )
            kept = await work.session.scalar(select(Certificate).where(Certificate.tenant_id == tenant.id))
            if kept is not None:
                return kept
            await keep_an_admin(work, without_tenant=tenant.id)
            certificate = Certificate(
                tenant_id=tenant.id,
                tenant_name=tenant.name,
                requested_by=await said_of(work, self._actor),
                requested_at=datetime.now(UTC),
                removed={},
            )
            work.session.add(certificate)
            tenant.state, tenant.state_reason = "deleting", ""
            await work.session.flush()
            await self._record(work, "tenant.deletion_requested", tenant, {"certificate_id": str(certificate.id)})
            work.after_commit(lambda: self._forget_keys(tenant_id))
            work.enqueue(follow, tenant_id=tenant.id)
        return certificate

    async def certificates(self, limit: int, cursor: str | None) -> tuple[Sequence[Certificate], str | None]:
        """Newest first."""
        async with self._app.begin(self._actor.principal) as work:
            return await page(work.session, select(Certificate), by=Certificate.id, limit=limit, cursor=cursor)

    async def certificate(self, wanted: UUID | str) -> Certificate:
        """By its own id, the tenant's id, or the tenant's name, of which the newest. Raises `NotFound`."""
        query = select(Certificate).order_by(Certificate.id.desc()).limit(1)
        if isinstance(wanted, UUID):
            query = query.where((Certificate.id == wanted) | (Certificate.tenant_id == wanted))
        else:
            query = query.where(Certificate.tenant_name == wanted)
        async with self._app.begin(self._actor.principal) as work:
            found = await work.session.scalar(query)
        if found is None:
            raise NotFound(f"no organisation {wanted} was deleted here")
        return found

    async def _record(self, work: Work, action: str, tenant: Tenant, data: dict[str, Any] | None = None) -> None:
        await record(work, self._actor, action, "tenant", tenant.id, tenant=tenant, data=data)

    async def _forget_keys(self, tenant_id: UUID) -> None:
        """Here they are shut out from this moment on, and by themselves in the other processes a little later."""
        self._app.part(Keys).forget_tenant(tenant_id)


async def said_of(work: Work, actor: Actor) -> str:
    """Who acts, for what is kept when their account may be gone. Afterwards the work is within no organisation."""
    if actor.operator or actor.home is None:
        return f"operator {actor.operator}".strip()
    await work.enter(actor.home)
    email = await work.session.scalar(select(User.email).where(User.id == actor.principal.user_id))
    await work.enter(PLATFORM)
    return f"{email} (user {actor.principal.user_id})"


async def keep_an_admin(work: Work, *, without_tenant: UUID | None = None, without_user: UUID | None = None) -> None:
    """Raise `Conflict` (`last-platform-admin`) if without these nobody who is active administers the installation.

    Call it under the lock that orders such changes. Afterwards the work is within no organisation.
    """
    named = (await work.session.scalars(select(PlatformAdmin).order_by(PlatformAdmin.tenant_id))).all()
    going = [row for row in named if without_tenant == row.tenant_id or without_user == row.user_id]
    stay = [row for row in named if row not in going]
    if not going:
        return
    try:
        for row in stay:
            await work.enter(row.tenant_id)
            active = (
                select(func.count())
                .select_from(User)
                .join(Tenant, Tenant.id == User.tenant_id)
                .where(User.id == row.user_id, User.state == "active", Tenant.state == "active")
            )
            if await work.session.scalar(active):
                return
    finally:
        await work.enter(PLATFORM)
    raise Conflict(
        "nobody who can sign in would administer the installation any more: name another platform administrator first",
        code="last-platform-admin",
    )


def _refuse_deleting(tenant: Tenant) -> None:
    if tenant.state == "deleting":
        raise Conflict(f"{tenant.name} is being deleted: that cannot be stopped", code="tenant-deleting")


async def _make(
    app: App, actor: Actor, name: str, email: str, password: str | None, quotas: dict[str, int | None]
) -> tuple[Tenant, User, str | None]:
    """The tenant, its administrator, and the models that need nothing; the first gets the platform's account.

    Without a password the administrator is invited, by the link that is returned unless it goes by mail. The
    administrator of the very first tenant administers the installation too.
    """
    hashed = None if password is None else await hash_password(password)
    state, url = "invited" if password is None else "active", None
    async with app.begin(actor.principal) as work:
        await work.session.execute(ONE_AT_A_TIME)
        first = await TenantService(work).first() is None
        tenant = await TenantService(work).create(name, **quotas)
        user = await UserService(work).create(email, hashed, name="Administrator", role="owner", state=state)
        if password is None:
            links = Links(app)
            url = links.url(await links.make(work, user, "invitation"))
        if first:
            work.session.add(PlatformAdmin(tenant_id=tenant.id, user_id=user.id, granted_by="first administrator"))
            work.record("platform.admin_granted", "user", user.id)
        for row in work.events:
            row["data"] = row["data"] | actor.data
        own, work.events = work.events, []
        await work.session.flush()
        await work.session.execute(insert(cast("Table", Event.__table__)), own)
        await record(work, actor, "tenant.created", "tenant", tenant.id, tenant=tenant, only_platform=True)
        if first:
            await record(work, actor, "platform.admin_granted", "user", user.id, tenant=tenant, only_platform=True)
    await connect_defaults(app, tenant.id, platform_account=first)
    return tenant, user, url


async def create_tenant(app: App, name: str, email: str, *, operator: str = "") -> Made:
    """A tenant with its administrator, by command or at the first start.

    The password is `admin_password` of the settings, or a random one. Raises `SettingsError` for a short one.
    """
    password = app.settings.admin_password
    generated = not password
    if generated:
        password = secrets.token_urlsafe(max(12, app.settings.password_min_length))
    elif len(password) < app.settings.password_min_length:
        raise SettingsError(
            f"FOLKMOOT_ADMIN_PASSWORD has fewer than {app.settings.password_min_length} characters: choose a longer one"
        )
    tenant, user, _ = await _make(app, Actor.command(operator), name, email, password, {})
    return Made(tenant.id, user.email, password, generated)


async def ensure_first(app: App) -> Made | None:
    """Make the first tenant if there is none; on each start, connect what the platform names and is not yet."""
    async with app.begin(Principal.platform()) as work:
        first = await TenantService(work).first()
        # The oldest that is left does not inherit the account of one that was deleted.
        heir = first and await work.session.scalar(
            select(Certificate.id).where(Certificate.tenant_id < first.id).limit(1)
        )
    if first is None:
        email = app.settings.admin_email or FIRST_EMAIL
        return await create_tenant(app, FIRST_TENANT, email)
    if first.active and not heir:
        await connect_defaults(app, first.id, platform_account=True)
    return None
