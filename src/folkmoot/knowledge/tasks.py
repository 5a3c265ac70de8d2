"""What the worker does for documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, column, exists, or_, select, table, update

from folkmoot.files.models import File
from folkmoot.files.service import FileService
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task
from folkmoot.knowledge.bulk import advance
from folkmoot.knowledge.documents import OPEN
from folkmoot.knowledge.ingest import ingest
from folkmoot.knowledge.models import BulkOperation, Document
from folkmoot.knowledge.pick import announce, next_document, unheard

QUEUED_PATIENCE = timedelta(seconds=15)
STILL = timedelta(seconds=30)
"""After which an operation whose batches stopped is taken up again."""
ATTACHMENTS = table("attachments", column("file_id"))
"""Of a layer above, by its name: a picture in a conversation has no document."""
ORPHAN_PATIENCE = timedelta(hours=6)
"""Longer than any upload takes: a file has no document while it arrives."""
BELLS = 50
"""Rung by one sweep for one organisation: what is read rings no more, so more would only pile up."""


@task("knowledge.ingest_document", lane="ingest")
async def ingest_document(app: App, *, tenant_id: str, document_id: str) -> None:  # noqa: ARG001 - for the log
    """Read one document, which need not be this one; come back later if what failed may pass."""
    async with next_document(app, UUID(tenant_id)) as picked:
        if picked is None:
            return
        pause = await ingest(app, picked.tenant_id, picked.document_id)
    if pause is not None:
        payload = {"tenant_id": str(picked.tenant_id), "document_id": str(picked.document_id)}
        await app.sessions.jobs.send(ingest_document, payload, delay=pause)


@task("knowledge.run_operation", lane="maintenance")
async def run_operation(app: App, *, tenant_id: str, operation_id: str) -> None:
    """Go on with a bulk operation to its end."""
    while await advance(app, ingest_document, UUID(tenant_id), UUID(operation_id)):
        pass


@task("knowledge.remove_files", lane="maintenance")
async def remove_files(app: App, *, tenant_id: str, file_ids: list[str]) -> None:
    """Remove the files of a collection that was deleted."""
    for file_id in file_ids:
        await FileService(app).remove(UUID(tenant_id), UUID(file_id))


@sweep
async def find_left_documents(app: App, tenant_id: UUID) -> None:
    """Ring again for what nobody reads: the message was lost, or the worker died and its lease ran out."""
    now = datetime.now(UTC)
    left = select(Document.id).where(
        Document.status.in_(OPEN),
        or_(
            and_(
                Document.status == "queued",
                Document.updated_at < now - QUEUED_PATIENCE,
                or_(Document.retry_at.is_(None), Document.retry_at < now),
            ),
            and_(Document.status == "processing", Document.lease_until < now),
        ),
    )
    async with app.begin(Principal.system(tenant_id)) as work:
        found = list(await work.session.scalars(left.order_by(Document.id).limit(BELLS)))
    if not found:
        return
    await announce(app.redis, tenant_id)
    if not await unheard(app.redis):
        for document_id in found:
            await app.sessions.jobs.send(ingest_document, {"tenant_id": tenant_id, "document_id": document_id})


@sweep
async def find_left_operations(app: App, tenant_id: UUID) -> None:
    """Go on with what a dead worker left in the middle."""
    async with app.begin(Principal.system(tenant_id)) as work:
        left = await work.session.scalars(
            select(BulkOperation.id).where(
                BulkOperation.tenant_id == tenant_id,
                BulkOperation.finished_at.is_(None),
                BulkOperation.moved_at < datetime.now(UTC) - STILL,
            )
        )
        for operation_id in left:
            work.enqueue(run_operation, tenant_id=tenant_id, operation_id=operation_id)


@sweep
async def forget_passwords(app: App, tenant_id: UUID) -> None:
    """Erase passwords of documents that are not read any more."""
    async with app.begin(Principal.system(tenant_id)) as work:
        await work.session.execute(
            update(Document)
            .where(Document.tenant_id == tenant_id, Document.password.is_not(None), Document.status.not_in(OPEN))
            .values(password=None, updated_at=Document.updated_at)
            .execution_options(synchronize_session=False)
        )


@sweep
async def remove_orphaned_files(app: App, tenant_id: UUID) -> None:
    """Delete the files of deleted documents, and what an upload that died has left."""
    async with app.begin(Principal.system(tenant_id)) as work:
        orphans = await work.session.scalars(
            select(File.id)
            .where(
                ~exists().where(Document.file_id == File.id),
                ~exists().where(ATTACHMENTS.c.file_id == File.id),
                File.created_at < datetime.now(UTC) - ORPHAN_PATIENCE,
            )
            .limit(200)
        )
        found = list(orphans)
    for file_id in found:
        await FileService(app).remove(tenant_id, file_id)
