"""Full text as BM25 ranks it, over the index that `index` keeps.

BM25 is as in Robertson & Zaragoza 2009 ("The Probabilistic Relevance Framework: BM25 and Beyond"), with the idf of
Lucene, which is never negative: idf = ln(1 + (N - df + 0.5) / (df + 0.5)). N, df and the mean length are those of the
collections that are asked, without what was deleted, so that a score does not depend on what else an installation
holds. Whole lists of postings are read and scored as arrays: exact, and quick enough that nothing need be skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from folkmoot.fulltext.postings import Ints, Postings, Roll
from folkmoot.fulltext.words import Question, Word, ask
from folkmoot.kit.work import Work

K1 = 1.2
"""How soon more of the same word adds nothing."""
B = 0.75
"""How far a long chunk is held against it."""

_LANGUAGES = text(
    "SELECT DISTINCT unnest(languages) FROM text_segments WHERE collection_id = ANY(:collections)"
).bindparams(bindparam("collections", type_=ARRAY(PG_UUID(as_uuid=True))))

# One statement, so that a merge under way is seen whole or not at all.
_READ = text(
    """
WITH segs AS MATERIALIZED (
    SELECT id, collection_id, chunk_count, term_total FROM text_segments WHERE collection_id = ANY(:collections)
), places AS (
    SELECT DISTINCT s.id, s.collection_id, b.first_key
    FROM segs s CROSS JOIN unnest(CAST(:keys AS bigint[])) AS k(key)
    CROSS JOIN LATERAL (
        SELECT first_key FROM text_blocks WHERE segment_id = s.id AND first_key <= k.key
        ORDER BY first_key DESC LIMIT 1
    ) b
)
SELECT 0 AS kind, collection_id, sum(chunk_count)::bigint AS chunk_count, sum(term_total)::bigint AS term_total,
       NULL::bytea AS data
FROM segs GROUP BY collection_id
UNION ALL
SELECT 1, collection_id, chunk_count, term_total, chunks FROM text_deletions WHERE collection_id = ANY(:collections)
UNION ALL
SELECT 2, p.collection_id, 0, 0, b.data
FROM places p JOIN text_blocks b ON b.segment_id = p.id AND b.first_key = p.first_key
"""
).bindparams(bindparam("collections", type_=ARRAY(PG_UUID(as_uuid=True))))


@dataclass(frozen=True)
class Scope:
    """What is asked: collections, each with its place in one row of all their chunks' numbers."""

    begins: Mapping[UUID, int]
    size: int
    languages: tuple[str, ...]

    def place(self, at: int) -> tuple[UUID, int]:
        """The collection and the number of the chunk at a place."""
        collection_id = max((begin, key) for key, begin in self.begins.items() if begin <= at)[1]
        return collection_id, at - self.begins[collection_id]


@dataclass
class Found:
    """What the index holds of a question's words."""

    scope: Scope
    question: Question
    chunks: int = 0
    terms: int = 0
    blocks: list[tuple[int, Postings]] = field(default_factory=list[tuple[int, Postings]])
    """Each with where its collection begins."""
    dead: list[Ints] = field(default_factory=list[Ints])
    allowed: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Match:
    """A chunk that has words of the question."""

    place: int
    score: float
    """As BM25 has it: of one question only."""
    share: float
    """Of the weight of all the question's words, what those that stand in the chunk have: from 0 to 1."""
    words: Mapping[str, float]
    """What each word of the question gave to the score."""


@dataclass(frozen=True)
class Ranking:
    scope: Scope
    matches: list[Match]
    """Best first."""
    best: float
    """More than this no chunk could score: each word there, and often."""


async def read(
    work: Work, sizes: Mapping[UUID, int], query: str, allowed: Mapping[UUID, NDArray[Any]] | None = None
) -> Found:
    """All that the index has on the question's words; scoring it needs no database.

    `sizes` tells of each collection that is asked how many numbers it has given to chunks; `allowed` the numbers that
    may be found in it, None: all.
    """
    scope = await _scope_of(work, sizes)
    question = ask(query, scope.languages)
    found = Found(scope, question)
    keys = [key for word in question.words for key in word.keys]
    if not keys or not scope.size:
        return found
    rows = await work.session.execute(_READ, {"collections": list(scope.begins), "keys": keys})
    for kind, collection_id, chunks, terms, data in rows:
        begin = scope.begins[collection_id]
        if kind == 0:
            found.chunks += chunks
            found.terms += terms
        elif kind == 1:
            found.chunks -= chunks
            found.terms -= terms
            found.dead.append(Roll.decode(data).numbers + np.uint32(begin))
        else:
            found.blocks.append((begin, Postings.decode(data)))
    if allowed is not None:
        found.allowed = np.zeros(scope.size, np.bool_)
        for collection_id, numbers in allowed.items():
            found.allowed[numbers + scope.begins[collection_id]] = True
    return found


async def _scope_of(work: Work, sizes: Mapping[UUID, int]) -> Scope:
    languages = list(await work.session.scalars(_LANGUAGES, {"collections": list(sizes)}))
    begins: dict[UUID, int] = {}
    size = 0
    for collection_id in sorted(sizes):
        begins[collection_id] = size
        size += sizes[collection_id]
    return Scope(begins, size, tuple(sorted(languages)))


async def rank(found: Found, pool: int) -> Ranking:
    """The `pool` best, off the loop: common words have many postings."""
    if not found.blocks:
        return Ranking(found.scope, [], 0.0)
    if sum(len(block.numbers) for _, block in found.blocks) < 20_000:
        return score(found, pool)
    return await asyncio.to_thread(score, found, pool)


def score(found: Found, pool: int) -> Ranking:
    """`rank`, in this thread. Pure."""
    size = found.scope.size
    alive = np.ones(size, np.bool_) if found.dead else None
    if alive is not None:
        for numbers in found.dead:
            alive[numbers] = False
    count = max(found.chunks, 1)
    mean = max(found.terms / count, 1.0)
    weighed: list[tuple[Word, float, list[tuple[Ints, NDArray[np.float32]]]]] = []
    for word in found.question.words:
        lists: list[tuple[Ints, NDArray[np.float32]]] = []
        rarest = 0.0
        for key in word.keys:
            parts = [(begin, part) for begin, block in found.blocks if (part := block.find(key)) is not None]
            scored = _of_key(parts, alive, found.allowed, count, mean)
            if scored is not None:
                rarest = max(rarest, scored[2])
                lists.append((scored[0], scored[1]))
        # A word that stands nowhere is as rare as can be: what lacks it lacks much.
        weighed.append((word, rarest or _idf(0, count), lists))
    total = np.zeros(size, np.float32)
    for _, _, lists in sorted(weighed, key=lambda item: -item[1]):
        for places, scores in lists:
            total[places] += scores
    best = sum(idf for _, idf, _ in weighed)
    order = _best_of(total, [places for _, _, lists in weighed for places, _ in lists], pool)
    return Ranking(found.scope, _explained(order, total, weighed, best), best * (K1 + 1))


def _idf(holding: int, count: int) -> float:
    return float(np.log1p((count - holding + 0.5) / (holding + 0.5)))


def _of_key(
    parts: Sequence[tuple[int, Postings]],
    alive: NDArray[np.bool_] | None,
    allowed: NDArray[np.bool_] | None,
    count: int,
    mean: float,
) -> tuple[Ints, NDArray[np.float32], float] | None:
    """Places, scores, and idf of one word."""
    if not parts:
        return None
    places = np.concatenate([part.numbers + np.uint32(begin) for begin, part in parts])
    lengths = np.concatenate([part.lengths for _, part in parts])
    times = np.concatenate([part.times for _, part in parts])
    if alive is not None:
        kept = alive[places]
        places, lengths, times = places[kept], lengths[kept], times[kept]
    if not len(places):
        return None
    idf = _idf(min(len(places), count), count)
    if allowed is not None:
        kept = allowed[places]
        places, lengths, times = places[kept], lengths[kept], times[kept]
    often = times.astype(np.float32)
    norm = lengths.astype(np.float32)
    norm *= np.float32(K1 * B / mean)
    norm += often
    norm += np.float32(K1 * (1 - B))
    often *= np.float32(idf * (K1 + 1))
    often /= norm
    return places, often, idf


def _best_of(total: NDArray[np.float32], lists: Sequence[Ints], pool: int) -> NDArray[np.int64]:
    """The places of the `pool` highest, highest first; of equals the one that was there first."""
    # The chunks of the rarest word that has enough of them give a floor, so that few of the others are looked at.
    enough = sorted((places for places in lists if len(places) >= pool), key=len)
    floor = np.float32(0)
    if enough:
        of_one = total[enough[0]]
        floor = np.partition(of_one, len(of_one) - pool)[len(of_one) - pool]
    places = np.flatnonzero(total >= floor if floor > 0 else total > 0)
    if len(places) > pool:
        values = total[places]
        cut = np.partition(values, len(values) - pool)[len(values) - pool]
        places = places[values >= cut]
    order = np.lexsort((places, -total[places]))
    return places[order][:pool]


def _explained(
    order: NDArray[np.int64],
    total: NDArray[np.float32],
    weighed: Sequence[tuple[Word, float, list[tuple[Ints, NDArray[np.float32]]]]],
    best: float,
) -> list[Match]:
    slot = np.full(len(total), -1, np.int32)
    slot[order] = np.arange(len(order), dtype=np.int32)
    share = np.zeros(len(order))
    gave: list[dict[str, float]] = [{} for _ in range(len(order))]
    for word, idf, lists in weighed:
        there = np.zeros(len(order), np.bool_)
        for places, scores in lists:
            at = slot[places]
            values: list[float] = scores[at >= 0].tolist()
            for index, value in zip(at[at >= 0].tolist(), values, strict=True):
                of_chunk = gave[int(index)]
                of_chunk[word.text] = of_chunk.get(word.text, 0.0) + value
            there[at[at >= 0]] = True
        share += idf * there
    return [
        Match(int(place), float(total[place]), float(share[index] / best) if best else 0.0, gave[index])
        for index, place in enumerate(order)
    ]
