"""`/collections/{id}/golden-questions` and `/collections/{id}/golden-runs`."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from folkmoot.kit.access import Permission
from folkmoot.kit.http import Cursor, Limit, Page, needs
from folkmoot.kit.work import Work
from folkmoot.knowledge.golden.schemas import (
    GoldenQuestionCreate,
    GoldenQuestionOut,
    GoldenRunDetail,
    GoldenRunOut,
)
from folkmoot.knowledge.golden.service import GoldenService
from folkmoot.knowledge.golden.tasks import measure_golden


class GoldenController(Controller):
    tags = ["Knowledge"]
    opt = needs(Permission.SPACES)

    @get(
        "/collections/{collection_id:uuid}/golden-questions",
        operation_id="list_golden_questions",
        summary="List a collection's golden questions",
    )
    async def questions(
        self, work: NamedDependency[Work], collection_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[GoldenQuestionOut]:
        """Newest first."""
        rows, after = await GoldenService(work).page(collection_id, limit, cursor)
        return Page(items=[GoldenQuestionOut.of(row) for row in rows], next_cursor=after)

    @post(
        "/collections/{collection_id:uuid}/golden-questions",
        operation_id="create_golden_question",
        summary="Add a golden question",
    )
    async def add(
        self, work: NamedDependency[Work], collection_id: FromPath[UUID], data: JSONBody[GoldenQuestionCreate]
    ) -> GoldenQuestionOut:
        """A question, and the documents of this collection that answer it."""
        return GoldenQuestionOut.of(await GoldenService(work).add(collection_id, data))

    @delete(
        "/golden-questions/{golden_question_id:uuid}",
        operation_id="delete_golden_question",
        summary="Delete a golden question",
    )
    async def remove(self, work: NamedDependency[Work], golden_question_id: FromPath[UUID]) -> None:
        """Runs that asked it keep what came of it."""
        await GoldenService(work).remove(golden_question_id)

    @get(
        "/collections/{collection_id:uuid}/golden-runs",
        operation_id="list_golden_runs",
        summary="List the runs of a collection's golden questions",
    )
    async def runs(
        self, work: NamedDependency[Work], collection_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[GoldenRunOut]:
        """Newest first; the answers are with each run alone."""
        rows, after = await GoldenService(work).runs(collection_id, limit, cursor)
        return Page(items=[GoldenRunOut.of(row) for row in rows], next_cursor=after)

    @post(
        "/collections/{collection_id:uuid}/golden-runs",
        operation_id="start_golden_run",
        summary="Ask a collection's golden questions",
        status_code=202,
    )
    async def start(self, work: NamedDependency[Work], collection_id: FromPath[UUID]) -> GoldenRunOut:
        """Goes on in the background. A run that is under way is returned instead of a new one."""
        return GoldenRunOut.of(await GoldenService(work, measure_golden).start(collection_id))

    @get("/golden-runs/{golden_run_id:uuid}", operation_id="get_golden_run", summary="Read a run of golden questions")
    async def run(self, work: NamedDependency[Work], golden_run_id: FromPath[UUID]) -> GoldenRunDetail:
        """With what came of each question."""
        return GoldenRunDetail.of(await GoldenService(work).run(golden_run_id))
