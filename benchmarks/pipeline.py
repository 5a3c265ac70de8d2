"""How fast plain text becomes searchable, without an embedding model: `python -m benchmarks pipeline`.

By worker processes as they are run in production, one and then two, with PostgreSQL on the same machine: from the first
document that one of them takes until every document is ready and the index is merged. Reference, in the same run: the
same chunks inserted with PostgreSQL's own `to_tsvector` and a GIN index, by one connection, not parsed and not cut.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
from sqlalchemy import func, select

from benchmarks.house import within
from benchmarks.report import Report
from folkmoot.assemble import assemble
from folkmoot.embedded import Endpoints
from folkmoot.files.service import FileService
from folkmoot.fulltext.index import merge
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.knowledge.models import Collection, Document
from folkmoot.knowledge.service import DocumentService
from folkmoot.knowledge.tasks import ingest_document
from folkmoot.settings import Settings
from folkmoot.spaces.models import Space
from folkmoot.tenants.service import TenantService

DOCUMENTS = 600
SECTIONS = 45
"""Each about one chunk."""
GOAL = 1500


def run(report: Report, folder: Path) -> None:
    for workers in (1, 2):
        place = folder / str(workers)
        place.mkdir()
        within(place, lambda settings, points, workers=workers: _measure(report, settings, points, workers))


async def _measure(report: Report, settings: Settings, points: Endpoints, workers: int) -> None:
    async with assemble(settings) as app, asyncpg.create_pool(points.superuser_url, min_size=1, max_size=1) as bare:
        tenant_id, collection_id = await _queued(app)
        with _working(settings, workers):
            await _until_ready(app, tenant_id)
            while await merge(app, tenant_id, collection_id):
                pass
            took = await bare.fetchval(_TOOK)
        chunks = await bare.fetchval("SELECT count(*) FROM chunks")
        if workers == 1:
            report.note(f"plain text, one worker: {chunks / took:,.0f} chunks/s")
            return
        reference = await _reference(bare)
    report.at_least(
        f"plain text to searchable, {workers} workers",
        chunks / took,
        "/s",
        GOAL,
        f"{chunks:,} chunks of {DOCUMENTS} documents in {took:.1f} s;"
        f" to_tsvector and GIN alone {chunks / reference:.0f}/s",
    )


_TOOK = (
    "SELECT CAST(extract(epoch FROM clock_timestamp() - min(created_at)) AS float8) FROM events"
    " WHERE action = 'document.processing'"
)


@contextmanager
def _working(settings: Settings, number: int) -> Iterator[None]:
    environment = dict(os.environ) | {
        "FOLKMOOT_DATABASE_URL": settings.database_url,
        "FOLKMOOT_REDIS_URL": settings.redis_url,
        "FOLKMOOT_SECRET_KEY": settings.secret_key[0],
        "FOLKMOOT_STORAGE_URL": settings.storage_url,
        "FOLKMOOT_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "folkmoot", "worker"]
    processes = [subprocess.Popen(command, env=environment) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


async def _queued(app: App) -> tuple[UUID, UUID]:
    async with app.begin(Principal.platform()) as work:
        tenant_id = (await TenantService(work).create("Bench")).id
    principal = Principal.system(tenant_id)
    async with app.begin(principal) as work:
        space = Space(tenant_id=tenant_id, name="Bench")
        work.session.add(space)
        await work.session.flush()
        collection = Collection(tenant_id=tenant_id, space_id=space.id, name="Texts")
        work.session.add(collection)
    dice = random.Random(7)
    words = [f"{a}{b}{c}" for a in _STARTS for b in _MIDDLES for c in _ENDS]
    for number in range(DOCUMENTS):
        file = await FileService(app).receive(principal, f"text{number}.txt", _once(_text(dice, words)))
        async with app.begin(principal) as work:
            await DocumentService(work, ingest_document).add(collection, file, "text/plain")
    return tenant_id, collection.id


_STARTS = ("re", "an", "for", "un", "be", "over", "ut", "in", "av", "till")
_MIDDLES = ("tal", "gar", "mel", "sten", "krav", "byg", "lag", "skog", "vatt", "hus")
_ENDS = ("ing", "en", "a", "arna", "et", "ningar", "erna", "ets")


def _text(dice: random.Random, words: list[str]) -> bytes:
    paragraphs = []
    for _ in range(SECTIONS):
        sentences = [" ".join(dice.choices(words, k=12)).capitalize() + "." for _ in range(14)]
        paragraphs.append(" ".join(sentences))
    return "\n\n".join(paragraphs).encode()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _until_ready(app: App, tenant_id: UUID) -> None:
    while True:
        async with app.begin(Principal.system(tenant_id)) as work:
            left = await work.session.scalar(
                select(func.count()).select_from(Document).where(Document.status.in_(("queued", "processing")))
            )
            failed = await work.session.scalar(select(Document.error_message).where(Document.status == "failed"))
        assert failed is None, failed
        if not left:
            return
        await asyncio.sleep(0.2)


async def _reference(bare: asyncpg.Pool) -> float:
    await bare.execute(
        "CREATE TABLE plain (id uuid PRIMARY KEY, text text, words tsvector);"
        " CREATE INDEX ix_plain ON plain USING gin (words)"
    )
    documents = [row[0] for row in await bare.fetch("SELECT DISTINCT document_id FROM chunks")]
    begun = time.perf_counter()
    for document_id in documents:
        await bare.execute(
            "INSERT INTO plain SELECT id, text, to_tsvector('swedish', text) FROM chunks WHERE document_id = $1",
            document_id,
        )
    return time.perf_counter() - begun
