"""What is measured of searching: how well models know languages, golden questions, and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy import Uuid as SqlUuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Tenanted, belongs, referred


class SpaceFitness(Tenanted, Base):
    """How well the model of an embedding space finds what belongs together in one language."""

    __tablename__ = "space_fitness"
    __table_args__ = (belongs("space_id", "embedding_spaces"), UniqueConstraint("space_id", "language"))

    space_id: Mapped[UUID]
    language: Mapped[str]
    """ISO 639-1, or empty."""
    chunk_count: Mapped[int] = mapped_column(BigInteger)
    """Of the space in this language when it was measured: it is measured again when they are twice as many."""
    sampled: Mapped[int]
    by_text: Mapped[float]
    """Mean reciprocal rank of the words, over the sample."""
    by_vector: Mapped[float]
    """The same of the vectors."""
    unrelated: Mapped[float]
    """Mean cosine of texts that do not belong together."""
    spread: Mapped[float]
    """The standard deviation of those."""


class GoldenQuestion(Tenanted, Base):
    """A question to a collection, and the documents that it should find."""

    __tablename__ = "golden_questions"
    __table_args__ = (belongs("collection_id", "collections"), Index("ix_golden_questions_listed", "collection_id"))

    collection_id: Mapped[UUID]
    question: Mapped[str]
    document_ids: Mapped[list[UUID]] = mapped_column(ARRAY(SqlUuid))
    """In no order. Those that are gone are left out when it is asked."""


class GoldenRun(Tenanted, Base):
    """All golden questions of a collection asked once, and what came of it."""

    __tablename__ = "golden_runs"
    __table_args__ = (
        referred(),
        belongs("collection_id", "collections"),
        Index("ix_golden_runs_listed", "collection_id", "id"),
        Index("ix_golden_runs_open", "tenant_id", "status"),
    )

    collection_id: Mapped[UUID]
    space_id: Mapped[UUID]
    """Of the collection; not an embedding space."""
    cause: Mapped[str]
    """`asked`, `nightly` or `moved` (the collection is in another embedding space than at the run before)."""
    embedding_space_id: Mapped[UUID | None]
    """Where the collection was searched; kept when that space is gone."""
    status: Mapped[str] = mapped_column(default="queued", server_default="queued")
    """`queued`, `running`, `completed` or `failed`."""
    lease_until: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    questions: Mapped[int] = mapped_column(default=0, server_default="0")
    """Those that were asked."""
    skipped: Mapped[int] = mapped_column(default=0, server_default="0")
    """Those whose documents are all gone."""
    ndcg: Mapped[float | None]
    recall: Mapped[float | None]
    median_ms: Mapped[float | None]
    drift: Mapped[float | None]
    """nDCG@10 less that of the completed run before."""
    answers: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list, server_default="[]")
    """`{question_id, question, rank, ndcg, recall, score}` of each."""
    error: Mapped[str | None]
    finished_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
