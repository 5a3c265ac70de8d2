"""Reading one document: bytes to blocks to chunks to vectors, each step a short transaction of its own.

A document is claimed by a lease that the worker renews. If the worker dies the lease runs out and the sweep
queues the document again; a second worker that gets the same message finds nothing to claim. Chunks are
replaced by content hash, so a document that is read again keeps the vectors of what did not change.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import BinaryIO, cast
from uuid import UUID

from folkmoot_sdk import Block, DocumentInfo, Member, ParserError, Progress
from sqlalchemy import DateTime, Uuid, and_, bindparam, exists, or_, select, update
from sqlalchemy.orm import aliased
from uuid_utils.compat import uuid7

from folkmoot.files.models import File
from folkmoot.fulltext.index import FACTOR, call_for_merge
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.log import get_logger
from folkmoot.kit.storage_errors import Missing
from folkmoot.kit.work import Work
from folkmoot.knowledge import chunk
from folkmoot.knowledge.embedding.embed import embed_document, limits_of
from folkmoot.knowledge.embedding.spaces import aim_of
from folkmoot.knowledge.members import Members
from folkmoot.knowledge.models import Document
from folkmoot.knowledge.password import forget_password, password_of
from folkmoot.knowledge.store import Gone, Reading, store
from folkmoot.parsing.pool import ParserPool
from folkmoot.plugins.manager import PluginManager

log = get_logger(__name__)

LEASE = timedelta(seconds=12)
RENEW_SECONDS = 3.0
SHOW_SECONDS = 0.5
"""How often progress is written while it moves."""


async def ingest(app: App, tenant_id: UUID, document_id: UUID) -> float | None:
    """Read a document, if it wants reading. Returns seconds to wait before trying again, or None."""
    reading = await _claim(app, tenant_id, document_id)
    if reading is None:
        return None
    try:
        async with _lease(app, reading):
            built = await _read(app, reading)
            reading.step = "storing"
            segments = await store(app, reading, built)
            reading.step, reading.progress = "embedding", 0.9
            warning = await embed_document(app, reading)
            await _finish(app, reading, built, warning)
            if segments >= FACTOR:
                await call_for_merge(app, tenant_id, reading.collection_id)
    except Gone:
        return None
    except ParserError as error:
        return await _fail(app, reading, error.code, str(error), retryable=error.retryable)
    except Missing:
        return await _fail(
            app, reading, "file-missing", "the stored file is gone: delete the document and upload it again"
        )
    return None


# Built once: of short statements, building costs more than asking.
_NOW, _ID = bindparam("now", type_=DateTime(timezone=True)), bindparam("which", type_=Uuid())
_FREE = and_(
    Document.id == _ID,
    or_(
        Document.status == "queued",
        and_(Document.status == "processing", or_(Document.lease_until.is_(None), Document.lease_until <= _NOW)),
    ),
)
_INSIDE = aliased(Document)
_CLAIM = (
    update(Document)
    .where(_FREE, Document.attempts < bindparam("most"), File.id == Document.file_id)
    .values(
        status="processing",
        step="reading",
        progress=0.0,
        attempts=Document.attempts + 1,
        lease_until=bindparam("until"),
        retry_at=None,
        claim=bindparam("by"),
        updated_at=_NOW,
    )
    .returning(
        Document, File.storage_key, exists().where(_INSIDE.parent_id == Document.id), Document.password.is_not(None)
    )
    .execution_options(synchronize_session=False)
)
_LEFT = select(Document).where(_FREE, Document.attempts >= bindparam("most")).with_for_update()


async def _claim(app: App, tenant_id: UUID, document_id: UUID) -> Reading | None:
    now = datetime.now(UTC)
    values = {"most": app.settings.ingest_attempts, "until": now + LEASE, "by": uuid7()}
    async with app.begin(Principal.system(tenant_id)) as work:
        row = (await work.session.execute(_CLAIM, {"which": document_id, "now": now, **values})).one_or_none()
        if row is None:
            await _give_up(work, document_id, now, app.settings.ingest_attempts)
            return None
        document, storage_key, opened, protected = row
        record(work, "document.processing", document)
        return Reading(
            id=document.id,
            tenant_id=tenant_id,
            space_id=document.space_id,
            collection_id=document.collection_id,
            name=document.name,
            size=document.size,
            attempts=document.attempts,
            storage_key=storage_key,
            claim=document.claim,
            url=document.url,
            stored=document.chunk_count > 0,
            opened=opened,
            protected=protected,
            aim=await aim_of(work, document.collection_id),
        )


async def _give_up(work: Work, document_id: UUID, now: datetime, most: int) -> None:
    """Of a document that wants reading and could not be claimed: each attempt began, and none came back to say why."""
    document = await work.session.scalar(_LEFT, {"which": document_id, "now": now, "most": most})
    if document is None:
        return
    document.status, document.lease_until = "failed", None
    document.error_code = "reading-interrupted"
    document.error_message = (
        f"reading was interrupted {document.attempts} times: try again, and tell your administrator if it stays"
    )
    record(work, "document.failed", document)


def record(work: Work, action: str, document: Document) -> None:
    """The event of a document's new state, with what the WebSocket shows."""
    work.record(
        action,
        "document",
        document.id,
        space_id=document.space_id,
        data={
            "name": document.name,
            "collection_id": str(document.collection_id),
            "status": document.status,
            "step": document.step,
            "progress": round(document.progress, 3),
            "chunk_count": document.chunk_count,
            "error": document.error_code,
        },
    )


@asynccontextmanager
async def _lease(app: App, reading: Reading) -> AsyncGenerator[None]:
    """Keep the claim, and show progress, while the body runs; end the body if the document is not ours any more."""
    body = asyncio.current_task()
    lost = False

    async def renew() -> None:
        nonlocal lost
        shown, waited = ("reading", 0.0), 0.0
        while True:
            await asyncio.sleep(SHOW_SECONDS)
            waited += SHOW_SECONDS
            state = (reading.step, round(reading.progress, 2))
            if state == shown and waited < RENEW_SECONDS:
                async with app.begin(reading.principal) as work:
                    # Only read, so that somebody who cancels is heard at once, and no row is written for that.
                    ours = await work.session.scalar(select(Document.id).where(reading.held))
                if ours is not None:
                    continue
                lost = True
                if body is not None:
                    body.cancel()
                return
            async with app.begin(reading.principal) as work:
                kept = await work.session.execute(
                    update(Document)
                    .where(reading.held)
                    .values(
                        lease_until=datetime.now(UTC) + LEASE,
                        step=reading.step,
                        progress=reading.progress,
                        updated_at=Document.updated_at,
                    )
                    .returning(Document)
                )
                document = kept.scalar_one_or_none()
                if document is not None and state != shown:
                    record(work, "document.progress", document)
            if document is None and body is not None:
                lost = True
                body.cancel()
                return
            shown, waited = state, 0.0

    renewing = asyncio.create_task(renew())
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            raise Gone from None
        raise
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing


async def _read(app: App, reading: Reading) -> chunk.Document:
    """Decrypt into a nameless file, find the parser by the bytes, and read in a limited process."""
    manager, pool = app.part(PluginManager), app.part(ParserPool)
    with tempfile.TemporaryFile(prefix="folkmoot-") as temporary:
        file = cast("BinaryIO", temporary)
        await app.storage.copy_to(reading.tenant_id, reading.storage_key, file)
        file.seek(0)
        head = file.read(65536)
        file.seek(0)
        spec, reading.media_type = manager.choose_parser(head, reading.name)
        reading.parser = spec.kind
        blocks: list[Block] = []
        items = pool.parse(
            file,
            name=PurePosixPath(reading.name).name,
            parser_kind=spec.kind,
            media_type=reading.media_type,
            tenant_id=reading.tenant_id,
            password=await password_of(app, reading.tenant_id, reading.id) if reading.protected else None,
            # Of a web page people want what it says, of a file all that is in it.
            options={"main_only": True} if reading.url else {},
        )
        async with Members(app, reading) as members, aclosing(items):
            async for item in items:
                match item:
                    case Block():
                        blocks.append(item)
                    case DocumentInfo():
                        reading.info = _merged(reading.info, item)
                    case Progress():
                        reading.progress = 0.7 * item.done / max(item.total, 1)
                    case Member():
                        await members.take(item)
            reading.info = _merged(reading.info, DocumentInfo(warnings=tuple(await members.finish())))
    reading.progress = 0.7
    limits = await limits_of(app, reading)
    # Pure Python over all the text: off the loop, which streams answers meanwhile.
    return await asyncio.to_thread(chunk.build, blocks, limits)


def _merged(before: DocumentInfo, after: DocumentInfo) -> DocumentInfo:
    return DocumentInfo(
        page_count=after.page_count if after.page_count is not None else before.page_count,
        title=after.title or before.title,
        language=after.language or before.language,
        warnings=(*before.warnings, *(item for item in after.warnings if item not in before.warnings)),
    )


_READY = (
    update(Document)
    .where(Document.id == _ID, Document.status == "processing", Document.claim == bindparam("by"))
    .values(
        status="ready",
        step="",
        progress=1.0,
        lease_until=None,
        error_code=None,
        error_message=None,
        media_type=bindparam("type"),
        parser=bindparam("reader"),
        page_count=bindparam("pages"),
        warnings=bindparam("warned"),
        updated_at=_NOW,
    )
    .returning(Document)
    .execution_options(synchronize_session=False)
)


async def _finish(app: App, reading: Reading, built: chunk.Document, warning: str | None) -> None:
    warnings = [*reading.info.warnings, *([warning] if warning else [])]
    if not built.chunks:
        warnings.append("no text was found in this file")
    told = {"type": reading.media_type, "reader": reading.parser, "pages": reading.info.page_count}
    told |= {"warned": warnings, "now": datetime.now(UTC), "which": reading.id, "by": reading.claim}
    async with app.begin(reading.principal) as work:
        document = await work.session.scalar(_READY, told)
        if document is None:
            raise Gone
        if reading.protected:
            await forget_password(work, document.id)
        record(work, "document.ready", document)


async def _fail(app: App, reading: Reading, code: str, message: str, *, retryable: bool = False) -> float | None:
    """Store why it failed; with a time to try again if that may help."""
    again = retryable and reading.attempts < app.settings.ingest_attempts
    pause = 2.0 ** min(reading.attempts, 8)
    async with app.begin(reading.principal) as work:
        document = await work.session.scalar(select(Document).where(reading.held).with_for_update())
        if document is None:
            return None
        document.status = "queued" if again else "failed"
        document.step, document.lease_until = "", None
        document.media_type = reading.media_type or document.media_type
        document.error_code, document.error_message = code, message
        document.retry_at = datetime.now(UTC) + timedelta(seconds=pause) if again else None
        if not again:
            await forget_password(work, document.id)
        record(work, "document.delayed" if again else "document.failed", document)
    return pause if again else None
