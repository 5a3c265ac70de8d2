"""`/budgets` and `/usage`; for everybody `/me/budgets` and `/me/usage`; for a space's admins its usage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream

from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, principal_of, tagged
from folkmoot.kit.work import Work
from folkmoot.usage.export import export
from folkmoot.usage.ledger import Ledger
from folkmoot.usage.report import UsageService, Wanted
from folkmoot.usage.schemas import (
    Axis,
    BudgetCreate,
    BudgetOut,
    BudgetUpdate,
    MyAxis,
    MyBudgetOut,
    Purpose,
    SpaceAxis,
    UsagePage,
)
from folkmoot.usage.service import BudgetService

From = Annotated[
    datetime | None,
    QueryParameter(name="from", description="The first moment; the beginning of the month if left out. UTC."),
]
To = Annotated[datetime | None, QueryParameter(name="to", description="The first moment after.")]
ModelId = Annotated[UUID | None, QueryParameter(description="Calls of one model.")]
Provider = Annotated[str | None, QueryParameter(max_length=100, description="Calls of one kind of provider.")]
For = Annotated[Purpose | None, QueryParameter(description="What the calls were for.")]
SpaceId = Annotated[UUID | None, QueryParameter(description="Calls for one space.")]
UserId = Annotated[UUID | None, QueryParameter(description="Calls of one person, with those of their keys.")]
KeyId = Annotated[UUID | None, QueryParameter(description="Calls of one API key.")]
AssistantId = Annotated[UUID | None, QueryParameter(description="Calls of one assistant.")]
By = Annotated[Axis, QueryParameter(description="What to add up by.")]
BySpace = Annotated[SpaceAxis, QueryParameter(name="by", description="What to add up by.")]
ByMine = Annotated[MyAxis, QueryParameter(name="by", description="What to add up by.")]
ByAll = Annotated[
    Axis | Literal["entry"], QueryParameter(name="by", description="What to add up by; `entry`: each call by itself.")
]


def provide_wanted(
    since: From = None,
    until: To = None,
    model_id: ModelId = None,
    provider: Provider = None,
    purpose: For = None,
    space_id: SpaceId = None,
    user_id: UserId = None,
    key_id: KeyId = None,
    assistant_id: AssistantId = None,
) -> Wanted:
    return Wanted(
        since=since,
        until=until,
        model_id=model_id,
        provider=provider,
        purpose=purpose,
        space_id=space_id,
        user_id=user_id,
        key_id=key_id,
        assistant_id=assistant_id,
    )


def provide_own(
    since: From = None, until: To = None, model_id: ModelId = None, provider: Provider = None, purpose: For = None
) -> Wanted:
    """Where the caller's place narrows it already."""
    return Wanted(since=since, until=until, model_id=model_id, provider=provider, purpose=purpose)


class BudgetController(Controller):
    path = "/budgets"
    tags = ["Usage"]
    opt = needs(Permission.ADMIN)

    @get("/", operation_id="list_budgets", summary="List the budgets")
    async def page(
        self, work: NamedDependency[Work], app: NamedDependency[App], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[BudgetOut]:
        """Newest first, each with what is used of it now."""
        items, after = await _budgets(work, app).page(limit, cursor)
        return Page(items=items, next_cursor=after)

    @post("/", operation_id="create_budget", summary="Set a budget")
    async def create(
        self, work: NamedDependency[Work], app: NamedDependency[App], data: JSONBody[BudgetCreate]
    ) -> Response[BudgetOut]:
        """Holds within a second, and what was spent before in the same day or month counts. Each call must fit in
        every budget that applies to it; a subject's own budget goes before one of each."""
        return tagged(*await _budgets(work, app).create(data), 201)

    @get("/{budget_id:uuid}", operation_id="get_budget", summary="Read a budget")
    async def read(
        self, work: NamedDependency[Work], app: NamedDependency[App], budget_id: FromPath[UUID]
    ) -> Response[BudgetOut]:
        """With what is spent and reserved of it now."""
        return tagged(*await _budgets(work, app).get(budget_id))

    @patch("/{budget_id:uuid}", operation_id="update_budget", summary="Change a budget's limit")
    async def update(
        self,
        work: NamedDependency[Work],
        app: NamedDependency[App],
        budget_id: FromPath[UUID],
        data: JSONBody[BudgetUpdate],
        if_match: IfMatch = None,
    ) -> Response[BudgetOut]:
        """Holds from the next call on."""
        return tagged(*await _budgets(work, app).update(budget_id, data, if_match))

    @delete("/{budget_id:uuid}", operation_id="delete_budget", summary="Delete a budget")
    async def remove(self, work: NamedDependency[Work], app: NamedDependency[App], budget_id: FromPath[UUID]) -> None:
        """What was spent stays in the ledger."""
        await _budgets(work, app).delete(budget_id)


class UsageController(Controller):
    tags = ["Usage"]
    opt = needs(Permission.ADMIN)
    dependencies = {"wanted": Provide(provide_wanted, sync_to_thread=False)}

    @get("/usage", operation_id="get_usage", summary="Read what was used")
    async def usage(
        self,
        work: NamedDependency[Work],
        wanted: NamedDependency[Wanted],
        by: By = "model",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> UsagePage:
        """Of the whole organisation, in the current month unless `from` and `to` say otherwise. What shows single
        people is in the log as `usage.read`."""
        return await UsageService(work).of_organisation(wanted, by, limit, cursor)

    @get("/usage.csv", operation_id="export_usage", summary="Download what was used", media_type="text/csv")
    async def export(
        self,
        request: Request[Any, Any, State],
        app: NamedDependency[App],
        work: NamedDependency[Work],
        wanted: NamedDependency[Wanted],
        by: ByAll = "model",
    ) -> Stream:
        """All of it, with a header row. The download is in the log as `usage.exported`."""
        await UsageService(work).export(wanted, by)
        name = f"folkmoot-usage-{datetime.now(UTC):%Y-%m-%d}.csv"
        return Stream(
            export(app, principal_of(request), wanted, by),
            headers={
                # As a header, because the route's media type would win over the response's.
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )


class OwnUsageController(Controller):
    tags = ["Usage"]
    opt = needs(Permission.SIGNED_IN)
    dependencies = {"wanted": Provide(provide_own, sync_to_thread=False)}

    @get("/me/usage", operation_id="get_my_usage", summary="Read what I used")
    async def mine(
        self,
        work: NamedDependency[Work],
        wanted: NamedDependency[Wanted],
        by: ByMine = "model",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> UsagePage:
        """With what my keys used, in the current month unless `from` and `to` say otherwise."""
        return await UsageService(work).mine(wanted, by, limit, cursor)

    @get("/me/budgets", operation_id="list_my_budgets", summary="List the budgets that bind me")
    async def budgets(self, work: NamedDependency[Work], app: NamedDependency[App]) -> Page[MyBudgetOut]:
        """Of the organisation, my own, those of my keys and of my spaces, each with what is left of it."""
        return Page(items=await _budgets(work, app).mine())

    @get(
        "/spaces/{space_id:uuid}/usage",
        operation_id="get_space_usage",
        summary="Read what a space used",
        opt=needs(Permission.SPACES),
    )
    async def space(
        self,
        work: NamedDependency[Work],
        space_id: FromPath[UUID],
        wanted: NamedDependency[Wanted],
        by: BySpace = "model",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> UsagePage:
        """For its admins: what was used, and not by whom."""
        return await UsageService(work).of_space(space_id, wanted, by, limit, cursor)


def _budgets(work: Work, app: App) -> BudgetService:
    return BudgetService(work, app.part(Ledger))
