"""How collections are embedded, and their moves, from outside."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from folkmoot.kit.structs import Input, Struct
from folkmoot.knowledge.embedding.models import EmbeddingMove
from folkmoot.knowledge.embedding.move import Plan, State


class EmbeddingMoveIn(Input, frozen=True, kw_only=True):
    model_id: UUID | None
    """The embedding model to move to; null to search by words only."""
    anew: bool = False
    """Make every vector again, also those that this model made before: it has been changed behind its name."""


class MoveError(Struct, frozen=True, kw_only=True):
    code: str
    message: str
    """A sentence for people."""
    retry_at: datetime | None = None
    """When it goes on by itself, if it does."""


class EmbeddingMoveOut(Struct, frozen=True, kw_only=True):
    id: UUID
    collection_id: UUID
    model_id: UUID | None
    model: str
    """The name of the model; empty for a move to none."""
    from_model: str
    """The name of the model before; empty if there was none."""
    state: str
    """`filling`, `switched` (it can be undone until `undo_until`), `done`, `undone`, `cancelled` or `failed`."""
    progress: float
    """From 0 to 1."""
    chunks: int
    """To be embedded, as counted when it began."""
    embedded: int
    refused: int
    """Passages that the model would not take: they are found by their words."""
    tokens: int
    """So far."""
    cost_micros: int
    """So far, in millionths of a unit of the organisation's currency."""
    error: MoveError | None
    """While `filling`, why it waits; once `failed`, why it has ended."""
    created_at: datetime
    switched_at: datetime | None
    undo_until: datetime | None

    @classmethod
    def of(cls, row: EmbeddingMove) -> EmbeddingMoveOut:
        over = row.state in ("switched", "done", "undone")
        passed = row.done_count + row.refused_count
        error = None
        if row.error_code:
            error = MoveError(code=row.error_code, message=row.error_message or "", retry_at=row.retry_at)
        return cls(
            id=row.id,
            collection_id=row.collection_id,
            model_id=row.model_id,
            model=row.model,
            from_model=row.from_model,
            state=row.state,
            progress=1.0 if over else round(min(0.99, passed / max(row.chunk_count, 1)), 3),
            chunks=row.chunk_count,
            embedded=row.done_count,
            refused=row.refused_count,
            tokens=row.tokens,
            cost_micros=row.cost,
            error=error,
            created_at=row.created_at,
            switched_at=row.switched_at,
            undo_until=row.keep_until if row.state == "switched" else None,
        )


class EmbeddingOut(Struct, frozen=True, kw_only=True):
    """How a collection is embedded now."""

    collection_id: UUID
    state: str
    """`none` (nothing was embedded yet), `words` (by choice), `ready`, `incomplete`, `deprecated`, `unusable` (the
    model is switched off or gone), `not-cleared` (the model may not see the text any more) or `changed` (the model
    gives vectors of another length). In the last three it is searched by words only."""
    note: str
    """What that means and what to do, for people; empty if all is well."""
    model_id: UUID | None
    model: str
    dimensions: int | None
    version: str
    chunks: int
    embedded: int
    refused: int
    move: EmbeddingMoveOut | None
    """The last one."""

    @classmethod
    def of(cls, found: State) -> EmbeddingOut:
        space = found.space
        return cls(
            collection_id=found.collection.id,
            state=found.state,
            note=found.note,
            model_id=space.model_id if space is not None else None,
            model=found.choice.model.name if found.choice is not None else "",
            dimensions=space.dimensions if space is not None else None,
            version=space.version if space is not None else "",
            chunks=found.chunks,
            embedded=found.embedded,
            refused=found.refused,
            move=EmbeddingMoveOut.of(found.move) if found.move is not None else None,
        )


class EmbeddingPlanOut(Struct, frozen=True, kw_only=True):
    """What moving a collection to one model would come to."""

    model_id: UUID
    model: str
    provider: str
    country: str | None
    """Where the text would go."""
    forbidden: str | None
    """Why the text may not go there."""
    chunks: int
    """That have no vector of this model yet."""
    tokens: int
    """About."""
    cost_micros: int
    """About, in millionths of a unit of the organisation's currency."""
    priced: str
    """`listed`, or `ceiling` if nobody knows the price: then it is less."""

    @classmethod
    def of(cls, plan: Plan) -> EmbeddingPlanOut:
        choice = plan.choice
        return cls(
            model_id=choice.model.id,
            model=choice.model.name,
            provider=choice.connection.kind,
            country=choice.standing.country,
            forbidden=plan.forbidden,
            chunks=plan.chunks,
            tokens=plan.tokens,
            cost_micros=plan.cost,
            priced="listed" if plan.known else "ceiling",
        )


class EmbeddingPlansOut(Struct, frozen=True, kw_only=True):
    items: list[EmbeddingPlanOut]
