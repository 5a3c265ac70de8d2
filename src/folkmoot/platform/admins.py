"""Who administers the installation: named people, never a shared key."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from folkmoot.identity.models import PlatformAdmin, User
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict, NotFound, ValidationFailed
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.platform.schemas import PlatformAdminGrant, PlatformAdminOut
from folkmoot.platform.service import ONE_AT_A_TIME, Actor, keep_an_admin, record, said_of
from folkmoot.tenants.models import Tenant
from folkmoot.tenants.service import TenantService


class PlatformAdminService:
    """Naming and removing them; each use case is one transaction of its own."""

    def __init__(self, app: App, actor: Actor) -> None:
        self._app, self._actor = app, actor

    async def page(self, limit: int, cursor: str | None) -> tuple[Sequence[PlatformAdminOut], str | None]:
        """Newest first, with what tells who they are."""
        async with self._app.begin(self._actor.principal) as work:
            rows, after = await page(
                work.session, select(PlatformAdmin), by=PlatformAdmin.id, limit=limit, cursor=cursor
            )
            return [await _shown(work, row) for row in rows], after

    async def grant(self, wanted: PlatformAdminGrant) -> PlatformAdminOut:
        """Name somebody who is active. Raises `NotFound`, or `Conflict` (`already-exists`, `person-not-active`)."""
        if (wanted.user_id is None) == (wanted.email is None):
            raise ValidationFailed(
                "say who it is, by `user_id` or by `email`", [("user_id", "give this or `email`, and not both")]
            )
        async with self._app.begin(self._actor.principal) as work:
            await work.session.execute(ONE_AT_A_TIME)
            granted_by = await said_of(work, self._actor)
            tenant = await TenantService(work).get(wanted.tenant_id)
            await work.enter(tenant.id)
            user = await _person(work, wanted.user_id, wanted.email)
            if not user.active or not tenant.active:
                raise Conflict(
                    f"{user.email} or {tenant.name} is not active: only who can sign in may administer",
                    code="person-not-active",
                )
            if await work.session.scalar(select(PlatformAdmin.id).where(PlatformAdmin.user_id == user.id)):
                raise Conflict(f"{user.email} administers this installation already", code="already-exists")
            row = PlatformAdmin(tenant_id=tenant.id, user_id=user.id, granted_by=granted_by)
            work.session.add(row)
            await record(work, self._actor, "platform.admin_granted", "user", user.id, tenant=tenant)
            return await _shown(work, row)

    async def revoke(self, user_id: UUID) -> None:
        """Take it from somebody, at once. Raises `NotFound`, or `Conflict` (`last-platform-admin`)."""
        async with self._app.begin(self._actor.principal) as work:
            await work.session.execute(ONE_AT_A_TIME)
            row = await work.session.scalar(select(PlatformAdmin).where(PlatformAdmin.user_id == user_id))
            if row is None:
                raise NotFound(
                    "this person does not administer the installation: the list of administrators shows who does"
                )
            await keep_an_admin(work, without_user=user_id)
            tenant = await TenantService(work).get(row.tenant_id)
            await work.enter(tenant.id)
            await work.session.delete(row)
            await record(work, self._actor, "platform.admin_revoked", "user", user_id, tenant=tenant)

    async def find(self, tenant_name: str, email: str) -> tuple[UUID, UUID]:
        """Ids of an organisation and a person in it, by what they are called. Raises `NotFound`."""
        async with self._app.begin(self._actor.principal) as work:
            tenant = await TenantService(work).named(tenant_name)
            await work.enter(tenant.id)
            return tenant.id, (await _person(work, None, email)).id


async def _person(work: Work, user_id: UUID | None, email: str | None) -> User:
    own = select(User).where(User.tenant_id == work.principal.tenant, User.state != "deleted")
    same = User.id == user_id if email is None else User.email == email.strip().lower()
    user = await work.session.scalar(own.where(same))
    if user is None:
        raise NotFound(f"nobody in this organisation has the {'id' if email is None else 'e-mail'} {user_id or email}")
    return user


async def _shown(work: Work, row: PlatformAdmin) -> PlatformAdminOut:
    await work.enter(row.tenant_id)
    user = await work.session.get_one(User, row.user_id)
    tenant = await work.session.get_one(Tenant, row.tenant_id)
    return PlatformAdminOut(
        user_id=user.id,
        tenant_id=tenant.id,
        tenant_name=tenant.name,
        email=user.email,
        name=user.name,
        active=user.active and tenant.active,
        granted_by=row.granted_by,
        created_at=row.created_at,
    )
