"""Collections, documents, and the pieces that retrieval finds."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import BigInteger, Float, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class Collection(Tenanted, Changing):
    """Documents that are searched together."""

    __tablename__ = "collections"
    __table_args__ = (
        referred(),
        belongs("space_id", "spaces"),
    )

    space_id: Mapped[UUID] = mapped_column(index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")


class Document(Tenanted, Changing):
    """One file in one collection, and how far reading it has come."""

    __tablename__ = "documents"
    __table_args__ = (
        referred(),
        belongs("collection_id", "collections"),
        belongs("space_id", "spaces"),
        belongs("file_id", "files", ondelete=None),
        Index("ix_documents_open", "status", "lease_until"),
    )

    collection_id: Mapped[UUID] = mapped_column(index=True)
    space_id: Mapped[UUID]
    file_id: Mapped[UUID] = mapped_column(index=True)
    name: Mapped[str]
    media_type: Mapped[str] = mapped_column(default="")
    """As found from the bytes; until then as the client said."""
    size: Mapped[int] = mapped_column(BigInteger)
    content_hash: Mapped[str]
    """SHA-256 of the bytes as uploaded."""
    status: Mapped[str] = mapped_column(default="queued")
    """`queued`, `processing`, `ready` or `failed`."""
    step: Mapped[str] = mapped_column(default="")
    """While processing: `reading`, `cutting`, `embedding` or `storing`."""
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    """From 0 to 1."""
    attempts: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """While processing: the worker renews this; when it has passed, the worker is dead."""
    retry_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """When it will be tried again after an error that may pass."""
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    warnings: Mapped[list[str]] = mapped_column(JSONB, default=list)
    parser: Mapped[str | None]
    language: Mapped[str] = mapped_column(default="")
    """ISO 639-1, or empty."""
    page_count: Mapped[int | None]
    chunk_count: Mapped[int] = mapped_column(default=0)
    term_count: Mapped[int] = mapped_column(default=0)
    """Words in the full-text index, for the mean length that BM25 needs."""


class DocumentText(Tenanted, Base):
    """The extracted text that citations count in."""

    __tablename__ = "document_texts"
    __table_args__ = (belongs("document_id", "documents"),)

    document_id: Mapped[UUID] = mapped_column(unique=True)
    text: Mapped[str]
    anchors: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """`{start, page, heading}` in order: each holds from its start to the next."""


class Chunk(Tenanted, Base):
    """A stretch of a document's text; `text` is exactly what stands at `start` to `end`."""

    __tablename__ = "chunks"
    __table_args__ = (
        referred(),
        belongs("collection_id", "collections"),
        belongs("document_id", "documents"),
        UniqueConstraint("document_id", "ordinal", deferrable=True, initially="DEFERRED"),
        Index("ix_chunks_tsv", "tsv", postgresql_using="gin"),
    )

    collection_id: Mapped[UUID] = mapped_column(index=True)
    document_id: Mapped[UUID]
    ordinal: Mapped[int]
    text: Mapped[str]
    context: Mapped[str] = mapped_column(default="")
    """Path of headings above it, and the header row of a table cut in two: searched with the text."""
    page: Mapped[int | None]
    start: Mapped[int]
    end: Mapped[int]
    token_count: Mapped[int]
    content_hash: Mapped[str]
    """SHA-256 of context and text: an unchanged chunk keeps its row and vector when a document is read again."""
    language: Mapped[str] = mapped_column(default="")
    term_count: Mapped[int]
    tsv: Mapped[str] = mapped_column(TSVECTOR)


class ChunkVector(Tenanted, Base):
    """The embedding of a chunk by one model."""

    __tablename__ = "chunk_vectors"
    __table_args__ = (
        belongs("chunk_id", "chunks"),
        belongs("collection_id", "collections"),
        belongs("model_id", "models"),
        UniqueConstraint("chunk_id", "model_id"),
        Index("ix_chunk_vectors_scope", "collection_id", "model_id"),
    )

    chunk_id: Mapped[UUID]
    collection_id: Mapped[UUID]
    model_id: Mapped[UUID]
    embedding: Mapped[Any] = mapped_column(HALFVEC())
