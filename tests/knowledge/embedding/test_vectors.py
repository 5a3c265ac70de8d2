"""The nearest vectors: what is found by comparing and by the index is the same, whatever the filter."""

from __future__ import annotations

from uuid import UUID, uuid4

import numpy as np
import pytest
from folkmoot_sdk import BadResponse
from sqlalchemy import insert, text, update

from folkmoot.files.models import File
from folkmoot.kit.access import Principal
from folkmoot.knowledge.embedding import vectors
from folkmoot.knowledge.embedding.spaces import open_space
from folkmoot.knowledge.embedding.tasks import grow_collection
from folkmoot.knowledge.models import Chunk, Collection, Document

DIMENSIONS = 384
PER_DOCUMENT = 5


class Planted:
    """A collection whose chunks were never read from a file, with a vector for each."""

    def __init__(self, app, owner, collection: UUID, space: UUID, documents: list[UUID], ids: list[UUID], rows) -> None:
        self.app, self.principal = app, Principal.system(owner.tenant_id)
        self.collection, self.space, self.documents, self.ids = collection, space, documents, ids
        self.rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def best(self, question, pool: int, documents: list[UUID] | None = None) -> list[UUID]:
        near = self.rows @ (question / np.linalg.norm(question))
        allowed = set(documents if documents is not None else self.documents)
        order = [at for at in np.argsort(-near) if self.documents[at // PER_DOCUMENT] in allowed]
        return [self.ids[at] for at in order[:pool]]

    async def nearest(self, question, pool: int = 10, documents: list[UUID] | None = None, others=()) -> list[UUID]:
        async with self.app.begin(self.principal) as work:
            found = await vectors.nearest(
                work, [self.collection, *others], self.space, len(question), question.tolist(), pool, documents
            )
        assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
        return [chunk_id for chunk_id, _ in found]

    async def recall(self, questions, documents: list[UUID] | None = None) -> float:
        shares = []
        for question in questions:
            right = set(self.best(question, 10, documents))
            shares.append(len(right & set(await self.nearest(question, 10, documents))) / len(right))
        return sum(shares) / len(shares)

    async def grown(self, most: int = 1000) -> None:
        async with self.app.begin(self.principal) as work:
            await vectors.grow(work, self.collection, most)


def clustered(draw: np.random.Generator, count: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    """Vectors as texts have them: around a number of subjects."""
    subjects = np.random.default_rng(1).normal(size=(20, dimensions))
    return subjects[draw.integers(0, 20, count)] + 0.7 * draw.normal(size=(count, dimensions))


@pytest.fixture
def plant(app):
    async def make(owner, count: int = 600, dimensions: int = DIMENSIONS, seed: int = 2) -> Planted:
        space_id = UUID(await owner.space())
        collection = UUID(await owner.collection(str(space_id)))
        rows = clustered(np.random.default_rng(seed), count, dimensions)
        model = UUID((await owner.get("/models")).json()["items"][0]["id"])
        ids = [uuid4() for _ in range(count)]
        documents = [uuid4() for _ in range(-(-count // PER_DOCUMENT))]
        tenant = {"tenant_id": owner.tenant_id}
        async with app.begin(Principal.system(owner.tenant_id)) as work:
            file = uuid4()
            await work.session.execute(
                insert(File).values(id=file, **tenant, name="a", size=1, sha256="", storage_key=f"never/{file}")
            )
            held = {"collection_id": collection, **tenant}
            await work.session.execute(
                insert(Document),
                [
                    {"id": each, **held, "space_id": space_id, "file_id": file, "name": "a", "size": 1}
                    | {"content_hash": "", "status": "ready", "chunk_count": PER_DOCUMENT}
                    for each in documents
                ],
            )
            await work.session.execute(
                insert(Chunk),
                [
                    {"id": each, **held, "document_id": documents[at // PER_DOCUMENT], "number": at}
                    | {"ordinal": at % PER_DOCUMENT, "text": "a", "start": 0, "end": 1}
                    | {"token_count": 1, "content_hash": str(at), "term_count": 1}
                    for at, each in enumerate(ids)
                ],
            )
            space = await open_space(work, model, "", dimensions)
            await work.session.execute(
                update(Collection)
                .where(Collection.id == collection)
                .values(embedding_space_id=space, next_number=count)
            )
            for at in range(0, count, 200):
                batch = list(zip(ids[at : at + 200], rows[at : at + 200].tolist(), strict=True))
                await vectors.add(work, collection, space, dimensions, batch)
        return Planted(app, owner, collection, space, documents, ids, rows)

    return make


@pytest.fixture
def small_limits(monkeypatch):
    """As if some hundred vectors were many."""
    monkeypatch.setattr(vectors, "LARGE", 200)
    monkeypatch.setattr(vectors, "EXACT_MOST", 150)


@pytest.fixture
def looked_up(monkeypatch):
    """How often the index was asked."""
    asked = []
    look_up = vectors._Looking.look_up

    async def watched(self, collection_id):
        asked.append(collection_id)
        return await look_up(self, collection_id)

    monkeypatch.setattr(vectors._Looking, "look_up", watched)
    return asked


QUESTIONS = clustered(np.random.default_rng(3), 15)


async def test_a_small_collection_is_compared_exactly(owner, plant, looked_up):
    planted = await plant(owner, 300)
    for question in QUESTIONS[:5]:
        assert await planted.nearest(question) == planted.best(question, 10)
    assert looked_up == []


async def test_only_documents_that_pass_are_found(owner, plant):
    planted = await plant(owner, 300)
    some = planted.documents[3:9]
    assert await planted.nearest(QUESTIONS[0], 100, some) == planted.best(QUESTIONS[0], 100, some)
    assert await planted.nearest(QUESTIONS[0], 100, []) == []
    assert await planted.nearest(QUESTIONS[0], 100, [uuid4()]) == []


async def test_a_large_collection_is_looked_up_in_its_index(owner, plant, small_limits, looked_up):
    planted = await plant(owner)
    await planted.grown()
    assert await planted.recall(QUESTIONS) >= 0.98
    assert len(looked_up) == len(QUESTIONS)


async def test_the_index_is_what_postgresql_really_takes(owner, plant, small_limits, superuser):
    planted = await plant(owner)
    await planted.grown()
    index = text(
        "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes i JOIN pg_index x USING (indexrelid)"
        " JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'hnsw'"
    )

    async def scans() -> int:
        async with superuser.connect() as connection:
            return await connection.scalar(index)

    plans = []
    async with planted.app.begin(planted.principal) as work:
        looking = vectors._Looking(work, planted.space, DIMENSIONS, QUESTIONS[0].tolist(), 10, None)
        execute = work.session.execute

        async def explained(query, values=None):
            if "FROM chunk_vectors" in str(query):
                rows = await execute(text(f"EXPLAIN {query}").bindparams(*query._bindparams.values()), values)
                plans.append("\n".join(rows.scalars()))
            return await execute(query, values)

        work.session.execute = explained
        await looking.look_up(planted.collection)
        await looking.compare([planted.collection])
    by_index, compared = plans
    assert "Order By: ((embedding)::halfvec(384) <#>" in by_index
    assert "Sort" not in by_index
    assert by_index.count("Index Scan") == 1, "one partition is enough"
    assert "Sort Key" in compared
    assert "Order By" not in compared


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
async def test_no_filter_costs_recall(owner, plant, small_limits, share):
    planted = await plant(owner)
    await planted.grown()
    kept = [planted.documents[at] for at in np.random.default_rng(4).permutation(len(planted.documents))]
    assert await planted.recall(QUESTIONS, kept[: max(1, int(share * len(kept)))]) >= 0.98


async def test_a_filter_far_from_the_question_still_finds_what_it_keeps(owner, plant, small_limits, monkeypatch):
    planted = await plant(owner)
    await planted.grown()
    monkeypatch.setattr(vectors, "MOST_SCANNED", 1)
    near = planted.best(QUESTIONS[0], 600)
    last = {planted.documents[planted.ids.index(each) // PER_DOCUMENT] for each in near[-300:]}
    first = {planted.documents[planted.ids.index(each) // PER_DOCUMENT] for each in near[:100]}
    kept = sorted(last - first)
    assert len(kept) * PER_DOCUMENT > vectors.EXACT_MOST
    assert await planted.nearest(QUESTIONS[0], 10, kept) == planted.best(QUESTIONS[0], 10, kept)


async def test_a_large_collection_and_small_ones_are_searched_as_one(owner, plant, small_limits, looked_up):
    large, small = await plant(owner, 600), await plant(owner, 100, seed=9)
    await large.grown()
    found = await large.nearest(QUESTIONS[0], 20, others=[small.collection])
    rows, ids = np.concatenate([large.rows, small.rows]), large.ids + small.ids
    right = [ids[at] for at in np.argsort(-(rows @ (QUESTIONS[0] / np.linalg.norm(QUESTIONS[0]))))[:20]]
    assert len(set(found) & set(right)) >= 19
    assert set(found) & set(small.ids)
    assert looked_up == [large.collection]


async def test_while_a_collection_grows_everything_is_found(owner, plant, small_limits, count):
    planted = await plant(owner)
    for _ in range(3):
        await planted.grown(150)
        assert await planted.recall(QUESTIONS[:6]) >= 0.98
    assert await count("chunk_vectors", f"collection_id = '{planted.collection}' AND NOT indexed") == 150


async def test_a_collection_that_has_grown_is_put_into_the_index_by_the_worker(
    owner, plant, small_limits, count, app, monkeypatch
):
    monkeypatch.setattr(vectors, "INDEX_BATCH", 250)
    planted = await plant(owner)
    async with app.begin(planted.principal) as work:
        assert planted.collection in await vectors.grown(work)
    await grow_collection.run(app, tenant_id=str(owner.tenant_id), collection_id=str(planted.collection))
    assert await count("collections", f"id = '{planted.collection}' AND large") == 1
    assert await count("chunk_vectors", f"collection_id = '{planted.collection}' AND NOT indexed") == 0
    async with app.begin(planted.principal) as work:
        assert await vectors.grown(work) == []


async def test_what_comes_to_a_large_collection_is_indexed_at_once(owner, plant, small_limits, count, app):
    planted = await plant(owner)
    await planted.grown()
    async with app.begin(planted.principal) as work:
        await work.session.execute(text("DELETE FROM chunk_vectors WHERE chunk_id = :chunk"), {"chunk": planted.ids[0]})
        await vectors.add(
            work, planted.collection, planted.space, DIMENSIONS, [(planted.ids[0], planted.rows[0].tolist())]
        )
    assert await count("chunk_vectors", f"chunk_id = '{planted.ids[0]}' AND indexed") == 1


async def test_a_length_without_an_index_is_compared_however_large_it_is(owner, plant, small_limits, looked_up, count):
    planted = await plant(owner, 300, dimensions=100)
    await planted.grown()
    question = clustered(np.random.default_rng(5), 1, 100)[0]
    assert await planted.nearest(question) == planted.best(question, 10)
    assert looked_up == []
    assert await count("chunk_vectors", f"collection_id = '{planted.collection}' AND indexed") == 0


async def test_another_organisation_finds_nothing_in_it(owner, tenancy, plant, app):
    planted = await plant(owner, 50)
    stranger = await tenancy.owner()
    async with app.begin(Principal.system(stranger.tenant_id)) as work:
        question = QUESTIONS[0].tolist()
        assert await vectors.nearest(work, [planted.collection], planted.space, DIMENSIONS, question, 10) == []


async def test_vectors_of_chunks_that_are_gone_are_left_out(owner, plant, app):
    planted = await plant(owner, 50)
    async with app.begin(planted.principal) as work:
        await vectors.add(work, planted.collection, planted.space, DIMENSIONS, [(uuid4(), [1.0] * DIMENSIONS)])
    assert len(await planted.nearest(np.ones(DIMENSIONS), 100)) == 50


async def test_very_small_and_very_large_numbers_keep_their_direction(owner, plant, app):
    planted = await plant(owner, 5)
    tiny, huge = np.zeros(DIMENSIONS), np.zeros(DIMENSIONS)
    tiny[3], huge[7] = 1e-20, 60_000.0
    async with app.begin(planted.principal) as work:
        await work.session.execute(
            text("DELETE FROM chunk_vectors WHERE collection_id = :collection"), {"collection": planted.collection}
        )
        pairs = [(planted.ids[0], tiny.tolist()), (planted.ids[1], huge.tolist())]
        await vectors.add(work, planted.collection, planted.space, DIMENSIONS, pairs)
    assert await planted.nearest(tiny) == planted.ids[:2]
    assert (await planted.nearest(huge))[0] == planted.ids[1]


@pytest.mark.parametrize(
    "vector", [[], [0.0, 0.0], [float("nan"), 1.0], [1.0, float("inf")], [70_000.0], [1.0] * 16_001]
)
def test_a_vector_that_cannot_be_compared_is_refused(vector):
    with pytest.raises(BadResponse):
        vectors.check_vector(vector)


async def test_vectors_are_removed_in_batches(owner, plant, app):
    planted = await plant(owner, 250)
    removed = []
    while not removed or removed[-1]:
        async with app.begin(planted.principal) as work:
            removed.append(await vectors.remove_some(work, planted.collection, planted.space, 100))
    assert removed == [100, 100, 50, 0]
    assert await planted.nearest(QUESTIONS[0]) == []
