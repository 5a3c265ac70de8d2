"""Files inside a file, each made a document of its own.

What a parser finds in an archive or at a mail comes here in pieces, is put aside until it is whole, and is
then stored and queued like any upload, under the document that it came in. A container that is read again
changes only what has changed: a member is the one of before by its path, and its bytes by their hash. What
goes wrong with one member is a sentence among the container's warnings, and the others go on.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from folkmoot_sdk import Member, ParserError
from sqlalchemy import select

from folkmoot.files.models import File
from folkmoot.files.service import FileService
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.kit.jobs import TASKS
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Collection, Document
from folkmoot.knowledge.pick import announce
from folkmoot.knowledge.service import DocumentService, Origin
from folkmoot.knowledge.store import Gone, Reading

DEEPEST = 3
"""Containers around a document: a file in a zip in a zip in a zip is still read."""
MOST_WARNINGS = 50
"""Members named one by one; of the others only the number is told."""

_IN_MEMORY = 2 << 20
_PIECE = 1 << 20
_LONGEST_NAME = 1000
_SAY_SOMETHING_THEMSELVES = frozenset(("message/rfc822",))
"""Containers whose own text is worth having where their members are not read any more."""
_JUNK = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin"))


class NestedTooDeep(ParserError):
    """A container in so many others that what is in it is not read any more."""

    code = "nested-too-deep"


@dataclass(frozen=True)
class _Known:
    """A member as it was found before."""

    id: UUID
    content_hash: str


@dataclass
class _Arriving:
    """A member of which some pieces have come: a small one in memory, a larger one in a nameless file."""

    path: str
    first: Member
    spool: tempfile.SpooledTemporaryFile[bytes]
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        self.spool.write(data)
        self.digest.update(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        self.spool.seek(0)
        while piece := self.spool.read(_PIECE):
            yield piece


class Members:
    """Takes the members of one document while it is read: `async with Members(app, reading) as members`."""

    def __init__(self, app: App, reading: Reading) -> None:
        self._app, self._reading = app, reading
        self._known: dict[str, _Known] = {}
        self._stale: list[UUID] = []
        self._depth = 0
        self._begun = False
        self._seen: set[str] = set()
        self._arriving: _Arriving | None = None
        self._skipping = False
        self._too_deep = 0
        self._warnings: list[str] = []
        self._untold = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    async def take(self, member: Member) -> None:
        """Take one piece; with its last a member becomes a document.

        Raises `NestedTooDeep`, and `Gone` once the container was deleted or taken from this worker.
        """
        await self._begin()
        if self._depth >= DEEPEST:
            if self._reading.media_type not in _SAY_SOMETHING_THEMSELVES:
                raise NestedTooDeep(
                    f"{self._reading.name} lies in {DEEPEST} other archives or mails, and what is in it is not read "
                    "any more: unpack it and upload the files themselves"
                )
            self._too_deep += member.last
            return
        if self._arriving is None and not self._skipping:
            self._skipping = _is_junk(member.name)
            if not self._skipping:
                # It closes when the member has come, or with this object.
                spool = tempfile.SpooledTemporaryFile[bytes](_IN_MEMORY, prefix="folkmoot-")
                self._arriving = _Arriving(self._path(member.name), member, spool)
        if self._skipping:
            self._skipping = not member.last
        elif self._arriving is not None:
            self._arriving.add(member.data)
            if member.last:
                await self._arrived(self._arriving, member.problem)

    async def finish(self) -> list[str]:
        """Remove the documents of members that are no longer there; returns warnings, in sentences.

        Call it only when all of the container was read: a partial reading removes nothing.
        """
        if not self._begun and not self._reading.opened:
            return self._warnings
        await self._begin()
        vanished = [known.id for path, known in self._known.items() if path not in self._seen] + self._stale
        if vanished:
            async with self._app.begin(self._reading.principal) as work:
                await self._container(work)
                found = list(await work.session.scalars(select(Document).where(Document.id.in_(vanished))))
                files = await DocumentService(work).remove(found)
            for file in files:
                await FileService(self._app).remove(self._reading.tenant_id, file.id)
        if self._too_deep:
            what = "1 file in it was" if self._too_deep == 1 else f"{self._too_deep} files in it were"
            self._warnings.append(
                f"{what} not read, because it lies in {DEEPEST} other archives or mails: upload it by itself"
            )
        if self._untold:
            self._warnings.append(f"{self._untold} more files in it were not read")
        return self._warnings

    async def _begin(self) -> None:
        """Find out once how deep the container lies, and what came in it before."""
        if self._begun:
            return
        self._begun = True
        async with self._app.begin(self._reading.principal) as work:
            above: UUID | None = self._reading.id
            while above is not None and self._depth <= DEEPEST:
                above = await work.session.scalar(select(Document.parent_id).where(Document.id == above))
                self._depth += above is not None
            query = (
                select(Document.id, Document.content_hash, File.name)
                .join(File, File.id == Document.file_id)
                .where(Document.parent_id == self._reading.id)
                .order_by(Document.id)
            )
            for document_id, content_hash, path in await work.session.execute(query):
                if path in self._known:
                    self._stale.append(document_id)
                else:
                    self._known[path] = _Known(document_id, content_hash)

    def _path(self, name: str) -> str:
        """The member's path, with a number if another one had it before."""
        path, number = name, 1
        while path in self._seen:
            number += 1
            pure = PurePosixPath(name)
            path = str(pure.with_name(f"{pure.stem} ({number}){pure.suffix}"))
        self._seen.add(path)
        return path

    async def _arrived(self, member: _Arriving, problem: str) -> None:
        try:
            known = self._known.get(member.path)
            if problem:
                self._warn(problem)
            elif known is None or known.content_hash != member.digest.hexdigest():
                await self._keep(member, known)
        except AppError as error:
            # The quota, or a member larger than any file may be.
            self._warn(f"{member.path} was not taken in: {error.detail}")
        finally:
            self._drop()

    async def _keep(self, member: _Arriving, known: _Known | None) -> None:
        files, principal = FileService(self._app), self._reading.principal
        file = await files.receive(principal, member.path, member.chunks())
        try:
            old = await self._queue(member, file, known)
        except Exception:
            await files.remove(principal.tenant, file.id)
            raise
        if old is not None:
            await files.remove(principal.tenant, old.id)

    async def _queue(self, member: _Arriving, file: File, known: _Known | None) -> File | None:
        """Make the document, or give the one of before its new bytes; returns the file that is to go."""
        async with self._app.begin(self._reading.principal) as work:
            container = await self._container(work)
            kept = await work.session.get_one(File, file.id)
            # The path says which member it is when the container is read again; documents may be renamed.
            kept.name = member.path
            origin = Origin(
                parent_id=container.id,
                metadata=container.metadata_,
                modified_at=member.first.modified_at or container.modified_at,
            )
            work.after_commit(partial(announce, self._app.redis, self._reading.tenant_id))
            service = DocumentService(work, TASKS.get("knowledge.ingest_document"))
            document = await work.session.get(Document, known.id, with_for_update=True) if known else None
            if document is not None:
                return await service.replace(document, kept, member.first.media_type, origin)
            collection = await work.session.get_one(Collection, self._reading.collection_id)
            document = await service.add(collection, kept, member.first.media_type, origin)
            document.name = f"{container.name}/{member.path}"[-_LONGEST_NAME:].lstrip("/")
            return None

    async def _container(self, work: Work) -> Document:
        """The container, held until the commit: whoever cancels it then also finds what was just added to it."""
        query = select(Document).where(Document.id == self._reading.id).with_for_update(read=True)
        container = await work.session.scalar(query)
        if container is None or container.status != "processing" or container.claim != self._reading.claim:
            raise Gone
        return container

    def _warn(self, sentence: str) -> None:
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(sentence)
        else:
            self._untold += 1

    def _drop(self) -> None:
        if self._arriving is not None:
            self._arriving.spool.close()
            self._arriving = None


def _is_junk(path: str) -> bool:
    """What systems put beside people's files: hidden ones, thumbnails, locks of open documents."""
    parts = path.lower().split("/")
    return any(part.startswith((".", "~$")) or part in _JUNK for part in parts)
