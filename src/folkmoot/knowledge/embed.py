"""Giving the chunks of a document their vectors, in the embedding space of its collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from folkmoot_sdk import BadResponse, ProviderError
from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Runtime
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotAvailable
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Chunk, ChunkVector, Collection, EmbeddingSpace
from folkmoot.spaces.models import Space
from folkmoot.usage.ledger import Account, BudgetExhausted

if TYPE_CHECKING:
    from folkmoot.knowledge.store import Reading

log = get_logger(__name__)
EMBED_BATCH = 64
MOST_DIMENSIONS = 16_000
LARGEST_NUMBER = 65_504.0
"""What pgvector's `halfvec` holds."""


async def classes_of(work: Work, collection_ids: Sequence[UUID], space_id: UUID | None = None) -> list[UUID | None]:
    """The data classes of the spaces that these collections lie in, and of one space more; None: none of its own."""
    spaces = select(Collection.space_id).where(Collection.id.in_(collection_ids))
    rows = await work.session.scalars(
        select(Space.data_class_id).where(or_(Space.id.in_(spaces), Space.id == space_id)).distinct()
    )
    return list(rows)


async def embedding_route(app: App, tenant_id: UUID, class_ids: Sequence[UUID | None]) -> Route | None:
    """Who embeds text of these classes; None if nobody may, or nobody is there."""
    snapshot = await app.part(Catalogue).of(tenant_id)
    try:
        return snapshot.route("embedding", snapshot.text_of(class_ids))
    except NotAvailable:
        return None


def check_vector(vector: Sequence[float]) -> None:
    """Raises `BadResponse` for a vector that cannot be stored or compared."""
    if not 0 < len(vector) <= MOST_DIMENSIONS:
        raise BadResponse(f"the embedding model gave a vector of {len(vector)} numbers: choose another")
    if max(map(abs, vector)) > LARGEST_NUMBER:
        raise BadResponse("the embedding model gave a vector with numbers that are too large to store: choose another")
    if not any(vector):
        raise BadResponse("the embedding model gave a vector of zeros, which is like no other: choose another")


async def embed_document(app: App, reading: Reading) -> str | None:
    """Give every chunk its vector, if an embedding model may see it. Returns a warning if that did not work."""
    async with app.begin(reading.principal) as work:
        class_ids = await classes_of(work, [reading.collection_id])
    route = await embedding_route(app, reading.tenant_id, class_ids)
    if route is None:
        return None
    model_id = route.first.model.id
    account = Account(tenant_id=reading.tenant_id, purpose="embedding", space_id=reading.space_id)
    refused: set[UUID] = set()
    reason: ProviderError | None = None
    try:
        while True:
            async with app.begin(reading.principal) as work:
                class_ids = await classes_of(work, [reading.collection_id])
                spaces = select(EmbeddingSpace.id).where(EmbeddingSpace.model_id == model_id)
                have = select(ChunkVector.chunk_id).where(
                    ChunkVector.collection_id == reading.collection_id, ChunkVector.space_id.in_(spaces)
                )
                query = select(Chunk.id, Chunk.context, Chunk.text).where(Chunk.document_id == reading.id)
                query = query.where(Chunk.id.not_in(have), Chunk.id.not_in(refused))
                rows = (await work.session.execute(query.order_by(Chunk.ordinal).limit(EMBED_BATCH))).all()
            if not rows:
                break
            still = await embedding_route(app, reading.tenant_id, class_ids)
            if still is None or still.first.model.id != model_id:
                return "found by its words in part: which model may see it was changed meanwhile, read it again"
            route = still
            texts = [f"{context}\n{body}".strip() for _, context, body in rows]
            made = (await app.part(Runtime).embed(route, account, texts)).vectors
            async with app.begin(reading.principal) as work:
                for row, vector in zip(rows, made, strict=True):
                    if (why := _unusable(vector)) is not None:
                        refused.add(row[0])
                        reason = why
                        continue
                    assert isinstance(vector, list)
                    space_id = await _space(work, reading.tenant_id, model_id, len(vector))
                    collection = await work.session.get_one(Collection, reading.collection_id)
                    collection.embedding_space_id = space_id
                    await work.session.execute(
                        insert(ChunkVector)
                        .values(
                            tenant_id=reading.tenant_id,
                            collection_id=reading.collection_id,
                            chunk_id=row[0],
                            space_id=space_id,
                            document_id=reading.id,
                            dimensions=len(vector),
                            indexed=collection.large,
                            embedding=vector,
                        )
                        .on_conflict_do_nothing()
                    )
            reading.progress = min(0.99, reading.progress + 0.01)
    except (ProviderError, BudgetExhausted) as error:
        log.warning("document.not_embedded", document=str(reading.id), error=type(error).__name__)
        why = error.detail if isinstance(error, BudgetExhausted) else str(error)
        return f"found by its words only, because the embedding model failed ({why}): read it again later"
    if reason is not None:
        return f"{len(refused)} passages are found by their words only: the embedding model refused them ({reason})"
    return None


async def _space(work: Work, tenant_id: UUID, model_id: UUID, dimensions: int) -> UUID:
    values = {"id": uuid7(), "tenant_id": tenant_id, "model_id": model_id, "dimensions": dimensions}
    await work.session.execute(insert(EmbeddingSpace).values(**values).on_conflict_do_nothing())
    found = select(EmbeddingSpace.id).where(
        EmbeddingSpace.model_id == model_id, EmbeddingSpace.dimensions == dimensions
    )
    return (await work.session.scalars(found.limit(1))).one()


def _unusable(vector: list[float] | ProviderError) -> ProviderError | None:
    if isinstance(vector, ProviderError):
        return vector
    try:
        check_vector(vector)
    except ProviderError as error:
        return error
    return None
