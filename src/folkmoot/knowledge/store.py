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
from sqlalchemy import ColumnElement, String, Table, Uuid, and_, bindparam, delete, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from uuid_utils.compat import uuid7

from folkmoot.fulltext import index as textindex
from folkmoot.fulltext.words import Terms, terms
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.work import Work
from folkmoot.knowledge import chunk, numbers
from folkmoot.knowledge.embedding.spaces import Aim
from folkmoot.knowledge.models import Chunk, Document, DocumentText
from folkmoot.knowledge.quota import check_chunks

INSERT_BATCH = 500

# Built once: of short statements, building costs more than asking.
_HOLD = text("SELECT id FROM documents WHERE id = :id AND status = 'processing' AND claim = :by FOR UPDATE").bindparams(
    bindparam("id", type_=Uuid()), bindparam("by", type_=Uuid())
)


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
    stored: bool = True
    """Whether it may have passages of an earlier reading."""
    opened: bool = True
    """Whether documents may have come out of it in an earlier reading."""
    protected: bool = True
    """Whether it may have a password."""
    aim: Aim | None = None
    """Where its vectors go, as it stood when it was claimed: for the length of its passages."""
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

    async def hold(self, work: Work) -> None:
        """Lock the document. Raises `Gone`."""
        if await work.session.scalar(_HOLD, {"id": self.id, "by": self.claim}) is None:
            raise Gone


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


_FOUND = text(
    "UPDATE documents SET chunk_count = :chunks, term_count = :terms, language = :language,"
    " title = CASE WHEN :title = '' THEN title ELSE :title END, updated_at = now() WHERE id = :id"
).bindparams(bindparam("id", type_=Uuid()), bindparam("title", type_=String()))


async def store(app: App, reading: Reading, built: chunk.Document) -> int:
    """Replace text and chunks in one transaction; a chunk whose words did not change keeps its row.

    Returns how many segments the collection's index has now. Raises `Gone`.
    """
    language = reading.info.language or ""
    # Pure Python over all the text: off the loop, which streams answers meanwhile.
    pieces = await asyncio.to_thread(_analysed, language, built.chunks)
    known = await _known(app, reading, language) if reading.stored else defaultdict[str, list[UUID]](list)
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
        if reading.stored:
            await _forget_others(work, reading, [row["b_id"] for row in moved])
            await _move(work, moved)
        for start in range(0, len(fresh), INSERT_BATCH):
            batch = fresh[start : start + INSERT_BATCH]
            await work.session.execute(INSERT, _columns(reading, language, first + start, batch))
        numbered = [(first + at, piece.terms.counts, piece.terms.length) for at, piece in enumerate(fresh)]
        await textindex.add(work, reading.tenant_id, reading.collection_id, language, numbered)
        found = {"chunks": len(pieces), "terms": sum(piece.terms.length for piece in pieces)}
        await work.session.execute(
            _FOUND, {**found, "id": reading.id, "language": language, "title": reading.info.title or ""}
        )
        return await textindex.count_segments(work, reading.collection_id)


async def _known(app: App, reading: Reading, language: str) -> dict[str, list[UUID]]:
    """Passages of an earlier reading by what they say."""
    found: dict[str, list[UUID]] = defaultdict(list)
    query = (
        select(Chunk.id, Chunk.content_hash)
        .where(Chunk.document_id == reading.id, Chunk.language == language)
        .order_by(Chunk.number)
    )
    async with app.begin(reading.principal) as work:
        for row_id, content_hash in await work.session.execute(query):
            found[content_hash].append(row_id)
    return found


def _analysed(language: str, chunks: Sequence[chunk.Chunk]) -> list[Piece]:
    return [Piece(piece, _hash(piece), terms(language, piece.context, piece.text)) for piece in chunks]


def _hash(piece: chunk.Chunk) -> str:
    return hashlib.sha256(f"{piece.context}\x00{piece.text}".encode()).hexdigest()


_INSERT_TEXT = insert(cast("Table", DocumentText.__table__))
_TEXT = _INSERT_TEXT.on_conflict_do_update(
    index_elements=["document_id"],
    set_={"text": _INSERT_TEXT.excluded.text, "anchors": _INSERT_TEXT.excluded.anchors},
)


async def _store_text(work: Work, reading: Reading, built: chunk.Document) -> None:
    anchors = [msgspec.to_builtins(anchor) for anchor in built.anchors]
    row = {"id": uuid7(), "tenant_id": reading.tenant_id, "document_id": reading.id}
    await work.session.execute(_TEXT, {**row, "text": built.text, "anchors": anchors})


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
