"""Taking in documents: the body is parsed and encrypted as it streams, with no transaction open meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast
from uuid import UUID

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header  # pyright: ignore[reportUnknownVariableType]

from folkmoot.files.service import FileService
from folkmoot.kit.access import Access, Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest, UnsupportedContent, ValidationFailed
from folkmoot.knowledge.models import Document
from folkmoot.knowledge.service import CollectionService, DocumentService
from folkmoot.knowledge.tasks import ingest_document

MOST_FILES = 100
_TOO_MANY = f"at most {MOST_FILES} files at once: those are taken, send the rest in another request"


async def upload(
    app: App, principal: Principal, collection_id: UUID, content_type: str, body: AsyncIterator[bytes]
) -> list[Document]:
    """Store and queue every part named `file`. Raises `BadRequest` for a body that is not multipart.

    Files that came in whole before a later one was refused stay, and their documents too.
    """
    async with app.begin(principal) as work:
        await CollectionService(work).get(collection_id, Access.EDIT)
    kind, options = cast("tuple[str, dict[str, str]]", parse_options_header(content_type))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise UnsupportedContent("send the file as multipart/form-data, in a field named `file`")
    documents: list[Document] = []
    parts = _Parts(options["boundary"], body)
    async for part in parts:
        if part.name != "file" or part.filename is None:
            await part.skip()
            continue
        if len(documents) == MOST_FILES:
            raise BadRequest(_TOO_MANY, code="too-many-files")
        file = await FileService(app).receive(principal, part.filename, part.chunks())
        async with app.begin(principal) as work:
            collection = await CollectionService(work).get(collection_id, Access.EDIT)
            document = await DocumentService(work, ingest_document).add(collection, file, part.media_type)
        if document.file_id != file.id:
            await FileService(app).remove(principal.tenant, file.id)
        documents.append(document)
    if not documents:
        raise ValidationFailed("there is no file in the request", [("file", "send one or several files in this field")])
    return documents


class _Part:
    """One part of the body, to be read before the next."""

    def __init__(self, segment: MultipartSegment, parts: _Parts) -> None:
        self.name, self.filename = segment.name, segment.filename
        self.media_type = segment.content_type or ""
        self._parts = parts

    async def chunks(self) -> AsyncIterator[bytes]:
        while (event := await self._parts.next_event()) is not None:
            yield bytes(event)  # type: ignore[arg-type]

    async def skip(self) -> None:
        async for _ in self.chunks():
            pass


class _Parts:
    """The parts of a multipart body as they arrive, over the push parser of the `multipart` library."""

    def __init__(self, boundary: str, body: AsyncIterator[bytes]) -> None:
        # Sizes of files are limited where they are stored; the parser limits the number and the headers.
        self._parser = PushMultipartParser(
            boundary, max_segment_count=MOST_FILES + 20, max_header_size=8192, max_header_count=10
        )
        self._body = body
        self._events: list[MultipartSegment | bytearray | bytes | None] = []
        self._ended = False

    async def next_event(self) -> MultipartSegment | bytearray | bytes | None:
        """The next event; None at the end of a part. Raises `BadRequest` for a broken body."""
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            try:
                data = await anext(self._body)
            except StopAsyncIteration:
                data = b""
                self._ended = True
            try:
                self._events.extend(self._parser.parse(data))
            except ParserLimitReached as error:
                raise BadRequest(f"the multipart body has too many or too large parts: {error}") from error
            except MultipartError as error:
                raise BadRequest(f"the multipart body is broken: {error}", code="multipart-broken") from error
        return self._events.pop(0)

    async def __aiter__(self) -> AsyncIterator[_Part]:
        while True:
            try:
                event = await self.next_event()
            except StopAsyncIteration:
                return
            if isinstance(event, MultipartSegment):
                yield _Part(event, self)
