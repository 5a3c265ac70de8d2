"""`/organisation`: the settings of one's own organisation."""

from __future__ import annotations

from litestar import Controller, Response, get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody

from folkmoot.kit.access import Permission
from folkmoot.kit.http import IfMatch, needs, tagged
from folkmoot.kit.work import Work
from folkmoot.tenants.schemas import OrganisationOut, OrganisationUpdate
from folkmoot.tenants.service import OrganisationService


class OrganisationController(Controller):
    path = "/organisation"
    tags = ["Organisation"]
    opt = needs(Permission.ADMIN)

    @get("/", operation_id="get_organisation", summary="Read my organisation's settings, quotas and usage")
    async def read(self, work: NamedDependency[Work]) -> Response[OrganisationOut]:
        tenant, usage = await OrganisationService(work).get()
        return tagged(OrganisationOut.of(tenant, usage), tenant.revision)

    @patch("/", operation_id="update_organisation", summary="Change my organisation's name or settings")
    async def update(
        self, work: NamedDependency[Work], data: JSONBody[OrganisationUpdate], if_match: IfMatch = None
    ) -> Response[OrganisationOut]:
        """Fields that are absent stay as they are. Quotas are set by whoever runs the installation."""
        tenant, usage = await OrganisationService(work).update(data, if_match)
        return tagged(OrganisationOut.of(tenant, usage), tenant.revision)
