"""Removing what is left of an organisation."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task
from folkmoot.platform.remove import lease_of, remove
from folkmoot.tenants.models import PLATFORM, Certificate


@task("platform.remove_tenant", lane="maintenance")
async def remove_tenant(app: App, *, tenant_id: str) -> None:
    """Remove every row and file of one tenant."""
    await remove(app, UUID(tenant_id))


@sweep
async def find_unfinished(app: App, tenant_id: UUID) -> None:
    """Removals that a crash cut off, also between the last row and the signature."""
    if tenant_id != PLATFORM:
        return
    async with app.begin(Principal.platform()) as work:
        begun = await work.session.scalars(select(Certificate.tenant_id).where(Certificate.completed_at.is_(None)))
        for found in begun.all():
            if not await app.redis.exists(lease_of(found)):
                work.enqueue(remove_tenant, tenant_id=found)
