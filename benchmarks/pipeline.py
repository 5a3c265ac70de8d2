"""How fast plain text becomes searchable, without an embedding model: `python -m benchmarks pipeline`.

Parsed in its own process, cut, indexed and stored by a worker in this process; PostgreSQL is on the same machine. It is
over when every document is ready and the index is merged. Reference, in the same run: the same chunks inserted with
PostgreSQL's own `to_tsvector` and a GIN index, from one connection, without parsing and cutting.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
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
from folkmoot.worker import working

DOCUMENTS = 600
SECTIONS = 45
"""Each about one chunk."""
GOAL = 1500


def run(report: Report, folder: Path) -> None:
    within(folder, lambda settings, points: _measure(report, settings, points), ingest_slots=2)


async def _measure(report: Report, settings: Settings, points: Endpoints) -> None:
    async with assemble(settings) as app:
        tenant_id, collection_id = await _queued(app)
        begun = time.perf_counter()
        async with working(app):
            await _until_ready(app, tenant_id)
        while await merge(app, tenant_id, collection_id):
            pass
        took = time.perf_counter() - begun
        async with asyncpg.create_pool(points.superuser_url, min_size=1, max_size=1) as bare:
            chunks = await bare.fetchval("SELECT count(*) FROM chunks")
            reference = await _reference(bare)
    report.at_least(
        "plain text, parsed, cut, indexed and stored",
        chunks / took,
        "/s",
        GOAL,
        f"{chunks:,} chunks of {DOCUMENTS} documents in {took:.1f} s;"
        f" to_tsvector and GIN alone {chunks / reference:.0f}/s",
    )


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
