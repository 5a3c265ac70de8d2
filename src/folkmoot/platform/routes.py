"""`/platform`: organisations, for those who administer the installation."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, principal_of, tagged
from folkmoot.platform.admins import PlatformAdminService
from folkmoot.platform.certificate import is_valid, statement_of
from folkmoot.platform.schemas import (
    CertificateOut,
    PlatformAdminGrant,
    PlatformAdminOut,
    PlatformTenantCreate,
    PlatformTenantMade,
    PlatformTenantOut,
    PlatformTenantUpdate,
    Suspension,
)
from folkmoot.platform.service import Actor, PlatformService
from folkmoot.platform.tasks import remove_tenant
from folkmoot.tenants.models import Certificate

Call = Request[Any, Any, Any]
State = Annotated[
    Literal["active", "suspended", "deleting"] | None,
    QueryParameter(name="state", description="Only organisations in this state."),
]
Confirmed = Annotated[
    str,
    QueryParameter(
        min_length=1, max_length=200, description="The organisation's name once more: nobody deletes another by a slip."
    ),
]


def _tenants(app: App, request: Call) -> PlatformService:
    return PlatformService(app, Actor.person(principal_of(request)))


def _admins(app: App, request: Call) -> PlatformAdminService:
    return PlatformAdminService(app, Actor.person(principal_of(request)))


def _certified(app: App, row: Certificate) -> CertificateOut:
    return CertificateOut.of(row, statement_of(row), is_valid(row, app.keyring))


class PlatformController(Controller):
    path = "/platform"
    tags = ["Platform"]
    opt = needs(Permission.PLATFORM)

    @get("/tenants", operation_id="list_tenants", summary="List the organisations of this installation")
    async def page(
        self,
        app: NamedDependency[App],
        request: Call,
        limit: Limit = 50,
        cursor: Cursor = None,
        tenant_state: State = None,
    ) -> Page[PlatformTenantOut]:
        """Newest first."""
        rows, after = await _tenants(app, request).page(limit, cursor, tenant_state)
        return Page(items=[PlatformTenantOut.of(row) for row in rows], next_cursor=after)

    @post("/tenants", operation_id="create_tenant", summary="Make an organisation with its first administrator")
    async def create(
        self, app: NamedDependency[App], request: Call, data: JSONBody[PlatformTenantCreate]
    ) -> Response[PlatformTenantMade]:
        """The administrator's password, or the link that lets them in, is shown this once."""
        tenant, admin = await _tenants(app, request).create(data)
        out = PlatformTenantMade(**msgspec.structs.asdict(PlatformTenantOut.of(tenant)), admin=admin)
        answer = tagged(out, tenant.revision, 201)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @get("/tenants/{tenant_id:uuid}", operation_id="get_tenant", summary="Read an organisation and what it uses")
    async def read(
        self, app: NamedDependency[App], request: Call, tenant_id: FromPath[UUID]
    ) -> Response[PlatformTenantOut]:
        tenant, usage = await _tenants(app, request).get(tenant_id)
        return tagged(PlatformTenantOut.of(tenant, usage), tenant.revision)

    @patch("/tenants/{tenant_id:uuid}", operation_id="update_tenant", summary="Change an organisation's name or quotas")
    async def update(
        self,
        app: NamedDependency[App],
        request: Call,
        tenant_id: FromPath[UUID],
        data: JSONBody[PlatformTenantUpdate],
        if_match: IfMatch = None,
    ) -> Response[PlatformTenantOut]:
        """Fields that are absent stay as they are. A quota below what is used removes nothing."""
        tenant = await _tenants(app, request).update(tenant_id, data, if_match)
        return tagged(PlatformTenantOut.of(tenant), tenant.revision)

    @post(
        "/tenants/{tenant_id:uuid}/suspend",
        operation_id="suspend_tenant",
        summary="Shut everybody of an organisation out, at once",
        status_code=200,
    )
    async def suspend(
        self,
        app: NamedDependency[App],
        request: Call,
        tenant_id: FromPath[UUID],
        data: JSONBody[Suspension | None] = None,
    ) -> Response[PlatformTenantOut]:
        """Every call and every sign-in of its people answers `tenant-suspended`. Nothing is removed."""
        reason = data.reason if data is not None and isinstance(data.reason, str) else ""
        tenant = await _tenants(app, request).suspend(tenant_id, reason.strip())
        return tagged(PlatformTenantOut.of(tenant), tenant.revision)

    @post(
        "/tenants/{tenant_id:uuid}/resume",
        operation_id="resume_tenant",
        summary="Let the people of a suspended organisation in again",
        status_code=200,
    )
    async def resume(
        self, app: NamedDependency[App], request: Call, tenant_id: FromPath[UUID]
    ) -> Response[PlatformTenantOut]:
        tenant = await _tenants(app, request).resume(tenant_id)
        return tagged(PlatformTenantOut.of(tenant), tenant.revision)

    @delete(
        "/tenants/{tenant_id:uuid}",
        operation_id="delete_tenant",
        summary="Delete an organisation with every row and file, for ever",
        status_code=202,
    )
    async def remove(
        self, app: NamedDependency[App], request: Call, tenant_id: FromPath[UUID], name: Confirmed
    ) -> CertificateOut:
        """Its people are shut out at once. The certificate is signed when nothing is left of it."""
        row = await _tenants(app, request).delete(tenant_id, name, remove_tenant)
        return _certified(app, row)

    @get("/certificates", operation_id="list_certificates", summary="List what was deleted")
    async def certificates(
        self, app: NamedDependency[App], request: Call, limit: Limit = 50, cursor: Cursor = None
    ) -> Page[CertificateOut]:
        """Newest first."""
        rows, after = await _tenants(app, request).certificates(limit, cursor)
        return Page(items=[_certified(app, row) for row in rows], next_cursor=after)

    @get(
        "/certificates/{certificate_id:uuid}",
        operation_id="get_certificate",
        summary="Read the certificate of a deletion",
    )
    async def certificate(
        self, app: NamedDependency[App], request: Call, certificate_id: FromPath[UUID]
    ) -> CertificateOut:
        """By its own id, or that of the organisation that was deleted."""
        return _certified(app, await _tenants(app, request).certificate(certificate_id))

    @get("/admins", operation_id="list_platform_admins", summary="List who administers this installation")
    async def admins(
        self, app: NamedDependency[App], request: Call, limit: Limit = 50, cursor: Cursor = None
    ) -> Page[PlatformAdminOut]:
        """Newest first."""
        rows, after = await _admins(app, request).page(limit, cursor)
        return Page(items=list(rows), next_cursor=after)

    @post(
        "/admins",
        operation_id="grant_platform_admin",
        summary="Name somebody to administer this installation",
        opt=needs(Permission.PLATFORM, person=True),
    )
    async def grant(
        self, app: NamedDependency[App], request: Call, data: JSONBody[PlatformAdminGrant]
    ) -> PlatformAdminOut:
        """By `user_id` or `email`, in their own organisation. Only people name people, never an API key."""
        return await _admins(app, request).grant(data)

    @delete(
        "/admins/{user_id:uuid}",
        operation_id="revoke_platform_admin",
        summary="Let somebody administer this installation no longer",
        opt=needs(Permission.PLATFORM, person=True),
    )
    async def revoke(self, app: NamedDependency[App], request: Call, user_id: FromPath[UUID]) -> None:
        """At once. The last one cannot be taken away."""
        await _admins(app, request).revoke(user_id)
