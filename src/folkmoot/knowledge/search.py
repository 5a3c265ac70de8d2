"""Finding the right passage: full text as BM25 ranks it, vectors where there are some, the two fused.

The words are always asked. Vectors are asked of each embedding space that the collections have theirs in, if a model
that may see the question is there to embed it. What both give is fused, reranked by a model where there is one,
cleared of near-duplicates, and neighbours are joined to one passage.

No transaction is open while a model is asked or while many postings are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from folkmoot_sdk import ProviderError

from folkmoot.ai.runtime import Runtime
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.log import get_logger
from folkmoot.knowledge import bm25
from folkmoot.knowledge.embed import check_vector, classes_of, embedding_route
from folkmoot.knowledge.fuse import Fused, Scored, fuse
from folkmoot.knowledge.passages import Hit, load
from folkmoot.knowledge.spaces import Searched, searched_spaces
from folkmoot.knowledge.vectors import nearest
from folkmoot.usage.ledger import Account, BudgetExhausted

log = get_logger(__name__)
POOL = 100
"""Candidates that each list hands to the fusion."""


@dataclass
class Asked:
    """One search, as it goes on."""

    app: App
    principal: Principal
    account: Account
    collections: list[UUID]
    query: str
    class_ids: list[UUID | None] = field(default_factory=list[UUID | None])
    document_ids: list[UUID] | None = None
    spaces: list[Searched] = field(default_factory=list[Searched])
    found: bm25.Found | None = None


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
    """The passages of these collections that fit `query` best, best first.

    The caller has checked that `principal` may read the collections. Without an embedding model that may see the
    question, or if it fails, the full text answers alone. `asked_in` is the space that the question comes from,
    whose class binds it as well.
    """
    if not collection_ids:
        return []
    asked = Asked(app, principal, account, list(collection_ids), query)
    async with app.begin(principal) as work:
        asked.found = await bm25.read(work, asked.collections, query, asked.document_ids)
        asked.class_ids = await classes_of(work, asked.collections, asked_in)
        asked.spaces = await searched_spaces(work, asked.collections)
    ranking = await bm25.rank(asked.found, POOL)
    vectors = await _embedded(asked)
    async with app.begin(principal) as work:
        ids = await bm25.chunk_ids(work, ranking.scope, [match.place for match in ranking.matches])
        matches = {ids[match.place]: match for match in ranking.matches if match.place in ids}
        by_text = [Scored(chunk_id, match.score) for chunk_id, match in matches.items()]
        by_vector = [
            Scored(chunk_id, cosine)
            for space, vector in vectors
            for chunk_id, cosine in await nearest(
                work, space.collection_ids, space.id, space.dimensions, vector, POOL, asked.document_ids
            )
        ]
        ranked: list[Fused] = fuse(by_text, by_vector)
        return await load(work, ranked, limit)


async def _embedded(asked: Asked) -> list[tuple[Searched, list[float]]]:
    """The question's vector in each space that is searched and may see it."""
    route = await embedding_route(asked.app, asked.account.tenant_id, asked.class_ids) if asked.spaces else None
    made: list[tuple[Searched, list[float]]] = []
    for space in asked.spaces:
        if route is None or space.model_id != route.first.model.id:
            continue
        try:
            answer = await asked.app.part(Runtime).embed(route, asked.account, [asked.query], query=True)
            vector = answer.whole()[0]
            check_vector(vector)
        except (ProviderError, BudgetExhausted) as error:
            log.warning("search.without_vectors", error=type(error).__name__)
            continue
        if len(vector) == space.dimensions:
            made.append((space, vector))
    return made
