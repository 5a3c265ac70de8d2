"""Taking in documents: the body is parsed and encrypted as it streams, with no transaction open meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import cast
from uuid import UUID

import msgspec
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header  # pyright: ignore[reportUnknownVariableType]

from folkmoot.files.service import FileService
from folkmoot.kit.access import Access, Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest, UnsupportedContent, ValidationFailed
from folkmoot.knowledge.documents import uploaded_again
from folkmoot.knowledge.models import Document
from folkmoot.knowledge.password import LONGEST, keep_password
from folkmoot.knowledge.pick import announce
from folkmoot.knowledge.schemas import Described
from folkmoot.knowledge.service import CollectionService, DocumentService, Origin
from folkmoot.knowledge.tasks import ingest_document

MOST_FILES = 100
MOST_PARTS = 4 * MOST_FILES + 20
"""Each file may have a field for each thing that can be said of it."""
LONGEST_FIELD = 64 * 1024
_TOO_MANY = f"at most {MOST_FILES} files at once: those are taken, send the rest in another request"


@dataclass
class _Said:
    """What the fields so far say of the files after them."""

    described: Described = field(default_factory=Described)
    password: str | None = None

    async def take(self, part: Part) -> None:
        """Raises `ValidationFailed` for a field that cannot be understood."""
        value = await part.text(LONGEST if part.name == "password" else LONGEST_FIELD)
        try:
            match part.name:
                case "password":
                    self.password = value or None
                case "metadata":
                    fields = {"metadata": msgspec.json.decode(value or "{}")}
                    self.described = self._with(fields)
                case _:
                    self.described = self._with({"modified_at": value or None})
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ValidationFailed(
                f"the field `{part.name}` cannot be understood: {error}", [(str(part.name), str(error))]
            ) from None

    def _with(self, fields: dict[str, object]) -> Described:
        return msgspec.convert({**msgspec.to_builtins(self.described), **fields}, Described)


async def upload(
    app: App, principal: Principal, collection_id: UUID, content_type: str, body: AsyncIterator[bytes]
) -> list[Document]:
    """Store and queue every part named `file`. Raises `BadRequest` for a body that is not multipart.

    The fields `metadata`, `modified_at` and `password` hold for the files after them. Files that came in whole
    before a later one was refused stay, and their documents too.
    """
    async with app.begin(principal) as work:
        await CollectionService(work).get(collection_id, Access.EDIT)
    documents: list[Document] = []
    said = _Said()
    async for part in parts_of(content_type, body):
        if part.filename is None and part.name in ("metadata", "modified_at", "password"):
            await said.take(part)
            continue
        if part.name != "file" or part.filename is None:
            await part.skip()
            continue
        if len(documents) == MOST_FILES:
            raise BadRequest(_TOO_MANY, code="too-many-files")
        documents.append(await _take_in(app, principal, collection_id, part, said))
    if not documents:
        raise no_file()
    return documents


def no_file() -> ValidationFailed:
    """What a body without any file is answered with."""
    return ValidationFailed("there is no file in the request", [("file", "send one or several files in this field")])


def parts_of(content_type: str, body: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    """The parts of a multipart body, each to be read before the next.

    Raises `UnsupportedContent` for another kind of body, and `BadRequest` where one is broken.
    """
    kind, options = cast("tuple[str, dict[str, str]]", parse_options_header(content_type))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise UnsupportedContent("send the file as multipart/form-data, in a field named `file`")
    return aiter(_Parts(options["boundary"], body))


async def _take_in(app: App, principal: Principal, collection_id: UUID, part: Part, said: _Said) -> Document:
    file = await FileService(app).receive(principal, part.filename or "", part.chunks())
    described = said.described
    async with app.begin(principal) as work:
        collection = await CollectionService(work).get(collection_id, Access.EDIT)
        origin = Origin(metadata=described.metadata, modified_at=described.modified_at)
        # Before the bell, which is sent in this order.
        work.after_commit(partial(announce, app.redis, principal.tenant))
        document = await DocumentService(work, ingest_document).add(collection, file, part.media_type, origin)
        if document.file_id != file.id:
            await uploaded_again(app, work, ingest_document, document, described.metadata, said.password)
        elif said.password is not None:
            await work.session.flush()
            await keep_password(app, work, document, said.password)
    if document.file_id != file.id:
        await FileService(app).remove(principal.tenant, file.id)
    return document


class Part:
    """One part of the body, to be read before the next."""

    def __init__(self, segment: MultipartSegment, parts: _Parts) -> None:
        self.name, self.filename = segment.name, segment.filename
        self.media_type = segment.content_type or ""
        self._parts = parts

    async def chunks(self) -> AsyncIterator[bytes]:
        while (event := await self._parts.next_event()) is not None:
            yield bytes(event)  # type: ignore[arg-type]

    async def text(self, limit: int) -> str:
        """The value of a field. Raises `ValidationFailed` for one that is too long or no text."""
        found = bytearray()
        async for chunk in self.chunks():
            found += chunk
            if len(found) > limit:
                raise ValidationFailed(
                    f"the field `{self.name}` is longer than {limit:,} bytes", [(str(self.name), "is too long")]
                )
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise ValidationFailed(
                f"the field `{self.name}` is not UTF-8", [(str(self.name), "is not UTF-8")]
            ) from None

    async def skip(self) -> None:
        async for _ in self.chunks():
            pass


class _Parts:
    """The parts of a multipart body as they arrive, over the push parser of the `multipart` library."""

    def __init__(self, boundary: str, body: AsyncIterator[bytes]) -> None:
        # Sizes of files are limited where they are stored; the parser limits the number and the headers.
        self._parser = PushMultipartParser(
            boundary, max_segment_count=MOST_PARTS, max_header_size=8192, max_header_count=10
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

    async def __aiter__(self) -> AsyncIterator[Part]:
        while True:
            try:
                event = await self.next_event()
            except StopAsyncIteration:
                return
            if isinstance(event, MultipartSegment):
                yield Part(event, self)
