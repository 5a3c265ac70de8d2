"""A collection of a million chunks with vectors of 384 dimensions: `python -m benchmarks million [--chunks N]`.

All goes through the product's own search, asked in this process: filters, full text, vectors, fusion, loading. Only the
question's vector is given, since it is the index that is measured and not a model. References from the same run: the
exact scan of all vectors, for time and for recall, and PostgreSQL's own full text (`ts_rank` over a GIN index) on the
same chunks.

The words are drawn by Zipf's law from a vocabulary that grows with the text, as in natural language, with questions of
three to eight words. The vectors lie around the topics of their documents, with 48 directions of their own and noise in
all 384: like those of a sentence model, they fill few of their dimensions.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
from uuid_utils.compat import uuid7

from benchmarks.house import within
from benchmarks.report import Report
from folkmoot.ai.models import Connection, Model
from folkmoot.assemble import assemble
from folkmoot.embedded import Endpoints
from folkmoot.fulltext import bm25
from folkmoot.fulltext import index as textindex
from folkmoot.fulltext.words import key_of
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.knowledge import numbers
from folkmoot.knowledge.embedding.spaces import Searched
from folkmoot.knowledge.embedding.vectors import nearest
from folkmoot.knowledge.filters import Filters, allowed
from folkmoot.knowledge.models import Collection, EmbeddingSpace
from folkmoot.knowledge.passages import joined
from folkmoot.knowledge.search import Retrieval
from folkmoot.settings import Settings
from folkmoot.spaces.models import Space
from folkmoot.tenants.service import TenantService

CHUNKS = 1_000_000
PER_DOCUMENT = 10
DIMENSIONS = 384
PARTS = 50
"""The filter keeps the documents of one of so many parts: 2 %."""
WORDS = 60
VOCABULARY = 400_000
BATCH = 20_000
QUESTIONS = 60
TOP = 10
POOL = 100
TOPICS, DIRECTIONS = 2_000, 48


@dataclass
class Library:
    app: App
    tenant_id: UUID
    collection_id: UUID
    space_id: UUID
    chunks: int
    dice: np.random.Generator
    topics: Any
    directions: Any

    @property
    def principal(self) -> Principal:
        return Principal.system(self.tenant_id)


def run(report: Report, folder: Path, chunks: int = CHUNKS) -> None:
    within(folder, lambda settings, points: _measure(report, settings, points, chunks))


async def _measure(report: Report, settings: Settings, points: Endpoints, chunks: int) -> None:
    async with assemble(settings) as app, asyncpg.create_pool(points.superuser_url, min_size=1, max_size=2) as bare:
        library, asked = await _filled(report, app, bare, chunks)
        await _indexed(report, bare)
        await _vectors(report, library, bare)
        await _texts(report, library, bare, asked)
        await _both(report, library, asked)


async def _filled(report: Report, app: App, bare: asyncpg.Pool, chunks: int) -> tuple[Library, list[str]]:
    """The collection, and questions of its words."""
    dice = np.random.default_rng(7)
    async with app.begin(Principal.platform()) as work:
        tenant_id = (await TenantService(work).create("Bench")).id
    of, collection_id, space_id = await _rows_above(app, tenant_id, chunks)
    documents = [uuid7() for _ in range(chunks // PER_DOCUMENT)]
    library = Library(
        app=app,
        tenant_id=tenant_id,
        collection_id=collection_id,
        space_id=space_id,
        chunks=chunks,
        dice=dice,
        topics=_unit(dice.standard_normal((TOPICS, DIMENSIONS), np.float32)),
        directions=_unit(dice.standard_normal((DIRECTIONS, DIMENSIONS), np.float32)),
    )
    await _documents(bare, library, documents, of)
    keys = np.array([key_of(f"w{rank}") for rank in range(VOCABULARY)], np.int64)
    # Zipf and Mandelbrot's law, without the thirty commonest, which would be stop words.
    likely = 1.0 / (np.arange(VOCABULARY) + 30.0)
    edges = np.cumsum(likely / likely.sum())
    asked: list[str] = []
    begun = time.perf_counter()
    await bare.execute(f"DROP INDEX ix_chunk_vectors_{DIMENSIONS}")
    for start in range(0, chunks, BATCH):
        size = min(BATCH, chunks - start)
        words = np.minimum(np.searchsorted(edges, dice.random((size, WORDS))), VOCABULARY - 1).astype(np.int32)
        await _batch(bare, library, documents, start, words, keys)
        if len(asked) < QUESTIONS:
            asked += _questions_of(dice, words[:QUESTIONS])
        print(f"\r{start + size:,} chunks", end="", flush=True)
    print(f" made in {time.perf_counter() - begun:.0f} s")
    made = await bare.fetchval("SELECT count(*) FROM text_segments")
    begun = time.perf_counter()
    while await textindex.merge(app, tenant_id, collection_id):
        pass
    merged = time.perf_counter() - begun
    size = float(await bare.fetchval("SELECT sum(size) FROM text_segments"))
    segments = await bare.fetchval("SELECT count(*) FROM text_segments")
    report.note(f"full-text index: {size / 1e6:,.0f} MB; {made} segments merged to {segments} in {merged:.0f} s")
    return library, asked[:QUESTIONS]


def _questions_of(dice: np.random.Generator, words: Any) -> list[str]:
    """Three to eight words of one chunk each, so that what is common in the text is common in questions too."""
    sizes = dice.integers(3, 9, len(words))
    return [" ".join(f"w{rank}" for rank in ranks[:size]) for ranks, size in zip(words, sizes, strict=True)]


async def _rows_above(app: App, tenant_id: UUID, chunks: int) -> tuple[UUID, UUID, UUID]:
    """A space, a collection in it and an embedding space."""
    async with app.begin(Principal.system(tenant_id)) as work:
        of = {"tenant_id": tenant_id}
        space = Space(**of, name="Bench")
        connection = Connection(**of, kind="none", name="None", config=b"")
        work.session.add_all([space, connection])
        await work.session.flush()
        model = Model(**of, connection_id=connection.id, name="none", kind="embedding", info={}, enabled=False, rank=0)
        work.session.add(model)
        await work.session.flush()
        vectors = EmbeddingSpace(**of, model_id=model.id, dimensions=DIMENSIONS)
        work.session.add(vectors)
        await work.session.flush()
        collection = Collection(
            **of, space_id=space.id, name="Million", embedding_space_id=vectors.id, next_number=chunks, large=True
        )
        work.session.add(collection)
        await work.session.flush()
        return space.id, collection.id, vectors.id


async def _documents(bare: asyncpg.Pool, library: Library, documents: Sequence[UUID], space_id: UUID) -> None:
    file_id = uuid7()
    await bare.execute(
        "INSERT INTO files (id, tenant_id, name, size, sha256, storage_key) VALUES ($1, $2, 'x', 0, '', 'x')",
        file_id,
        library.tenant_id,
    )
    await bare.execute(
        "INSERT INTO documents (id, tenant_id, collection_id, space_id, file_id, name, media_type, size, content_hash,"
        " status, step, attempts, progress, warnings, language, chunk_count, term_count, metadata)"
        " SELECT id, $2, $3, $4, $5, 'Document ' || n, 'text/plain', 0, '', 'ready', '', 1, 1, '[]', '', $6, $7,"
        " jsonb_build_object('part', (n - 1) % $8) FROM unnest($1::uuid[]) WITH ORDINALITY AS d(id, n)",
        documents,
        library.tenant_id,
        library.collection_id,
        space_id,
        file_id,
        PER_DOCUMENT,
        PER_DOCUMENT * WORDS,
        PARTS,
    )
    await bare.execute(
        "INSERT INTO document_facts (tenant_id, collection_id, name, value, document_id)"
        " SELECT tenant_id, collection_id, 'part', metadata ->> 'part', id FROM documents"
    )
    await bare.execute("VACUUM ANALYZE document_facts")
    await bare.execute("VACUUM ANALYZE documents")


async def _batch(
    bare: asyncpg.Pool, library: Library, documents: Sequence[UUID], start: int, words: Any, keys: Any
) -> None:
    size = len(words)
    of_document = [documents[number // PER_DOCUMENT] for number in range(start, start + size)]
    ids = [uuid7() for _ in range(size)]
    chunks: list[tuple[int, dict[int, int], int]] = []
    rows: list[tuple[Any, ...]] = []
    of_tenant = (library.tenant_id, library.collection_id)
    for at, ranks in enumerate(words):
        different, times = np.unique(ranks, return_counts=True)
        chunks.append((start + at, dict(zip(keys[different].tolist(), times.tolist(), strict=True)), WORDS))
        text = " ".join(f"w{rank}" for rank in ranks.tolist())
        place = (start + at) % PER_DOCUMENT
        where = (start + at, place, text, "", 0, len(text))
        rows.append((ids[at], *of_tenant, of_document[at], *where, WORDS, "", WORDS, ""))
    vectors = _vectors_of(library, start, size)
    async with bare.acquire() as connection, connection.transaction():
        await connection.copy_records_to_table(
            "chunks",
            records=rows,
            columns=["id", "tenant_id", "collection_id", "document_id", "number", "ordinal", "text", "context", "start",
                     "end", "token_count", "content_hash", "term_count", "language"],
        )  # fmt: skip
        await connection.set_type_codec("halfvec", schema="public", encoder=_encoded, decoder=bytes, format="binary")
        await connection.copy_records_to_table(
            "chunk_vectors",
            records=[
                (*of_tenant, ids[at], library.space_id, of_document[at], DIMENSIONS, True, vectors[at])
                for at in range(size)
            ],
            columns=["tenant_id", "collection_id", "chunk_id", "space_id", "document_id", "dimensions", "indexed",
                     "embedding"],
        )  # fmt: skip
    async with library.app.begin(library.principal) as work:
        await textindex.add(work, library.tenant_id, library.collection_id, "", chunks)


def _encoded(vector: Any) -> bytes:
    """As pgvector sends a `halfvec`: its length, nothing, and the numbers, the high byte first."""
    return struct.pack(">HH", len(vector), 0) + vector.astype(">f2").tobytes()


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _vectors_of(library: Library, start: int, size: int) -> Any:
    dice = library.dice
    topics = (np.arange(start, start + size) // PER_DOCUMENT * 7919) % TOPICS
    spread = dice.standard_normal((size, DIRECTIONS), np.float32) @ library.directions
    noise = dice.standard_normal((size, DIMENSIONS), np.float32)
    return _unit(library.topics[topics] + 0.12 * spread + 0.02 * noise)


def _questions(library: Library, count: int) -> list[list[float]]:
    """Vectors about as near to some chunks as a question is to its answer."""
    places = library.dice.integers(0, library.chunks, count)
    return [_vectors_of(library, int(place), 1)[0].tolist() for place in places]


async def _indexed(report: Report, bare: asyncpg.Pool) -> None:
    async with bare.acquire() as connection:
        name = f"ix_chunk_vectors_{DIMENSIONS}"
        await connection.execute("SET maintenance_work_mem = '3GB'; SET max_parallel_maintenance_workers = 2")
        begun = time.perf_counter()
        await connection.execute(
            f"CREATE INDEX {name} ON chunk_vectors USING hnsw ((embedding::halfvec({DIMENSIONS})) halfvec_ip_ops)"
            f" WHERE dimensions = {DIMENSIONS} AND indexed",
            timeout=7200,
        )
        took = time.perf_counter() - begun
        await connection.execute("VACUUM ANALYZE chunk_vectors; ", timeout=600)
        await connection.execute("VACUUM ANALYZE chunks", timeout=600)
        size = await connection.fetchval(
            "SELECT sum(pg_relation_size(i.indexrelid)) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am m ON m.oid = c.relam WHERE m.amname = 'hnsw'"
        )
        rows = await connection.fetchval(
            "SELECT sum(pg_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'chunk_vectors'::regclass"
        )
        report.note(
            f"vector index (HNSW): built in {took:.0f} s, {float(size) / 1e6:,.0f} MB;"
            f" vectors {float(rows) / 1e6:,.0f} MB"
        )


async def _timed(ask: Callable[[Any], Awaitable[Any]], questions: Sequence[Any]) -> tuple[float, float, list[Any]]:
    """Median and p95 in ms, and the answers. Asked once before, so that what is read is in memory."""
    for question in questions[:10]:
        await ask(question)
    took: list[float] = []
    answers: list[Any] = []
    for question in questions:
        begun = time.perf_counter()
        answers.append(await ask(question))
        took.append((time.perf_counter() - begun) * 1000)
    return median(took), sorted(took)[int(len(took) * 0.95)], answers


async def _exact(library: Library, bare: asyncpg.Pool, vector: Sequence[float], part: int | None) -> list[UUID]:
    only = (
        ""
        if part is None
        else f" AND document_id IN (SELECT id FROM documents WHERE metadata @> '{{\"part\": {part}}}')"
    )
    rows = await bare.fetch(
        f"SELECT chunk_id FROM chunk_vectors WHERE collection_id = $1{only}"
        f" ORDER BY (embedding::halfvec({DIMENSIONS}) <#> $2::text::halfvec({DIMENSIONS})) + 0 LIMIT {TOP}",
        library.collection_id,
        str(list(vector)),
    )
    return [row[0] for row in rows]


async def _vectors(report: Report, library: Library, bare: asyncpg.Pool) -> None:
    async def found(vector: list[float], part: int | None) -> list[UUID]:
        async with library.app.begin(library.principal) as work:
            filters = None if part is None else Filters(metadata={"part": part})
            documents = await allowed(work, [library.collection_id], filters)
            near = await nearest(work, [library.collection_id], library.space_id, DIMENSIONS, vector, POOL, documents)
        return [chunk_id for chunk_id, _ in near[:TOP]]

    questions = _questions(library, QUESTIONS)
    for name, part, goal in (("a filter that keeps 2 %", 7, 25.0), ("no filter", None, 15.0)):
        middle, slow, answers = await _timed(lambda vector, part=part: found(vector, part), questions)
        begun = time.perf_counter()
        truth = [await _exact(library, bare, vector, part) for vector in questions[:20]]
        scan = (time.perf_counter() - begun) / 20 * 1000
        shares = [len(set(right) & set(got)) / TOP for right, got in zip(truth, answers, strict=False)]
        recall = sum(shares) / len(shares)
        report.line(f"vectors, {name}, median", middle, "ms", goal, f"p95 {slow:.1f} ms; exact scan {scan:.0f} ms")
        if part is not None:
            report.at_least(f"vectors, {name}, recall@10", recall, "", 0.98, "against the exact scan")
        else:
            report.note(f"vectors, {name}, recall@10 {recall:.3f} against the exact scan")


async def _texts(report: Report, library: Library, bare: asyncpg.Pool, asked: Sequence[str]) -> None:
    async def found(query: str, part: int | None) -> int:
        async with library.app.begin(library.principal) as work:
            filters = None if part is None else Filters(metadata={"part": part})
            documents = await allowed(work, [library.collection_id], filters)
            sizes = await numbers.given(work, [library.collection_id])
            passing = (
                None if documents is None else await numbers.of_documents(work, [library.collection_id], documents)
            )
            read = await bm25.read(work, sizes, query, passing)
        return len((await bm25.rank(read, POOL)).matches)

    await bare.execute(
        "CREATE TABLE plain AS SELECT number, to_tsvector('simple', text) AS words FROM chunks;"
        " CREATE INDEX ix_plain ON plain USING gin (words); ANALYZE plain",
        timeout=3600,
    )

    async def plain(query: str) -> int:
        rows = await bare.fetch(
            "SELECT number FROM plain, to_tsquery('simple', $1) q WHERE words @@ q"
            f" ORDER BY ts_rank(words, q) DESC LIMIT {POOL}",
            query.replace(" ", " | "),
        )
        return len(rows)

    reference, _, _ = await _timed(plain, asked[:12])
    for name, part in (("no filter", None), ("a filter that keeps 2 %", 7)):
        middle, slow, _ = await _timed(lambda query, part=part: found(query, part), asked)
        report.line(
            f"full text, {name}, median", middle, "ms", 40, f"p95 {slow:.1f} ms; ts_rank over GIN {reference:.0f} ms"
        )


async def _both(report: Report, library: Library, asked: Sequence[str]) -> None:
    """The product's own search, but for the model that would embed the question."""
    vectors = dict(zip(asked, _questions(library, len(asked)), strict=True))
    space = Searched(library.space_id, library.space_id, DIMENSIONS, [library.collection_id])

    async def found(query: str, part: int | None) -> int:
        filters = None if part is None else Filters(metadata={"part": part})
        retrieval = Retrieval(library.app, library.principal, [library.collection_id], query)
        await retrieval.begin(filters)
        _, near = await asyncio.gather(retrieval.words(), retrieval.near(space, vectors[query]))
        hits = await retrieval.hits([near], TOP)
        return len(await joined(library.app, library.principal, hits, TOP))

    for name, part in (("no filter", None), ("a filter that keeps 2 %", 7)):
        middle, slow, _ = await _timed(lambda query, part=part: found(query, part), asked)
        report.line(f"full text and vectors, {name}, median", middle, "ms", 40, f"p95 {slow:.1f} ms")
