"""From ranked chunks to the passages that people read: loaded, without near-duplicates, neighbours joined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from folkmoot.fulltext.bm25 import Match
from folkmoot.fulltext.words import fold
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.work import Work
from folkmoot.knowledge.fuse import Fused
from folkmoot.knowledge.models import Chunk, Document, DocumentText

_WORD = re.compile(r"\w+")
ALIKE = 0.9
"""Of the words of two chunks, how many they share, from which on the second says nothing new."""
CLOSE = 0.04
"""Near-duplicates have nearly the same sum of parts; others need not be compared."""
MOST_JOINED = 3
"""Chunks in one passage: more would be a document, not a passage."""
LEAST_LOOKED_AT = 30
LOOKED_AT = 3
"""So many times as many candidates as are wanted are loaded: some are dropped, some joined."""


@dataclass(frozen=True)
class Hit:
    """A passage that was found: one chunk, or neighbours of it joined."""

    chunk: Chunk
    """The best of its chunks."""
    document_name: str
    text: str
    """Exactly what stands at `start` to `end` of the document's text."""
    page: int | None
    start: int
    end: int
    score: float
    """From 0 to 1."""
    ranked: Fused
    joined: tuple[UUID, ...] = ()
    """The other chunks in it."""
    match: Match | None = None
    """What its words gave, if it has any of the question's."""
    reranked: float | None = None
    """What a model gave it, if one reranked."""
    cosine: float | None = None
    """Of its vector and the question's, if it was among the nearest."""
    document_hash: str = ""
    """SHA-256 of the document's file as it was when this was found."""


async def with_phrases_first(work: Work, ranked: Sequence[Fused], phrases: Sequence[str]) -> list[Fused]:
    """Those that hold every phrase word for word come first, and the others after, with at most half of their score."""
    rows = await work.session.execute(
        select(Chunk.id, Chunk.context, Chunk.text).where(Chunk.id.in_([item.chunk_id for item in ranked]))
    )
    holding = {
        row.id for row in rows for said in [fold(f"{row.context}\n{row.text}")] if all(one in said for one in phrases)
    }
    return [replace(item, score=0.5 + item.score / 2) for item in ranked if item.chunk_id in holding] + [
        replace(item, score=item.score / 2) for item in ranked if item.chunk_id not in holding
    ]


_LOAD = (
    select(Chunk, Document.name, Document.content_hash)
    .join(Document, Document.id == Chunk.document_id)
    .where(Chunk.id == any_(bindparam("wanted", type_=ARRAY(PG_UUID(as_uuid=True)))))
)


async def load(work: Work, ranked: Sequence[Fused], limit: int) -> list[Hit]:
    """Chunks enough to make `limit` passages of, without near-duplicates."""
    wanted = ranked[: max(limit * LOOKED_AT, LEAST_LOOKED_AT)]
    rows = await work.session.execute(_LOAD, {"wanted": [item.chunk_id for item in wanted]})
    found = {chunk.id: (chunk, name, content_hash) for chunk, name, content_hash in rows}
    return _different(
        [
            Hit(
                *(chunk, name, chunk.text, chunk.page, chunk.start, chunk.end, round(item.score, 6), item),
                document_hash=content_hash,
            )
            for item in wanted
            if item.chunk_id in found
            for chunk, name, content_hash in [found[item.chunk_id]]
        ]
    )


def reordered(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """In the order of a reranking model's scores; what it has not read comes after, however well it was found."""
    read = [replace(hit, score=round(score, 6), reranked=score) for hit, score in zip(hits, scores, strict=False)]
    read.sort(key=lambda hit: -hit.score)
    least = read[-1].score if read else 1.0
    return read + [replace(hit, score=min(hit.score, least)) for hit in hits[len(read) :]]


async def joined(app: App, principal: Principal, hits: Sequence[Hit], limit: int) -> list[Hit]:
    """At most `limit` passages: neighbours of one document as one, at the place of the better one."""
    passages: list[list[Hit]] = []
    for hit in hits:
        for passage in passages:
            if len(passage) < MOST_JOINED and any(_neighbours(hit.chunk, other.chunk) for other in passage):
                passage.append(hit)
                break
        else:
            if len(passages) < limit:
                passages.append([hit])
    if all(len(passage) == 1 for passage in passages):
        return [passage[0] for passage in passages]
    async with app.begin(principal) as work:
        return [await _as_one(work, passage) for passage in passages]


def _different(hits: Sequence[Hit]) -> list[Hit]:
    kept: list[tuple[Hit, frozenset[str]]] = []
    for hit in hits:
        words = frozenset(_WORD.findall(hit.text.lower()))
        if not any(_alike(hit, words, other, theirs) for other, theirs in kept):
            kept.append((hit, words))
    return [hit for hit, _ in kept]


def _alike(hit: Hit, words: frozenset[str], other: Hit, theirs: frozenset[str]) -> bool:
    if hit.chunk.content_hash == other.chunk.content_hash:
        return True
    if _sum(other) - _sum(hit) > CLOSE or not words:
        return False
    if min(len(words), len(theirs)) < ALIKE * max(len(words), len(theirs)):
        return False
    shared = len(words & theirs)
    return shared >= ALIKE * (len(words) + len(theirs) - shared)


def _sum(hit: Hit) -> float:
    return hit.ranked.text_part + hit.ranked.vector_part


def _neighbours(one: Chunk, other: Chunk) -> bool:
    # On one page, so that whoever cites the passage can be told the page.
    same = (one.document_id, one.page) == (other.document_id, other.page)
    return same and abs(one.ordinal - other.ordinal) == 1


async def _as_one(work: Work, passage: Sequence[Hit]) -> Hit:
    best = passage[0]
    if len(passage) == 1:
        return best
    first = min(passage, key=lambda hit: hit.start)
    end = max(hit.end for hit in passage)
    text = await work.session.scalar(
        # PostgreSQL counts characters from 1.
        select(func.substr(DocumentText.text, first.start + 1, end - first.start)).where(
            DocumentText.document_id == best.chunk.document_id
        )
    )
    if text is None:
        return best
    others = tuple(hit.chunk.id for hit in passage[1:])
    return replace(best, text=text, page=first.page, start=first.start, end=end, joined=others)
