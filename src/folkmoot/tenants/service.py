"""Making and finding organisations. Only the platform does this; there is no route for it yet."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from folkmoot.kit.errors import NotFound
from folkmoot.kit.work import Work
from folkmoot.tenants.models import PLATFORM, Tenant

ORGANISATION = Tenant.id != PLATFORM


class TenantService:
    """Use cases of the platform: call it with a `Principal.platform()`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def create(self, name: str) -> Tenant:
        """Make a tenant and enter it, so that its first rows can be made in the same transaction.

        Raises an integrity error (told as `already-exists`) if the name is taken.
        """
        tenant = Tenant(name=name)
        self._work.session.add(tenant)
        await self._work.session.flush()
        await self._work.enter(tenant.id)
        self._work.record("tenant.created", "tenant", tenant.id, data={"name": name}, tenant_id=tenant.id)
        return tenant

    async def list_all(self) -> Sequence[Tenant]:
        """Every organisation, oldest first."""
        return (await self._work.session.scalars(select(Tenant).where(ORGANISATION).order_by(Tenant.id))).all()

    async def every_id(self) -> Sequence[UUID]:
        """The ids of all tenants, the platform's own among them: for what looks after rows."""
        return (await self._work.session.scalars(select(Tenant.id).order_by(Tenant.id))).all()

    async def first(self) -> Tenant | None:
        """The tenant that was made first, or None on a new installation."""
        return await self._work.session.scalar(select(Tenant).where(ORGANISATION).order_by(Tenant.id).limit(1))

    async def named(self, name: str) -> Tenant:
        """Raises `NotFound`."""
        tenant = await self._work.session.scalar(select(Tenant).where(Tenant.name == name, ORGANISATION))
        if tenant is None:
            raise NotFound(f"there is no organisation named {name!r}: `folkmoot tenant list` shows them")
        return tenant

    async def get(self, tenant_id: UUID) -> Tenant:
        """Raises `NotFound`."""
        tenant = await self._work.session.get(Tenant, tenant_id)
        if tenant is None or tenant.id == PLATFORM:
            raise NotFound("there is no such organisation")
        return tenant
