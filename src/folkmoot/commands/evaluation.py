"""Putting a set of documents and questions through the product's own ingestion and search."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import click
import msgspec
from folkmoot_sdk import Block, DocumentInfo, Source
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from sqlalchemy import select, update
from uuid_utils.compat import uuid7

from folkmoot import migrate
from folkmoot.ai.connect import connect
from folkmoot.assemble import assemble
from folkmoot.commands.known import Known, Row, SetError
from folkmoot.embedded import Engines
from folkmoot.files.models import File
from folkmoot.files.service import FileService
from folkmoot.fulltext.index import merge
from folkmoot.identity.models import User
from folkmoot.kit.access import Principal, permissions_of
from folkmoot.kit.app import App
from folkmoot.knowledge import chunk
from folkmoot.knowledge.embedding import fitness
from folkmoot.knowledge.embedding.embed import classes_of, embed_document, embedding_route, limits_of
from folkmoot.knowledge.golden import metrics
from folkmoot.knowledge.models import Document
from folkmoot.knowledge.schemas import CollectionCreate
from folkmoot.knowledge.search import search
from folkmoot.knowledge.service import CollectionService
from folkmoot.knowledge.store import Reading, store
from folkmoot.parsing.language import detect
from folkmoot.platform.service import ensure_first
from folkmoot.plugins.parsers import text as plain
from folkmoot.settings import LANES, Settings
from folkmoot.spaces.schemas import SpaceCreate
from folkmoot.spaces.service import SpaceService
from folkmoot.tenants.service import TenantService
from folkmoot.up import settings_for
from folkmoot.usage.ledger import Account

T = TypeVar("T")
PASSAGES = 3 * metrics.DEPTH
"""Asked for of each question: several may be of one document, which counts once."""
TIMED = 200
"""Questions that are asked one after the other, for the latency; the rest is asked a few at a time."""
AT_ONCE = 4
EMBEDDED_AT_ONCE = 32
"""Documents; what they hold is gathered into full batches."""
MERGED_EVERY = 256
"""Documents, between two merges of the full-text index."""
LEASE = timedelta(days=1)
Step = Callable[[str, int, int], None]
"""Told what is done, how many are through, and of how many."""


@dataclass(frozen=True)
class Embedding:
    """The service that embeds."""

    url: str
    model: str


@dataclass(frozen=True)
class Loaded:
    """A set in a collection of its own."""

    tenant_id: UUID
    space_id: UUID
    collection_id: UUID
    readings: list[Reading]
    names: dict[UUID, str]
    """The set's id of each document."""


@dataclass(frozen=True)
class Asked:
    """What came of one question."""

    found: list[str]
    """The set's ids of documents, each once, best first."""
    score: float
    """Of the best passage; 0 if there was none."""
    ms: float


class Figures(msgspec.Struct, frozen=True):
    ndcg: float = msgspec.field(name="ndcg@10")
    recall: float = msgspec.field(name="recall@10")
    queries: int
    median_ms: float


def run(
    known: Known, language: str | None, embedding: Embedding | None, data: Path | None, base: Settings, *, as_json: bool
) -> int:
    """Measure and print; returns the exit status."""
    folder = data or Path(tempfile.mkdtemp(prefix="folkmoot-"))
    errors = Console(stderr=True)
    for remark in known.remarks:
        errors.print(f"[yellow]{remark}[/yellow]")
    engines = Engines(folder)
    try:
        with errors.status("starting"):
            points = engines.start()
            migrate.upgrade(points.owner_url)
        settings = replace(settings_for(folder, points, base), lanes=LANES, database_pool=10, max_upload_bytes=1 << 40)
        figures = asyncio.run(_run(with_service(settings, embedding), known, language, embedding, errors))
    except KeyboardInterrupt:
        return 130
    finally:
        engines.stop()
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        click.echo(msgspec.json.encode(figures).decode())
    else:
        for name, value in msgspec.to_builtins(figures).items():
            click.echo(f"{name:10} {value}")
    return 0


async def _run(
    settings: Settings, known: Known, language: str | None, embedding: Embedding | None, errors: Console
) -> Figures:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with assemble(settings) as app:
        await ensure_first(app)
        with Progress(*columns, console=errors, transient=True) as progress:
            bars: dict[str, TaskID] = {}

            def step(what: str, done: int, total: int) -> None:
                if what not in bars:
                    bars[what] = progress.add_task(what, total=total)
                progress.update(bars[what], completed=done)

            if embedding is not None:
                # First, since chunks are as long as the model takes them.
                await connect_embedding(app, (await _first_person(app)).tenant, embedding)
            loaded = await load(app, known, language, step)
            model = await embed(app, loaded, step)
            asked = await ask(app, loaded, list(known.queries.values()), step)
    errors.print(f"found by words and by vectors of {model}" if model else "found by words alone: no embedding model")
    return figures_of(known, asked)


def with_service(settings: Settings, embedding: Embedding | None) -> Settings:
    """Settings under which the named service may be called, wherever it is: whoever runs the command names it."""
    if embedding is None:
        return settings
    parts = urlsplit(embedding.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetError(f"--embedding-url is {embedding.url!r}: write it as http://127.0.0.1:8080/v1")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return replace(settings, net_allow=(*settings.net_allow, f"{host}:{port}"))


async def connect_embedding(app: App, tenant_id: UUID, embedding: Embedding) -> None:
    """Connect the service ahead of all others. Raises `SetError` if it does not answer."""
    config = {"base_url": embedding.url, "embedding_models": [embedding.model]}
    if app.settings.openai_api_key:
        config["api_key"] = app.settings.openai_api_key
    name = f"Measured {embedding.model}"
    if not await connect(app, tenant_id, kind="openai", name=name, config=config, rank=0):
        raise SetError(f"{embedding.url} does not answer as a service with models does: is it running?")


async def load(app: App, known: Known, language: str | None, step: Step) -> Loaded:
    """Read all documents of a set into a collection of its own: parsed, cut, indexed and stored as uploads are."""
    principal = await _first_person(app)
    async with app.begin(principal) as work:
        space = await SpaceService(work).create(SpaceCreate(name=f"Measured {known.name}"[:200]))
        collection = await CollectionService(work).create(space.id, CollectionCreate(name=known.name[:200] or "Set"))
    # One original for all: the lines of the corpus are its documents.
    file = await FileService(app).receive(principal, "corpus.jsonl", _once(known.rows))
    readings: list[Reading] = []
    names: dict[UUID, str] = {}
    for start in range(0, len(known.rows), 1000):
        async with app.begin(principal) as work:
            for row in known.rows[start : start + 1000]:
                reading = _reading(row, principal.tenant, space.id, collection.id, file)
                work.session.add(_document(row, reading, file))
                readings.append(reading)
                names[reading.id] = row.id
    readings[0].info = DocumentInfo(language=language)
    limits = await limits_of(app, readings[0])
    await _store_all(app, list(zip(known.rows, readings, strict=True)), language, limits, step)
    async with app.begin(principal) as work:
        of_collection = Document.collection_id == collection.id
        await work.session.execute(update(Document).where(of_collection).values(status="ready", lease_until=None))
    return Loaded(principal.tenant, space.id, collection.id, readings, names)


async def embed(app: App, loaded: Loaded, step: Step) -> str | None:
    """Give the documents their vectors, if a model is there, and measure it. Returns the model's name.

    Raises `SetError` if it fails: figures of half a set would mislead.
    """
    async with app.begin(Principal.system(loaded.tenant_id)) as work:
        class_ids = await classes_of(work, [loaded.collection_id])
    route = await embedding_route(app, loaded.tenant_id, class_ids)
    if route is None:
        return None
    done = 0

    async def one(reading: Reading) -> None:
        nonlocal done
        if (warning := await embed_document(app, reading)) is not None:
            raise SetError(f"{loaded.names[reading.id]} was {warning}")
        done += 1
        step("embedding", done, len(loaded.readings))

    # The first alone: it opens the space that the others go into.
    await one(loaded.readings[0])
    await _each(loaded.readings[1:], one, EMBEDDED_AT_ONCE)
    async with app.begin(Principal.system(loaded.tenant_id)) as work:
        wanted = await fitness.due(work)
    for item in wanted:
        await fitness.measure(app, loaded.tenant_id, item)
    return route.first.model.name


async def ask(app: App, loaded: Loaded, queries: Sequence[str], step: Step, *, timed: int = TIMED) -> list[Asked]:
    """Ask all questions; the first `timed` one after the other, so that their latency tells something."""
    principal = Principal.system(loaded.tenant_id)
    account = Account(tenant_id=loaded.tenant_id, purpose="search", space_id=loaded.space_id)
    answers: dict[int, Asked] = {}

    async def one(at: int) -> None:
        begun = time.perf_counter()
        hits = await search(app, principal, account, [loaded.collection_id], queries[at], PASSAGES)
        took = (time.perf_counter() - begun) * 1000
        found = list(dict.fromkeys(loaded.names[hit.chunk.document_id] for hit in hits))
        answers[at] = Asked(found, hits[0].score if hits else 0.0, took)
        step("asking", len(answers), len(queries))

    await _each(range(min(timed, len(queries))), one, 1)
    await _each(range(min(timed, len(queries)), len(queries)), one, AT_ONCE)
    return [answers[at] for at in range(len(queries))]


def figures_of(known: Known, asked: Sequence[Asked]) -> Figures:
    """The means over all questions; the median is of those that were asked one after the other."""
    pairs = list(zip(known.queries, asked, strict=True))
    return Figures(
        ndcg=round(statistics.fmean(metrics.ndcg(item.found, known.grades[query_id]) for query_id, item in pairs), 4),
        recall=round(
            statistics.fmean(metrics.recall(item.found, known.grades[query_id]) for query_id, item in pairs), 4
        ),
        queries=len(pairs),
        median_ms=round(statistics.median(item.ms for item in asked[:TIMED]), 2),
    )


async def _first_person(app: App) -> Principal:
    async with app.begin(Principal.platform()) as work:
        tenant = await TenantService(work).first()
    assert tenant is not None
    async with app.begin(Principal.system(tenant.id)) as work:
        user = (await work.session.scalars(select(User).order_by(User.id).limit(1))).one()
    return Principal(tenant_id=tenant.id, user_id=user.id, kind="user", permissions=permissions_of([user.role]))


async def _once(rows: Sequence[Row]) -> AsyncIterator[bytes]:
    for row in rows:
        yield msgspec.json.encode({"id": row.id, "title": row.title, "text": row.text}) + b"\n"


def _reading(row: Row, tenant_id: UUID, space_id: UUID, collection_id: UUID, file: File) -> Reading:
    return Reading(
        id=uuid7(),
        tenant_id=tenant_id,
        space_id=space_id,
        collection_id=collection_id,
        name=row.id[:255],
        size=len(row.text.encode()),
        attempts=1,
        storage_key=file.storage_key,
        claim=uuid7(),
    )


def _document(row: Row, reading: Reading, file: File) -> Document:
    return Document(
        id=reading.id,
        tenant_id=reading.tenant_id,
        collection_id=reading.collection_id,
        space_id=reading.space_id,
        file_id=file.id,
        name=reading.name,
        title=row.title[:1000],
        media_type="text/plain",
        size=reading.size,
        content_hash=hashlib.sha256(f"{row.title}\x00{row.text}".encode()).hexdigest(),
        status="processing",
        attempts=1,
        claim=reading.claim,
        lease_until=datetime.now(UTC) + LEASE,
    )


async def _store_all(
    app: App, pairs: Sequence[tuple[Row, Reading]], language: str | None, limits: chunk.Limits, step: Step
) -> None:
    done = 0

    async def one(pair: tuple[Row, Reading]) -> None:
        nonlocal done
        row, reading = pair
        built = await asyncio.to_thread(lambda: chunk.build(_blocks(row), limits))
        found = language if language is not None else await asyncio.to_thread(detect, built.text)
        reading.info = DocumentInfo(title=row.title[:1000] or None, language=found or None)
        await store(app, reading, built)
        done += 1
        step("reading", done, len(pairs))

    for start in range(0, len(pairs), MERGED_EVERY):
        await _each(pairs[start : start + MERGED_EVERY], one, AT_ONCE)
        while await merge(app, pairs[0][1].tenant_id, pairs[0][1].collection_id):
            pass


def _blocks(row: Row) -> Iterator[Block]:
    """The title as the heading that it is, and the text as the parser of plain text has it."""
    if row.title.strip():
        yield Block(row.title, "heading", 1)
    body = row.text.encode(errors="replace")
    if body.strip():
        source = Source(name="text.txt", media_type="text/plain", size=len(body), file=io.BytesIO(body))
        yield from (item for item in plain.parse(source) if isinstance(item, Block))


async def _each(items: Sequence[T], call: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Call for each item, a few at a time; the first failure ends all."""
    left = iter(items)

    async def some() -> None:
        for item in left:
            await call(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(items))):
                group.create_task(some())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
