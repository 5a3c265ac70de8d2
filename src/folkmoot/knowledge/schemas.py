"""Collections, documents and search, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.kit.structs import Input, Name, Struct, Text
from folkmoot.knowledge.models import Chunk, Collection, Document


class CollectionOut(Struct, frozen=True, kw_only=True):
    id: UUID
    space_id: UUID
    name: str
    description: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, collection: Collection) -> CollectionOut:
        return cls(
            id=collection.id,
            space_id=collection.space_id,
            name=collection.name,
            description=collection.description,
            created_at=collection.created_at,
            updated_at=collection.updated_at,
        )


class CollectionCreate(Input, frozen=True, kw_only=True):
    name: Name
    description: Text = ""


class CollectionUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET


class DocumentError(Struct, frozen=True, kw_only=True):
    code: str
    message: str
    """A sentence for people."""
    retry_at: datetime | None = None
    """When it is tried again by itself, if it is."""


class DocumentOut(Struct, frozen=True, kw_only=True):
    id: UUID
    collection_id: UUID
    name: str
    media_type: str
    size: int
    status: str
    """`queued`, `processing`, `ready` or `failed`."""
    step: str
    """While processing: `reading`, `storing` or `embedding`."""
    progress: float
    """From 0 to 1."""
    error: DocumentError | None
    warnings: list[str]
    """What was read but not all of it, in sentences for people."""
    language: str
    page_count: int | None
    chunk_count: int
    content_hash: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, document: Document) -> DocumentOut:
        error = None
        if document.error_code:
            error = DocumentError(
                code=document.error_code, message=document.error_message or "", retry_at=document.retry_at
            )
        return cls(
            id=document.id,
            collection_id=document.collection_id,
            name=document.name,
            media_type=document.media_type,
            size=document.size,
            status=document.status,
            step=document.step,
            progress=round(document.progress, 3),
            error=error,
            warnings=document.warnings,
            language=document.language,
            page_count=document.page_count,
            chunk_count=document.chunk_count,
            content_hash=document.content_hash,
            created_at=document.created_at,
            updated_at=document.updated_at,
        )


class DocumentsOut(Struct, frozen=True, kw_only=True):
    items: list[DocumentOut]


class Anchor(Struct, frozen=True, kw_only=True):
    start: int
    """Offset in characters: from here to the next anchor."""
    page: int | None = None
    heading: str | None = None
    sheet: str | None = None


class DocumentTextOut(Struct, frozen=True, kw_only=True):
    text: str
    """The text that citations count in."""
    anchors: list[Anchor]


class ChunkOut(Struct, frozen=True, kw_only=True):
    id: UUID
    ordinal: int
    text: str
    context: str
    """Headings above it; searched with the text."""
    page: int | None
    start: int
    end: int
    token_count: int

    @classmethod
    def of(cls, chunk: Chunk) -> ChunkOut:
        return cls(
            id=chunk.id,
            ordinal=chunk.ordinal,
            text=chunk.text,
            context=chunk.context,
            page=chunk.page,
            start=chunk.start,
            end=chunk.end,
            token_count=chunk.token_count,
        )


class SearchIn(Input, frozen=True, kw_only=True):
    query: Annotated[str, Meta(min_length=1, max_length=4000, examples=["How high may a fence be?"])]
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class SearchHit(Struct, frozen=True, kw_only=True):
    document_id: UUID
    document_name: str
    chunk_id: UUID
    text: str
    page: int | None
    start: int
    """Offset in the document's text; `text` is exactly what stands from here to `end`."""
    end: int
    score: float
    """From 0 to 1, within one search."""


class SearchOut(Struct, frozen=True, kw_only=True):
    items: list[SearchHit]
