"""Finding the right passage: full text as BM25 ranks it, vectors where there are some, the two fused.

The words are always asked. Vectors are asked of each embedding space that the collections have theirs in, if a model
that may see the question is there to embed it. What both give is fused, reranked by a model where there is one,
cleared of near-duplicates, and neighbours are joined to one passage.

No transaction is open while a model is asked or while many postings are scored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from folkmoot.fulltext import bm25
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.knowledge import numbers, passages
from folkmoot.knowledge.embedding.embed import classes_of, embed_query
from folkmoot.knowledge.embedding.fitness import fit_of
from folkmoot.knowledge.embedding.rerank import rerank
from folkmoot.knowledge.embedding.spaces import Searched, searched_spaces
from folkmoot.knowledge.embedding.vectors import nearest
from folkmoot.knowledge.filters import Filters, allowed
from folkmoot.knowledge.fuse import Fit, Near, Scored, fuse
from folkmoot.knowledge.passages import Hit
from folkmoot.usage.ledger import Account

POOL = 100
"""Candidates that each list hands to the fusion."""
PHRASE_POOL = 400
"""Of a question with a phrase in quotation marks: where the phrase is looked for."""


async def search(
    app: App,
    principal: Principal,
    account: Account,
    collection_ids: Sequence[UUID],
    query: str,
    limit: int = 10,
    *,
    asked_in: UUID | None = None,
    filters: Filters | None = None,
) -> list[Hit]:
    """The passages of these collections that fit `query` best, best first.

    The caller has checked that `principal` may read the collections. Without an embedding model that may see the
    question, or if it fails, the full text answers alone. `asked_in` is the space that the question comes from,
    whose class binds it as well. Raises `NotFound` if the filters name a document that is not there.
    """
    if not collection_ids:
        return []
    retrieval = Retrieval(app, principal, list(collection_ids), query)
    spaces = await retrieval.read(filters, asked_in)
    _, vectors = await asyncio.gather(retrieval.rank(), _embedded(retrieval, account, spaces))
    hits = await retrieval.hits(vectors, limit)
    texts = [f"{hit.chunk.context}\n{hit.text}".strip() for hit in hits]
    if (scores := await rerank(app, account, retrieval.class_ids, query, texts)) is not None:
        hits = passages.reordered(hits, scores)
    return await passages.joined(app, principal, hits, limit)


@dataclass
class Retrieval:
    """One question on its way through the index: `read`, `rank`, `hits`."""

    app: App
    principal: Principal
    collections: list[UUID]
    query: str
    class_ids: list[UUID | None] = field(default_factory=list[UUID | None])
    """Of the spaces that the collections lie in, and of where it is asked."""
    document_ids: list[UUID] | None = None
    """Those that pass the filters; None: there are none."""
    passing: dict[UUID, int] | None = None
    """How many chunks those have, by collection."""
    found: bm25.Found | None = None
    ranking: bm25.Ranking | None = None
    fits: dict[UUID, Fit] = field(default_factory=dict[UUID, Fit])

    async def read(self, filters: Filters | None = None, asked_in: UUID | None = None) -> list[Searched]:
        """Read what the index has on the words; returns the embedding spaces to ask."""
        async with self.app.begin(self.principal) as work:
            self.document_ids = await allowed(work, self.collections, filters)
            sizes = await numbers.given(work, self.collections)
            only = self.document_ids
            passing = None if only is None else await numbers.of_documents(work, self.collections, only)
            self.passing = None if passing is None else {key: len(found) for key, found in passing.items()}
            self.found = await bm25.read(work, sizes, self.query, passing)
            self.class_ids = await classes_of(work, self.collections, asked_in)
            spaces = await searched_spaces(work, self.collections)
            for space in spaces:
                self.fits[space.id] = await fit_of(work, space.id, self.found.scope.languages)
        return spaces

    async def rank(self) -> None:
        """Score the chunks by their words."""
        assert self.found is not None, "read comes first"
        self.ranking = await bm25.rank(self.found, PHRASE_POOL if self.found.question.phrases else POOL)

    async def hits(self, vectors: Sequence[tuple[Searched, Sequence[float]]], limit: int) -> list[Hit]:
        """Chunks enough for `limit` passages, best first, from the words and from these vectors of the question."""
        assert self.found is not None, "read comes first"
        assert self.ranking is not None, "rank comes first"
        ranking = self.ranking
        async with self.app.begin(self.principal) as work:
            ids = await numbers.chunk_ids(work, ranking.scope, [match.place for match in ranking.matches])
            matches = {ids[match.place]: match for match in ranking.matches if match.place in ids}
            by_text = [Scored(chunk_id, match.score / ranking.best) for chunk_id, match in matches.items()]
            near: list[Near] = []
            for space, vector in vectors:
                found = await nearest(
                    work,
                    space.collection_ids,
                    space.id,
                    space.dimensions,
                    vector,
                    POOL,
                    self.document_ids,
                    self.passing,
                )
                fit = self.fits.get(space.id, Fit())
                near.append(Near([Scored(*item) for item in found], fit, full=len(found) == POOL))
            ranked = fuse(by_text, near)
            if self.found.question.phrases:
                ranked = await passages.with_phrases_first(work, ranked, self.found.question.phrases)
            loaded = await passages.load(work, ranked, limit)
        cosines = {item.chunk_id: item.score for one in near for item in one.found}
        return [replace(hit, match=matches.get(hit.chunk.id), cosine=cosines.get(hit.chunk.id)) for hit in loaded]


async def _embedded(
    retrieval: Retrieval, account: Account, spaces: Sequence[Searched]
) -> list[tuple[Searched, list[float]]]:
    """The question's vector in each space that is searched and whose model may see it."""
    made = await asyncio.gather(
        *(embed_query(retrieval.app, account, retrieval.class_ids, space, retrieval.query) for space in spaces)
    )
    return [(space, vector) for space, vector in zip(spaces, made, strict=True) if vector is not None]
