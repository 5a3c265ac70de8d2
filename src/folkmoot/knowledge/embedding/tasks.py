"""Moves between embedding models, and collections that grow large, in the background."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

from sqlalchemy import update

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task
from folkmoot.kit.log import get_logger
from folkmoot.knowledge.embedding import moving
from folkmoot.knowledge.embedding.models import EmbeddingMove
from folkmoot.knowledge.embedding.vectors import grow, grown

log = get_logger(__name__)
GROW_SECONDS = 15.0
"""After which a collection that grows lets others go on."""
HOLD_SECONDS = 60


@task("knowledge.move_embeddings", lane="maintenance")
async def move_embeddings(app: App, *, tenant_id: str, move_id: str) -> None:
    """Go on with a move, and come back until it has ended."""
    pause = await moving.run(app, UUID(tenant_id), UUID(move_id))
    if pause is not None:
        await app.sessions.jobs.send(move_embeddings, {"tenant_id": tenant_id, "move_id": move_id}, delay=pause)


@task("knowledge.grow_collection", lane="maintenance")
async def grow_collection(app: App, *, tenant_id: str, collection_id: str) -> None:
    """Put the vectors of a large collection into the index, one worker at a time."""
    held = f"folkmoot:grow:{collection_id}"
    if not await app.redis.set(held, "1", nx=True, ex=HOLD_SECONDS):
        return
    until = monotonic() + GROW_SECONDS
    try:
        while monotonic() < until:
            async with app.begin(Principal.system(UUID(tenant_id))) as work:
                done = await grow(work, UUID(collection_id))
            if not done:
                log.info("collection.indexed", collection=collection_id)
                return
            await app.redis.expire(held, HOLD_SECONDS)
    finally:
        await app.redis.delete(held)
    await app.sessions.jobs.send(grow_collection, {"tenant_id": tenant_id, "collection_id": collection_id})


@sweep
async def find_embedding_work(app: App, tenant_id: UUID) -> None:
    """Take up moves that nobody works on, collections that have grown, and vectors that nobody wants any more."""
    async with app.begin(Principal.system(tenant_id)) as work:
        for move_id in await moving.left(work):
            work.enqueue(move_embeddings, tenant_id=tenant_id, move_id=move_id)
        for collection_id in await grown(work):
            work.enqueue(grow_collection, tenant_id=tenant_id, collection_id=collection_id)
        over = await work.session.execute(
            update(EmbeddingMove)
            .where(
                EmbeddingMove.state == "switched",
                EmbeddingMove.left_space_id.is_(None),
                EmbeddingMove.keep_until < datetime.now(UTC),
            )
            .values(state="done")
        )
        del over
    await moving.clean(app, tenant_id)
