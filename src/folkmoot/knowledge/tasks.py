"""What the worker does for documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, exists, or_, select

from folkmoot.files.models import File
from folkmoot.files.service import FileService
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task
from folkmoot.knowledge.ingest import ingest
from folkmoot.knowledge.models import Document

QUEUED_PATIENCE = timedelta(seconds=15)
ORPHAN_PATIENCE = timedelta(hours=6)
"""Longer than any upload takes: a file has no document while it arrives."""


@task("knowledge.ingest_document", lane="ingest")
async def ingest_document(app: App, *, tenant_id: str, document_id: str) -> None:
    """Read one document; come back later if what failed may pass."""
    pause = await ingest(app, UUID(tenant_id), UUID(document_id))
    if pause is not None:
        payload = {"tenant_id": tenant_id, "document_id": document_id}
        await app.sessions.jobs.send(ingest_document, payload, delay=pause)


@sweep
async def find_left_documents(app: App, tenant_id: UUID) -> None:
    """Queue again what nobody reads: the message was lost, or the worker died and its lease ran out."""
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        left = await work.session.scalars(
            select(Document.id)
            .where(
                or_(
                    and_(
                        Document.status == "queued",
                        Document.updated_at < now - QUEUED_PATIENCE,
                        or_(Document.retry_at.is_(None), Document.retry_at < now),
                    ),
                    and_(Document.status == "processing", Document.lease_until < now),
                )
            )
            .limit(1000)
        )
        for document_id in left:
            work.enqueue(ingest_document, tenant_id=tenant_id, document_id=document_id)


@sweep
async def remove_orphaned_files(app: App, tenant_id: UUID) -> None:
    """Delete the files of deleted documents, and what an upload that died has left."""
    async with app.begin(Principal.system(tenant_id)) as work:
        orphans = await work.session.scalars(
            select(File.id)
            .where(
                ~exists().where(Document.file_id == File.id),
                File.created_at < datetime.now(UTC) - ORPHAN_PATIENCE,
            )
            .limit(200)
        )
        found = list(orphans)
    for file_id in found:
        await FileService(app).remove(tenant_id, file_id)
