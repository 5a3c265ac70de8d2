"""Collections, documents, and the pieces that retrieval finds."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.base import AdvancedDeclarativeBase
from advanced_alchemy.types import DateTimeUTC
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred


class EmbeddingSpace(Tenanted, Base):
    """Vectors that can be compared with each other: those of one model, in one version, of one length."""

    __tablename__ = "embedding_spaces"
    __table_args__ = (
        referred(),
        belongs("model_id", "models"),
        UniqueConstraint("model_id", "version", "dimensions"),
    )

    model_id: Mapped[UUID]
    version: Mapped[str] = mapped_column(default="", server_default="")
    """Changes when the model behind the name does."""
    dimensions: Mapped[int]
    outdated_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """Since when the model gives vectors of another length: nothing can be compared with these any more."""


class Collection(Tenanted, Changing):
    """Documents that are searched together."""

    __tablename__ = "collections"
    __table_args__ = (
        referred(),
        belongs("space_id", "spaces"),
        belongs("embedding_space_id", "embedding_spaces", ondelete="SET NULL (embedding_space_id)"),
    )

    space_id: Mapped[UUID] = mapped_column(index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    embedding_space_id: Mapped[UUID | None] = mapped_column(index=True)
    """Where its vectors are searched; None until the first is made."""
    embeds: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the first vector opens a space; False for one that was moved to no model."""
    next_number: Mapped[int] = mapped_column(default=0, server_default="0")
    """Of the next chunk."""
    purpose: Mapped[str] = mapped_column(default="knowledge", server_default="knowledge")
    """`knowledge`; `attachments` of one conversation, in its owner's personal space, which no list shows."""
    large: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether its vectors are in an approximate index: once it has been large it stays so."""


class Document(Tenanted, Changing):
    """One file in one collection, and how far reading it has come."""

    __tablename__ = "documents"
    __table_args__ = (
        referred(),
        belongs("collection_id", "collections"),
        belongs("space_id", "spaces"),
        belongs("file_id", "files", ondelete=None),
        belongs("parent_id", "documents", ondelete="SET NULL (parent_id)"),
        Index("ix_documents_listed", "collection_id", "id"),
        Index("ix_documents_counted", "collection_id", "status"),
        Index("ix_documents_waiting", "tenant_id", "id", postgresql_where=text("status IN ('queued', 'processing')")),
        Index("ix_documents_same", "collection_id", "content_hash"),
        Index("ix_documents_modified", "collection_id", "modified_at"),
        Index("ix_documents_password", "tenant_id", postgresql_where=text("password IS NOT NULL")),
    )

    collection_id: Mapped[UUID]
    space_id: Mapped[UUID]
    file_id: Mapped[UUID] = mapped_column(index=True)
    parent_id: Mapped[UUID | None] = mapped_column(index=True)
    """The archive or mail that it came in."""
    name: Mapped[str]
    title: Mapped[str] = mapped_column(default="", server_default="")
    """As the file says."""
    url: Mapped[str] = mapped_column(default="", server_default="")
    """Where on the web it was read."""
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, default=dict, server_default="{}")
    """People's own names and values, to search by."""
    modified_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """When the content was last changed, as far as its source says."""
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
    """While processing: the worker renews this; when it has passed, the worker is dead. While queued: one has picked it
    and is about to begin."""
    claim: Mapped[UUID | None]
    """Of the worker that reads it: one that finds another here has lost it."""
    retry_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    """When it will be tried again after an error that may pass."""
    password: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """Sealed; opens the file, and is forgotten when reading has ended."""
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


class BulkOperation(Tenanted, Base):
    """Something to do with many documents of a collection, in batches, and how far that has come."""

    __tablename__ = "bulk_operations"
    __table_args__ = (
        belongs("collection_id", "collections"),
        Index("ix_bulk_operations_listed", "collection_id", "id"),
        Index("ix_bulk_operations_open", "tenant_id", postgresql_where=text("finished_at IS NULL")),
    )

    collection_id: Mapped[UUID]
    space_id: Mapped[UUID]
    action: Mapped[str]
    """`cancel`, `retry` or `delete`."""
    selection: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """`schemas.Selection`."""
    total: Mapped[int]
    """Documents that it was about when it was asked for."""
    done: Mapped[int] = mapped_column(default=0)
    reached: Mapped[UUID | None]
    """The last document that was looked at; they are taken in the order of their ids."""
    moved_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    """Of the last batch: one that stands still is taken up again by the sweep."""
    finished_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    actor_kind: Mapped[str]
    """Who asked for it, for the log."""
    actor_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]


class DocumentFact(Tenanted, AdvancedDeclarativeBase):
    """One name and value of a document's own metadata, to filter by: `filters.keep_facts` keeps it in step."""

    __tablename__ = "document_facts"
    __table_args__ = (belongs("document_id", "documents"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    collection_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    """As JSON: text in quotation marks. Longer ones than `LONGEST_FACT` are not here."""
    document_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)


LONGEST_FACT = 500


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
        UniqueConstraint("id", "collection_id", "tenant_id"),
        belongs("collection_id", "collections"),
        belongs("document_id", "documents"),
        # With what a filter asks of a document's chunks, which so need not be read.
        UniqueConstraint(
            "document_id",
            "ordinal",
            deferrable=True,
            initially="DEFERRED",
            postgresql_include=["tenant_id", "collection_id", "number"],
        ),
        Index("ix_chunks_number", "collection_id", "number", unique=True),
    )

    collection_id: Mapped[UUID]
    document_id: Mapped[UUID]
    number: Mapped[int]
    """By which the full-text index of its collection knows it; never given twice."""
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
    """Words in the full-text index: the length that BM25 counts."""


class ChunkVector(Tenanted, AdvancedDeclarativeBase):
    """The embedding of a chunk in one space."""

    __tablename__ = "chunk_vectors"
    __table_args__ = (
        ForeignKeyConstraint(
            ["chunk_id", "collection_id", "tenant_id"],
            ["chunks.id", "chunks.collection_id", "chunks.tenant_id"],
            ondelete="CASCADE",
        ),
        belongs("space_id", "embedding_spaces"),
        CheckConstraint("vector_dims(embedding) = dimensions", name="dimensions"),
        Index("ix_chunk_vectors_document", "collection_id", "document_id"),
        Index("ix_chunk_vectors_space", "space_id", "collection_id", "indexed"),
        {"postgresql_partition_by": "HASH (collection_id)"},
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    collection_id: Mapped[UUID] = mapped_column(primary_key=True)
    chunk_id: Mapped[UUID] = mapped_column(primary_key=True)
    space_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID]
    dimensions: Mapped[int]
    indexed: Mapped[bool]
    """Whether it is in the approximate index, as those of large collections are."""
    embedding: Mapped[Any] = mapped_column(HALFVEC())
