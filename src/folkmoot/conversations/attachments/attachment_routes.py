"""`/conversations/{id}/files`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import UUID

from litestar import Controller, Request, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath
from litestar.response import Stream

from folkmoot.conversations.attachments.attachments import AttachmentService, receive
from folkmoot.conversations.schemas import AttachmentOut, AttachmentsOut
from folkmoot.files.service import FileService
from folkmoot.kit.access import Permission, Scope
from folkmoot.kit.app import App
from folkmoot.kit.http import needs, principal_of
from folkmoot.kit.work import Work


@dataclass
class AttachOperation(Operation):
    """The body is read as it streams, so it is described here and not by a parameter."""

    def __post_init__(self) -> None:
        file = Schema(type=OpenAPIType.STRING, format="binary")  # type: ignore[arg-type]
        files = Schema(type=OpenAPIType.ARRAY, items=file, min_items=1)
        schema = Schema(
            type=OpenAPIType.OBJECT, required=["file"], additional_properties=False, properties={"file": files}
        )
        self.request_body = RequestBody(
            required=True,
            description="One or several files, each in a field named `file`.",
            content={"multipart/form-data": OpenAPIMediaType(schema=schema)},
        )


class AttachmentController(Controller):
    path = "/conversations/{conversation_id:uuid}/files"
    tags = ["Conversations"]
    opt = needs(Permission.SPACES, scope=Scope.CHAT)

    @post(
        operation_id="attach_files",
        summary="Send files to a conversation",
        status_code=202,
        operation_class=AttachOperation,
        request_max_body_size=None,
    )
    async def attach(
        self, app: NamedDependency[App], request: Request[Any, Any, State], conversation_id: FromPath[UUID]
    ) -> AttachmentsOut:
        """Name them in `file_ids` of a question. Answers as soon as the bytes are stored; reading goes on behind.

        PNG, JPEG, WebP and GIF are kept as pictures, without what a camera wrote beside them; everything else is a
        document.
        """
        content_type = request.headers.get("content-type", "")
        held = await receive(app, principal_of(request), conversation_id, content_type, request.stream())
        return AttachmentsOut(items=[AttachmentOut.of(item.attachment, item.document) for item in held])

    @get(operation_id="list_attachments", summary="List a conversation's files")
    async def page(self, work: NamedDependency[Work], conversation_id: FromPath[UUID]) -> AttachmentsOut:
        """In the order in which they came, with how far reading them has come."""
        held = await AttachmentService(work).all(conversation_id)
        return AttachmentsOut(items=[AttachmentOut.of(item.attachment, item.document) for item in held])

    @get(
        "/{attachment_id:uuid}/content",
        operation_id="get_attachment_content",
        summary="Download a picture",
        media_type="application/octet-stream",
    )
    async def content(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, State],
        conversation_id: FromPath[UUID],
        attachment_id: FromPath[UUID],
    ) -> Stream:
        """The bytes as models get them, always as a download. A document is at `/documents/{id}/content`."""
        async with app.begin(principal_of(request)) as work:
            attachment, file = await AttachmentService(work).picture(conversation_id, attachment_id)

        async def body() -> AsyncIterator[bytes]:
            async for part in app.storage.read(file.tenant_id, file.storage_key):
                yield part

        return Stream(
            body(),
            media_type=attachment.media_type,
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(attachment.name, safe='')}",
                "Content-Length": str(file.size),
                "Content-Security-Policy": "sandbox; default-src 'none'",
                "Cache-Control": "private, no-store",
            },
        )

    @delete("/{attachment_id:uuid}", operation_id="remove_attachment", summary="Take a file away")
    async def remove(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        conversation_id: FromPath[UUID],
        attachment_id: FromPath[UUID],
    ) -> None:
        """One that no question names; what was asked about goes with its conversation."""
        for file_id in await AttachmentService(work).remove(conversation_id, attachment_id):
            work.after_commit(partial(FileService(app).remove, work.principal.tenant, file_id))
