"""`/audit`: the organisation's log; `/platform/audit`: what belongs to no organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import OpenAPIResponse, Operation
from litestar.params import JSONBody, QueryParameter
from litestar.response import Stream

from folkmoot.audit.export import MEDIA_TYPES, Format, export
from folkmoot.audit.schemas import CheckpointOut, EventOut, LogStateOut, ReasonCreate, ReasonOut
from folkmoot.audit.service import Filter, LogService
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, Limit, Page, needs, principal_of
from folkmoot.kit.work import Work

ReasonId = Annotated[UUID | None, QueryParameter(description="Of a reason that you stated less than an hour ago.")]
ActorId = Annotated[UUID | None, QueryParameter(description="Who did it; of an API key, its owner.")]
Action = Annotated[
    str | None,
    QueryParameter(max_length=100, description="As `session.failed`, or a family: `session.` with its dot."),
]
ObjectType = Annotated[str | None, QueryParameter(max_length=100, description="As `space`.")]
ObjectId = Annotated[UUID | None, QueryParameter(description="What it was done to.")]
From = Annotated[datetime | None, QueryParameter(name="from", description="The first moment; UTC if it names no zone.")]
To = Annotated[datetime | None, QueryParameter(name="to", description="The first moment after.")]
Form = Annotated[
    Format, QueryParameter(name="format", description="`csv` has a header row; `jsonl` one object a line.")
]


def provide_filter(
    actor_id: ActorId = None,
    action: Action = None,
    object_type: ObjectType = None,
    object_id: ObjectId = None,
    since: From = None,
    until: To = None,
) -> Filter:
    return Filter(
        actor_id=actor_id, action=action, object_type=object_type, object_id=object_id, since=since, until=until
    )


@dataclass
class ExportOperation(Operation):
    """Litestar tells of one media type for each status; an export has two."""

    def __post_init__(self) -> None:
        told = (self.responses or {}).get("200")
        if isinstance(told, OpenAPIResponse) and told.content is not None:
            told.content["application/x-ndjson"] = told.content["text/csv"]


class AuditController(Controller):
    path = "/audit"
    tags = ["Log"]
    opt = needs(Permission.AUDIT)
    dependencies = {"wanted": Provide(provide_filter, sync_to_thread=False)}

    @post("/reasons", operation_id="state_audit_reason", summary="Say why you read the log")
    async def reason(self, work: NamedDependency[Work], data: JSONBody[ReasonCreate]) -> ReasonOut:
        """The log keeps the reason. It is good for an hour, for you alone."""
        return ReasonOut.of(await LogService(work).state_reason(data.reason))

    @get("/events", operation_id="list_audit_events", summary="Read the log")
    async def events(
        self,
        work: NamedDependency[Work],
        wanted: NamedDependency[Filter],
        reason_id: ReasonId = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[EventOut]:
        """Newest first. Without a good reason of your own: 403, `reason-required`."""
        log = LogService(work)
        await log.check(reason_id)
        items, after = await log.events(wanted, limit, cursor)
        return Page(items=items, next_cursor=after)

    @get(
        "/export",
        operation_id="export_audit_events",
        summary="Download the log",
        media_type="text/csv",
        operation_class=ExportOperation,
    )
    async def export(
        self,
        request: Request[Any, Any, State],
        app: NamedDependency[App],
        work: NamedDependency[Work],
        wanted: NamedDependency[Filter],
        form: Form = "csv",
        reason_id: ReasonId = None,
    ) -> Stream:
        """Newest first, all that the filters leave. The download is an event itself."""
        await LogService(work).export(reason_id, wanted, form)
        return _file(export(app, principal_of(request), wanted, form), form)

    @get("/verify", operation_id="get_audit_state", summary="How far the log is sealed")
    async def state(self, app: NamedDependency[App], work: NamedDependency[Work]) -> LogStateOut:
        """With the newest checkpoint, and the public keys to check it with."""
        return await LogService(work).state(app)

    @get("/checkpoints", operation_id="list_audit_checkpoints", summary="List the signed checkpoints")
    async def checkpoints(
        self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[CheckpointOut]:
        """Newest first."""
        items, after = await LogService(work).checkpoints(limit, cursor)
        return Page(items=items, next_cursor=after)


class PlatformAuditController(Controller):
    path = "/platform/audit"
    tags = ["Platform"]
    opt = needs(Permission.PLATFORM)
    dependencies = {"wanted": Provide(provide_filter, sync_to_thread=False)}

    @post("/reasons", operation_id="state_platform_audit_reason", summary="Say why you read the platform's log")
    async def reason(self, work: NamedDependency[Work], data: JSONBody[ReasonCreate]) -> ReasonOut:
        """The log keeps the reason. It is good for an hour, for you alone."""
        return ReasonOut.of(await LogService(work, Permission.PLATFORM).state_reason(data.reason))

    @get("/events", operation_id="list_platform_audit_events", summary="Read the platform's log")
    async def events(
        self,
        work: NamedDependency[Work],
        wanted: NamedDependency[Filter],
        reason_id: ReasonId = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[EventOut]:
        """What belongs to no organisation, newest first. Without a good reason of your own: 403, `reason-required`."""
        log = LogService(work, Permission.PLATFORM)
        await log.check(reason_id)
        items, after = await log.events(wanted, limit, cursor)
        return Page(items=items, next_cursor=after)

    @get(
        "/export",
        operation_id="export_platform_audit_events",
        summary="Download the platform's log",
        media_type="text/csv",
        operation_class=ExportOperation,
    )
    async def export(
        self,
        request: Request[Any, Any, State],
        app: NamedDependency[App],
        work: NamedDependency[Work],
        wanted: NamedDependency[Filter],
        form: Form = "csv",
        reason_id: ReasonId = None,
    ) -> Stream:
        """Newest first, all that the filters leave. The download is an event itself."""
        await LogService(work, Permission.PLATFORM).export(reason_id, wanted, form)
        return _file(export(app, principal_of(request), wanted, form, Permission.PLATFORM), form)

    @get("/verify", operation_id="get_platform_audit_state", summary="How far the platform's log is sealed")
    async def state(self, app: NamedDependency[App], work: NamedDependency[Work]) -> LogStateOut:
        """With the newest checkpoint, and the public keys to check it with."""
        return await LogService(work, Permission.PLATFORM).state(app)

    @get("/checkpoints", operation_id="list_platform_audit_checkpoints", summary="List the platform's checkpoints")
    async def checkpoints(
        self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[CheckpointOut]:
        """Newest first."""
        items, after = await LogService(work, Permission.PLATFORM).checkpoints(limit, cursor)
        return Page(items=items, next_cursor=after)


def _file(body: AsyncIterator[bytes], form: Format) -> Stream:
    name = f"folkmoot-log-{datetime.now(UTC):%Y-%m-%d}.{form}"
    return Stream(
        body,
        headers={
            # As a header, because the route's media type would win over the response's.
            "Content-Type": MEDIA_TYPES[form],
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )
