"""Keeping the full-text index of a collection: adding, forgetting, merging.

It is a log-structured merge tree (O'Neil et al. 1996) in two tables. What a document adds is a small segment, written
in the transaction that stores its chunks. Segments of about one size are merged into a larger one in the background,
so that a question looks into few. Chunks that are gone are listed in deletions, which are left out at once when a
question is answered and for good when their segment is merged.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import cast
from uuid import UUID

import numpy as np
from sqlalchemy import Table, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from uuid_utils.compat import uuid7

from folkmoot.fulltext.models import TextBlock, TextDeletion, TextSegment
from folkmoot.fulltext.postings import Postings, Roll
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import TASKS
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work

log = get_logger(__name__)

CALL_SECONDS = 2
"""Between two calls for a merge of one collection."""
FACTOR = 8
"""As many segments of one size become one of the next."""
MOST_SEGMENTS = 24
"""Of a collection, before merging is urgent whatever their sizes."""
MOST_DELETIONS = 64
"""Rows, before they are gathered into one."""
DEAD_SHARE = 0.2
"""Of a segment's chunks, before it is written anew without them."""
FEWEST_DEAD = 100
"""In a segment, before it is worth writing anew."""
STEP_BYTES = 8 << 20
"""What a merge holds of each round, so that a worker's memory does not grow with the collection."""


_COUNT = (
    select(func.count())
    .select_from(TextSegment)
    .where(TextSegment.collection_id == bindparam("collection", type_=PG_UUID(as_uuid=True)))
)


async def count_segments(work: Work, collection_id: UUID) -> int:
    return (await work.session.scalar(_COUNT, {"collection": collection_id})) or 0


async def add(
    work: Work, tenant_id: UUID, collection_id: UUID, language: str, chunks: Sequence[tuple[int, dict[int, int], int]]
) -> None:
    """Write a segment for chunks as (number, how often each key stands in it, length)."""
    if not chunks:
        return
    roll = Roll.of((number for number, *_ in chunks), (length for *_, length in chunks))
    blocks = await asyncio.to_thread(lambda: _encoded(Postings.of(chunks)))
    segment_id = await _write_segment(work, tenant_id, collection_id, [language], roll, _size(blocks))
    await _write_blocks(work, tenant_id, segment_id, blocks)


async def forget(work: Work, tenant_id: UUID, collection_id: UUID, gone: Roll) -> None:
    """Take chunks, which are deleted in the same transaction, out of the index."""
    if len(gone):
        await _write_deletion(work, tenant_id, collection_id, gone)


async def _write_deletion(work: Work, tenant_id: UUID, collection_id: UUID, roll: Roll) -> None:
    await work.session.execute(
        insert(TextDeletion).values(
            id=uuid7(),
            tenant_id=tenant_id,
            collection_id=collection_id,
            chunk_count=len(roll),
            term_total=roll.total,
            chunks=roll.encode(),
        )
    )


_SEGMENT = insert(cast("Table", TextSegment.__table__))


async def _write_segment(
    work: Work, tenant_id: UUID, collection_id: UUID, languages: Sequence[str], roll: Roll, size: int = 0
) -> UUID:
    segment_id = uuid7()
    row = {"id": segment_id, "tenant_id": tenant_id, "collection_id": collection_id, "size": size}
    row |= {"chunk_count": len(roll), "term_total": roll.total, "languages": sorted(set(languages))}
    await work.session.execute(_SEGMENT, {**row, "chunks": roll.encode()})
    return segment_id


_BLOCKS = text(
    "INSERT INTO text_blocks (tenant_id, segment_id, first_key, data)"
    " SELECT :tenant, :segment, * FROM unnest(CAST(:keys AS bigint[]), CAST(:data AS bytea[]))"
)


def _encoded(postings: Postings) -> list[tuple[int, bytes]]:
    """Blocks as they are stored, each with its first key."""
    return [(int(block.keys[0]), block.encode()) for block in postings.blocks()]


def _size(blocks: Sequence[tuple[int, bytes]]) -> int:
    return sum(len(data) for _, data in blocks)


async def _write_blocks(work: Work, tenant_id: UUID, segment_id: UUID, blocks: Sequence[tuple[int, bytes]]) -> None:
    values = {"keys": [key for key, _ in blocks], "data": [data for _, data in blocks]}
    await work.session.execute(_BLOCKS, {"tenant": tenant_id, "segment": segment_id, **values})


def to_merge(sizes: Sequence[tuple[UUID, int, int]]) -> list[UUID]:
    """Which of a collection's segments, as (id, chunks, dead chunks among them), to merge next; none: leave them."""
    tiers: dict[int, list[UUID]] = defaultdict(list)
    for segment_id, chunks, dead in sorted(sizes, key=lambda item: item[1]):
        if dead > DEAD_SHARE * chunks and dead >= FEWEST_DEAD:
            return [segment_id]
        tiers[max(chunks, 1).bit_length() // 3].append(segment_id)
    smaller: list[UUID] = []
    for tier in sorted(tiers):
        smaller += tiers[tier]
        if len(tiers[tier]) >= FACTOR or len(smaller) >= MOST_SEGMENTS:
            return smaller
    return []


async def call_for_merge(app: App, tenant_id: UUID, collection_id: UUID) -> None:
    """Have a collection's index merged. Done once in a while: thousands of documents may come at once."""
    merging = TASKS.get("fulltext.merge_segments")
    if merging and await app.redis.set(f"folkmoot:merge:{collection_id}", "1", nx=True, ex=CALL_SECONDS):
        await app.sessions.jobs.send(merging, {"tenant_id": tenant_id, "collection_id": collection_id})


async def merge(app: App, tenant_id: UUID, collection_id: UUID) -> bool:
    """Merge some segments of a collection, if it is time. Returns whether there may be more to merge."""
    principal = Principal.system(tenant_id)
    async with app.begin(principal) as work:
        # One merge of a collection at a time; who comes second leaves it to the first.
        lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
        if not await work.session.scalar(lock, {"name": f"folkmoot.text.{collection_id}"}):
            return False
        of_collection = TextSegment.collection_id == collection_id
        segments = (
            await work.session.execute(select(TextSegment.id, TextSegment.chunk_count).where(of_collection))
        ).all()
        deletions = list(
            await work.session.scalars(
                select(TextDeletion).where(TextDeletion.collection_id == collection_id).with_for_update()
            )
        )
        if len(segments) < FACTOR and not deletions:
            return False
        dead = Roll.joined([Roll.decode(deletion.chunks) for deletion in deletions])
        # Most merges are of fresh segments, without a deletion: then nobody reads their rolls to decide.
        rolls = await _rolls(work, [row.id for row in segments]) if len(dead) else {}
        sizes = [
            (row.id, row.chunk_count, int(np.isin(rolls[row.id].numbers, dead.numbers).sum()) if rolls else 0)
            for row in segments
        ]
        chosen = to_merge(sizes)
        if not chosen:
            if len(deletions) >= MOST_DELETIONS:
                await _gather(work, tenant_id, collection_id, [row.id for row in deletions], dead)
            return False
        chosen_rolls = rolls or await _rolls(work, chosen)
        whole = Roll.joined([chosen_rolls[segment_id] for segment_id in chosen])
        alive = ~np.isin(whole.numbers, dead.numbers)
        await _merge_into_one(work, tenant_id, collection_id, chosen, whole.only(alive), dead)
        if len(dead):
            left = dead.only(~np.isin(dead.numbers, whole.numbers))
            await _gather(work, tenant_id, collection_id, [row.id for row in deletions], left)
    log.debug("text.merged", collection=str(collection_id), segments=len(chosen), chunks=len(whole))
    return True


async def _gather(work: Work, tenant_id: UUID, collection_id: UUID, deletions: Sequence[UUID], left: Roll) -> None:
    """Put what is left of some deletions in their place."""
    await work.session.execute(delete(TextDeletion).where(TextDeletion.id.in_(deletions)))
    if len(left):
        await _write_deletion(work, tenant_id, collection_id, left)


async def _rolls(work: Work, segment_ids: Sequence[UUID]) -> dict[UUID, Roll]:
    query = select(TextSegment.id, TextSegment.chunks).where(TextSegment.id.in_(segment_ids))
    return {row.id: Roll.decode(row.chunks) for row in await work.session.execute(query)}


async def _merge_into_one(
    work: Work, tenant_id: UUID, collection_id: UUID, chosen: Sequence[UUID], alive: Roll, dead: Roll
) -> None:
    of_chosen = TextSegment.id.in_(chosen)
    languages = {
        code for codes in await work.session.scalars(select(TextSegment.languages).where(of_chosen)) for code in codes
    }
    segment_id = await _write_segment(work, tenant_id, collection_id, sorted(languages), alive)
    size = 0
    async with aclosing(_in_order(work, chosen)) as rounds:
        async for parts in rounds:
            joined = await asyncio.to_thread(Postings.joined, parts, dead.numbers)
            if len(joined):
                blocks = _encoded(joined)
                await _write_blocks(work, tenant_id, segment_id, blocks)
                size += _size(blocks)
    await work.session.execute(update(TextSegment).where(TextSegment.id == segment_id).values(size=size))
    await work.session.execute(delete(TextBlock).where(TextBlock.segment_id.in_(chosen)))
    await work.session.execute(delete(TextSegment).where(of_chosen))


_ROUND = text(
    "SELECT b.first_key, b.data FROM text_blocks b"
    " WHERE b.segment_id = ANY(:segments) AND b.first_key >= :low AND b.first_key <= :high"
).bindparams(bindparam("segments", type_=ARRAY(PG_UUID(as_uuid=True))))
_LOWEST, _HIGHEST = -(2**63), 2**63


async def _in_order(work: Work, segments: Sequence[UUID]) -> AsyncGenerator[list[Postings]]:
    """The blocks of all segments, in rounds of rising keys: no word is in two rounds.

    Keys are hashes and so evenly spread: equal steps through them are about equal amounts of postings.
    """
    total = await work.session.scalar(
        select(func.coalesce(func.sum(TextSegment.size), 0)).where(TextSegment.id.in_(segments))
    )
    steps = int(total or 0) // STEP_BYTES + 1
    bounds = [_LOWEST + (_HIGHEST - _LOWEST) * step // steps for step in range(steps + 1)]
    waiting: list[Postings] = []
    for low, high in pairwise(bounds):
        rows = await work.session.execute(_ROUND, {"segments": list(segments), "low": low, "high": high - 1})
        waiting += [Postings.decode(row.data) for row in rows]
        if high == _HIGHEST:
            if waiting:
                yield waiting
            return
        # The last block of a segment may go on past the end of the step: that part waits.
        cuts = [int(np.searchsorted(part.keys, high)) for part in waiting]
        ready = [part.between(0, cut) for part, cut in zip(waiting, cuts, strict=True) if cut]
        waiting = [part.between(cut, len(part)) for part, cut in zip(waiting, cuts, strict=True) if cut < len(part)]
        if ready:
            yield ready
