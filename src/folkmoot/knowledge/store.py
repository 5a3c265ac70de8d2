"""Replacing a document's text and chunks in one transaction; a chunk whose words did not change keeps its row."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import msgspec
from folkmoot_sdk import DocumentInfo
from sqlalchemy import Table, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from uuid_utils.compat import uuid7

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.knowledge import chunk
from folkmoot.knowledge.language import text_search_config
from folkmoot.knowledge.models import Chunk, Document, DocumentText

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
    step: str = "reading"
    progress: float = 0.0
    info: DocumentInfo = field(default_factory=DocumentInfo)
    parser: str = ""
    media_type: str = ""

    @property
    def principal(self) -> Principal:
        return Principal.system(self.tenant_id)


class Gone(Exception):
    """The document was deleted while it was read."""


def _hash(piece: chunk.Chunk) -> str:
    return hashlib.sha256(f"{piece.context}\x00{piece.text}".encode()).hexdigest()


INSERT = text(
    """
INSERT INTO chunks (id, tenant_id, collection_id, document_id, ordinal, text, context, page, start, "end",
                    token_count, content_hash, language, created_at, tsv, term_count)
SELECT v.id, :tenant, :collection, :document, v.ordinal, v.text, v.context, v.page, v.start, v."end",
       v.token_count, v.content_hash, :language, now(), v.tsv,
       (SELECT coalesce(sum(cardinality(positions)), 0) FROM unnest(v.tsv))
FROM (
    SELECT u.*, to_tsvector(CAST(:config AS regconfig), u.context || ' ' || u.text) AS tsv
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ordinals AS int[]), CAST(:texts AS text[]), CAST(:contexts AS text[]),
                CAST(:pages AS int[]), CAST(:starts AS int[]), CAST(:ends AS int[]),
                CAST(:tokens AS int[]), CAST(:hashes AS text[]))
         AS u(id, ordinal, text, context, page, start, "end", token_count, content_hash)
) v
"""
).bindparams(bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True))))


async def store(app: App, reading: Reading, built: chunk.Document) -> None:
    """Replace text and chunks in one transaction; a chunk whose words did not change keeps its row."""
    language = reading.info.language or ""
    async with app.begin(reading.principal) as work:
        session = work.session
        if await session.get(Document, reading.id, with_for_update=True) is None:
            raise Gone
        anchors = [msgspec.to_builtins(anchor) for anchor in built.anchors]
        values = {"text": built.text, "anchors": anchors}
        await session.execute(
            insert(DocumentText)
            .values(id=uuid7(), tenant_id=reading.tenant_id, document_id=reading.id, **values)
            .on_conflict_do_update(index_elements=[DocumentText.document_id], set_=values)
        )
        known: dict[str, list[UUID]] = defaultdict(list)
        for row_id, content_hash in await session.execute(
            select(Chunk.id, Chunk.content_hash).where(Chunk.document_id == reading.id, Chunk.language == language)
        ):
            known[content_hash].append(row_id)
        fresh: list[tuple[chunk.Chunk, str]] = []
        moved: list[dict[str, Any]] = []
        for piece in built.chunks:
            content_hash = _hash(piece)
            if known[content_hash]:
                moved.append({"b_id": known[content_hash].pop(), **_place(piece)})
            else:
                fresh.append((piece, content_hash))
        kept = [row["b_id"] for row in moved]
        await session.execute(delete(Chunk).where(Chunk.document_id == reading.id, Chunk.id.not_in(kept)))
        if moved:
            places: dict[str, Any] = {name: bindparam(name) for name in ("ordinal", "page", "start", "end")}
            table = cast("Table", Chunk.__table__)
            await (await session.connection()).execute(
                update(table).where(table.c.id == bindparam("b_id")).values(**places), moved
            )
        for start in range(0, len(fresh), INSERT_BATCH):
            batch = fresh[start : start + INSERT_BATCH]
            await session.execute(INSERT, _columns(reading, language, batch))
        terms = await session.scalar(
            select(func.coalesce(func.sum(Chunk.term_count), 0)).where(Chunk.document_id == reading.id)
        )
        await session.execute(
            update(Document)
            .where(Document.id == reading.id)
            .values(chunk_count=len(built.chunks), term_count=terms, language=language)
        )


def _place(piece: chunk.Chunk) -> dict[str, Any]:
    return {
        "ordinal": piece.ordinal,
        "page": piece.page,
        "start": piece.start,
        "end": piece.end,
    }


def _columns(reading: Reading, language: str, batch: Sequence[tuple[chunk.Chunk, str]]) -> dict[str, Any]:
    pieces = [piece for piece, _ in batch]
    return {
        "tenant": reading.tenant_id,
        "collection": reading.collection_id,
        "document": reading.id,
        "language": language,
        "config": text_search_config(language),
        "ids": [uuid7() for _ in batch],
        "ordinals": [piece.ordinal for piece in pieces],
        "texts": [piece.text for piece in pieces],
        "contexts": [piece.context for piece in pieces],
        "pages": [piece.page for piece in pieces],
        "starts": [piece.start for piece in pieces],
        "ends": [piece.end for piece in pieces],
        "tokens": [piece.token_count for piece in pieces],
        "hashes": [content_hash for _, content_hash in batch],
    }
