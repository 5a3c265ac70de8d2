"""Filling the space that a collection is being moved to, and switching to it when all is there.

A worker holds the move by a lease and works on it for a little while at a time, so that others have their turn. It goes
over the chunks in the order of their numbers, in rounds, until a round finds nothing that lacks a vector: documents
that are read meanwhile give theirs to both spaces (`embed.embed_document`). Vectors are stored batch by batch, and a
worker that dies has lost at most one batch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

from folkmoot_sdk import ProviderError
from sqlalchemy import or_, select, update

from folkmoot.ai.route import Route
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError, TooManyRequests
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.knowledge.embedding import vectors
from folkmoot.knowledge.embedding.embed import Made, Piece, fill, is_final, lacking, note_change, pieces
from folkmoot.knowledge.embedding.models import EmbeddingMove
from folkmoot.knowledge.embedding.move import KEPT, leave, record, switch
from folkmoot.knowledge.embedding.spaces import ModelChanged, Target, classes_of, route_to
from folkmoot.knowledge.models import Chunk, Collection, Document, EmbeddingSpace
from folkmoot.usage.ledger import Account
from folkmoot.usage.money import cost

log = get_logger(__name__)

LEASE = timedelta(seconds=30)
RENEW_SECONDS = 8.0
TURN_SECONDS = 15.0
"""After which a move lets others go on."""
BATCH = 128
"""Chunks in one call; the lane of the model cuts it into batches as large as that takes."""
WINDOW = 4_000
"""Numbers of chunks that one query looks through."""
SHOW_SECONDS = 1.0
MOST_PAUSE = 900.0
REMOVE_BATCH = 2_000
MOST_BATCHES = 10
"""Of removing, in one turn of the sweep."""


@dataclass
class Turn:
    """A move that this worker holds for a while."""

    id: UUID
    tenant_id: UUID
    space_id: UUID
    """Of the collection; not an embedding space."""
    target: Target
    position: int
    clean: bool
    attempts: int
    shown: float = 0.0

    @property
    def principal(self) -> Principal:
        return Principal.system(self.tenant_id)


class Ended(Exception):
    """The move was cancelled, or is gone."""


async def run(app: App, tenant_id: UUID, move_id: UUID) -> float | None:
    """Go on with a move. Returns seconds to wait before the next turn, or None if there is none."""
    turn = await _claim(app, tenant_id, move_id)
    if turn is None:
        return None
    try:
        async with _lease(app, turn):
            return await _fill(app, turn)
    except Ended:
        return None
    except ModelChanged as error:
        if turn.target.space_id is not None:
            await note_change(app, tenant_id, turn.target.space_id, error)
        await _update(app, turn, to_space_id=None, position=-1, clean=False, lease_until=None)
        return 0.0
    except TooManyRequests as error:
        return await _wait(app, turn, error.code, error.detail)
    except AppError as error:
        return await _fail(app, turn, error.code, error.detail)
    except ProviderError as error:
        if error.retryable:
            return await _wait(app, turn, error.code, str(error))
        return await _fail(app, turn, error.code, str(error))


async def _claim(app: App, tenant_id: UUID, move_id: UUID) -> Turn | None:
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        claimed = await work.session.execute(
            update(EmbeddingMove)
            .where(
                EmbeddingMove.id == move_id,
                EmbeddingMove.state == "filling",
                or_(EmbeddingMove.lease_until.is_(None), EmbeddingMove.lease_until < now),
                or_(EmbeddingMove.retry_at.is_(None), EmbeddingMove.retry_at <= now),
            )
            .values(lease_until=now + LEASE)
            .returning(EmbeddingMove)
        )
        move = claimed.scalar_one_or_none()
        if move is None:
            return None
        collection = await work.session.get_one(Collection, move.collection_id)
        space = await work.session.get(EmbeddingSpace, move.to_space_id) if move.to_space_id else None
        target = Target(
            collection.id,
            move.model_id,
            move.version,
            move.to_space_id,
            space.dimensions if space is not None else None,
            searched=False,
        )
        return Turn(move.id, tenant_id, collection.space_id, target, move.position, move.clean, move.attempts)


@asynccontextmanager
async def _lease(app: App, turn: Turn) -> AsyncGenerator[None]:
    """Keep the claim while the body runs: one call of a slow model may take longer than the lease."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            async with app.begin(turn.principal) as work:
                await work.session.execute(
                    update(EmbeddingMove)
                    .where(EmbeddingMove.id == turn.id, EmbeddingMove.state == "filling")
                    .values(lease_until=datetime.now(UTC) + LEASE)
                )

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing


async def _fill(app: App, turn: Turn) -> float | None:
    until = monotonic() + TURN_SECONDS
    while True:
        if turn.target.model_id is None:
            return await _fail(app, turn, "model-not-found", "the model to move to was deleted meanwhile")
        async with app.begin(turn.principal) as work:
            class_ids = await classes_of(work, [turn.target.collection_id])
            last, wanted, reached = await _next(work, turn)
        if wanted:
            turn.clean = False
            route = await route_to(app, turn.tenant_id, class_ids, turn.target.model_id)
            account = Account(tenant_id=turn.tenant_id, purpose="embedding", space_id=turn.space_id)
            made = await fill(app, account, turn.target, route, wanted)
            if not made.vectors and (later := [error for error in made.refused.values() if not is_final(error)]):
                raise later[0]
            await _note(app, turn, reached, route, made)
        else:
            turn.position = reached
        if not wanted and reached >= last:
            if turn.clean and await _try_switch(app, turn, last):
                return None
            # A round that found something is followed by another, which sees what came meanwhile.
            turn.position, turn.clean = -1, True
            await _update(app, turn, position=-1, clean=True, rounds=EmbeddingMove.rounds + 1)
        if monotonic() > until:
            await _update(app, turn, position=turn.position, lease_until=None)
            return 0.0


async def _next(work: Work, turn: Turn) -> tuple[int, list[Piece], int]:
    """The last number of the collection, some chunks that lack a vector, and the number up to which it has looked."""
    number = await work.session.scalar(select(Collection.next_number).where(Collection.id == turn.target.collection_id))
    if number is None:
        raise Ended
    reached = min(turn.position + WINDOW, number - 1)
    where = [
        Chunk.collection_id == turn.target.collection_id,
        Chunk.number > turn.position,
        Chunk.number <= reached,
        *lacking(turn.target),
    ]
    wanted = await pieces(work, where, Chunk.number, BATCH)
    return number - 1, wanted, wanted[-1].number if len(wanted) == BATCH else reached


async def _note(app: App, turn: Turn, reached: int, route: Route, made: Made) -> None:
    """Keep how far it has come, and show it now and then."""
    choice = route.first
    spent = cost(
        choice.price or choice.ceiling,
        input_tokens=made.tokens,
        output_tokens=0,
        requests=-(-made.texts // (choice.info.max_batch or 64)),
    )
    turn.position, turn.attempts = reached, 0
    async with app.begin(turn.principal) as work:
        kept = await work.session.execute(
            update(EmbeddingMove)
            .where(EmbeddingMove.id == turn.id, EmbeddingMove.state == "filling")
            .values(
                to_space_id=turn.target.space_id,
                position=reached,
                clean=False,
                done_count=EmbeddingMove.done_count + len(made.vectors),
                refused_count=EmbeddingMove.refused_count + len(made.refused),
                tokens=EmbeddingMove.tokens + made.tokens,
                cost=EmbeddingMove.cost + spent,
                attempts=0,
                error_code=None,
                error_message=None,
                retry_at=None,
            )
            .returning(EmbeddingMove)
        )
        move = kept.scalar_one_or_none()
        if move is None:
            raise Ended
        if monotonic() - turn.shown >= SHOW_SECONDS:
            turn.shown = monotonic()
            record(work, "embedding_move.progress", move, turn.space_id)


async def _try_switch(app: App, turn: Turn, last: int) -> bool:
    """Switch, unless a chunk came after the last round that nobody is about to embed there."""
    async with app.begin(turn.principal) as work:
        collection = await work.session.get(Collection, turn.target.collection_id, with_for_update={"key_share": True})
        move = await work.session.get(EmbeddingMove, turn.id, with_for_update=True)
        if collection is None or move is None or move.state != "filling":
            raise Ended
        newer = (
            select(Chunk.id)
            .join(Document, Document.id == Chunk.document_id)
            .where(
                Chunk.collection_id == collection.id,
                Chunk.number > last,
                # Who is being read gets its vectors in both spaces, and looks which those are after it was stored.
                Document.status != "processing",
                *lacking(turn.target),
            )
        )
        if await work.session.scalar(newer.limit(1)) is not None:
            return False
        await switch(work, move, collection)
        log.info("embedding_move.ended", move=str(move.id), state=move.state, chunks=move.done_count)
        return True


async def _wait(app: App, turn: Turn, code: str, message: str) -> float:
    """Come back later; what was made stays."""
    pause = min(MOST_PAUSE, 2.0 ** min(turn.attempts + 1, 10))
    again = datetime.now(UTC) + timedelta(seconds=pause)
    async with app.begin(turn.principal) as work:
        move = await work.session.get(EmbeddingMove, turn.id, with_for_update=True)
        if move is not None and move.state == "filling":
            move.attempts, move.retry_at, move.lease_until = turn.attempts + 1, again, None
            move.error_code, move.error_message = code, message
            record(work, "embedding_move.delayed", move, turn.space_id)
    return pause


async def _fail(app: App, turn: Turn, code: str, message: str) -> None:
    """Give up; what was made is kept for a while, for whoever begins it again."""
    async with app.begin(turn.principal) as work:
        move = await work.session.get(EmbeddingMove, turn.id, with_for_update=True)
        if move is not None and move.state == "filling":
            move.state, move.error_code, move.error_message = "failed", code, message
            leave(move, move.to_space_id, KEPT)
            record(work, "embedding_move.failed", move, turn.space_id)


async def _update(app: App, turn: Turn, **values: object) -> None:
    async with app.begin(turn.principal) as work:
        await work.session.execute(
            update(EmbeddingMove)
            .where(EmbeddingMove.id == turn.id, EmbeddingMove.state == "filling")
            .values(**values)
            .execution_options(synchronize_session=False)
        )


async def left(work: Work) -> list[UUID]:
    """Moves that nobody works on: the message was lost, the worker died, or it is time to try again."""
    now = datetime.now(UTC)
    return list(
        await work.session.scalars(
            select(EmbeddingMove.id).where(
                EmbeddingMove.state == "filling",
                or_(EmbeddingMove.lease_until.is_(None), EmbeddingMove.lease_until < now),
                or_(EmbeddingMove.retry_at.is_(None), EmbeddingMove.retry_at < now),
            )
        )
    )


async def clean(app: App, tenant_id: UUID) -> None:
    """Remove some of the vectors that moves have left, once nobody can want them back."""
    principal = Principal.system(tenant_id)
    now = datetime.now(UTC)
    async with app.begin(principal) as work:
        over = await work.session.execute(
            select(EmbeddingMove.id, EmbeddingMove.collection_id, EmbeddingMove.left_space_id)
            .where(EmbeddingMove.left_space_id.is_not(None), EmbeddingMove.keep_until < now)
            .limit(20)
        )
        found = [(row[0], row[1], row[2]) for row in over]
    for move_id, collection_id, space_id in found:
        for _ in range(MOST_BATCHES):
            async with app.begin(principal) as work:
                gone = 0
                # Nobody begins or ends a move of this collection meanwhile.
                await work.session.get(Collection, collection_id, with_for_update={"key_share": True})
                if not await _wanted(work, move_id, collection_id, space_id):
                    gone = await vectors.remove_some(work, collection_id, space_id, REMOVE_BATCH)
                if not gone:
                    await _forget(work, move_id)
                    break


async def _wanted(work: Work, move_id: UUID, collection_id: UUID, space_id: UUID) -> bool:
    """Whether a collection's vectors in a space serve something else."""
    searched = select(Collection.id).where(Collection.id == collection_id, Collection.embedding_space_id == space_id)
    others = select(EmbeddingMove.id).where(
        EmbeddingMove.collection_id == collection_id,
        EmbeddingMove.id != move_id,
        or_(
            (EmbeddingMove.state == "filling") & (EmbeddingMove.to_space_id == space_id),
            (EmbeddingMove.left_space_id == space_id) & (EmbeddingMove.keep_until >= datetime.now(UTC)),
        ),
    )
    return await work.session.scalar(searched.union_all(others).limit(1)) is not None


async def _forget(work: Work, move_id: UUID) -> None:
    move = await work.session.get(EmbeddingMove, move_id, with_for_update=True)
    if move is not None:
        move.left_space_id = None
        if move.state == "switched":
            move.state = "done"
