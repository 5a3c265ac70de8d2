"""Finding the chunks whose vectors are nearest to a question's."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from folkmoot.kit.work import Work


async def nearest(
    work: Work,
    collection_ids: Sequence[UUID],
    space_id: UUID,
    dimensions: int,
    vector: Sequence[float],
    pool: int,
    document_ids: Sequence[UUID] | None = None,
) -> list[tuple[UUID, float]]:
    """The `pool` nearest chunks with their cosine, nearest first."""
    only = "" if document_ids is None else " AND document_id = ANY(:documents)"
    query = text(
        f"SELECT chunk_id, 1 - distance FROM (SELECT chunk_id,"
        f" embedding::halfvec({dimensions}) <=> CAST(:vector AS halfvec({dimensions})) AS distance FROM chunk_vectors"
        f" WHERE collection_id = ANY(:collections) AND space_id = :space{only}) v ORDER BY distance + 0 LIMIT :pool"
    )
    values = {
        "collections": list(collection_ids),
        "space": space_id,
        "vector": "[" + ",".join(map(str, vector)) + "]",
        "pool": pool,
    }
    if document_ids is not None:
        values["documents"] = list(document_ids)
    rows = await work.session.execute(query, values)
    return [(row[0], float(row[1])) for row in rows]
