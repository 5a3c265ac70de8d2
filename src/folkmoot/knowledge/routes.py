"""`/spaces/{id}/collections`, `/collections` and `/documents`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from folkmoot.files.service import FileService
from folkmoot.kit.access import Access, Permission, Scope
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, principal_of, tagged
from folkmoot.kit.work import Work
from folkmoot.knowledge.schemas import (
    Anchor,
    ChunkOut,
    CollectionCreate,
    CollectionOut,
    CollectionUpdate,
    DocumentOut,
    DocumentsOut,
    DocumentTextOut,
    SearchHit,
    SearchIn,
    SearchOut,
)
from folkmoot.knowledge.search import search
from folkmoot.knowledge.service import CollectionService, DocumentService
from folkmoot.knowledge.tasks import ingest_document
from folkmoot.knowledge.upload import upload
from folkmoot.usage.ledger import Account


@dataclass
class UploadOperation(Operation):
    """The body is read as it streams, so it is described here and not by a parameter."""

    def __post_init__(self) -> None:
        file = Schema(type=OpenAPIType.STRING, format="binary")  # type: ignore[arg-type]
        self.request_body = RequestBody(
            required=True,
            description="One or several files, each in a field named `file`.",
            content={
                "multipart/form-data": OpenAPIMediaType(
                    schema=Schema(
                        type=OpenAPIType.OBJECT,
                        required=["file"],
                        properties={"file": Schema(type=OpenAPIType.ARRAY, items=file, min_items=1)},
                    )
                )
            },
        )


class CollectionController(Controller):
    tags = ["Knowledge"]
    opt = needs(Permission.SPACES)

    @get("/spaces/{space_id:uuid}/collections", operation_id="list_collections", summary="List a space's collections")
    async def page(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[CollectionOut]:
        """Newest first."""
        rows, after = await CollectionService(work).page(space_id, limit, cursor)
        return Page(items=[CollectionOut.of(row) for row in rows], next_cursor=after)

    @post("/spaces/{space_id:uuid}/collections", operation_id="create_collection", summary="Make a collection")
    async def create(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], data: JSONBody[CollectionCreate]
    ) -> Response[CollectionOut]:
        collection = await CollectionService(work).create(space_id, data)
        return tagged(CollectionOut.of(collection), collection.revision, 201)

    @get("/collections/{collection_id:uuid}", operation_id="get_collection", summary="Read a collection")
    async def read(self, work: NamedDependency[Work], collection_id: FromPath[UUID]) -> Response[CollectionOut]:
        collection = await CollectionService(work).get(collection_id, Access.READ)
        return tagged(CollectionOut.of(collection), collection.revision)

    @patch("/collections/{collection_id:uuid}", operation_id="update_collection", summary="Change a collection")
    async def update(
        self,
        work: NamedDependency[Work],
        collection_id: FromPath[UUID],
        data: JSONBody[CollectionUpdate],
        if_match: IfMatch = None,
    ) -> Response[CollectionOut]:
        """Fields that are absent stay as they are."""
        collection = await CollectionService(work).update(collection_id, data, if_match)
        return tagged(CollectionOut.of(collection), collection.revision)

    @delete("/collections/{collection_id:uuid}", operation_id="delete_collection", summary="Delete a collection")
    async def remove(self, work: NamedDependency[Work], collection_id: FromPath[UUID]) -> None:
        """Its documents go with it."""
        await CollectionService(work).delete(collection_id)

    @get(
        "/collections/{collection_id:uuid}/documents",
        operation_id="list_documents",
        summary="List a collection's documents",
    )
    async def documents(
        self, work: NamedDependency[Work], collection_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[DocumentOut]:
        """Newest first."""
        rows, after = await DocumentService(work).page(collection_id, limit, cursor)
        return Page(items=[DocumentOut.of(row) for row in rows], next_cursor=after)

    @post(
        "/collections/{collection_id:uuid}/documents",
        operation_id="upload_documents",
        summary="Upload documents",
        status_code=202,
        operation_class=UploadOperation,
        request_max_body_size=None,
    )
    async def upload(
        self, app: NamedDependency[App], request: Request[Any, Any, State], collection_id: FromPath[UUID]
    ) -> DocumentsOut:
        """Answers as soon as the bytes are stored; `GET /documents/{id}` tells how far reading has come."""
        principal = principal_of(request)
        content_type = request.headers.get("content-type", "")
        documents = await upload(app, principal, collection_id, content_type, request.stream())
        return DocumentsOut(items=[DocumentOut.of(document) for document in documents])

    @post(
        "/collections/{collection_id:uuid}/search",
        operation_id="search_collection",
        summary="Find passages",
        status_code=200,
        opt=needs(Permission.SPACES, scope=Scope.READ),
    )
    async def search(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, State],
        collection_id: FromPath[UUID],
        data: JSONBody[SearchIn],
    ) -> SearchOut:
        """The passages that an assistant with this collection would be given, best first."""
        principal = principal_of(request)
        async with app.begin(principal) as work:
            collection = await CollectionService(work).get(collection_id, Access.READ)
        account = Account(
            tenant_id=principal.tenant,
            purpose="search",
            user_id=principal.user_id,
            key_id=principal.key_id,
            space_id=collection.space_id,
        )
        hits = await search(app, principal, account, [collection_id], data.query, data.limit)
        return SearchOut(
            items=[
                SearchHit(
                    document_id=hit.chunk.document_id,
                    document_name=hit.document_name,
                    chunk_id=hit.chunk.id,
                    text=hit.text,
                    page=hit.page,
                    start=hit.start,
                    end=hit.end,
                    score=hit.score,
                )
                for hit in hits
            ]
        )


class DocumentController(Controller):
    path = "/documents"
    tags = ["Knowledge"]
    opt = needs(Permission.SPACES)

    @get("/{document_id:uuid}", operation_id="get_document", summary="Read a document's state")
    async def read(self, work: NamedDependency[Work], document_id: FromPath[UUID]) -> DocumentOut:
        return DocumentOut.of(await DocumentService(work).get(document_id, Access.READ))

    @delete("/{document_id:uuid}", operation_id="delete_document", summary="Delete a document")
    async def remove(self, app: NamedDependency[App], work: NamedDependency[Work], document_id: FromPath[UUID]) -> None:
        """Its text, chunks, vectors and the original file go with it."""
        for file in await DocumentService(work).delete(document_id):
            work.after_commit(partial(FileService(app).remove, file.tenant_id, file.id))

    @post("/{document_id:uuid}/retry", operation_id="retry_document", summary="Read a document again", status_code=202)
    async def retry(self, work: NamedDependency[Work], document_id: FromPath[UUID]) -> DocumentOut:
        return DocumentOut.of(await DocumentService(work, ingest_document).retry(document_id))

    @get(
        "/{document_id:uuid}/content",
        operation_id="get_document_content",
        summary="Download the original",
        media_type="application/octet-stream",
    )
    async def content(
        self, app: NamedDependency[App], request: Request[Any, Any, State], document_id: FromPath[UUID]
    ) -> Stream:
        """The bytes as uploaded, always as a download: a browser must never run them as a page of ours."""
        principal = principal_of(request)
        async with app.begin(principal) as work:
            document, file = await DocumentService(work).file(document_id)

        async def body() -> AsyncIterator[bytes]:
            async for part in app.storage.read(file.tenant_id, file.storage_key):
                yield part

        return Stream(
            body(),
            media_type="application/octet-stream",
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.name, safe='')}",
                "Content-Length": str(file.size),
                "Content-Security-Policy": "sandbox; default-src 'none'",
            },
        )

    @get("/{document_id:uuid}/text", operation_id="get_document_text", summary="Read the extracted text")
    async def text(self, work: NamedDependency[Work], document_id: FromPath[UUID]) -> DocumentTextOut:
        """The text that citations count in, and what page and heading each stretch of it has."""
        found = await DocumentService(work).text(document_id)
        return DocumentTextOut(text=found.text, anchors=msgspec.convert(found.anchors, list[Anchor]))

    @get("/{document_id:uuid}/chunks", operation_id="list_chunks", summary="List a document's chunks")
    async def chunks(
        self, work: NamedDependency[Work], document_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[ChunkOut]:
        """In the order of the document."""
        rows, after = await DocumentService(work).chunks(document_id, limit, cursor)
        return Page(items=[ChunkOut.of(row) for row in rows], next_cursor=after)
