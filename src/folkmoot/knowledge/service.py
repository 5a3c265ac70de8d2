"""Collections and documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import delete, or_, select

from folkmoot.files.models import File
from folkmoot.kit.access import Access, Permission, SpaceKind
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.knowledge.filters import keep_facts
from folkmoot.knowledge.models import Chunk, Collection, Document, DocumentText
from folkmoot.knowledge.numbers import forget_documents
from folkmoot.knowledge.pick import announce
from folkmoot.knowledge.schemas import CollectionCreate, CollectionUpdate
from folkmoot.spaces.models import Space
from folkmoot.spaces.service import SpaceService, roles_in

KNOWLEDGE, ATTACHMENTS = "knowledge", "attachments"
"""What a collection is for. Those of attachments are reached by their conversation alone."""


class _Collections(SQLAlchemyAsyncRepository[Collection]):
    model_type = Collection


class _Documents(SQLAlchemyAsyncRepository[Document]):
    model_type = Document


class CollectionService:
    """Use cases around collections."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._collections = _Collections(session=work.session)
        self._spaces = SpaceService(work)

    async def get(self, collection_id: UUID, access: Access) -> Collection:
        """A collection in a space where the caller may do this; everybody may read the organisation's.

        Raises `NotFound`, also for one of attachments, or `Forbidden` for a member of the space who may not.
        """
        query = (
            select(Collection, Space.kind, roles_in(Collection.space_id, self._work.principal.user))
            .join(Space, Space.id == Collection.space_id)
            .where(Collection.id == collection_id, Collection.purpose == KNOWLEDGE)
        )
        row = (await self._work.session.execute(query)).first()
        if row is None:
            raise NotFound("there is no such collection, or you are not in its space")
        self._spaces.check(row[1], row[2], access, "collection")
        return row[0]

    async def check_in_space(self, collection_ids: Sequence[UUID], space_id: UUID) -> None:
        """Raises `NotFound` unless all of these collections lie in the space, or in the organisation's."""
        wanted = set(collection_ids)
        if not wanted:
            return
        near = or_(Space.id == space_id, Space.kind == SpaceKind.ORGANISATION)
        query = select(Collection.id).join(Space, Space.id == Collection.space_id)
        query = query.where(near, Collection.purpose == KNOWLEDGE)
        if missing := wanted - set((await self._work.session.scalars(query.where(Collection.id.in_(wanted)))).all()):
            raise NotFound(f"there is no collection {min(missing)} in this space, nor in the organisation's")

    async def page(self, space_id: UUID, limit: int, cursor: str | None) -> tuple[Sequence[Collection], str | None]:
        """The collections of a space, newest first."""
        await self._spaces.get(space_id, Access.READ)
        query = select(Collection).where(Collection.space_id == space_id, Collection.purpose == KNOWLEDGE)
        return await page(self._work.session, query, by=Collection.id, limit=limit, cursor=cursor)

    async def create(self, space_id: UUID, data: CollectionCreate) -> Collection:
        space, _ = await self._spaces.get(space_id, Access.EDIT)
        if space.kind == SpaceKind.PERSONAL:
            self._work.principal.require(Permission.COLLECTIONS)
        collection = await self._collections.add(
            Collection(
                tenant_id=self._work.principal.tenant, space_id=space_id, name=data.name, description=data.description
            )
        )
        self._work.record(
            "collection.created", "collection", collection.id, space_id=space_id, data={"name": data.name}
        )
        return collection

    async def hidden(self) -> Collection:
        """A new collection for the attachments of one conversation, in the caller's personal space.

        It leaves no event: whoever attaches a file does.
        """
        space, _ = await self._spaces.personal()
        made = Collection(
            tenant_id=self._work.principal.tenant, space_id=space.id, name="Attachments", purpose=ATTACHMENTS
        )
        return await self._collections.add(made)

    async def update(self, collection_id: UUID, data: CollectionUpdate, if_match: str | None) -> Collection:
        """Raises `Stale` if `if_match` is of an older revision."""
        collection = await self.get(collection_id, Access.EDIT)
        check_match(if_match, collection.revision)
        if changed := patch(collection, data):
            await self._work.session.flush()
            self._work.record(
                "collection.updated",
                "collection",
                collection.id,
                space_id=collection.space_id,
                data={"fields": changed},
            )
        return collection

    async def delete(self, collection_id: UUID) -> None:
        """Delete a collection with its documents. Their files are removed by the sweep."""
        collection = await self.get(collection_id, Access.EDIT)
        self._work.record("collection.deleted", "collection", collection.id, space_id=collection.space_id)
        await self._work.session.execute(delete(Collection).where(Collection.id == collection.id))


@dataclass(frozen=True)
class Origin:
    """Where a document came from, and what its source says of it."""

    url: str = ""
    parent_id: UUID | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    modified_at: datetime | None = None
    title: str = ""


class DocumentService:
    """Use cases around documents. `ingest` is the task that reads one; handed in, since tasks stand above."""

    def __init__(self, work: Work, ingest: Task | None = None) -> None:
        self._work = work
        self._documents = _Documents(session=work.session)
        self._collections = CollectionService(work)
        self._ingest = ingest

    async def get(self, document_id: UUID, access: Access) -> Document:
        """A document in a space where the caller may do this; everybody may read the organisation's.

        Raises `NotFound`, or `Forbidden` for a member of the space who may not.
        """
        query = (
            select(Document, Space.kind, roles_in(Document.space_id, self._work.principal.user))
            .join(Space, Space.id == Document.space_id)
            .where(Document.id == document_id)
        )
        row = (await self._work.session.execute(query)).first()
        if row is None:
            raise NotFound("there is no such document, or you are not in its space")
        SpaceService(self._work).check(row[1], row[2], access, "document")
        return row[0]

    async def add(self, collection: Collection, file: File, media_type: str, origin: Origin | None = None) -> Document:
        """Queue a stored file for reading. The same bytes under the same name, from one place, are one document."""
        origin = origin or Origin()
        same = select(Document).where(
            Document.collection_id == collection.id,
            Document.content_hash == file.sha256,
            Document.name == file.name,
            Document.url == origin.url,
            Document.parent_id.is_not_distinct_from(origin.parent_id),
        )
        if (known := await self._work.session.scalar(same.limit(1))) is not None:
            return known
        document = await self._documents.add(
            Document(
                tenant_id=self._work.principal.tenant,
                collection_id=collection.id,
                space_id=collection.space_id,
                file_id=file.id,
                name=file.name,
                media_type=media_type[:200],
                size=file.size,
                content_hash=file.sha256,
                parent_id=origin.parent_id,
                url=origin.url,
                title=origin.title,
                metadata_=dict(origin.metadata),
                modified_at=origin.modified_at,
            )
        )
        if origin.metadata:
            await keep_facts(self._work, document)
        self._record("document.queued", document)
        self._enqueue(document)
        return document

    async def replace(self, document: Document, file: File, media_type: str, origin: Origin | None = None) -> File:
        """Give a document new bytes and queue it. Its old text is found until the new is stored.

        Checks no access. Returns the old file, for the caller to remove after the commit.
        """
        old = await self._work.session.get_one(File, document.file_id)
        document.file_id, document.size, document.content_hash = file.id, file.size, file.sha256
        document.media_type = media_type[:200]
        if origin is not None:
            document.url, document.title = origin.url, origin.title
            document.modified_at = origin.modified_at
        self._queue_again(document)
        return old

    async def remove(self, documents: Sequence[Document]) -> list[File]:
        """Delete documents with what was made of them; returns their files, for the caller to remove.

        Checks no access. What came in them (`parent_id`) goes with them.
        """
        # Locked first: a worker that stores chunks of it just now is waited for, so that they are seen and forgotten.
        lock = select(Document).where(Document.id.in_([document.id for document in documents])).order_by(Document.id)
        inside = found = list(await self._work.session.scalars(lock.with_for_update()))
        while inside:
            query = select(Document).where(Document.parent_id.in_([document.id for document in inside]))
            query = query.order_by(Document.id).with_for_update()
            inside = list(await self._work.session.scalars(query))
            found = [*found, *inside]
        ids = [document.id for document in found]
        files = list(
            await self._work.session.scalars(select(File).where(File.id.in_([item.file_id for item in found])))
        )
        for document in found:
            self._record("document.deleted", document)
        by_collection: dict[UUID, list[UUID]] = {}
        for document in found:
            by_collection.setdefault(document.collection_id, []).append(document.id)
        for collection_id, gone in by_collection.items():
            await forget_documents(self._work, collection_id, gone)
        await self._work.session.execute(delete(Document).where(Document.id.in_(ids)))
        return files

    def _queue_again(self, document: Document) -> None:
        document.status, document.step, document.progress, document.attempts = "queued", "", 0.0, 0
        document.error_code = document.error_message = None
        # Whoever reads the old bytes just now has lost it.
        document.retry_at = document.lease_until = document.claim = None
        self._record("document.queued", document)
        self._enqueue(document)

    async def delete(self, document_id: UUID) -> list[File]:
        """Delete a document with what was made of it; returns its files, for the caller to remove."""
        return await self.remove([await self.get(document_id, Access.EDIT)])

    async def text(self, document_id: UUID) -> DocumentText:
        """The extracted text. Raises `NotFound`, or `Conflict` while there is none."""
        document = await self.get(document_id, Access.READ)
        found = await self._work.session.scalar(select(DocumentText).where(DocumentText.document_id == document.id))
        if found is None:
            raise Conflict(f"{document.name} has no text yet: its status is {document.status}", code="not-ready")
        return found

    async def chunks(self, document_id: UUID, limit: int, cursor: str | None) -> tuple[Sequence[Chunk], str | None]:
        """The chunks of a document, in its order."""
        document = await self.get(document_id, Access.READ)
        after = int(cursor) if cursor and cursor.isdecimal() else -1
        query = (
            select(Chunk)
            .where(Chunk.document_id == document.id, Chunk.ordinal > after)
            .order_by(Chunk.ordinal)
            .limit(limit + 1)
        )
        rows = (await self._work.session.scalars(query)).all()
        return rows[:limit], str(rows[limit - 1].ordinal) if len(rows) > limit else None

    async def file(self, document_id: UUID) -> tuple[Document, File]:
        """A document and the row of its original."""
        document = await self.get(document_id, Access.READ)
        return document, await self._work.session.get_one(File, document.file_id)

    def _enqueue(self, document: Document) -> None:
        if self._ingest is not None:
            self._work.after_commit(partial(announce, self._work.sessions.jobs.redis, document.tenant_id))
            self._work.enqueue(self._ingest, tenant_id=document.tenant_id, document_id=document.id)

    def _record(self, action: str, document: Document) -> None:
        self._work.record(
            action,
            "document",
            document.id,
            space_id=document.space_id,
            data={"name": document.name, "collection_id": str(document.collection_id)},
        )
