"""Files and pictures that a person attaches to a conversation.

What can be read becomes a document in a collection of its own, in the person's personal space: it is read, searched,
cited and counted as every document is, and nobody else finds it. A picture is kept as it is, without what its camera
wrote beside it, for models that see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, exists, func, select

from folkmoot.conversations.models import Attachment, Conversation, Message
from folkmoot.conversations.service import ConversationService
from folkmoot.files import pictures
from folkmoot.files.models import File
from folkmoot.files.service import FileService, clean_name
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest, Conflict, ContentTooLarge, NotFound
from folkmoot.kit.jobs import TASKS
from folkmoot.kit.work import Work
from folkmoot.knowledge.documents import again
from folkmoot.knowledge.models import Collection, Document
from folkmoot.knowledge.service import CollectionService, DocumentService
from folkmoot.knowledge.upload import Part, no_file, parts_of

AT_ONCE = 20
"""Files in one request, and on one question."""
MOST = 200
"""Files in one conversation."""
DOCUMENT, IMAGE = "document", "image"


@dataclass(frozen=True)
class Held:
    """One attachment, and how far reading it has come."""

    attachment: Attachment
    document: Document | None
    """None for a picture."""


class AttachmentService:
    """Use cases around the attachments of the caller's conversations."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._conversations = ConversationService(work)

    async def all(self, conversation_id: UUID) -> list[Held]:
        """In the order in which they came. Raises `NotFound`."""
        conversation = await self._conversations.get(conversation_id)
        return await self._held(conversation.id)

    async def picture(self, conversation_id: UUID, attachment_id: UUID) -> tuple[Attachment, File]:
        """A picture and the row of its bytes. Raises `NotFound`, or `Conflict` (`not-a-picture`) for a document."""
        attachment = (await self._one(conversation_id, attachment_id)).attachment
        if attachment.file_id is None:
            raise Conflict(
                f"{attachment.name} is a document: read it at /documents/{attachment.document_id}/content",
                code="not-a-picture",
            )
        return attachment, await self._work.session.get_one(File, attachment.file_id)

    async def remove(self, conversation_id: UUID, attachment_id: UUID) -> list[UUID]:
        """Take an attachment away that no question names; returns its files, for the caller to remove.

        Raises `NotFound` or `Conflict` (`file-in-use`).
        """
        # Whoever asks locks it too, so that no question names the file meanwhile.
        conversation = await self._conversations.get(conversation_id, lock=True)
        held = await self._one(conversation.id, attachment_id)
        named = exists().where(
            Message.conversation_id == conversation.id, Message.file_ids.contains([str(attachment_id)])
        )
        if await self._work.session.scalar(select(named)):
            raise Conflict(
                f"a question was asked about {held.attachment.name}: delete the conversation to be rid of both",
                code="file-in-use",
            )
        self._record("attachment.removed", held.attachment)
        if held.document is not None:
            # Its row goes with the document.
            return [file.id for file in await DocumentService(self._work).remove([held.document])]
        await self._work.session.execute(delete(Attachment).where(Attachment.id == attachment_id))
        return [held.attachment.file_id] if held.attachment.file_id is not None else []

    async def keep_document(self, app: App, conversation_id: UUID, file: File, media_type: str) -> Held:
        """Queue a stored file for reading. The same bytes under the same name are one attachment."""
        conversation = await self._with_collection(conversation_id)
        collection = await self._work.session.get_one(Collection, conversation.collection_id)
        ingest = TASKS["knowledge.ingest_document"]
        document = await DocumentService(self._work, ingest).add(collection, file, media_type)
        if document.file_id != file.id:
            same = select(Attachment).where(Attachment.document_id == document.id)
            if (known := await self._work.session.scalar(same)) is not None:
                if document.status == "failed":
                    await again(app, self._work, ingest, document)
                return Held(known, document)
        attachment = self._attachment(conversation, DOCUMENT, file, media_type[:200], document_id=document.id)
        return Held(attachment, document)

    async def keep_picture(self, conversation_id: UUID, file: File, media_type: str) -> Held:
        """Keep a stored picture with the conversation."""
        conversation = await self._with_collection(conversation_id)
        return Held(self._attachment(conversation, IMAGE, file, media_type, file_id=file.id), None)

    def _attachment(
        self,
        conversation: Conversation,
        kind: str,
        file: File,
        media_type: str,
        *,
        file_id: UUID | None = None,
        document_id: UUID | None = None,
    ) -> Attachment:
        attachment = Attachment(
            tenant_id=conversation.tenant_id,
            conversation_id=conversation.id,
            kind=kind,
            name=file.name,
            media_type=media_type,
            size=file.size,
            file_id=file_id,
            document_id=document_id,
        )
        self._work.session.add(attachment)
        return attachment

    async def _with_collection(self, conversation_id: UUID) -> Conversation:
        """The conversation, locked, with a collection. Its pictures need one too: by it the personal space's data class
        binds the answers."""
        conversation = await self._conversations.get(conversation_id, lock=True)
        held = select(func.count()).select_from(Attachment).where(Attachment.conversation_id == conversation.id)
        if (await self._work.session.scalar(held) or 0) >= MOST:
            raise Conflict(f"a conversation has at most {MOST} files: begin another one", code="too-many-files")
        if conversation.collection_id is None:
            conversation.collection_id = (await CollectionService(self._work).hidden()).id
            await self._work.session.flush()
        return conversation

    async def _one(self, conversation_id: UUID, attachment_id: UUID) -> Held:
        conversation = await self._conversations.get(conversation_id)
        held = await self._held(conversation.id, attachment_id)
        if not held:
            raise NotFound("this conversation has no such file")
        return held[0]

    async def _held(self, conversation_id: UUID, attachment_id: UUID | None = None) -> list[Held]:
        query = (
            select(Attachment, Document)
            .outerjoin(Document, Document.id == Attachment.document_id)
            .where(Attachment.conversation_id == conversation_id)
            .order_by(Attachment.id)
        )
        if attachment_id is not None:
            query = query.where(Attachment.id == attachment_id)
        return [Held(attachment, document) for attachment, document in await self._work.session.execute(query)]

    def _record(self, action: str, attachment: Attachment) -> None:
        told = {"conversation_id": str(attachment.conversation_id), "kind": attachment.kind}
        self._work.record(action, "attachment", attachment.id, user_id=self._work.principal.user, data=told)

    def record_added(self, held: Held) -> None:
        """The event of a new one, once it has its id."""
        self._record("attachment.added", held.attachment)


async def receive(
    app: App, principal: Principal, conversation_id: UUID, content_type: str, body: AsyncIterator[bytes]
) -> list[Held]:
    """Store every part named `file`, and queue what is to be read.

    Files that came in whole before a later one was refused stay. Raises `BadRequest` for a body that is not multipart
    and for a broken picture, `ContentTooLarge`, `Conflict` (`too-many-files`) and `NotFound`.
    """
    async with app.begin(principal) as work:
        await ConversationService(work).get(conversation_id)
    taken: list[Held] = []
    async for part in parts_of(content_type, body):
        if part.name != "file" or part.filename is None:
            await part.skip()
            continue
        if len(taken) == AT_ONCE:
            raise BadRequest(
                f"at most {AT_ONCE} files at once: those are taken, send the rest in another request",
                code="too-many-files",
            )
        taken.append(await _take_in(app, principal, conversation_id, part))
    if not taken:
        raise no_file()
    return taken


async def _take_in(app: App, principal: Principal, conversation_id: UUID, part: Part) -> Held:
    name, chunks = clean_name(part.filename or ""), part.chunks()
    head = await _head(chunks)
    picture = await _picture(name, head, chunks) if pictures.kind_of(head) else None
    whole = _of([picture.data]) if picture is not None else _of([head], chunks)
    files = FileService(app)
    file = await files.receive(principal, name, whole)
    try:
        async with app.begin(principal) as work:
            service = AttachmentService(work)
            if picture is not None:
                held = await service.keep_picture(conversation_id, file, picture.media_type)
            else:
                held = await service.keep_document(app, conversation_id, file, part.media_type)
            await work.session.flush()
            service.record_added(held)
    except BaseException:
        await asyncio.shield(files.remove(principal.tenant, file.id))
        raise
    if held.document is not None and held.document.file_id != file.id:
        await files.remove(principal.tenant, file.id)
    return held


async def _head(chunks: AsyncIterator[bytes]) -> bytes:
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) >= pictures.HEAD:
            break
    return bytes(head)


async def _of(first: Sequence[bytes], rest: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    if rest is not None:
        async for chunk in rest:
            yield chunk


async def _picture(name: str, head: bytes, chunks: AsyncIterator[bytes]) -> pictures.Picture:
    data = bytearray()
    async for chunk in _of([head], chunks):
        data += chunk
        if len(data) > pictures.LARGEST:
            most = pictures.LARGEST / 1_048_576
            raise ContentTooLarge(
                f"the picture {name} is larger than {most:.0f} MB, the limit here: make it smaller",
                code="image-too-large",
            )
    try:
        # Off the loop: ten megabytes of tiny boxes take a while to walk.
        picture = await asyncio.to_thread(pictures.read, bytes(data))
    except pictures.Broken as error:
        raise BadRequest(
            f"the picture {name} cannot be read: {error}. Save it anew and send that", code="image-unreadable"
        ) from None
    if max(picture.width, picture.height) > pictures.WIDEST:
        raise ContentTooLarge(
            f"the picture {name} is {picture.width:,} by {picture.height:,} pixels, and {pictures.WIDEST:,} a side are "
            "the limit: make it smaller",
            code="image-too-large",
        )
    return picture


async def still_there(work: Work, file_ids: Sequence[UUID]) -> list[UUID]:
    """Those of a question's files that were not deleted since."""
    if not file_ids:
        return []
    found = set(await work.session.scalars(select(Attachment.id).where(Attachment.id.in_(file_ids))))
    return [item for item in file_ids if item in found]


async def asked_with(work: Work, conversation: Conversation, file_ids: Sequence[UUID]) -> list[UUID]:
    """Where an answer looks beside the assistant's knowledge: in the conversation's files, once a question had some.

    Raises `NotFound` unless all of `file_ids` are files of this conversation.
    """
    wanted = set(file_ids)
    if wanted:
        mine = select(Attachment.id).where(Attachment.conversation_id == conversation.id, Attachment.id.in_(wanted))
        if missing := wanted - set(await work.session.scalars(mine)):
            raise NotFound(f"this conversation has no file {min(missing)}: send it with POST …/files first")
    if conversation.collection_id is None:
        return []
    if not wanted and not await work.session.scalar(
        select(
            exists().where(Message.conversation_id == conversation.id, func.jsonb_array_length(Message.file_ids) > 0)
        )
    ):
        return []
    return [conversation.collection_id]
