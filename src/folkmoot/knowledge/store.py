"""Replacing a document's text and chunks in one transaction; a chunk whose words did not change keeps its row."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import msgspec
from folkmoot_sdk import DocumentInfo
from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from uuid_utils.compat import uuid7

from folkmoot.fulltext import index as textindex
from folkmoot.fulltext.words import Terms, terms
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.work import Work
from folkmoot.knowledge import chunk, numbers
from folkmoot.knowledge.models import Chunk, Document, DocumentText
from folkmoot.knowledge.quota import check_chunks

INSERT_BATCH = 500


@dataclass
class Reading:
    """A claimed document, and what was found in it so far."""

    id: UUID
    tenant_id: UUID
    space_id: UUID
    collection_id: UUID
    name: str
    size: int
    attempts: int
    storage_key: str
    claim: UUID
    url: str = ""
    step: str = "reading"
    progress: float = 0.0
    info: DocumentInfo = field(default_factory=DocumentInfo)
    parser: str = ""
    media_type: str = ""

    @property
    def principal(self) -> Principal:
        return Principal.system(self.tenant_id)

    @property
    def held(self) -> ColumnElement[bool]:
        """The document's row, as long as it is this worker's."""
        return and_(Document.id == self.id, Document.status == "processing", Document.claim == self.claim)

    async def hold(self, work: Work) -> Document:
        """The document, locked. Raises `Gone`."""
        document = await work.session.scalar(select(Document).where(self.held).with_for_update())
        if document is None:
            raise Gone
        return document


class Gone(Exception):
    """The document was deleted or cancelled while it was read, or another worker reads it."""


@dataclass(frozen=True)
class Piece:
    """A chunk on its way into the index."""

    chunk: chunk.Chunk
    content_hash: str
    terms: Terms


INSERT = text(
    """
INSERT INTO chunks (id, tenant_id, collection_id, document_id, number, ordinal, text, context, page, start, "end",
                    token_count, content_hash, term_count, language, created_at)
SELECT u.id, :tenant, :collection, :document, u.number, u.ordinal, u.text, u.context, u.page, u.start, u."end",
       u.token_count, u.content_hash, u.term_count, :language, now()
FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS int[]), CAST(:ordinals AS int[]), CAST(:texts AS text[]),
            CAST(:contexts AS text[]), CAST(:pages AS int[]), CAST(:starts AS int[]), CAST(:ends AS int[]),
            CAST(:tokens AS int[]), CAST(:hashes AS text[]), CAST(:terms AS int[]))
     AS u(id, number, ordinal, text, context, page, start, "end", token_count, content_hash, term_count)
"""
).bindparams(bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True))))


async def store(app: App, reading: Reading, built: chunk.Document) -> int:
    """Replace text and chunks in one transaction; a chunk whose words did not change keeps its row.

    Returns how many segments the collection's index has now. Raises `Gone`.
    """
    language = reading.info.language or ""
    # Pure Python over all the text: off the loop, which streams answers meanwhile.
    pieces = await asyncio.to_thread(_analysed, language, built.chunks)
    known: dict[str, list[UUID]] = defaultdict(list)
    async with app.begin(reading.principal) as work:
        for row_id, content_hash in await work.session.execute(
            select(Chunk.id, Chunk.content_hash)
            .where(Chunk.document_id == reading.id, Chunk.language == language)
            .order_by(Chunk.number)
        ):
            known[content_hash].append(row_id)
    fresh: list[Piece] = []
    moved: list[dict[str, Any]] = []
    for piece in pieces:
        if same := known[piece.content_hash]:
            moved.append({"b_id": same.pop(), **_place(piece.chunk)})
        else:
            fresh.append(piece)
    async with app.begin(reading.principal) as work:
        # In a transaction of its own: the collection's row is locked for as long.
        first = await numbers.take(work, reading.collection_id, len(fresh))
    if first is None:
        raise Gone
    async with app.begin(reading.principal) as work:
        await reading.hold(work)
        await check_chunks(work, reading.id, len(pieces))
        await _store_text(work, reading, built)
        await _forget_others(work, reading, [row["b_id"] for row in moved])
        await _move(work, moved)
        for start in range(0, len(fresh), INSERT_BATCH):
            batch = fresh[start : start + INSERT_BATCH]
            await work.session.execute(INSERT, _columns(reading, language, first + start, batch))
        numbered = [(first + at, piece.terms.counts, piece.terms.length) for at, piece in enumerate(fresh)]
        await textindex.add(work, reading.tenant_id, reading.collection_id, language, numbered)
        await work.session.execute(
            update(Document)
            .where(Document.id == reading.id)
            .values(
                chunk_count=len(pieces),
                term_count=sum(piece.terms.length for piece in pieces),
                language=language,
                title=reading.info.title or Document.title,
            )
        )
        return await textindex.count_segments(work, reading.collection_id)


def _analysed(language: str, chunks: Sequence[chunk.Chunk]) -> list[Piece]:
    return [Piece(piece, _hash(piece), terms(language, piece.context, piece.text)) for piece in chunks]


def _hash(piece: chunk.Chunk) -> str:
    return hashlib.sha256(f"{piece.context}\x00{piece.text}".encode()).hexdigest()


async def _store_text(work: Work, reading: Reading, built: chunk.Document) -> None:
    values = {"text": built.text, "anchors": [msgspec.to_builtins(anchor) for anchor in built.anchors]}
    await work.session.execute(
        insert(DocumentText)
        .values(id=uuid7(), tenant_id=reading.tenant_id, document_id=reading.id, **values)
        .on_conflict_do_update(index_elements=[DocumentText.document_id], set_=values)
    )


async def _forget_others(work: Work, reading: Reading, kept: Sequence[UUID]) -> None:
    gone = select(Chunk.id).where(Chunk.document_id == reading.id, Chunk.id.not_in(kept))
    ids = list(await work.session.scalars(gone))
    if ids:
        await numbers.forget_chunks(work, reading.collection_id, ids)
        await work.session.execute(delete(Chunk).where(Chunk.id.in_(ids)))


async def _move(work: Work, moved: list[dict[str, Any]]) -> None:
    if not moved:
        return
    places: dict[str, Any] = {name: bindparam(name) for name in ("ordinal", "page", "start", "end")}
    table = cast("Table", Chunk.__table__)
    await (await work.session.connection()).execute(
        update(table).where(table.c.id == bindparam("b_id")).values(**places), moved
    )


def _place(piece: chunk.Chunk) -> dict[str, Any]:
    return {
        "ordinal": piece.ordinal,
        "page": piece.page,
        "start": piece.start,
        "end": piece.end,
    }


def _columns(reading: Reading, language: str, first: int, batch: Sequence[Piece]) -> dict[str, Any]:
    pieces = [piece.chunk for piece in batch]
    return {
        "tenant": reading.tenant_id,
        "collection": reading.collection_id,
        "document": reading.id,
        "language": language,
        "ids": [uuid7() for _ in batch],
        "numbers": list(range(first, first + len(batch))),
        "ordinals": [piece.ordinal for piece in pieces],
        "texts": [piece.text for piece in pieces],
        "contexts": [piece.context for piece in pieces],
        "pages": [piece.page for piece in pieces],
        "starts": [piece.start for piece in pieces],
        "ends": [piece.end for piece in pieces],
        "tokens": [piece.token_count for piece in pieces],
        "hashes": [piece.content_hash for piece in batch],
        "terms": [piece.terms.length for piece in batch],
    }
