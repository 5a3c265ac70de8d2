"""Golden questions and their runs, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from folkmoot.kit.structs import Input, Struct
from folkmoot.knowledge.golden.models import GoldenQuestion, GoldenRun


class GoldenQuestionCreate(Input, frozen=True, kw_only=True):
    question: Annotated[
        str, Meta(min_length=1, max_length=4_000, pattern=r"\S", examples=["How high may a fence along the street be?"])
    ]
    document_ids: Annotated[
        list[UUID], Meta(min_length=1, max_length=100, examples=[["01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d"]])
    ]
    """The documents that answer it, in no order."""


class GoldenQuestionOut(Struct, frozen=True, kw_only=True):
    id: UUID
    collection_id: UUID
    question: str
    document_ids: list[UUID]
    created_at: datetime

    @classmethod
    def of(cls, row: GoldenQuestion) -> GoldenQuestionOut:
        return cls(
            id=row.id,
            collection_id=row.collection_id,
            question=row.question,
            document_ids=row.document_ids,
            created_at=row.created_at,
        )


class GoldenAnswer(Struct, frozen=True, kw_only=True):
    """What came of one question."""

    question_id: UUID
    question: str
    """As it was asked."""
    rank: int | None
    """Where the first of its documents stood, from 1; null if none was among the first ten."""
    ndcg: float
    recall: float
    score: float
    """Of the best passage, whatever document it was of."""


class GoldenRunOut(Struct, frozen=True, kw_only=True):
    id: UUID
    collection_id: UUID
    cause: str
    """`asked`, `nightly` or `moved`."""
    status: str
    """`queued`, `running`, `completed` or `failed`."""
    questions: int
    """Those that were asked."""
    skipped: int
    """Those whose documents are all gone."""
    ndcg: float | None
    """nDCG@10, from 0 to 1: the mean over all questions."""
    recall: float | None
    """Recall@10."""
    median_ms: float | None
    drift: float | None
    """nDCG@10 less that of the completed run before; null for the first."""
    error: str | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, run: GoldenRun) -> GoldenRunOut:
        return cls(**_fields(run))


class GoldenRunDetail(GoldenRunOut, frozen=True, kw_only=True):
    answers: list[GoldenAnswer]
    """In the order in which the questions were added."""

    @classmethod
    def of(cls, run: GoldenRun) -> GoldenRunDetail:
        return cls(**_fields(run), answers=msgspec.convert(run.answers, list[GoldenAnswer]))


def _fields(run: GoldenRun) -> dict[str, Any]:
    return {name: getattr(run, name) for name in GoldenRunOut.__struct_fields__}
