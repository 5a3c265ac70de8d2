"""Keeping the full-text index in few segments."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select

from folkmoot.fulltext.index import FACTOR, MOST_DELETIONS, merge
from folkmoot.fulltext.models import TextDeletion, TextSegment
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task


@task("fulltext.merge_segments", lane="maintenance")
async def merge_segments(app: App, *, tenant_id: str, collection_id: str) -> None:
    """Merge segments of a collection's index until they are few."""
    while await merge(app, UUID(tenant_id), UUID(collection_id)):
        pass


@sweep
async def find_unmerged(app: App, tenant_id: UUID) -> None:
    """Merge where the call for it was lost, or where much was deleted."""
    many = select(TextSegment.collection_id).group_by(TextSegment.collection_id).having(func.count() >= 3 * FACTOR)
    gone = (
        select(TextDeletion.collection_id).group_by(TextDeletion.collection_id).having(func.count() >= MOST_DELETIONS)
    )
    async with app.begin(Principal.system(tenant_id)) as work:
        for collection_id in await work.session.scalars(many.union(gone)):
            work.enqueue(merge_segments, tenant_id=tenant_id, collection_id=collection_id)
