"""The password of a protected file: kept sealed until it has been read, never told to anybody."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, update

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Document

PURPOSE = "document-password"
LONGEST = 1024


async def keep_password(app: App, work: Work, document: Document, password: str) -> None:
    """Seal `password` into the document's row, in the transaction that queues it."""
    sealed = await app.keyring.seal(
        password.encode(), purpose=PURPOSE, tenant_id=document.tenant_id, aad=document.id.bytes
    )
    # Not through the row: it would stay in memory with it, and a column that is read late is not written early.
    await work.session.execute(
        update(Document)
        .where(Document.id == document.id)
        .values(password=sealed, updated_at=Document.updated_at)
        .execution_options(synchronize_session=False)
    )


async def password_of(app: App, tenant_id: UUID, document_id: UUID) -> str | None:
    """The password that was given for a document, or None. Raises `Tampered` if the row was meddled with."""
    async with app.begin(Principal.system(tenant_id)) as work:
        sealed = await work.session.scalar(select(Document.password).where(Document.id == document_id))
    if sealed is None:
        return None
    plain = await app.keyring.open(sealed, purpose=PURPOSE, tenant_id=tenant_id, aad=document_id.bytes)
    return plain.decode()


async def forget_password(work: Work, *document_ids: UUID) -> None:
    """Erase passwords, in the transaction in which reading ends for good."""
    await work.session.execute(
        update(Document)
        .where(Document.id.in_(document_ids), Document.password.is_not(None))
        .values(password=None, updated_at=Document.updated_at)
        .execution_options(synchronize_session=False)
    )
