"""Organisations on one installation."""

import pytest

from folkmoot.kit.access import Principal
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.tenants.service import TenantService


async def test_a_name_is_taken_once(app, unique):
    async with app.begin(Principal.platform()) as work:
        made = await TenantService(work).create(unique)
    for name in (unique, unique.upper(), f" {unique}  "):
        with pytest.raises(Conflict) as refused:
            async with app.begin(Principal.platform()) as work:
                await TenantService(work).create(name)
        assert refused.value.code == "already-exists"
    async with app.begin(Principal.platform()) as work:
        assert (await TenantService(work).named(unique)).id == made.id
        assert made.id in [tenant.id for tenant in await TenantService(work).list_all()]


async def test_a_tenant_knows_only_itself(app, owner, tenancy):
    other, _ = await tenancy.tenant()
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        assert [tenant.id for tenant in await TenantService(work).list_all()] == [owner.tenant_id]
        with pytest.raises(NotFound):
            await TenantService(work).get(other)
