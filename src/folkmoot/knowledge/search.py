"""Finding the right passage: full text as BM25 ranks it, vectors where there are some, the two fused.

BM25 (Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework", k1 1.2, b 0.75, with the idf of
Lucene, which is never negative) is computed in PostgreSQL over the text-search vectors: every chunk that has
a word of the question is a candidate, so the candidates also give exact document frequencies. The words are
stemmed as each chunk's language has it. Vectors are compared exactly, by cosine. Fusion is an equal sum of
min-max scores over the top of each list (Bruch et al. 2023, "An Analysis of Fusion Functions").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from folkmoot_sdk import BadResponse, ProviderError
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Float, bindparam, cast, func, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Runtime
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotAvailable
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.knowledge.language import text_search_config
from folkmoot.knowledge.models import Chunk, ChunkVector, Collection, Document
from folkmoot.spaces.models import Space
from folkmoot.usage.ledger import Account, BudgetExhausted

log = get_logger(__name__)
POOL = 100
"""Candidates that each list hands to the fusion."""
MOST_DIMENSIONS = 16_000
LARGEST_NUMBER = 65_504.0
"""What pgvector's `halfvec` holds."""


@dataclass(frozen=True)
class Hit:
    """A chunk that was found."""

    chunk: Chunk
    document_name: str
    score: float
    """From 0 to 1 within one search."""


@dataclass(frozen=True)
class _Scored:
    chunk_id: UUID
    score: float


BM25 = text(
    """
WITH scope AS (
    SELECT language, count(*) AS documents, sum(chunk_count) AS chunks, sum(term_count) AS terms
    FROM documents WHERE collection_id = ANY(:collections) AND chunk_count > 0 GROUP BY language
), totals AS (
    SELECT sum(chunks)::float8 AS n, sum(terms)::float8 / nullif(sum(chunks), 0) AS mean FROM scope
), question AS (
    SELECT l.language, t.lexeme
    FROM unnest(CAST(:languages AS text[]), CAST(:configs AS text[])) AS l(language, config),
         LATERAL unnest(to_tsvector(l.config::regconfig, :query)) AS t
), asked AS (
    SELECT language, array_agg(lexeme) AS lexemes,
           string_agg(quote_literal(lexeme), ' | ')::tsquery AS any_of
    FROM question GROUP BY language
), hits AS MATERIALIZED (
    SELECT c.id, c.language, c.term_count, u.lexeme, cardinality(u.positions) AS tf
    FROM asked a
    JOIN chunks c ON c.language = a.language AND c.tsv @@ a.any_of,
    LATERAL unnest(c.tsv) AS u
    WHERE c.collection_id = ANY(:collections) AND u.lexeme = ANY(a.lexemes)
), weights AS (
    SELECT q.language, q.lexeme,
           ln(1 + (t.n - coalesce(f.df, 0) + 0.5) / (coalesce(f.df, 0) + 0.5)) AS idf
    FROM question q CROSS JOIN totals t
    LEFT JOIN (SELECT language, lexeme, count(*) AS df FROM hits GROUP BY language, lexeme) f
      ON f.language = q.language AND f.lexeme = q.lexeme
), best AS (
    SELECT language, sum(idf) * 2.2 AS most FROM weights GROUP BY language
)
SELECT h.id, sum(w.idf * h.tf * 2.2 / (h.tf + 1.2 * (0.25 + 0.75 * h.term_count / t.mean))) / max(b.most) AS score
FROM hits h
JOIN weights w ON w.language = h.language AND w.lexeme = h.lexeme
JOIN best b ON b.language = h.language
CROSS JOIN totals t
GROUP BY h.id ORDER BY score DESC, h.id LIMIT :pool
"""
).bindparams(bindparam("collections", type_=ARRAY(PG_UUID(as_uuid=True))))


async def search(
    app: App,
    principal: Principal,
    account: Account,
    collection_ids: Sequence[UUID],
    query: str,
    limit: int = 10,
    *,
    asked_in: UUID | None = None,
) -> list[Hit]:
    """The chunks of these collections that fit `query` best, best first.

    The caller has checked that `principal` may read the collections. No transaction is open while the
    question is embedded; without an embedding model that may see the question, or if it fails, the full text
    answers alone. `asked_in` is the space that the question comes from, whose class binds it as well.
    """
    if not collection_ids:
        return []
    collections = list(collection_ids)
    async with app.begin(principal) as work:
        by_text = await _by_text(work, collections, query)
        class_ids = await classes_of(work, collections, asked_in)
    by_vector: list[_Scored] = []
    route = await embedding_route(app, account.tenant_id, class_ids)
    if route is not None:
        async with app.begin(principal) as work:
            route = route if await _has_vectors(work, collections, route.first.model.id) else None
    if route is not None:
        try:
            vector = (await app.part(Runtime).embed(route, account, [query], query=True)).whole()[0]
            check_vector(vector)
        except (ProviderError, BudgetExhausted) as error:
            log.warning("search.without_vectors", error=type(error).__name__)
        else:
            async with app.begin(principal) as work:
                by_vector = await _by_vector(work, collections, route.first.model.id, vector)
    ranked = fuse(by_text, by_vector)[:limit] if by_vector else by_text[:limit]
    async with app.begin(principal) as work:
        return await _load(work, ranked)


async def classes_of(work: Work, collection_ids: Sequence[UUID], space_id: UUID | None = None) -> list[UUID | None]:
    """The data classes of the spaces that these collections lie in, and of one space more; None: none of its own."""
    spaces = select(Collection.space_id).where(Collection.id.in_(collection_ids))
    rows = await work.session.scalars(
        select(Space.data_class_id).where(or_(Space.id.in_(spaces), Space.id == space_id)).distinct()
    )
    return list(rows)


async def embedding_route(app: App, tenant_id: UUID, class_ids: Sequence[UUID | None]) -> Route | None:
    """Who embeds text of these classes; None if nobody may, or nobody is there."""
    snapshot = await app.part(Catalogue).of(tenant_id)
    try:
        return snapshot.route("embedding", snapshot.text_of(class_ids))
    except NotAvailable:
        return None


def check_vector(vector: Sequence[float]) -> None:
    """Raises `BadResponse` for a vector that cannot be stored or compared."""
    if not 0 < len(vector) <= MOST_DIMENSIONS:
        raise BadResponse(f"the embedding model gave a vector of {len(vector)} numbers: choose another")
    if max(map(abs, vector)) > LARGEST_NUMBER:
        raise BadResponse("the embedding model gave a vector with numbers that are too large to store: choose another")
    if not any(vector):
        raise BadResponse("the embedding model gave a vector of zeros, which is like no other: choose another")


def fuse(left: Sequence[_Scored], right: Sequence[_Scored]) -> list[_Scored]:
    """Both lists as one, by half of each list's min-max score; what a list does not have counts 0 there."""
    total: dict[UUID, float] = {}
    for scored in (left, right):
        if not scored:
            continue
        low, high = min(item.score for item in scored), max(item.score for item in scored)
        for item in scored:
            part = (item.score - low) / (high - low) if high > low else 1.0
            total[item.chunk_id] = total.get(item.chunk_id, 0.0) + part / 2
    order = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
    return [_Scored(chunk_id, score) for chunk_id, score in order]


async def _by_text(work: Work, collections: list[UUID], query: str) -> list[_Scored]:
    languages = (
        await work.session.scalars(
            select(Document.language)
            .where(Document.collection_id.in_(collections), Document.chunk_count > 0)
            .distinct()
        )
    ).all()
    if not languages:
        return []
    rows = await work.session.execute(
        BM25,
        {
            "collections": collections,
            "languages": list(languages),
            "configs": [text_search_config(language) for language in languages],
            "query": query,
            "pool": POOL,
        },
    )
    return [_Scored(chunk_id, float(score)) for chunk_id, score in rows]


async def _has_vectors(work: Work, collections: list[UUID], model_id: UUID) -> bool:
    known = select(ChunkVector.id).where(ChunkVector.collection_id.in_(collections), ChunkVector.model_id == model_id)
    return await work.session.scalar(known.limit(1)) is not None


async def _by_vector(work: Work, collections: list[UUID], model_id: UUID, vector: list[float]) -> list[_Scored]:
    wanted = cast(vector, HALFVEC(len(vector)))
    distance = ChunkVector.embedding.op("<=>", return_type=Float())(wanted)
    rows = await work.session.execute(
        select(ChunkVector.chunk_id, 1 - distance)
        .where(
            ChunkVector.collection_id.in_(collections),
            ChunkVector.model_id == model_id,
            # Vectors of another length are left from before the model changed under its name.
            func.vector_dims(ChunkVector.embedding) == len(vector),
        )
        .order_by(distance)
        .limit(POOL)
    )
    return [_Scored(chunk_id, float(score)) for chunk_id, score in rows]


async def _load(work: Work, ranked: Sequence[_Scored]) -> list[Hit]:
    rows = await work.session.execute(
        select(Chunk, Document.name)
        .join(Document, Document.id == Chunk.document_id)
        .where(Chunk.id.in_([item.chunk_id for item in ranked]))
    )
    found = {chunk.id: Hit(chunk, name, 0.0) for chunk, name in rows}
    return [replace(found[item.chunk_id], score=round(item.score, 6)) for item in ranked if item.chunk_id in found]
