"""Embedding spaces: which one a collection's vectors are searched in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select

from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Collection, EmbeddingSpace


@dataclass(frozen=True)
class Searched:
    """A space, and those of the collections in question that are searched in it."""

    id: UUID
    model_id: UUID
    dimensions: int
    collection_ids: list[UUID]


async def searched_spaces(work: Work, collection_ids: Sequence[UUID]) -> list[Searched]:
    """The spaces that these collections are searched in; none for those without vectors."""
    rows = await work.session.execute(
        select(EmbeddingSpace.id, EmbeddingSpace.model_id, EmbeddingSpace.dimensions, func.array_agg(Collection.id))
        .join(Collection, Collection.embedding_space_id == EmbeddingSpace.id)
        .where(Collection.id.in_(collection_ids))
        .group_by(EmbeddingSpace.id)
    )
    return [Searched(*row) for row in rows]
