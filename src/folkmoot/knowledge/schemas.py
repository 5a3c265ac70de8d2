"""Collections, documents and search, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.kit.structs import Input, Name, Struct, Text
from folkmoot.knowledge.filters import Filters, Metadata, MetadataName, MetadataValue, Moment, check_text
from folkmoot.knowledge.models import BulkOperation, Chunk, Collection, Document
from folkmoot.knowledge.password import LONGEST


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


class CollectionStatus(Struct, frozen=True, kw_only=True):
    documents: int
    queued: int
    processing: int
    ready: int
    failed: int
    size: int
    """Bytes of the originals."""
    chunks: int
    """Passages that can be found."""
    words_only: int
    """Documents that are ready and have no vectors, so that they are found by their words alone."""


class DocumentError(Struct, frozen=True, kw_only=True):
    code: str
    message: str
    """A sentence for people."""
    retry_at: datetime | None = None
    """When it is tried again by itself, if it is."""


class DocumentOut(Struct, frozen=True, kw_only=True):
    id: UUID
    collection_id: UUID
    parent_id: UUID | None
    """The archive or mail that it came in."""
    name: str
    title: str
    """As the file says."""
    url: str
    """Where on the web it was read; else empty."""
    metadata: dict[str, Any]
    """Your own names and values, to search by."""
    modified_at: datetime | None
    """When the content was last changed, as far as its source says."""
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
            parent_id=document.parent_id,
            name=document.name,
            title=document.title,
            url=document.url,
            metadata=document.metadata_,
            modified_at=document.modified_at,
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


class DocumentUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    metadata: (
        Annotated[dict[MetadataName, MetadataValue | None], Meta(max_length=50, examples=[{"department": "planning"}])]
        | UnsetType
    ) = UNSET
    """Names that are absent stay as they are; null takes one away."""
    modified_at: Moment | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.metadata, "metadata")


class Described(Input, frozen=True, kw_only=True):
    """What an upload says of the files after it."""

    metadata: Metadata = {}
    modified_at: Moment | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.metadata, "metadata")


class DocumentRetry(Input, frozen=True, kw_only=True):
    password: Annotated[str, Meta(min_length=1, max_length=LONGEST, examples=["open sesame"])] | UnsetType = UNSET
    """Opens a protected file. Kept encrypted until it has been read, and never shown."""


Status = Literal["queued", "processing", "ready", "failed"]


class Selection(Input, frozen=True, kw_only=True):
    """Which documents of a collection; all that are given must hold."""

    statuses: Annotated[list[Status], Meta(max_length=4, examples=[["failed"]])] = []
    codes: Annotated[
        list[Annotated[str, Meta(max_length=100)]], Meta(max_length=50, examples=[["file-too-large"]])
    ] = []
    """Of the errors that they failed with."""
    filters: Filters | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.codes, "codes")

    @property
    def any(self) -> bool:
        """Whether something is asked for."""
        return bool(self.statuses or self.codes or (self.filters is not UNSET and self.filters.any))


class OperationOut(Struct, frozen=True, kw_only=True):
    id: UUID
    collection_id: UUID
    action: str
    """`cancel`, `retry` or `delete`."""
    total: int
    """Documents that it was about when it was asked for."""
    done: int
    created_at: datetime
    finished_at: datetime | None
    """Null while it goes on."""

    @classmethod
    def of(cls, operation: BulkOperation) -> OperationOut:
        return cls(
            id=operation.id,
            collection_id=operation.collection_id,
            action=operation.action,
            total=operation.total,
            done=operation.done,
            created_at=operation.created_at,
            finished_at=operation.finished_at,
        )


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
