"""`/collections/{id}/embedding`, `/collections/{id}/embedding-moves` and `/embedding-moves`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.ai.catalogue import Catalogue
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, Limit, Page, needs
from folkmoot.kit.work import Work
from folkmoot.knowledge.embedding.move import EmbeddingMoveService
from folkmoot.knowledge.embedding.schemas import (
    EmbeddingMoveIn,
    EmbeddingMoveOut,
    EmbeddingOut,
    EmbeddingPlanOut,
    EmbeddingPlansOut,
)
from folkmoot.knowledge.embedding.tasks import move_embeddings


async def _service(app: App, work: Work) -> EmbeddingMoveService:
    return EmbeddingMoveService(work, await app.part(Catalogue).now(work), move_embeddings)


class EmbeddingController(Controller):
    tags = ["Knowledge"]
    opt = needs(Permission.SPACES)

    @get(
        "/collections/{collection_id:uuid}/embedding",
        operation_id="get_embedding",
        summary="Read how a collection is embedded",
    )
    async def read(
        self, app: NamedDependency[App], work: NamedDependency[Work], collection_id: FromPath[UUID]
    ) -> EmbeddingOut:
        """Its model, how many of its passages have a vector, and what to do if something is missing."""
        return EmbeddingOut.of(await (await _service(app, work)).state(collection_id))

    @get(
        "/collections/{collection_id:uuid}/embedding-plans",
        operation_id="plan_embedding_move",
        summary="See what a move to another embedding model would cost",
    )
    async def plans(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        collection_id: FromPath[UUID],
        to_model: Annotated[
            UUID | None, QueryParameter(description="One model; all embedding models if absent.")
        ] = None,
    ) -> EmbeddingPlansOut:
        """Nothing is sent to find out: tokens are estimated from some of the passages."""
        found = await (await _service(app, work)).plans(collection_id, to_model)
        return EmbeddingPlansOut(items=[EmbeddingPlanOut.of(plan) for plan in found])

    @post(
        "/collections/{collection_id:uuid}/embedding-moves",
        operation_id="start_embedding_move",
        summary="Move a collection to another embedding model",
        status_code=202,
    )
    async def start(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        collection_id: FromPath[UUID],
        data: JSONBody[EmbeddingMoveIn],
    ) -> EmbeddingMoveOut:
        """The old vectors are searched until all new ones are there. To its present model: gives what is missing."""
        service = await _service(app, work)
        return EmbeddingMoveOut.of(await service.start(collection_id, data.model_id, anew=data.anew))

    @get(
        "/collections/{collection_id:uuid}/embedding-moves",
        operation_id="list_embedding_moves",
        summary="List the moves of a collection between embedding models",
    )
    async def page(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        collection_id: FromPath[UUID],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[EmbeddingMoveOut]:
        """Newest first."""
        rows, after = await (await _service(app, work)).page(collection_id, limit, cursor)
        return Page(items=[EmbeddingMoveOut.of(row) for row in rows], next_cursor=after)

    @get(
        "/embedding-moves/{embedding_move_id:uuid}",
        operation_id="get_embedding_move",
        summary="Read how far a move has come",
    )
    async def move(
        self, app: NamedDependency[App], work: NamedDependency[Work], embedding_move_id: FromPath[UUID]
    ) -> EmbeddingMoveOut:
        return EmbeddingMoveOut.of((await (await _service(app, work)).get(embedding_move_id))[0])

    @post(
        "/embedding-moves/{embedding_move_id:uuid}/cancel",
        operation_id="cancel_embedding_move",
        summary="Cancel a move that goes on",
        status_code=200,
    )
    async def cancel(
        self, app: NamedDependency[App], work: NamedDependency[Work], embedding_move_id: FromPath[UUID]
    ) -> EmbeddingMoveOut:
        """The collection stays with the model that it has; the new vectors are removed."""
        return EmbeddingMoveOut.of(await (await _service(app, work)).cancel(embedding_move_id))

    @post(
        "/embedding-moves/{embedding_move_id:uuid}/undo",
        operation_id="undo_embedding_move",
        summary="Go back to the embedding model before a move",
        status_code=200,
    )
    async def undo(
        self, app: NamedDependency[App], work: NamedDependency[Work], embedding_move_id: FromPath[UUID]
    ) -> EmbeddingMoveOut:
        """At once; passages that came since the move get their vectors in the background."""
        return EmbeddingMoveOut.of(await (await _service(app, work)).undo(embedding_move_id))

    @post(
        "/embedding-moves/{embedding_move_id:uuid}/confirm",
        operation_id="confirm_embedding_move",
        summary="Remove the old vectors now",
        status_code=200,
    )
    async def confirm(
        self, app: NamedDependency[App], work: NamedDependency[Work], embedding_move_id: FromPath[UUID]
    ) -> EmbeddingMoveOut:
        """After this the move cannot be undone."""
        return EmbeddingMoveOut.of(await (await _service(app, work)).confirm(embedding_move_id))
