"""`/documents`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from msgspec import UNSET

from folkmoot.files.service import FileService
from folkmoot.kit.access import Access, Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, principal_of, tagged
from folkmoot.kit.work import Work
from folkmoot.knowledge.documents import cancel, retry, update
from folkmoot.knowledge.schemas import (
    Anchor,
    ChunkOut,
    DocumentOut,
    DocumentRetry,
    DocumentTextOut,
    DocumentUpdate,
)
from folkmoot.knowledge.service import DocumentService
from folkmoot.knowledge.tasks import ingest_document


class DocumentController(Controller):
    path = "/documents"
    tags = ["Knowledge"]
    opt = needs(Permission.SPACES)

    @get("/{document_id:uuid}", operation_id="get_document", summary="Read a document's state")
    async def read(self, work: NamedDependency[Work], document_id: FromPath[UUID]) -> Response[DocumentOut]:
        document = await DocumentService(work).get(document_id, Access.READ)
        return tagged(DocumentOut.of(document), document.revision)

    @patch("/{document_id:uuid}", operation_id="update_document", summary="Describe a document")
    async def update(
        self,
        work: NamedDependency[Work],
        document_id: FromPath[UUID],
        data: JSONBody[DocumentUpdate],
        if_match: IfMatch = None,
    ) -> Response[DocumentOut]:
        """Fields that are absent stay as they are, and so do names of `metadata`; null takes one away."""
        document = await update(work, document_id, data, if_match)
        return tagged(DocumentOut.of(document), document.revision)

    @delete("/{document_id:uuid}", operation_id="delete_document", summary="Delete a document")
    async def remove(self, app: NamedDependency[App], work: NamedDependency[Work], document_id: FromPath[UUID]) -> None:
        """Its text, chunks, vectors and the original file go with it."""
        for file in await DocumentService(work).delete(document_id):
            work.after_commit(partial(FileService(app).remove, file.tenant_id, file.id))

    @post("/{document_id:uuid}/retry", operation_id="retry_document", summary="Read a document again", status_code=202)
    async def retry(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        document_id: FromPath[UUID],
        data: JSONBody[DocumentRetry | None] = None,
    ) -> DocumentOut:
        """With `password` for a file that is protected."""
        password = data.password if data is not None and data.password is not UNSET else None
        return DocumentOut.of(await retry(app, work, ingest_document, document_id, password))

    @post(
        "/{document_id:uuid}/cancel", operation_id="cancel_document", summary="Stop reading a document", status_code=200
    )
    async def cancel(self, work: NamedDependency[Work], document_id: FromPath[UUID]) -> DocumentOut:
        """It fails with `cancelled`, and so does what came in it and is not ready yet. It can be read again."""
        return DocumentOut.of(await cancel(work, document_id))

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
