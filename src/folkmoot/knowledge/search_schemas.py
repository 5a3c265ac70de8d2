"""Search, from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.kit.structs import Input, Struct
from folkmoot.knowledge.filters import Filters
from folkmoot.knowledge.fuse import NOTHING
from folkmoot.knowledge.passages import Hit


class SearchIn(Input, frozen=True, kw_only=True):
    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4000,
            examples=["How high may a fence be?"],
            description="What stands in quotation marks is looked for word for word, and found first.",
        ),
    ]
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    filters: Filters | None = None
    explain: bool = False
    """Say of each passage why it ranks where it does."""


class WhyText(Struct, frozen=True, kw_only=True):
    bm25: float
    """As the words of this question give it: not comparable with another question's."""
    share: float
    """From 0 to 1: of the weight of all the question's words, that of the words which stand in the passage."""
    words: dict[str, float]
    """What each word of the question gave to `bm25`; rare ones give more."""


class Why(Struct, frozen=True, kw_only=True):
    rank: int
    """From 1."""
    text: WhyText | None
    """None: it has none of the question's words."""
    cosine: float | None
    """Of the passage's vector and the question's; None if it is not among the nearest, or nothing was embedded."""
    text_part: float
    vector_part: float
    """What words and vectors gave to the sum that orders the passages, weighted."""
    reranked: float | None
    """By a model from 0 to 1, where one reranks; it then decides the order."""


class SearchHit(Struct, frozen=True, kw_only=True):
    document_id: UUID
    document_name: str
    chunk_id: UUID
    text: str
    page: int | None
    start: int
    """Offset in the document's text; `text` is exactly what stands from here to `end`."""
    end: int
    score: float
    """From 0 to 1: how likely it is that the passage has what was asked for. Comparable between questions."""
    joined_chunk_ids: list[UUID]
    """Neighbours of the chunk that were found as well and are part of this passage."""
    why: Why | UnsetType = UNSET


class SearchOut(Struct, frozen=True, kw_only=True):
    items: list[SearchHit]
    relevant: bool
    """False if not even the best passage is likely to have what was asked for."""

    @classmethod
    def of(cls, hits: Sequence[Hit], *, explain: bool) -> SearchOut:
        return cls(
            items=[_hit(rank, hit, explain=explain) for rank, hit in enumerate(hits, start=1)],
            relevant=any(hit.score >= NOTHING for hit in hits),
        )


def _hit(rank: int, hit: Hit, *, explain: bool) -> SearchHit:
    return SearchHit(
        document_id=hit.chunk.document_id,
        document_name=hit.document_name,
        chunk_id=hit.chunk.id,
        text=hit.text,
        page=hit.page,
        start=hit.start,
        end=hit.end,
        score=hit.score,
        joined_chunk_ids=list(hit.joined),
        why=_why(rank, hit) if explain else UNSET,
    )


def _why(rank: int, hit: Hit) -> Why:
    match = hit.match
    return Why(
        rank=rank,
        text=match
        and WhyText(
            bm25=round(match.score, 4),
            share=round(match.share, 4),
            words={word: round(gave, 4) for word, gave in sorted(match.words.items(), key=lambda item: -item[1])},
        ),
        cosine=None if hit.cosine is None else round(hit.cosine, 4),
        text_part=round(hit.ranked.text_part, 4),
        vector_part=round(hit.ranked.vector_part, 4),
        reranked=None if hit.reranked is None else round(hit.reranked, 4),
    )
