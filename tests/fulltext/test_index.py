"""The full-text index as documents come and go: the same answers before and after a merge."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from folkmoot.fulltext import bm25
from folkmoot.fulltext import index as textindex
from folkmoot.fulltext.index import FACTOR, MOST_DELETIONS, merge, to_merge
from folkmoot.fulltext.models import TextBlock, TextDeletion, TextSegment
from folkmoot.kit.access import Principal
from folkmoot.knowledge import numbers
from folkmoot.knowledge.models import Chunk, Collection, Document

TEXTS = [f"Rule {n}: the {'fence' if n % 3 else 'boat'} at gate {n} is {n % 5} metres high." for n in range(24)]


@pytest.fixture
async def rules(owner):
    """A collection of many small documents, each a segment of its own."""
    collection = await owner.collection()
    await owner.knows(collection, *((f"rule{n}.txt", body.encode()) for n, body in enumerate(TEXTS)))
    return UUID(collection)


async def asked(app, owner, collection: UUID, query: str) -> list[tuple[str, float]]:
    """Names and scores, best first."""
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        found = await bm25.read(work, await numbers.given(work, [collection]), query)
        ranking = await bm25.rank(found, 50)
        ids = await numbers.chunk_ids(work, ranking.scope, [match.place for match in ranking.matches])
        rows = await work.session.execute(
            select(Chunk.id, Document.name).join(Document, Document.id == Chunk.document_id)
        )
        names = dict(tuple(row) for row in rows)
    return [(names[ids[match.place]], round(match.score, 4)) for match in ranking.matches if match.place in ids]


async def count(app, owner, model, collection: UUID) -> int:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        query = select(func.count()).select_from(model)
        if model is TextBlock:
            query = query.join(TextSegment, TextSegment.id == TextBlock.segment_id).where(
                TextSegment.collection_id == collection
            )
        else:
            query = query.where(model.collection_id == collection)
        return await work.session.scalar(query)


async def merged(app, owner, collection: UUID) -> None:
    while await merge(app, owner.tenant_id, collection):
        pass


async def test_a_merge_changes_no_answer(app, owner, rules):
    queries = ["fence", "boat 3 metres", "gate 7", "rule high"]
    before = [await asked(app, owner, rules, query) for query in queries]
    assert all(before)
    await merged(app, owner, rules)
    assert await count(app, owner, TextSegment, rules) < FACTOR
    assert [await asked(app, owner, rules, query) for query in queries] == before


async def test_what_was_deleted_is_found_no_more_and_counts_no_more(app, owner, rules):
    await merged(app, owner, rules)
    documents = (await owner.get(f"/collections/{rules}/documents", params={"limit": 100})).json()["items"]
    boats = [item for item in documents if item["name"] in {f"rule{n}.txt" for n in range(0, 24, 3)}]
    for item in boats[:7]:
        assert (await owner.delete(f"/documents/{item['id']}")).status_code == 204
    left = [n for n in range(24) if f"rule{n}.txt" not in {item["name"] for item in boats[:7]}]
    # The same as in a collection that never held the others.
    other = UUID(await owner.collection())
    await owner.knows(str(other), *((f"rule{n}.txt", TEXTS[n].encode()) for n in left))
    for query in ("boat", "fence high", "gate"):
        here, there = await asked(app, owner, rules, query), await asked(app, owner, other, query)
        assert sorted(here) == sorted(there)


async def test_many_deletions_are_gathered_and_then_written_out(app, owner, rules):
    await merged(app, owner, rules)
    principal = Principal.system(owner.tenant_id)
    async with app.begin(principal) as work:
        documents = list(await work.session.scalars(select(Document).where(Document.collection_id == rules).limit(5)))
        for document in documents:
            await numbers.forget_documents(work, rules, [document.id])
        for _ in range(MOST_DELETIONS):
            await textindex._write_deletion(work, owner.tenant_id, rules, textindex.Roll.of([], []))
    before = await asked(app, owner, rules, "fence boat")
    await merge(app, owner.tenant_id, rules)
    assert await count(app, owner, TextDeletion, rules) == 1
    assert await asked(app, owner, rules, "fence boat") == before


async def test_an_index_without_its_dead_has_no_deletions_left(app, owner, rules, monkeypatch):
    await merged(app, owner, rules)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        ids = list(await work.session.scalars(select(Document.id).where(Document.collection_id == rules).limit(12)))
        await numbers.forget_documents(work, rules, ids)
    before = await asked(app, owner, rules, "fence boat")
    monkeypatch.setattr(textindex, "FEWEST_DEAD", 1)
    monkeypatch.setattr(textindex, "DEAD_SHARE", 0)
    await merged(app, owner, rules)
    assert await count(app, owner, TextDeletion, rules) == 0
    assert await asked(app, owner, rules, "fence boat") == before
    assert len(before) == 12


async def test_a_merge_in_many_rounds_is_the_same(app, owner, rules, monkeypatch):
    before = await asked(app, owner, rules, "fence gate 7")
    monkeypatch.setattr(textindex, "STEP_BYTES", 500)
    await merged(app, owner, rules)
    assert await asked(app, owner, rules, "fence gate 7") == before


async def test_two_merges_at_once_lose_nothing(app, owner, rules):
    before = await asked(app, owner, rules, "fence boat gate")
    await asyncio.gather(*(merge(app, owner.tenant_id, rules) for _ in range(3)))
    assert await asked(app, owner, rules, "fence boat gate") == before


async def test_questions_are_answered_while_segments_are_merged(app, owner, rules):
    before = await asked(app, owner, rules, "fence boat gate")
    merging = asyncio.create_task(merged(app, owner, rules))
    while not merging.done():
        assert await asked(app, owner, rules, "fence boat gate") == before
    await merging


async def test_deleting_a_collection_takes_its_index_along(app, owner, rules):
    await merged(app, owner, rules)
    assert (await owner.delete(f"/collections/{rules}")).status_code == 204
    for model in (TextSegment, TextBlock, TextDeletion):
        assert await count(app, owner, model, rules) == 0


async def test_a_document_read_again_keeps_the_numbers_of_what_did_not_change(app, owner, rules):
    principal = Principal.system(owner.tenant_id)

    async def numbers() -> dict[UUID, int]:
        async with app.begin(principal) as work:
            rows = await work.session.execute(select(Chunk.id, Chunk.number).where(Chunk.collection_id == rules))
            return dict(tuple(row) for row in rows)

    before = await numbers()
    documents = (await owner.get(f"/collections/{rules}/documents", params={"limit": 1})).json()["items"]
    await owner.post(f"/documents/{documents[0]['id']}/retry")
    await _ready(owner, documents)
    assert await numbers() == before
    async with app.begin(principal) as work:
        assert await work.session.scalar(select(Collection.next_number).where(Collection.id == rules)) == len(before)


async def _ready(owner, documents) -> None:
    assert (await owner.read_through(documents[0]["id"]))["status"] == "ready"


def test_segments_of_one_size_are_merged_and_large_ones_left():
    ids = [uuid4() for _ in range(30)]
    small = [(ids[n], 3, 0) for n in range(FACTOR)]
    assert set(to_merge([*small, (ids[20], 50_000, 0)])) == set(ids[:FACTOR])
    assert to_merge(small[:-1]) == []
    assert to_merge([(ids[0], 1000, 250), (ids[1], 900, 0)]) == [ids[0]]
    uneven = [(ids[n], 2 ** (n // 2), 0) for n in range(24)]
    assert set(to_merge(uneven)) >= set(ids[:6])
