"""Storing vectors, and finding those that are nearest to a question's.

What is small is compared one by one: that is exact, and of up to some ten thousand vectors as quick as an index. What
is large is in an approximate index (HNSW: Malkov & Yashunin 2018, as pgvector has it), one for each length of vectors
and each partition. A filter that keeps little makes a search small again; one that keeps much is put to the index,
which goes on until it has enough that pass. What the index cannot give is compared one by one after all, so no filter
costs recall.

A collection that grows large gets its vectors into the index in the background. Those that are not in it yet are found
by comparing them, so searching is the same all the while.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from folkmoot_sdk import BadResponse
from sqlalchemy import REAL, Boolean, Integer, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from folkmoot.kit.work import Work
from folkmoot.knowledge.models import ChunkVector, Collection, Document, EmbeddingSpace

INDEXED_DIMENSIONS = (384, 512, 768, 1024, 1536, 2048, 2560, 3072)
"""Those that have an approximate index, as migration 0008 made them."""
LARGE = 20_000
"""Chunks of a collection, from which on its vectors go into the index."""
EXACT_MOST = 30_000
"""Vectors that are compared one by one rather than looked for in the index: about 20 ms."""
SAMPLE = 200
"""Documents that tell how many chunks all that pass a filter have."""
INDEX_BATCH = 200
"""Vectors that go into the index in one transaction; each takes about a millisecond."""
EF_SEARCH = 400
"""Candidates that the index keeps while it looks: more find more, and take longer."""
MOST_SCANNED = 40_000
"""Vectors that the index may look at for one question, before comparing what passes one by one is quicker."""
SCAN_MEMORY = 8
"""Times PostgreSQL's `work_mem` that one look into the index may take; at one, it ends before it has enough."""
MOST_DIMENSIONS = 16_000
LARGEST_NUMBER = 65_504.0
"""What pgvector's `halfvec` holds."""

_IDS = ARRAY(PG_UUID(as_uuid=True))
_NUMBERS = ARRAY(REAL)

Near = list[tuple[UUID, float]]


def check_vector(vector: Sequence[float]) -> None:
    """Raises `BadResponse` for a vector that cannot be stored or compared."""
    if not 0 < len(vector) <= MOST_DIMENSIONS:
        raise BadResponse(f"the embedding model gave a vector of {len(vector)} numbers: choose another")
    # Not a number is not smaller than anything.
    if not max(map(abs, vector)) <= LARGEST_NUMBER or any(map(math.isnan, vector)):
        raise BadResponse("the embedding model gave a vector with numbers that are too large to store: choose another")
    if not any(vector):
        raise BadResponse("the embedding model gave a vector of zeros, which is like no other: choose another")


def unit(vectors: Sequence[Sequence[float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of length 1 each, as they are stored: so small and large numbers keep their digits in half precision."""
    made = np.asarray(vectors, np.float64)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


_ADD = text(
    """
INSERT INTO chunk_vectors (tenant_id, collection_id, chunk_id, space_id, document_id, dimensions, indexed, embedding)
SELECT c.tenant_id, c.collection_id, c.id, :space, c.document_id, :dimensions,
       (SELECT large FROM collections WHERE id = :collection) AND :indexable,
       CAST((:numbers)[(v.place - 1) * :dimensions + 1 : v.place * :dimensions] AS halfvec)
FROM (SELECT id, CAST(place AS int) AS place FROM unnest(:ids) WITH ORDINALITY AS u(id, place)) v
JOIN chunks c ON c.id = v.id AND c.collection_id = :collection
FOR KEY SHARE OF c
ON CONFLICT DO NOTHING
"""
).bindparams(
    bindparam("ids", type_=_IDS),
    bindparam("numbers", type_=_NUMBERS),
    bindparam("dimensions", type_=Integer()),
    bindparam("indexable", type_=Boolean()),
)


async def add(
    work: Work,
    collection_id: UUID,
    space_id: UUID,
    dimensions: int,
    vectors: Sequence[tuple[UUID, Sequence[float]]],
) -> None:
    """Store vectors of chunks, all of `dimensions` numbers. Chunks that are gone, or have one, are left out."""
    if not vectors:
        return
    await work.session.execute(
        _ADD,
        {
            "space": space_id,
            "collection": collection_id,
            "dimensions": dimensions,
            "indexable": dimensions in INDEXED_DIMENSIONS,
            "ids": [chunk_id for chunk_id, _ in vectors],
            "numbers": unit([vector for _, vector in vectors]).ravel().tolist(),
        },
    )


async def nearest(
    work: Work,
    collection_ids: Sequence[UUID],
    space_id: UUID,
    dimensions: int,
    vector: Sequence[float],
    pool: int,
    document_ids: Sequence[UUID] | None = None,
) -> Near:
    """The `pool` nearest chunks with their cosine, nearest first; only those of `document_ids`, if given."""
    if not collection_ids or pool < 1 or (document_ids is not None and not document_ids):
        return []
    looking = _Looking(work, space_id, dimensions, vector, pool, document_ids)
    small, large = await _divided(work, collection_ids, dimensions, document_ids)
    found = await looking.compare(small)
    for collection_id in large:
        indexed = await looking.look_up(collection_id)
        if len(indexed) < pool:
            found += await looking.compare([collection_id])
        else:
            found += indexed + await looking.compare([collection_id], "AND NOT indexed")
    best: dict[UUID, float] = {}
    for chunk_id, cosine in found:
        best[chunk_id] = max(cosine, best.get(chunk_id, -1.0))
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:pool]


_LARGE = text(
    """
SELECT c.id FROM collections c
WHERE c.id = ANY(:collections) AND c.large AND c.next_number > :most AND (
    CAST(:some AS uuid[]) IS NULL OR :most < (
        SELECT :each * sum(d.chunk_count) FROM documents d WHERE d.id = ANY(:some) AND d.collection_id = c.id))
"""
).bindparams(bindparam("collections", type_=_IDS), bindparam("some", type_=_IDS), bindparam("each", type_=Integer()))


async def _divided(
    work: Work, collection_ids: Sequence[UUID], dimensions: int, document_ids: Sequence[UUID] | None
) -> tuple[list[UUID], list[UUID]]:
    """The collections to compare one by one, and those to look up in the index.

    How many chunks the documents have is told by some of them: it decides how long it takes, and not what is found.
    """
    if dimensions not in INDEXED_DIMENSIONS:
        return list(collection_ids), []
    each = len(document_ids) // SAMPLE + 1 if document_ids is not None else 1
    some = None if document_ids is None else document_ids[::each]
    asked = {"collections": list(collection_ids), "some": some, "each": each, "most": EXACT_MOST}
    large = set(await work.session.scalars(_LARGE, asked))
    return [item for item in collection_ids if item not in large], [item for item in collection_ids if item in large]


class _Looking:
    """One question to the vectors of one space."""

    def __init__(
        self,
        work: Work,
        space_id: UUID,
        dimensions: int,
        vector: Sequence[float],
        pool: int,
        document_ids: Sequence[UUID] | None,
    ) -> None:
        self._session = work.session
        # Literally: only then does PostgreSQL see that the index serves.
        self._dimensions = int(dimensions)
        self._values: dict[str, Any] = {"space": space_id, "pool": pool, "vector": unit([vector])[0].tolist()}
        self._only = ""
        if document_ids is not None:
            self._values["documents"] = list(document_ids)
            self._only = "AND document_id = ANY(:documents)"

    async def compare(self, collection_ids: Sequence[UUID], which: str = "") -> Near:
        """All that are in question, one by one."""
        if not collection_ids:
            return []
        await self._set(
            # The plan does not depend on which documents are meant, and to plan for thousands of them takes a while.
            plan_cache_mode="force_generic_plan",
            # Small work: helpers take longer to start than to do it.
            max_parallel_workers_per_gather="0",
            enable_sort="on",
            enable_seqscan="on",
        )
        # The vector is read once, in a query of its own. Without the length in its type the distance is none that an
        # index has; and each is worked out once, which is what OFFSET is for.
        distance = "embedding <#> (SELECT CAST(CAST(:vector AS real[]) AS halfvec))"
        return await self._ask(
            f"SELECT chunk_id, -distance FROM (SELECT chunk_id, {distance} AS distance {self._from(which)} OFFSET 0) c"
            " ORDER BY distance LIMIT :pool",
            collection_ids,
        )

    async def look_up(self, collection_id: UUID) -> Near:
        """By the index, in about the right order. `compare` comes after it, and lets PostgreSQL sort again."""
        length = self._dimensions
        distance = f"(embedding::halfvec({length})) <#> CAST(CAST(:vector AS real[]) AS halfvec({length}))"
        await self._set(
            plan_cache_mode="force_custom_plan",
            # What must not sort can only take the index that has the order.
            enable_sort="off",
            enable_seqscan="off",
            **{
                "hnsw.ef_search": str(max(EF_SEARCH, min(int(self._values["pool"]), 1000))),
                "hnsw.iterative_scan": "relaxed_order",
                "hnsw.max_scan_tuples": str(MOST_SCANNED),
                "hnsw.scan_mem_multiplier": str(SCAN_MEMORY),
            },
        )
        return await self._ask(
            f"SELECT chunk_id, -({distance}) {self._from('AND indexed')} ORDER BY {distance} LIMIT :pool",
            [collection_id],
        )

    def _from(self, which: str) -> str:
        return (
            "FROM chunk_vectors WHERE collection_id = ANY(:collections) AND space_id = :space"
            f" AND dimensions = {self._dimensions} {which} {self._only}"
        )

    async def _ask(self, sql: str, collection_ids: Sequence[UUID]) -> Near:
        query = text(sql).bindparams(bindparam("collections", type_=_IDS), bindparam("vector", type_=_NUMBERS))
        if self._only:
            query = query.bindparams(bindparam("documents", type_=_IDS))
        rows = await self._session.execute(query, {**self._values, "collections": list(collection_ids)})
        return [(row[0], float(row[1])) for row in rows]

    async def _set(self, **settings: str) -> None:
        """For the rest of the transaction."""
        calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
        await self._session.execute(text(f"SELECT {calls}"))


async def grown(work: Work) -> list[UUID]:
    """Collections that have become large, or are and have vectors that are not in the index."""
    counted = (
        select(func.coalesce(func.sum(Document.chunk_count), 0))
        .where(Document.collection_id == Collection.id)
        .scalar_subquery()
    )
    growing = select(Collection.id).where(~Collection.large, Collection.next_number > LARGE, counted > LARGE)
    outside = (
        select(ChunkVector.chunk_id)
        .where(
            ChunkVector.space_id == Collection.embedding_space_id,
            ChunkVector.collection_id == Collection.id,
            ~ChunkVector.indexed,
        )
        .exists()
    )
    left = (
        select(Collection.id)
        .join(EmbeddingSpace, EmbeddingSpace.id == Collection.embedding_space_id)
        .where(Collection.large, EmbeddingSpace.dimensions.in_(INDEXED_DIMENSIONS), outside)
    )
    return list(await work.session.scalars(growing.union(left)))


_INDEX_SOME = text(
    """
WITH w AS MATERIALIZED (
    SELECT chunk_id, space_id FROM chunk_vectors
    WHERE collection_id = :collection AND NOT indexed AND space_id = ANY(:spaces) LIMIT :most FOR UPDATE SKIP LOCKED)
UPDATE chunk_vectors v SET indexed = true FROM w
WHERE v.collection_id = :collection AND v.chunk_id = w.chunk_id AND v.space_id = w.space_id
"""
).bindparams(bindparam("spaces", type_=_IDS))


async def grow(work: Work, collection_id: UUID, most: int = INDEX_BATCH) -> int:
    """Mark a collection large and put some of its vectors into the index. Returns how many; 0: all are in it."""
    await work.session.execute(
        update(Collection)
        .where(Collection.id == collection_id, ~Collection.large)
        .values(large=True, updated_at=Collection.updated_at)
    )
    spaces = await work.session.scalars(
        select(EmbeddingSpace.id).where(EmbeddingSpace.dimensions.in_(INDEXED_DIMENSIONS))
    )
    # The planner thinks little of an index on so few different values.
    await work.session.execute(text("SELECT set_config('enable_seqscan', 'off', true)"))
    done = await work.session.execute(_INDEX_SOME, {"collection": collection_id, "spaces": list(spaces), "most": most})
    return int(getattr(done, "rowcount", 0))


_REMOVE_SOME = text(
    """
WITH w AS MATERIALIZED (
    SELECT chunk_id FROM chunk_vectors
    WHERE collection_id = :collection AND space_id = :space LIMIT :most FOR UPDATE SKIP LOCKED)
DELETE FROM chunk_vectors v USING w
WHERE v.collection_id = :collection AND v.chunk_id = w.chunk_id AND v.space_id = :space
"""
)


async def remove_some(work: Work, collection_id: UUID, space_id: UUID, most: int) -> int:
    """Delete some of a collection's vectors in a space. Returns how many; 0: none are left."""
    done = await work.session.execute(_REMOVE_SOME, {"collection": collection_id, "space": space_id, "most": most})
    return int(getattr(done, "rowcount", 0))


async def count(work: Work, collection_id: UUID, space_ids: Iterable[UUID]) -> int:
    """How many chunks of a collection have a vector in these spaces."""
    query = select(func.count()).where(
        ChunkVector.collection_id == collection_id, ChunkVector.space_id.in_(list(space_ids))
    )
    return (await work.session.scalar(query)) or 0
