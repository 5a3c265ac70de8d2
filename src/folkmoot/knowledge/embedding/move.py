"""Moving a collection to another embedding model, or to none, with a look before and a way back.

The vectors of the new model are made in the background (`moving.py`) while the old ones are searched. When every chunk
has one, the collection is switched in one transaction. The old vectors are kept for a week: until then the move can be
undone at once. A move to the model that the collection has already completes what is missing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from folkmoot_sdk import Price
from sqlalchemy import func, select, update

from folkmoot.ai.models import Model
from folkmoot.ai.policy import why_not
from folkmoot.ai.route import Choice, Snapshot
from folkmoot.kit.access import Access
from folkmoot.kit.errors import AppError, Conflict, NotFound
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.knowledge.chunk import count_tokens
from folkmoot.knowledge.embedding import tokens, vectors
from folkmoot.knowledge.embedding.models import ChunkRefusal, EmbeddingMove
from folkmoot.knowledge.embedding.spaces import classes_of, newest_version, next_version
from folkmoot.knowledge.models import Chunk, Collection, Document, EmbeddingSpace
from folkmoot.knowledge.service import CollectionService
from folkmoot.usage.money import cost

KEPT = timedelta(days=7)
"""How long the vectors of the old model stay after a move, so that it can be undone."""
SAMPLE = 500
"""Chunks that are counted to tell what all come to."""


@dataclass(frozen=True)
class Plan:
    """What a move to one model would come to; nothing is sent to find out."""

    choice: Choice
    forbidden: str | None
    """Why the collection's text may not go to it."""
    chunks: int
    """Those that have no vector of this model yet."""
    tokens: int
    """About; as the model counts them, once it has been measured."""
    price: Price
    known: bool
    """Whether the price is; if not, it is a ceiling."""

    @property
    def cost(self) -> int:
        """Micro-units of the organisation's currency."""
        calls = -(-self.chunks // (self.choice.info.max_batch or 64))
        return cost(self.price, input_tokens=self.tokens, output_tokens=0, requests=calls)


@dataclass(frozen=True)
class State:
    """How a collection is embedded now."""

    collection: Collection
    space: EmbeddingSpace | None
    choice: Choice | None
    state: str
    """`none`, `words`, `ready`, `incomplete`, `deprecated`, `unusable`, `not-cleared` or `changed`."""
    note: str
    chunks: int
    embedded: int
    refused: int
    move: EmbeddingMove | None
    """The one that goes on, or the last one."""


def record(work: Work, action: str, move: EmbeddingMove, space_id: UUID) -> None:
    """The event of a move, with what the WebSocket shows."""
    work.record(
        action,
        "embedding_move",
        move.id,
        space_id=space_id,
        data={
            "collection_id": str(move.collection_id),
            "model_id": str(move.model_id) if move.model_id else None,
            "model": move.model,
            "state": move.state,
            "done": move.done_count,
            "total": max(move.chunk_count, move.done_count),
            "error": move.error_code,
        },
    )


class EmbeddingMoveService:
    """Use cases of those who may edit the collection."""

    def __init__(self, work: Work, models: Snapshot, run: Task | None = None) -> None:
        self._work, self._models, self._run = work, models, run
        self._collections = CollectionService(work)

    async def state(self, collection_id: UUID) -> State:
        collection = await self._collections.get(collection_id, Access.READ)
        session = self._work.session
        space = await self._space(collection)
        chunks, embedded, refused = await self._chunks(collection_id), 0, 0
        if space is not None:
            embedded = await vectors.count(self._work, collection_id, [space.id])
            refused = await self._refused(collection_id, space.id)
        query = select(EmbeddingMove).where(EmbeddingMove.collection_id == collection_id)
        move = await session.scalar(query.order_by(EmbeddingMove.id.desc()).limit(1))
        choice = self._models.find(space.model_id) if space is not None else None
        state, note = await self._standing(collection, space, choice, chunks - embedded - refused)
        return State(collection, space, choice, state, note, chunks, embedded, refused, move)

    async def plans(self, collection_id: UUID, model_id: UUID | None = None) -> list[Plan]:
        """What moves would come to: to every embedding model, or to one. Raises `NotFound` if it is not there."""
        collection = await self._collections.get(collection_id, Access.READ)
        choices = self._models.usable("embedding")
        if model_id is not None:
            choices = [choice for choice in choices if choice.model.id == model_id]
            if not choices:
                raise _not_there()
        text = self._models.text_of(await classes_of(self._work, [collection_id]))
        total, sample = await self._chunks(collection_id), await self._sample(collection)
        space = await self._space(collection)
        found: list[Plan] = []
        for choice in choices:
            rate = await tokens.rate_of(self._work, choice.model.id) or tokens.UNKNOWN_RATE
            known = await self._known(choice.model.id, await self._version(space, choice.model.id, anew=False))
            left = max(0, total - (await vectors.count(self._work, collection_id, known) if known else 0))
            each = sum(sample) / len(sample) if sample else 0.0
            found.append(
                Plan(
                    choice=choice,
                    forbidden=why_not(choice.standing, text),
                    chunks=left,
                    tokens=round(left * each * rate),
                    price=choice.price or choice.ceiling,
                    known=choice.price is not None,
                )
            )
        return found

    async def start(self, collection_id: UUID, model_id: UUID | None, *, anew: bool = False) -> EmbeddingMove:
        """Begin a move; one to no model is over at once. With `anew`, nothing that the model made before counts.

        Raises `NotFound` (`model-not-found`), `Conflict` (`model-not-cleared`, `move-under-way`), `ValidationFailed`.
        """
        collection = await self._collections.get(collection_id, Access.EDIT)
        await self._lock(collection)
        text = self._models.text_of(await classes_of(self._work, [collection_id]))
        choice = None
        if model_id is not None:
            choice = self._models.route("embedding", text, model_id).first
            if choice.model.deprecated_at is not None and not await self._is_in(collection, model_id):
                raise Conflict(f"{choice.model.name} is not to be chosen any more", code="model-deprecated")
        under_way = select(EmbeddingMove.id).where(
            EmbeddingMove.collection_id == collection_id, EmbeddingMove.state == "filling"
        )
        if await self._work.session.scalar(under_way) is not None:
            raise Conflict(
                "this collection is being moved already: wait until that has ended, or cancel it",
                code="move-under-way",
            )
        space = await self._space(collection)
        from_model = await self._work.session.get(Model, space.model_id) if space is not None else None
        move = EmbeddingMove(
            tenant_id=self._work.principal.tenant,
            collection_id=collection_id,
            model_id=model_id,
            model=choice.model.name if choice is not None else "",
            from_space_id=collection.embedding_space_id,
            from_model=from_model.name if from_model is not None else "",
            from_embeds=collection.embeds,
            chunk_count=0,
            started_by=self._work.principal.user_id,
            state="filling",
        )
        if choice is None:
            self._work.session.add(move)
            await self._work.session.flush()
            await switch(self._work, move, collection)
            return move
        assert model_id is not None
        move.version = await self._version(space, model_id, anew=anew)
        if len(known := await self._known(model_id, move.version)) == 1:
            # What was made there before is not made again.
            move.to_space_id = known[0]
        (plan,) = await self.plans(collection_id, model_id)
        move.chunk_count = await self._chunks(collection_id) if anew else plan.chunks
        self._work.session.add(move)
        await self._work.session.flush()
        record(self._work, "embedding_move.started", move, collection.space_id)
        self._enqueue(move)
        return move

    async def page(
        self, collection_id: UUID, limit: int, cursor: str | None
    ) -> tuple[Sequence[EmbeddingMove], str | None]:
        """The moves of a collection, newest first."""
        await self._collections.get(collection_id, Access.READ)
        query = select(EmbeddingMove).where(EmbeddingMove.collection_id == collection_id)
        return await page(self._work.session, query, by=EmbeddingMove.id, limit=limit, cursor=cursor)

    async def get(self, move_id: UUID, access: Access = Access.READ) -> tuple[EmbeddingMove, Collection]:
        """A move and its collection. Raises `NotFound`, or `Forbidden`."""
        move = await self._work.session.get(EmbeddingMove, move_id)
        if move is None:
            raise NotFound("there is no such move")
        try:
            return move, await self._collections.get(move.collection_id, access)
        except NotFound:
            raise NotFound("there is no such move") from None

    async def cancel(self, move_id: UUID) -> EmbeddingMove:
        """End a move that goes on; its vectors are removed. Raises `Conflict` (`move-ended`)."""
        move, collection = await self._held(move_id)
        if move.state != "filling":
            raise Conflict(f"this move has ended: it is {move.state}", code="move-ended")
        move.state = "cancelled"
        leave(move, move.to_space_id, timedelta(0))
        record(self._work, "embedding_move.cancelled", move, collection.space_id)
        return move

    async def undo(self, move_id: UUID) -> EmbeddingMove:
        """Search the old vectors again, from now on; what came since gets its vectors there in the background.

        Raises `Conflict`: `move-ended` if it was not switched, or the old vectors are gone; `moved-since`.
        """
        move, collection = await self._held(move_id)
        if move.state != "switched":
            raise Conflict(f"there is nothing to undo: the move is {move.state}", code="move-ended")
        if collection.embedding_space_id != move.to_space_id:
            raise Conflict("the collection was moved again since: undo that move first", code="moved-since")
        old = await self._work.session.get(EmbeddingSpace, move.from_space_id) if move.from_space_id else None
        if old is None and move.from_model:
            raise Conflict("the old vectors are gone with their model", code="move-ended")
        move.state = "undone"
        leave(move, move.to_space_id, timedelta(0))
        await _search_in(self._work, collection, move.from_space_id, embeds=move.from_embeds)
        record(self._work, "embedding_move.undone", move, collection.space_id)
        if old is not None:
            await self._complete(collection, old)
        return move

    async def confirm(self, move_id: UUID) -> EmbeddingMove:
        """Remove the old vectors now. Raises `Conflict` (`move-ended`) if there are none to remove."""
        move, collection = await self._held(move_id)
        if move.state != "switched":
            raise Conflict(f"there is nothing to confirm: the move is {move.state}", code="move-ended")
        move.state = "done"
        leave(move, move.left_space_id, timedelta(0))
        record(self._work, "embedding_move.confirmed", move, collection.space_id)
        return move

    async def _held(self, move_id: UUID) -> tuple[EmbeddingMove, Collection]:
        move, collection = await self.get(move_id, Access.EDIT)
        await self._lock(collection)
        await self._work.session.refresh(move, with_for_update=True)
        return move, collection

    async def _lock(self, collection: Collection) -> None:
        await self._work.session.refresh(collection, with_for_update={"key_share": True})

    async def _complete(self, collection: Collection, space: EmbeddingSpace) -> None:
        """Begin to fill what is missing in a space, if its model may."""
        try:
            (plan,) = await self.plans(collection.id, space.model_id)
            if plan.chunks:
                await self.start(collection.id, space.model_id)
        except AppError:
            # It is searched all the same; `state` says what is missing.
            return

    async def _version(self, space: EmbeddingSpace | None, model_id: UUID, *, anew: bool) -> str:
        if anew:
            return await next_version(self._work, space, model_id)
        if space is not None and space.model_id == model_id:
            return space.version
        return await newest_version(self._work, model_id)

    async def _space(self, collection: Collection) -> EmbeddingSpace | None:
        space_id = collection.embedding_space_id
        return await self._work.session.get(EmbeddingSpace, space_id) if space_id is not None else None

    async def _known(self, model_id: UUID, version: str) -> list[UUID]:
        """The spaces of a model in a version: one, unless its vectors changed their length."""
        spaces = select(EmbeddingSpace.id).where(
            EmbeddingSpace.model_id == model_id,
            EmbeddingSpace.version == version,
            EmbeddingSpace.outdated_at.is_(None),
        )
        return list(await self._work.session.scalars(spaces))

    async def _is_in(self, collection: Collection, model_id: UUID) -> bool:
        space = await self._space(collection)
        return space is not None and space.model_id == model_id

    async def _standing(
        self, collection: Collection, space: EmbeddingSpace | None, choice: Choice | None, missing: int
    ) -> tuple[str, str]:
        if space is None:
            if not collection.embeds:
                return "words", "it is searched by words only, as was chosen"
            return "none", "it is searched by words only until the first document is embedded"
        if choice is None or not choice.usable:
            return "unusable", "its embedding model is switched off or gone: move it to another"
        if space.outdated_at is not None:
            return "changed", f"{choice.model.name} gives vectors of another length now: move it to that model again"
        text = self._models.text_of(await classes_of(self._work, [collection.id]))
        if (reason := why_not(choice.standing, text)) is not None:
            return "not-cleared", f"its text may not go to {choice.model.name} any more: {reason}"
        if choice.model.deprecated_at is not None:
            return "deprecated", f"{choice.model.name} still serves and is not to be chosen any more: move it in time"
        if missing > 0:
            return "incomplete", f"{missing} passages have no vector: a move to {choice.model.name} gives them theirs"
        return "ready", ""

    async def _chunks(self, collection_id: UUID) -> int:
        total = select(func.coalesce(func.sum(Document.chunk_count), 0)).where(Document.collection_id == collection_id)
        return int(await self._work.session.scalar(total) or 0)

    async def _refused(self, collection_id: UUID, space_id: UUID) -> int:
        query = select(func.count()).where(
            ChunkRefusal.collection_id == collection_id, ChunkRefusal.space_id == space_id
        )
        return (await self._work.session.scalar(query)) or 0

    async def _sample(self, collection: Collection) -> list[int]:
        """The lengths of some chunks, drawn evenly and each time the same."""
        among = range(collection.next_number)
        drawn = Random(collection.id.int).sample(among, min(SAMPLE, len(among)))
        rows = await self._work.session.execute(
            select(Chunk.context, Chunk.text).where(Chunk.collection_id == collection.id, Chunk.number.in_(drawn))
        )
        return [count_tokens(f"{context}\n{text}") for context, text in rows]

    def _enqueue(self, move: EmbeddingMove) -> None:
        if self._run is not None:
            self._work.enqueue(self._run, tenant_id=move.tenant_id, move_id=move.id)


def leave(move: EmbeddingMove, space_id: UUID | None, after: timedelta) -> None:
    """Have the sweep remove the collection's vectors in a space after some time, unless they are in use then."""
    move.left_space_id, move.keep_until = space_id, datetime.now(UTC) + after
    move.lease_until = move.retry_at = None


async def switch(work: Work, move: EmbeddingMove, collection: Collection) -> None:
    """From now on the collection is searched where the move has filled. Its row is locked."""
    now = datetime.now(UTC)
    old = collection.embedding_space_id
    if old == move.to_space_id and move.to_space_id is not None:
        # Nothing was left behind: only what was missing has come.
        move.state = "done"
        leave(move, None, timedelta(0))
        record(work, "embedding_move.completed", move, collection.space_id)
        return
    move.state, move.switched_at, move.from_space_id = "switched", now, old
    move.error_code = move.error_message = None
    leave(move, old, KEPT)
    await _search_in(work, collection, move.to_space_id, embeds=move.model_id is not None)
    record(work, "embedding_move.switched", move, collection.space_id)


async def _search_in(work: Work, collection: Collection, space_id: UUID | None, *, embeds: bool) -> None:
    await work.session.flush()
    await work.session.execute(
        update(Collection)
        .where(Collection.id == collection.id)
        .values(embedding_space_id=space_id, embeds=embeds, updated_at=Collection.updated_at)
        .execution_options(synchronize_session=False)
    )
    await work.session.refresh(collection, ["embedding_space_id", "embeds"])


def _not_there() -> NotFound:
    return NotFound(
        "the model is not there, or is switched off: `GET /models` lists those that you may use", code="model-not-found"
    )
