"""Golden questions: what a collection should find, asked again and again to see whether it still does.

A run asks all of them through the ordinary search, as the system, and stores what came of each. It is made on request,
once a night, and when the collection has moved to another embedding space. A run that falls clearly below the one
before it is an event, so that somebody can look what changed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import defer

from folkmoot.kit.access import Access, Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.knowledge.golden import metrics
from folkmoot.knowledge.golden.models import GoldenQuestion, GoldenRun
from folkmoot.knowledge.golden.schemas import GoldenQuestionCreate
from folkmoot.knowledge.models import Collection, Document
from folkmoot.knowledge.search import search
from folkmoot.knowledge.service import CollectionService
from folkmoot.usage.ledger import Account

MOST_QUESTIONS = 1_000
"""Of one collection."""
FELL = 0.05
"""nDCG@10 that a run may lose against the one before without an event."""
LEASE = timedelta(minutes=2)
RENEW_SECONDS = 20.0
ATTEMPTS = 3
PASSAGES = 3 * metrics.DEPTH
"""Asked for of each question: several may be of one document, which counts once."""
KEPT_RUNS = 400
"""Of one collection: a year of nights, and some."""


class GoldenService:
    """Use cases around golden questions. `measure` is the task that does a run; handed in, since tasks stand above."""

    def __init__(self, work: Work, measure: Task | None = None) -> None:
        self._work, self._measure = work, measure

    async def page(
        self, collection_id: UUID, limit: int, cursor: str | None
    ) -> tuple[Sequence[GoldenQuestion], str | None]:
        """The golden questions of a collection, newest first."""
        await CollectionService(self._work).get(collection_id, Access.READ)
        query = select(GoldenQuestion).where(GoldenQuestion.collection_id == collection_id)
        return await page(self._work.session, query, by=GoldenQuestion.id, limit=limit, cursor=cursor)

    async def add(self, collection_id: UUID, data: GoldenQuestionCreate) -> GoldenQuestion:
        """Raises `NotFound` for a document that is not in the collection, `Conflict` for one question too many."""
        collection = await CollectionService(self._work).get(collection_id, Access.EDIT)
        # Two at once would count the same number.
        await self._work.session.execute(select(Collection.id).where(Collection.id == collection_id).with_for_update())
        count = select(func.count()).select_from(GoldenQuestion).where(GoldenQuestion.collection_id == collection_id)
        if (await self._work.session.scalar(count) or 0) >= MOST_QUESTIONS:
            raise Conflict(
                f"a collection has at most {MOST_QUESTIONS} golden questions: delete some that tell little",
                code="too-many-golden-questions",
            )
        wanted = list(dict.fromkeys(data.document_ids))
        there = set(
            await self._work.session.scalars(
                select(Document.id).where(Document.id.in_(wanted), Document.collection_id == collection_id)
            )
        )
        if missing := [document_id for document_id in wanted if document_id not in there]:
            raise NotFound(f"there is no document {missing[0]} in this collection: choose one that is")
        question = GoldenQuestion(
            tenant_id=self._work.principal.tenant,
            collection_id=collection_id,
            question=data.question,
            document_ids=wanted,
        )
        self._work.session.add(question)
        await self._work.session.flush()
        self._record("golden_question.created", "golden_question", question.id, collection)
        return question

    async def remove(self, question_id: UUID) -> None:
        question = await self._work.session.get(GoldenQuestion, question_id)
        if question is None:
            raise NotFound("there is no such golden question, or you are not in its space")
        collection = await CollectionService(self._work).get(question.collection_id, Access.EDIT)
        await self._work.session.delete(question)
        self._record("golden_question.deleted", "golden_question", question_id, collection)

    async def runs(self, collection_id: UUID, limit: int, cursor: str | None) -> tuple[Sequence[GoldenRun], str | None]:
        """The runs of a collection, newest first."""
        await CollectionService(self._work).get(collection_id, Access.READ)
        query = select(GoldenRun).where(GoldenRun.collection_id == collection_id)
        return await page(self._work.session, query, by=GoldenRun.id, limit=limit, cursor=cursor)

    async def run(self, run_id: UUID) -> GoldenRun:
        run = await self._work.session.get(GoldenRun, run_id)
        if run is None:
            raise NotFound("there is no such run, or you are not in its space")
        await CollectionService(self._work).get(run.collection_id, Access.READ)
        return run

    async def start(self, collection_id: UUID) -> GoldenRun:
        """Queue a run; one that is under way is returned instead. Raises `Conflict` if there is nothing to ask."""
        collection = await CollectionService(self._work).get(collection_id, Access.EDIT)
        await self._work.session.execute(select(Collection.id).where(Collection.id == collection_id).with_for_update())
        under_way = select(GoldenRun).where(
            GoldenRun.collection_id == collection_id, GoldenRun.status.in_(("queued", "running"))
        )
        if (run := await self._work.session.scalar(under_way.limit(1))) is None:
            any_question = select(GoldenQuestion.id).where(GoldenQuestion.collection_id == collection_id).limit(1)
            if await self._work.session.scalar(any_question) is None:
                raise Conflict(
                    "this collection has no golden questions: add some before you measure it",
                    code="no-golden-questions",
                )
            run = await queue_run(self._work, collection, "asked", self._measure)
        self._record("golden_run.queued", "golden_run", run.id, collection)
        return run

    def _record(self, action: str, kind: str, object_id: UUID, collection: Collection) -> None:
        self._work.record(
            action, kind, object_id, space_id=collection.space_id, data={"collection_id": str(collection.id)}
        )


async def queue_run(work: Work, collection: Collection, cause: str, measure: Task | None) -> GoldenRun:
    """Make a run and call for it; checks nothing."""
    run = GoldenRun(
        tenant_id=work.principal.tenant,
        collection_id=collection.id,
        space_id=collection.space_id,
        cause=cause,
        embedding_space_id=collection.embedding_space_id,
    )
    work.session.add(run)
    await work.session.flush()
    if measure is not None:
        work.enqueue(measure, tenant_id=run.tenant_id, run_id=run.id)
    return run


async def run_golden(app: App, tenant_id: UUID, run_id: UUID) -> None:
    """Do a run, if it wants doing: ask each question, store the figures, tell of a fall."""
    principal = Principal.system(tenant_id)
    claimed = await _claim(app, principal, run_id)
    if claimed is None:
        return
    run, questions = claimed
    there = await _documents_of(app, principal, questions)
    answers: list[dict[str, Any]] = []
    took: list[float] = []
    renewed = time.monotonic()
    for question in questions:
        wanted = {document_id for document_id in question.document_ids if document_id in there}
        if not wanted:
            continue
        if time.monotonic() - renewed > RENEW_SECONDS:
            renewed = time.monotonic()
            if not await _renew(app, principal, run_id):
                return
        account = Account(tenant_id=tenant_id, purpose="search", space_id=run.space_id)
        begun = time.perf_counter()
        hits = await search(app, principal, account, [run.collection_id], question.question, PASSAGES)
        took.append((time.perf_counter() - begun) * 1000)
        found = list(dict.fromkeys(hit.chunk.document_id for hit in hits))
        answers.append(_answer(question, wanted, found, hits[0].score if hits else 0.0))
    await _finish(app, principal, run_id, answers, took, len(questions) - len(answers))


def _answer(question: GoldenQuestion, wanted: set[UUID], found: list[UUID], score: float) -> dict[str, Any]:
    grades = dict.fromkeys(wanted, 1.0)
    return {
        "question_id": str(question.id),
        "question": question.question,
        "rank": metrics.place(found[: metrics.DEPTH], wanted),
        "ndcg": round(metrics.ndcg(found, grades), 4),
        "recall": round(metrics.recall(found, grades), 4),
        "score": round(score, 4),
    }


async def _claim(app: App, principal: Principal, run_id: UUID) -> tuple[GoldenRun, list[GoldenQuestion]] | None:
    now = datetime.now(UTC)
    async with app.begin(principal) as work:
        run = await work.session.get(GoldenRun, run_id, with_for_update=True)
        if run is None or run.status in ("completed", "failed"):
            return None
        if run.status == "running" and run.lease_until is not None and run.lease_until > now:
            return None
        if run.attempts >= ATTEMPTS:
            run.status, run.finished_at = "failed", now
            run.error = f"asking was interrupted {run.attempts} times: start it again"
            _record(work, "golden_run.failed", run)
            return None
        run.status, run.lease_until, run.attempts = "running", now + LEASE, run.attempts + 1
        collection = await work.session.get_one(Collection, run.collection_id)
        run.embedding_space_id = collection.embedding_space_id
        of_collection = select(GoldenQuestion).where(GoldenQuestion.collection_id == run.collection_id)
        return run, list(await work.session.scalars(of_collection.order_by(GoldenQuestion.id).limit(MOST_QUESTIONS)))


async def _documents_of(app: App, principal: Principal, questions: Sequence[GoldenQuestion]) -> set[UUID]:
    wanted = {document_id for question in questions for document_id in question.document_ids}
    async with app.begin(principal) as work:
        return set(await work.session.scalars(select(Document.id).where(Document.id.in_(wanted))))


async def _renew(app: App, principal: Principal, run_id: UUID) -> bool:
    """False if the run is gone, with its collection."""
    async with app.begin(principal) as work:
        run = await work.session.get(GoldenRun, run_id)
        if run is None:
            return False
        run.lease_until = datetime.now(UTC) + LEASE
        return True


async def _finish(
    app: App, principal: Principal, run_id: UUID, answers: list[dict[str, Any]], took: list[float], skipped: int
) -> None:
    async with app.begin(principal) as work:
        run = await work.session.get(GoldenRun, run_id, with_for_update=True)
        if run is None:
            return
        run.status, run.finished_at, run.lease_until = "completed", datetime.now(UTC), None
        run.answers, run.questions, run.skipped = answers, len(answers), skipped
        if answers:
            run.ndcg = round(statistics.fmean(answer["ndcg"] for answer in answers), 4)
            run.recall = round(statistics.fmean(answer["recall"] for answer in answers), 4)
            run.median_ms = round(statistics.median(took), 1)
            before = await _before(work, run)
            run.drift = None if before is None or before.ndcg is None else round(run.ndcg - before.ndcg, 4)
        _record(work, "golden_run.completed", run)
        if run.drift is not None and run.drift < -FELL:
            _record(work, "golden_run.fell", run)
        await _forget_old(work, run.collection_id)


async def _before(work: Work, run: GoldenRun) -> GoldenRun | None:
    """The last completed run before this one that asked anything."""
    earlier = select(GoldenRun).where(
        GoldenRun.collection_id == run.collection_id,
        GoldenRun.status == "completed",
        GoldenRun.ndcg.is_not(None),
        GoldenRun.id < run.id,
    )
    return await work.session.scalar(earlier.order_by(GoldenRun.id.desc()).limit(1))


async def _forget_old(work: Work, collection_id: UUID) -> None:
    of_collection = select(GoldenRun.id).where(GoldenRun.collection_id == collection_id)
    kept = of_collection.order_by(GoldenRun.id.desc()).limit(KEPT_RUNS)
    old = (GoldenRun.collection_id == collection_id, GoldenRun.id.not_in(kept))
    await work.session.execute(delete(GoldenRun).where(*old).execution_options(synchronize_session=False))


def _record(work: Work, action: str, run: GoldenRun) -> None:
    work.record(
        action,
        "golden_run",
        run.id,
        space_id=run.space_id,
        data={
            "collection_id": str(run.collection_id),
            "cause": run.cause,
            "ndcg": run.ndcg,
            "recall": run.recall,
            "drift": run.drift,
            "error": run.error,
        },
    )


async def left_runs(work: Work, patience: timedelta) -> list[UUID]:
    """Runs that nobody does: the message was lost, or the worker died."""
    now = datetime.now(UTC)
    left = or_(
        and_(GoldenRun.status == "queued", GoldenRun.created_at < now - patience),
        and_(GoldenRun.status == "running", GoldenRun.lease_until < now),
    )
    return list(await work.session.scalars(select(GoldenRun.id).where(left).limit(100)))


async def wanting(work: Work, night: datetime) -> list[tuple[Collection, str]]:
    """Collections to be measured by themselves, each with the cause.

    That is when the last run is from before `night`, or from another embedding space. The first run is for people to
    ask for, or made in the first night.
    """
    since = func.min(GoldenQuestion.created_at)
    rows = await work.session.execute(
        select(Collection, since)
        .join(GoldenQuestion, GoldenQuestion.collection_id == Collection.id)
        .group_by(Collection.id)
    )
    last = await work.session.scalars(
        select(GoldenRun)
        .ext(distinct_on(GoldenRun.collection_id))
        .order_by(GoldenRun.collection_id, GoldenRun.id.desc())
        .options(defer(GoldenRun.answers))
    )
    runs = {run.collection_id: run for run in last}
    found: list[tuple[Collection, str]] = []
    for collection, asked_since in rows:
        run = runs.get(collection.id)
        if run is not None and run.status in ("queued", "running"):
            continue
        if run is not None and run.embedding_space_id != collection.embedding_space_id:
            found.append((collection, "moved"))
        elif (run.created_at if run is not None else asked_since) < night:
            found.append((collection, "nightly"))
    return found
