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
from folkmoot.kit.work import Work
from folkmoot.knowledge import numbers, passages
from folkmoot.knowledge.embedding.embed import classes_of, embed_query
from folkmoot.knowledge.embedding.fitness import fit_of
from folkmoot.knowledge.embedding.rerank import rerank
from folkmoot.knowledge.embedding.spaces import Searched, searched_spaces
from folkmoot.knowledge.embedding.vectors import nearest
from folkmoot.knowledge.filters import Filters, allowed
from folkmoot.knowledge.fuse import Near, Scored, fuse
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
    return (await find(app, principal, account, collection_ids, query, limit, asked_in=asked_in, filters=filters)).hits


@dataclass(frozen=True)
class Passages:
    """What a search came to."""

    hits: list[Hit]
    among: int
    """At most so many chunks are in the collections: how many numbers were ever given to chunks there."""


async def find(
    app: App,
    principal: Principal,
    account: Account,
    collection_ids: Sequence[UUID],
    query: str,
    limit: int = 10,
    *,
    asked_in: UUID | None = None,
    filters: Filters | None = None,
) -> Passages:
    """`search`, for those who also want to know among how much was searched."""
    if not collection_ids:
        return Passages([], 0)
    retrieval = Retrieval(app, principal, list(collection_ids), query)
    spaces = await retrieval.begin(filters, asked_in)
    # The words are found while a model embeds the question, and while its vector is looked for.
    _, *near = await asyncio.gather(retrieval.words(), *(_near(retrieval, account, space) for space in spaces))
    hits = await retrieval.hits([found for found in near if found is not None], limit)
    texts = [f"{hit.chunk.context}\n{hit.text}".strip() for hit in hits]
    if (scores := await rerank(app, account, retrieval.class_ids, query, texts)) is not None:
        hits = passages.reordered(hits, scores)
    return Passages(await passages.joined(app, principal, hits, limit), retrieval.among)


@dataclass
class Retrieval:
    """One question on its way through the index: `begin`, then `words` beside `near` of each space, then `hits`."""

    app: App
    principal: Principal
    collections: list[UUID]
    query: str
    class_ids: list[UUID | None] = field(default_factory=list[UUID | None])
    """Of the spaces that the collections lie in, and of where it is asked."""
    document_ids: list[UUID] | None = None
    """Those that pass the filters; None: there are none."""
    found: bm25.Found | None = None
    ranking: bm25.Ranking | None = None

    @property
    def among(self) -> int:
        """`Passages.among`, once the words were read."""
        return self.found.scope.size if self.found is not None else 0

    async def begin(self, filters: Filters | None = None, asked_in: UUID | None = None) -> list[Searched]:
        """Find what the question is about; returns the embedding spaces to ask."""
        async with self.app.begin(self.principal) as work:
            self.document_ids = await allowed(work, self.collections, filters)
            self.class_ids = await classes_of(work, self.collections, asked_in)
            spaces = await searched_spaces(work, self.collections)
            if not spaces:
                # Nothing to do beside it: in this transaction, then.
                await self._read(work)
        return spaces

    async def words(self) -> None:
        """Read what the index has on the words, and score the chunks by them."""
        if self.found is None:
            async with self.app.begin(self.principal) as work:
                await self._read(work)
        assert self.found is not None
        self.ranking = await bm25.rank(self.found, PHRASE_POOL if self.found.question.phrases else POOL)

    async def _read(self, work: Work) -> None:
        sizes = await numbers.given(work, self.collections)
        only = self.document_ids
        passing = None if only is None else await numbers.of_documents(work, self.collections, only)
        self.found = await bm25.read(work, sizes, self.query, passing)

    async def near(self, space: Searched, vector: Sequence[float]) -> Found:
        """The chunks whose vectors are nearest to the question's."""
        async with self.app.begin(self.principal) as work:
            only = self.document_ids
            found = await nearest(work, space.collection_ids, space.id, space.dimensions, vector, POOL, only)
        return Found(space.id, [Scored(*item) for item in found])

    async def hits(self, found: Sequence[Found], limit: int) -> list[Hit]:
        """Chunks enough for `limit` passages, best first, from the words and from what is near."""
        assert self.found is not None, "words come first"
        assert self.ranking is not None, "words come first"
        ranking = self.ranking
        async with self.app.begin(self.principal) as work:
            ids = await numbers.chunk_ids(work, ranking.scope, [match.place for match in ranking.matches])
            matches = {ids[match.place]: match for match in ranking.matches if match.place in ids}
            by_text = [Scored(chunk_id, match.score / ranking.best) for chunk_id, match in matches.items()]
            languages = self.found.scope.languages
            near = [
                Near(one.chunks, await fit_of(work, one.space_id, languages), full=len(one.chunks) == POOL)
                for one in found
            ]
            ranked = fuse(by_text, near)
            if self.found.question.phrases:
                ranked = await passages.with_phrases_first(work, ranked, self.found.question.phrases)
            loaded = await passages.load(work, ranked, limit)
        cosines = {item.chunk_id: item.score for one in found for item in one.chunks}
        return [replace(hit, match=matches.get(hit.chunk.id), cosine=cosines.get(hit.chunk.id)) for hit in loaded]


@dataclass(frozen=True)
class Found:
    """What is near to the question in one embedding space."""

    space_id: UUID
    chunks: list[Scored]


async def _near(retrieval: Retrieval, account: Account, space: Searched) -> Found | None:
    """What is near to the question, if a model that may see it embeds it."""
    vector = await embed_query(retrieval.app, account, retrieval.class_ids, space, retrieval.query)
    return None if vector is None else await retrieval.near(space, vector)
