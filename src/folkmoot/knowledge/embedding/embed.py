"""Turning text into vectors: of a document, of some chunks of a collection, of a question.

What a model may see is asked again for each batch, because the class of a space may be raised while a long document is
read. No transaction is open while a model is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from folkmoot_sdk import BadResponse, InvalidRequest, ProviderError, RateLimited, Unavailable
from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Runtime
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.knowledge.chunk import USUAL, Limits, count_tokens
from folkmoot.knowledge.embedding import tokens, vectors
from folkmoot.knowledge.embedding.models import ChunkRefusal
from folkmoot.knowledge.embedding.spaces import (
    ModelChanged,
    Searched,
    Target,
    aim_of,
    classes_of,
    embedding_route,
    newest_version,
    open_space,
    outdate,
    route_to,
)
from folkmoot.knowledge.embedding.vectors import check_vector
from folkmoot.knowledge.models import Chunk, ChunkVector, Collection
from folkmoot.usage.ledger import Account, BudgetExhausted

if TYPE_CHECKING:
    from folkmoot.knowledge.store import Reading

__all__ = ["check_vector", "classes_of", "embed_document", "embed_query", "embedding_route", "fill", "limits_of"]
log = get_logger(__name__)
EMBED_BATCH = 64
FEW = 8
"""Chunks that a model may refuse all at once; if it refuses more, it is rather the request that it does not take."""
QUERY_SECONDS = 8.0
"""How long a question waits for its vector before the words answer alone."""


@dataclass(frozen=True)
class Piece:
    """A chunk that is to be embedded."""

    id: UUID
    number: int
    context: str
    text: str
    language: str


@dataclass
class Made:
    """What became of some chunks."""

    vectors: list[tuple[UUID, list[float]]] = field(default_factory=list[tuple[UUID, list[float]]])
    refused: dict[UUID, ProviderError] = field(default_factory=dict[UUID, ProviderError])
    tokens: int = 0
    texts: int = 0


def lacking(target: Target) -> list[ColumnElement[bool]]:
    """Of chunks of the target's collection: those without a vector there that were not refused either."""
    if target.space_id is None:
        return []
    has = exists().where(
        ChunkVector.collection_id == target.collection_id,
        ChunkVector.chunk_id == Chunk.id,
        ChunkVector.space_id == target.space_id,
    )
    was_refused = exists().where(ChunkRefusal.chunk_id == Chunk.id, ChunkRefusal.space_id == target.space_id)
    return [~has, ~was_refused]


async def pieces(work: Work, where: Sequence[ColumnElement[bool]], by: Any, most: int) -> list[Piece]:
    query = select(Chunk.id, Chunk.number, Chunk.context, Chunk.text, Chunk.language)
    return [Piece(*row) for row in await work.session.execute(query.where(*where).order_by(by).limit(most))]


async def fill(app: App, account: Account, target: Target, route: Route, wanted: Sequence[Piece]) -> Made:
    """Embed these chunks and store their vectors, or that the model refused them.

    Opens the target's space with the first vector. Raises `ProviderError` if the model cannot be reached,
    `BudgetExhausted`, and `ModelChanged`.
    """
    principal, choice = Principal.system(account.tenant_id), route.first
    languages = {piece.language for piece in wanted}
    async with app.begin(principal) as work:
        language = languages.pop() if len(languages) == 1 else None
        rate = await tokens.rate_of(work, choice.model.id, language)
    most = tokens.room(choice.info, rate)
    cut = [tokens.parts(piece.context, piece.text, most) for piece in wanted]
    flat = [text for texts in cut for text in texts]
    try:
        answer = await app.part(Runtime).embed(route, account, flat)
    except InvalidRequest as error:
        if target.space_id is None or len(wanted) > FEW:
            raise
        # A model that has taken others refuses these.
        made = Made(refused={piece.id: error for piece in wanted}, texts=len(flat))
        async with app.begin(principal) as work:
            await _keep(work, target, choice.model.id, made)
        return made
    made = Made(tokens=answer.input_tokens, texts=len(flat))
    at = 0
    for piece, texts in zip(wanted, cut, strict=True):
        got, at = answer.vectors[at : at + len(texts)], at + len(texts)
        try:
            made.vectors.append((piece.id, _joined(got, texts)))
        except ProviderError as error:
            made.refused[piece.id] = error
    async with app.begin(principal) as work:
        await _keep(work, target, choice.model.id, made)
        if language is not None and not answer.estimated and not made.refused:
            await tokens.learn(work, choice.model.id, language, flat, answer.input_tokens)
    return made


def is_final(error: ProviderError) -> bool:
    """Whether the model will refuse the text again."""
    return not isinstance(error, RateLimited | Unavailable)


def _joined(got: Sequence[list[float] | ProviderError], texts: Sequence[str]) -> list[float]:
    """The vector of a chunk from those of its parts. Raises the `ProviderError` of a part that was refused."""
    found: list[list[float]] = []
    for vector in got:
        if isinstance(vector, ProviderError):
            raise vector
        check_vector(vector)
        found.append(vector)
    if len({len(vector) for vector in found}) > 1:
        raise BadResponse("the embedding model gave vectors of several lengths: choose another")
    whole = tokens.mean(found, [count_tokens(text) for text in texts])
    check_vector(whole)
    return whole


async def _keep(work: Work, target: Target, model_id: UUID, made: Made) -> None:
    if made.vectors:
        length = len(made.vectors[0][1])
        if target.space_id is None:
            target.space_id = await open_space(work, model_id, target.version, length)
            target.model_id, target.dimensions = model_id, length
        elif any(len(vector) != target.dimensions for _, vector in made.vectors):
            raise ModelChanged(target.dimensions or 0, length)
        assert target.dimensions is not None
        for chunk_id in [chunk_id for chunk_id, vector in made.vectors if len(vector) != target.dimensions]:
            made.refused[chunk_id] = BadResponse("the embedding model gave vectors of several lengths: choose another")
        kept = [item for item in made.vectors if item[0] not in made.refused]
        await vectors.add(work, target.collection_id, target.space_id, target.dimensions, kept)
        if target.searched:
            await work.session.execute(
                update(Collection)
                .where(Collection.id == target.collection_id, Collection.embedding_space_id.is_(None))
                .values(embedding_space_id=target.space_id, updated_at=Collection.updated_at)
            )
    final = {chunk_id: error.code for chunk_id, error in made.refused.items() if is_final(error)}
    if final and target.space_id is not None:
        still = await work.session.scalars(
            select(Chunk.id).where(Chunk.id.in_(final)).with_for_update(read=True, key_share=True)
        )
        rows = [
            {
                "tenant_id": work.principal.tenant,
                "chunk_id": chunk_id,
                "space_id": target.space_id,
                "collection_id": target.collection_id,
                "code": final[chunk_id],
            }
            for chunk_id in still
        ]
        if rows:
            await work.session.execute(insert(ChunkRefusal).values(rows).on_conflict_do_nothing())


async def limits_of(app: App, reading: Reading) -> Limits:
    """How long the chunks of a document are to be, for the model that will embed them."""
    aim = reading.aim
    if aim is None:
        async with app.begin(reading.principal) as work:
            aim = await aim_of(work, reading.collection_id)
    if not aim.targets:
        return USUAL
    try:
        route = await route_to(app, reading.tenant_id, aim.class_ids, aim.targets[0].model_id)
    except AppError:
        return USUAL
    async with app.begin(reading.principal) as work:
        rate = await tokens.rate_of(work, route.first.model.id, reading.info.language or "")
    return tokens.limits(route.first.info, rate)


async def embed_document(app: App, reading: Reading) -> str | None:
    """Give every chunk its vector, if an embedding model may see it. Returns a warning if that did not work.

    Where the collection is being moved to, as well: a move that has begun, or that has ended, meanwhile is seen.
    """
    done: set[object] = set()
    warning: str | None = None
    while True:
        async with app.begin(reading.principal) as work:
            aim = await aim_of(work, reading.collection_id)
            todo = [target for target in aim.targets if target.key not in done]
            if not done and reading.stored:
                # Whoever has a document read again has what was refused tried again.
                chunk_ids = select(Chunk.id).where(Chunk.document_id == reading.id)
                await work.session.execute(delete(ChunkRefusal).where(ChunkRefusal.chunk_id.in_(chunk_ids)))
        if not todo or (todo[0].space_id is None and await _nobody(app, reading, aim.class_ids)):
            return warning
        for target in todo:
            done.add(target.key)
            said = await _embed_into(app, reading, target)
            done.add(target.key)
            warning = (said or warning) if target.searched else warning


async def _nobody(app: App, reading: Reading, class_ids: Sequence[UUID | None]) -> bool:
    return await embedding_route(app, reading.tenant_id, class_ids) is None


async def _embed_into(app: App, reading: Reading, target: Target) -> str | None:
    account = Account(tenant_id=reading.tenant_id, purpose="embedding", space_id=reading.space_id)
    refused: dict[UUID, ProviderError] = {}
    begun = False
    try:
        while True:
            async with app.begin(reading.principal) as work:
                class_ids = await classes_of(work, [reading.collection_id])
                where = [Chunk.document_id == reading.id, Chunk.id.not_in(refused), *lacking(target)]
                wanted = await pieces(work, where, Chunk.ordinal, EMBED_BATCH)
            if not wanted:
                break
            route = await route_to(app, reading.tenant_id, class_ids, target.model_id)
            if target.model_id is None:
                target.model_id = route.first.model.id
                async with app.begin(reading.principal) as work:
                    target.version = await newest_version(work, target.model_id)
            begun = True
            refused |= (await fill(app, account, target, route, wanted)).refused
            reading.progress = min(0.99, reading.progress + 0.01)
    except AppError as error:
        if isinstance(error, BudgetExhausted):
            return _failed(reading, error, error.detail)
        if begun:
            return "found by its words in part: which model may see it was changed meanwhile, read it again"
        if target.space_id is None:
            return None
        return f"found by its words only, because its embedding model cannot be used ({error.detail}): {_MOVE}"
    except ModelChanged as error:
        assert target.space_id is not None
        await note_change(app, reading.tenant_id, target.space_id, error)
        return f"found by its words only, because {error}: {_MOVE}"
    except ProviderError as error:
        return _failed(reading, error, str(error))
    if refused:
        reason = next(iter(refused.values()))
        return f"{len(refused)} passages are found by their words only: the embedding model refused them ({reason})"
    return None


_MOVE = "move the collection to an embedding model that serves"


def _failed(reading: Reading, error: Exception, why: str) -> str:
    log.warning("document.not_embedded", document=str(reading.id), error=type(error).__name__)
    return f"found by its words only, because the embedding model failed ({why}): read it again later"


async def note_change(app: App, tenant_id: UUID, space_id: UUID, error: ModelChanged) -> None:
    """A space whose model is another now is not searched any more."""
    log.warning("embedding_space.outdated", space=str(space_id), was=error.was, now=error.now)
    async with app.begin(Principal.system(tenant_id)) as work:
        await outdate(work, space_id, error.now)


async def embed_query(
    app: App, account: Account, class_ids: Sequence[UUID | None], space: Searched, query: str
) -> list[float] | None:
    """The question's vector in a space, by the space's own model; None if that may not see it, fails, or takes long.

    `class_ids` are of all text that the question may be about, and of where it is asked.
    """
    snapshot = await app.part(Catalogue).of(account.tenant_id, classes=class_ids)
    try:
        route = snapshot.route("embedding", snapshot.text_of(class_ids), space.model_id)
    except AppError as error:
        log.info("search.without_vectors", space=str(space.id), error=error.code)
        return None
    try:
        parts = tokens.parts("", query, tokens.room(route.first.info, None))
        async with asyncio.timeout(QUERY_SECONDS):
            answer = await app.part(Runtime).embed(route, account, parts, query=True)
        vector = _joined(answer.vectors, parts)
    except (ProviderError, AppError, TimeoutError) as error:
        log.warning("search.without_vectors", space=str(space.id), error=type(error).__name__)
        return None
    if len(vector) != space.dimensions:
        await note_change(app, account.tenant_id, space.id, ModelChanged(space.dimensions, len(vector)))
        return None
    return vector
