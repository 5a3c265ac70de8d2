"""What people do with documents once they are there: find them in a list, describe, cancel, read again, count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import Select, exists, func, select

from folkmoot.files.service import clean_name
from folkmoot.kit.access import Access
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.work import Work
from folkmoot.knowledge.filters import keep_facts, of_media_types
from folkmoot.knowledge.ingest import record
from folkmoot.knowledge.models import ChunkVector, Collection, Document
from folkmoot.knowledge.password import forget_password, keep_password
from folkmoot.knowledge.pick import announce
from folkmoot.knowledge.schemas import CollectionStatus, DocumentUpdate
from folkmoot.knowledge.service import CollectionService, DocumentService

OPEN = ("queued", "processing")
DONE = ("ready", "failed")
FILES = 500
"""In one message."""


@dataclass(frozen=True)
class Listing:
    """What of a collection is listed, and in which order."""

    status: str | None = None
    name: str | None = None
    """A part of it, in any case."""
    media_type: str | None = None
    language: str | None = None
    parent_id: UUID | None = None
    sort: Literal["newest", "oldest"] = "newest"


async def listed(
    work: Work, collection_id: UUID, listing: Listing, limit: int, cursor: str | None
) -> tuple[Sequence[Document], str | None]:
    """The documents of a collection that a listing asks for, and a cursor for more. Raises `NotFound`."""
    await CollectionService(work).get(collection_id, Access.READ)
    query = select(Document).where(Document.collection_id == collection_id)
    if listing.status:
        query = query.where(Document.status == listing.status)
    if listing.name:
        query = query.where(Document.name.icontains(listing.name, autoescape=True))
    if listing.media_type:
        query = query.where(of_media_types([listing.media_type]))
    if listing.language:
        query = query.where(Document.language == listing.language.lower())
    if listing.parent_id:
        query = query.where(Document.parent_id == listing.parent_id)
    newest_first = listing.sort == "newest"
    return await page(work.session, query, by=Document.id, limit=limit, cursor=cursor, newest_first=newest_first)


async def delete_collection(work: Work, follow: Task, collection_id: UUID) -> None:
    """Delete a collection with all that is in it; `follow` removes its files. Raises `NotFound` or `Forbidden`."""
    collection = await CollectionService(work).get(collection_id, Access.EDIT)
    files = list(await work.session.scalars(select(Document.file_id).where(Document.collection_id == collection.id)))
    await CollectionService(work).delete(collection.id)
    for start in range(0, len(files), FILES):
        work.enqueue(follow, tenant_id=collection.tenant_id, file_ids=files[start : start + FILES])


async def status_of(work: Work, collection_id: UUID) -> CollectionStatus:
    """How many documents are in which state, and what they come to. Raises `NotFound`."""
    collection = await CollectionService(work).get(collection_id, Access.READ)
    mine = Document.collection_id == collection.id
    columns = (func.count(), func.sum(Document.size), func.sum(Document.chunk_count))
    rows = (await work.session.execute(select(Document.status, *columns).where(mine).group_by(Document.status))).all()
    counts = {status: int(count) for status, count, _, _ in rows}
    return CollectionStatus(
        documents=sum(counts.values()),
        queued=counts.get("queued", 0),
        processing=counts.get("processing", 0),
        ready=counts.get("ready", 0),
        failed=counts.get("failed", 0),
        size=sum(int(size) for _, _, size, _ in rows),
        chunks=sum(int(chunks) for _, _, _, chunks in rows),
        words_only=int(await work.session.scalar(_words_only(collection)) or 0),
    )


def _words_only(collection: Collection) -> Select[int]:
    """Documents without any vector in the space that the collection is searched in."""
    query = select(func.count()).where(
        Document.collection_id == collection.id, Document.status == "ready", Document.chunk_count > 0
    )
    if collection.embedding_space_id is None:
        return query
    vector = exists().where(
        ChunkVector.collection_id == collection.id,
        ChunkVector.document_id == Document.id,
        ChunkVector.space_id == collection.embedding_space_id,
    )
    return query.where(~vector)


async def update(work: Work, document_id: UUID, change: DocumentUpdate, if_match: str | None) -> Document:
    """Change name, date or metadata. Raises `NotFound`, `Forbidden`, or `Stale` if `if_match` is of an older state."""
    document = await locked(work, document_id)
    check_match(if_match, document.revision)
    changed: list[str] = []
    if change.name is not UNSET and (name := clean_name(change.name)) != document.name:
        document.name = name
        changed.append("name")
    if change.modified_at is not UNSET and change.modified_at != document.modified_at:
        document.modified_at = change.modified_at
        changed.append("modified_at")
    if change.metadata is not UNSET and await _describe(work, document, change.metadata):
        changed.append("metadata")
    if changed:
        await work.session.flush()
        _record(work, "document.updated", document, fields=changed)
    return document


async def _describe(work: Work, document: Document, values: Mapping[str, Any]) -> bool:
    """Set these names, and take away those of None (RFC 7396); whether that changed anything."""
    merged = {**document.metadata_, **values}
    merged = {name: value for name, value in merged.items() if value is not None}
    if merged == document.metadata_:
        return False
    document.metadata_ = merged
    await keep_facts(work, document)
    return True


async def uploaded_again(
    app: App, work: Work, ingest: Task, document: Document, metadata: Mapping[str, Any], password: str | None
) -> None:
    """What somebody who sent a file that is there already said of it this time.

    A password opens what could not be read.
    """
    if await _describe(work, document, metadata):
        await work.session.flush()
        _record(work, "document.updated", document, fields=["metadata"])
    if password is not None and document.status == "failed":
        await again(app, work, ingest, document, password)


async def retry(app: App, work: Work, ingest: Task, document_id: UUID, password: str | None) -> Document:
    """Read a document again, with a password if one is given. Raises `Conflict` while it is being read."""
    document = await locked(work, document_id)
    if document.status == "processing":
        raise Conflict("this document is being read: cancel that, or wait for its end", code="already-processing")
    await again(app, work, ingest, document, password)
    return document


async def again(app: App, work: Work, ingest: Task, document: Document, password: str | None = None) -> None:
    """Queue a document that is not being read. Checks no access."""
    queue(work, document)
    if password is not None:
        await work.session.flush()
        await keep_password(app, work, document, password)
    ring(work, ingest, [document])


def queue(work: Work, document: Document) -> None:
    """Put a document back to where it waits to be read."""
    document.status, document.step, document.progress, document.attempts = "queued", "", 0.0, 0
    document.error_code = document.error_message = document.retry_at = document.lease_until = None
    _record(work, "document.queued", document)


def ring(work: Work, ingest: Task, documents: Sequence[Document]) -> None:
    """Tell the workers, after the commit, that there is something to read."""
    work.after_commit(partial(announce, work.sessions.jobs.redis, work.principal.tenant))
    for document in documents:
        work.enqueue(ingest, tenant_id=document.tenant_id, document_id=document.id)


async def cancel(work: Work, document_id: UUID) -> Document:
    """Stop reading a document, and what came in it; its worker ends the parser within a second.

    What was found of it before stays. Raises `Conflict` for one that is ready or has failed already.
    """
    document = await locked(work, document_id)
    inside = await _inside(work, document)
    if document.status not in OPEN and not inside and document.error_code != "cancelled":
        raise Conflict(f"{document.name} is not being read: it is {document.status}", code="not-in-work")
    await stop(work, [found for found in (document, *inside) if found.status in OPEN])
    return document


async def stop(work: Work, documents: Sequence[Document]) -> None:
    """Take documents out of work. Checks no access."""
    for document in documents:
        document.status, document.step = "failed", ""
        document.error_code = "cancelled"
        document.error_message = "reading was cancelled: read it again if you want it after all"
        document.lease_until = document.retry_at = document.claim = None
        record(work, "document.cancelled", document)
    await forget_password(work, *(document.id for document in documents))


async def _inside(work: Work, document: Document) -> list[Document]:
    """What came in a document, at any depth, and still waits or is read."""
    found: list[Document] = []
    above = [document.id]
    while above:
        query = select(Document).where(Document.parent_id.in_(above)).with_for_update()
        rows = list(await work.session.scalars(query))
        found += [row for row in rows if row.status in OPEN]
        above = [row.id for row in rows]
    return found


async def locked(work: Work, document_id: UUID) -> Document:
    """A document that the caller may change; its worker waits for this transaction."""
    await DocumentService(work).get(document_id, Access.EDIT)
    query = select(Document).where(Document.id == document_id).with_for_update()
    document = await work.session.scalar(query.execution_options(populate_existing=True))
    if document is None:
        raise NotFound("this document was deleted at this moment")
    return document


def _record(work: Work, action: str, document: Document, **more: Any) -> None:
    data = {"name": document.name, "collection_id": str(document.collection_id), "status": document.status, **more}
    work.record(action, "document", document.id, space_id=document.space_id, data=data)
