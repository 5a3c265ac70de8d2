"""`/spaces/{id}/collections` and `/collections`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.kit.access import Access, Permission, Scope
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, principal_of, tagged
from folkmoot.kit.work import Work
from folkmoot.knowledge.bulk import begin_operation, operations
from folkmoot.knowledge.documents import Listing, delete_collection, listed, status_of
from folkmoot.knowledge.schemas import (
    CollectionCreate,
    CollectionOut,
    CollectionStatus,
    CollectionUpdate,
    DocumentOut,
    DocumentsOut,
    OperationOut,
    Selection,
    Status,
)
from folkmoot.knowledge.search import search
from folkmoot.knowledge.search_schemas import SearchIn, SearchOut
from folkmoot.knowledge.service import CollectionService
from folkmoot.knowledge.tasks import remove_files, run_operation
from folkmoot.knowledge.upload import upload
from folkmoot.usage.ledger import Account

Sort = Annotated[Literal["newest", "oldest"], QueryParameter(description="By when they came.")]
OfStatus = Annotated[Status | None, QueryParameter(description="Only those in this state.")]
OfName = Annotated[str | None, QueryParameter(max_length=200, description="Only those with this in their name.")]
OfMediaType = Annotated[
    str | None, QueryParameter(max_length=200, description="Only those of this media type; `text/*` for any text.")
]
OfLanguage = Annotated[
    str | None, QueryParameter(max_length=20, description="Only those in this language (ISO 639-1).")
]


@dataclass
class UploadOperation(Operation):
    """The body is read as it streams, so it is described here and not by a parameter."""

    def __post_init__(self) -> None:
        file = Schema(type=OpenAPIType.STRING, format="binary")  # type: ignore[arg-type]
        said = {
            "metadata": Schema(
                type=OpenAPIType.STRING,
                description="A JSON object of your own names and values, to search by.",
                examples=['{"department": "planning"}'],
            ),
            "modified_at": Schema(
                type=OpenAPIType.STRING,
                format="date-time",  # type: ignore[arg-type]
                description="When the content was last changed.",
            ),
            "password": Schema(
                type=OpenAPIType.STRING,
                description="Opens a protected file. Kept encrypted until it has been read, and never shown.",
            ),
        }
        self.request_body = RequestBody(
            required=True,
            description="One or several files, each in a field named `file`. Other fields hold for the files after "
            "them.",
            content={
                "multipart/form-data": OpenAPIMediaType(
                    schema=Schema(
                        type=OpenAPIType.OBJECT,
                        required=["file"],
                        additional_properties=False,
                        properties={**said, "file": Schema(type=OpenAPIType.ARRAY, items=file, min_items=1)},
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
        await delete_collection(work, remove_files, collection_id)

    @get(
        "/collections/{collection_id:uuid}/status",
        operation_id="get_collection_status",
        summary="Count a collection's documents",
    )
    async def status(self, work: NamedDependency[Work], collection_id: FromPath[UUID]) -> CollectionStatus:
        """By state, with what they come to."""
        return await status_of(work, collection_id)

    @get(
        "/collections/{collection_id:uuid}/documents",
        operation_id="list_documents",
        summary="List a collection's documents",
    )
    async def documents(
        self,
        work: NamedDependency[Work],
        collection_id: FromPath[UUID],
        status: OfStatus = None,
        name: OfName = None,
        media_type: OfMediaType = None,
        language: OfLanguage = None,
        sort: Sort = "newest",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[DocumentOut]:
        """Newest first, unless `sort` says otherwise."""
        listing = Listing(status=status, name=name, media_type=media_type, language=language, sort=sort)
        rows, after = await listed(work, collection_id, listing, limit, cursor)
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
        hits = await search(app, principal, account, [collection_id], data.query, data.limit, filters=data.filters)
        return SearchOut.of(hits, explain=data.explain)


class OperationController(Controller):
    """One thing done with many documents."""

    path = "/collections/{collection_id:uuid}"
    tags = ["Knowledge"]
    opt = needs(Permission.SPACES)

    @get("/operations", operation_id="list_operations", summary="List what was done with many documents")
    async def page(
        self, work: NamedDependency[Work], collection_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[OperationOut]:
        """Newest first."""
        rows, after = await operations(work, collection_id, limit, cursor)
        return Page(items=[OperationOut.of(row) for row in rows], next_cursor=after)

    @post("/cancel", operation_id="cancel_documents", summary="Cancel all that waits or is being read", status_code=202)
    async def cancel(self, work: NamedDependency[Work], collection_id: FromPath[UUID]) -> OperationOut:
        """They fail with `cancelled`, and can be read again. What was found of them before stays."""
        return OperationOut.of(await begin_operation(work, run_operation, collection_id, "cancel", Selection()))

    @post("/retry", operation_id="retry_documents", summary="Read many documents again", status_code=202)
    async def retry(
        self, work: NamedDependency[Work], collection_id: FromPath[UUID], data: JSONBody[Selection]
    ) -> OperationOut:
        """Those that failed, unless `statuses` says otherwise; `ready` reads anew what was read before."""
        return OperationOut.of(await begin_operation(work, run_operation, collection_id, "retry", data))

    @post("/documents/delete", operation_id="delete_documents", summary="Delete many documents", status_code=202)
    async def delete(
        self, work: NamedDependency[Work], collection_id: FromPath[UUID], data: JSONBody[Selection]
    ) -> OperationOut:
        """Their text, chunks, vectors and original files go with them. Something must be selected."""
        return OperationOut.of(await begin_operation(work, run_operation, collection_id, "delete", data))
