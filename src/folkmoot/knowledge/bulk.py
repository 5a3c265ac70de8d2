"""Doing one thing with thousands of documents: asked for in one call, done in batches by the worker.

The row of the operation is the promise: whatever dies in between, the sweep goes on with it. Each batch is one short
transaction, in the order of the documents' ids, and says how far it came: doing it twice does it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import aliased

from folkmoot.files.service import FileService
from folkmoot.kit.access import Access, Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotFound, ValidationFailed
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.knowledge.documents import DONE, OPEN, queue, ring, stop
from folkmoot.knowledge.filters import conditions
from folkmoot.knowledge.models import BulkOperation, Document
from folkmoot.knowledge.schemas import Selection
from folkmoot.knowledge.service import CollectionService, DocumentService

BATCH = {"cancel": 200, "retry": 200, "delete": 50}
"""Documents in one transaction; one that is deleted takes its chunks and vectors with it."""


async def begin_operation(
    work: Work, follow: Task, collection_id: UUID, action: str, selection: Selection
) -> BulkOperation:
    """Note what is to be done with the documents that are there now; `follow` does it.

    Raises `NotFound`, `Forbidden`, or `ValidationFailed` if everything would be deleted for want of a selection.
    """
    collection = await CollectionService(work).get(collection_id, Access.EDIT)
    if action == "delete" and not selection.any:
        raise ValidationFailed(
            "nothing is selected: name `statuses`, `codes` or `filters`, or delete the collection",
            [("filters", "select what to delete")],
        )
    who, now = work.principal, datetime.now(UTC)
    operation = BulkOperation(
        tenant_id=who.tenant,
        collection_id=collection.id,
        space_id=collection.space_id,
        action=action,
        selection=msgspec.to_builtins(selection),
        total=0,
        moved_at=now,
        created_at=now,
        actor_kind=who.kind,
        actor_id=who.user_id,
        key_id=who.key_id,
    )
    work.session.add(operation)
    await work.session.flush()
    if selection.filters is not UNSET and (wanted := selection.filters.document_ids):
        inside = select(Document.id).where(Document.collection_id == collection.id, Document.id.in_(wanted))
        if missing := set(wanted) - set(await work.session.scalars(inside)):
            raise NotFound(f"there is no document {min(missing)} in this collection")
    chosen = select(func.count()).where(*_chosen(operation))
    operation.total = await work.session.scalar(chosen.select_from(Document)) or 0
    if not operation.total:
        operation.finished_at = now
    else:
        work.enqueue(follow, tenant_id=who.tenant, operation_id=operation.id)
    _record(work, "collection.operation_started", operation)
    return operation


async def operations(
    work: Work, collection_id: UUID, limit: int, cursor: str | None
) -> tuple[Sequence[BulkOperation], str | None]:
    """What was done with many documents of a collection, newest first. Raises `NotFound`."""
    await CollectionService(work).get(collection_id, Access.READ)
    query = select(BulkOperation).where(BulkOperation.collection_id == collection_id)
    return await page(work.session, query, by=BulkOperation.id, limit=limit, cursor=cursor)


async def advance(app: App, ingest: Task, tenant_id: UUID, operation_id: UUID) -> bool:
    """Do one batch; whether there may be more."""
    async with app.begin(Principal.system(tenant_id)) as work:
        found = select(BulkOperation).where(BulkOperation.id == operation_id).with_for_update()
        operation = await work.session.scalar(found)
        if operation is None or operation.finished_at is not None:
            return False
        work.principal = Principal(
            tenant_id=tenant_id, kind=operation.actor_kind, user_id=operation.actor_id, key_id=operation.key_id
        )
        query = select(Document).where(*_chosen(operation)).order_by(Document.id).limit(BATCH[operation.action])
        documents = list(await work.session.scalars(query.with_for_update()))
        operation.moved_at = datetime.now(UTC)
        if not documents:
            operation.finished_at = operation.moved_at
            work.principal = Principal.system(tenant_id)
            _record(work, "collection.operation_finished", operation)
            return False
        operation.reached = documents[-1].id
        match operation.action:
            case "cancel":
                await stop(work, documents)
            case "retry":
                for document in documents:
                    queue(work, document)
                ring(work, ingest, documents)
            case _:
                ids = {document.id for document in documents}
                # What lies in another goes with it.
                outermost = [document for document in documents if document.parent_id not in ids]
                files = await DocumentService(work).remove(outermost)
                for file in files:
                    work.after_commit(partial(FileService(app).remove, tenant_id, file.id))
                operation.done += len(files) - len(documents)
        operation.done += len(documents)
        return True


def _chosen(operation: BulkOperation) -> list[ColumnElement[bool]]:
    """The documents that are still to do, of those that were there when it was asked for."""
    selection = msgspec.convert(operation.selection, Selection)
    made: list[ColumnElement[bool]] = [Document.collection_id == operation.collection_id]
    if operation.action == "cancel":
        # What an archive was still being taken apart into goes with it.
        above = aliased(Document)
        inside = exists().where(above.id == Document.parent_id, above.id <= operation.id)
        made += [Document.status.in_(OPEN), or_(Document.id <= operation.id, inside)]
    else:
        made.append(Document.id <= operation.id)
    if operation.action == "retry":
        made += [Document.status.in_(DONE), Document.status.in_(selection.statuses or ["failed"])]
    elif selection.statuses:
        made.append(Document.status.in_(selection.statuses))
    if operation.reached is not None:
        made.append(Document.id > operation.reached)
    if selection.codes:
        made.append(Document.error_code.in_(selection.codes))
    if selection.filters is not UNSET:
        made += conditions(selection.filters, [operation.collection_id])
    return made


def _record(work: Work, action: str, operation: BulkOperation) -> None:
    work.record(
        action,
        "collection",
        operation.collection_id,
        space_id=operation.space_id,
        data={
            "operation_id": str(operation.id),
            "action": operation.action,
            "total": operation.total,
            "done": operation.done,
            "selection": {name: value for name, value in operation.selection.items() if value},
        },
    )
