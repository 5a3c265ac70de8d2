"""How well the model of an embedding space knows a language, measured on what the organisation itself has there.

It is the inverse cloze task of Lee, Chang & Toutanova 2019 ("Latent Retrieval for Weakly Supervised Open Domain
Question Answering") as a measure: a sentence is taken out of each of some chunks, and must find the rest of its own
among the rests of all. That needs no labels. The full text is given the same task, since how hard it is depends on the
texts: what counts is how well the vectors do beside the words (`fuse.weight_of`). The cosines of sentences and rests
that do not belong together also tell where the model puts what is unrelated.

Each language of a space is measured when it has enough chunks, and again whenever it has twice as many. That takes at
most 256 short texts, by the route, the budget and the ledger of every other embedding.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

import numpy as np
from folkmoot_sdk import ProviderError
from numpy.typing import NDArray
from sqlalchemy import Uuid, bindparam, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Route, Snapshot
from folkmoot.ai.runtime import Runtime
from folkmoot.fulltext import bm25
from folkmoot.fulltext.postings import Postings
from folkmoot.fulltext.words import ask, terms
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.knowledge.fuse import Fit, weight_of
from folkmoot.knowledge.golden.models import SpaceFitness
from folkmoot.knowledge.models import Chunk, Collection, Document, EmbeddingSpace
from folkmoot.spaces.models import Space
from folkmoot.usage.ledger import Account, BudgetExhausted

log = get_logger(__name__)

SAMPLE = 128
"""Chunks of a language that are looked at: the ratio is then sure to about 0.03."""
FEWEST = 20
"""Of fewer nothing can be told; the model counts as one that nobody has measured."""
GROWN = 2
"""Times as many chunks, before it is measured again."""
SHORTEST_SENTENCE, LONGEST_SENTENCE = 4, 600
"""Words at least, characters at most."""
SHORTEST_REST = 10
"""Words."""
_SENTENCES = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Due:
    """A language of a space that is to be measured."""

    space_id: UUID
    language: str
    chunk_count: int


@dataclass(frozen=True)
class Cloze:
    """A sentence, and the chunk that it was taken out of."""

    sentence: str
    context: str
    rest: str

    @property
    def embedded(self) -> str:
        """The rest as chunks are embedded."""
        return f"{self.context}\n{self.rest}".strip()


@dataclass(frozen=True)
class Measured:
    """What a sample has shown."""

    by_text: float
    by_vector: float
    """Mean reciprocal ranks of the right rest, from 0 to 1."""
    unrelated: float
    spread: float


_MEASURED = select(SpaceFitness).where(
    SpaceFitness.space_id == bindparam("space", type_=Uuid()), SpaceFitness.sampled > 0
)


async def fit_of(work: Work, space_id: UUID, languages: Sequence[str]) -> Fit:
    """How the vectors of a space are read in a search over chunks of these languages.

    Of several languages each counts as it has chunks there; those that nobody has measured do not count.
    """
    rows = (await work.session.scalars(_MEASURED, {"space": space_id})).all()
    counted = [(row, float(row.chunk_count)) for row in rows if row.language in languages]
    total = sum(share for _, share in counted)
    if not total:
        return Fit()
    return Fit(
        weight=sum(share * weight_of(row.by_vector / max(row.by_text, 1e-6)) for row, share in counted) / total,
        unrelated=sum(share * row.unrelated for row, share in counted) / total,
        spread=sum(share * row.spread for row, share in counted) / total,
    )


async def due(work: Work) -> list[Due]:
    """What is to be measured: languages of a space that have grown enough since the last time."""
    counted = (
        select(
            Collection.embedding_space_id.label("space_id"),
            Document.language,
            func.sum(Document.chunk_count).label("chunks"),
        )
        .join(Document, Document.collection_id == Collection.id)
        .where(Collection.embedding_space_id.is_not(None), Document.chunk_count > 0)
        .group_by(Collection.embedding_space_id, Document.language)
        .having(func.sum(Document.chunk_count) >= FEWEST)
        .subquery()
    )
    before = (counted.c.space_id == SpaceFitness.space_id) & (counted.c.language == SpaceFitness.language)
    rows = await work.session.execute(
        select(counted)
        .outerjoin(SpaceFitness, before)
        .where(or_(SpaceFitness.id.is_(None), counted.c.chunks >= GROWN * SpaceFitness.chunk_count))
    )
    return [Due(row.space_id, row.language, int(row.chunks)) for row in rows]


async def measure(app: App, tenant_id: UUID, wanted: Due) -> bool:
    """Measure one language of one space and store the result; False if nobody may or can embed the sample now."""
    principal = Principal.system(tenant_id)
    snapshot = await app.part(Catalogue).of(tenant_id)
    async with app.begin(principal) as work:
        space = await work.session.get(EmbeddingSpace, wanted.space_id)
        if space is None:
            return False
        cleared = await _cleared(work, snapshot, space)
        if cleared is None:
            return False
        route, collection_ids = cleared
        sample = await _sample(work, collection_ids, wanted)
    measured: Measured | None = None
    if len(sample) >= FEWEST:
        account = Account(tenant_id=tenant_id, purpose="embedding")
        try:
            runtime = app.part(Runtime)
            asked = (await runtime.embed(route, account, [item.sentence for item in sample], query=True)).vectors
            held = (await runtime.embed(route, account, [item.embedded for item in sample])).vectors
        except (ProviderError, BudgetExhausted) as error:
            log.warning("fitness.not_measured", space=str(wanted.space_id), error=type(error).__name__)
            return False
        kept = [
            (item, one, other)
            for item, one, other in zip(sample, asked, held, strict=True)
            if isinstance(one, list) and isinstance(other, list) and len(one) == len(other) == space.dimensions
        ]
        if len(kept) >= FEWEST:
            cosines = _cosines([one for _, one, _ in kept], [other for *_, other in kept])
            measured = await asyncio.to_thread(compare, wanted.language, [item for item, *_ in kept], cosines)
            sample = [item for item, *_ in kept]
    async with app.begin(principal) as work:
        await _store(work, tenant_id, wanted, len(sample) if measured else 0, measured or Measured(0, 0, 0, 0))
    return True


def compare(language: str, sample: Sequence[Cloze], cosines: Matrix) -> Measured:
    """How often words and vectors find the rest of each sentence. Pure; `cosines` is sentences by rests."""
    apart = cosines[~np.eye(len(sample), dtype=bool)]
    return Measured(
        by_text=_reciprocal(_by_words(language, sample)),
        by_vector=_reciprocal(cosines),
        unrelated=float(apart.mean()),
        spread=float(apart.std()),
    )


def take_out(language: str, context: str, text: str, draw: Random) -> Cloze | None:
    """Take a sentence out of a chunk; None if it has none that could be missed."""
    pieces = [piece for piece in _SENTENCES.split(text) if piece.strip()]
    if len(pieces) < 2:
        return None
    fitting = [
        at
        for at, piece in enumerate(pieces)
        if len(piece) <= LONGEST_SENTENCE and terms(language, piece).length >= SHORTEST_SENTENCE
    ]
    if not fitting:
        return None
    at = draw.choice(fitting)
    rest = " ".join(pieces[:at] + pieces[at + 1 :])
    if terms(language, rest).length < SHORTEST_REST:
        return None
    return Cloze(pieces[at].strip(), context, rest)


def _by_words(language: str, sample: Sequence[Cloze]) -> Matrix:
    """BM25 of each sentence in each rest, as the full-text index scores it."""
    rests = [terms(language, item.context, item.rest) for item in sample]
    postings = Postings.of([(number, rest.counts, rest.length) for number, rest in enumerate(rests)])
    scope = bm25.Scope({UUID(int=0): 0}, len(rests), (language,))
    scores = np.zeros((len(sample), len(sample)), np.float32)
    words = sum(rest.length for rest in rests)
    for number, item in enumerate(sample):
        found = bm25.Found(scope, ask(item.sentence, (language,)), len(rests), words, [(0, postings)])
        for match in bm25.score(found, len(rests)).matches:
            scores[number, match.place] = match.score
    return scores


def _reciprocal(scores: Matrix) -> float:
    """The mean reciprocal rank of the right one, which stands on the diagonal; ties at their mean."""
    right = np.diag(scores)[:, None]
    ranks = 1 + (scores > right).sum(1) + ((scores == right).sum(1) - 1) / 2
    return float((1 / ranks).mean())


def _cosines(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Matrix:
    return _unit(one) @ _unit(other).T


def _unit(vectors: Sequence[Sequence[float]]) -> Matrix:
    made = np.nan_to_num(np.asarray(vectors, np.float32))
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), np.float32(1e-9))


async def _cleared(work: Work, snapshot: Snapshot, space: EmbeddingSpace) -> tuple[Route, list[UUID]] | None:
    """The space's model, and those of its collections whose text it may see now."""
    rows = await work.session.execute(
        select(Collection.id, Space.data_class_id)
        .join(Space, Space.id == Collection.space_id)
        .where(Collection.embedding_space_id == space.id)
    )
    route: Route | None = None
    collection_ids: list[UUID] = []
    for collection_id, class_id in rows:
        try:
            route = snapshot.route("embedding", snapshot.text_of([class_id]), space.model_id)
        except AppError:
            continue
        collection_ids.append(collection_id)
    return None if route is None else (route, collection_ids)


async def _sample(work: Work, collection_ids: Sequence[UUID], wanted: Due) -> list[Cloze]:
    """Sentences of chunks drawn from all documents, the same for the same documents."""
    of_language = (
        Document.collection_id.in_(collection_ids),
        Document.language == wanted.language,
        Document.chunk_count > 0,
    )
    drawn = func.md5(func.concat(Document.id, wanted.language))
    documents = (
        await work.session.execute(
            select(Document.id, Document.chunk_count).where(*of_language).order_by(drawn).limit(2 * SAMPLE)
        )
    ).all()
    draw = Random(wanted.space_id.int)
    each = -(-2 * SAMPLE // max(len(documents), 1))
    places = [
        (row.id, ordinal)
        for row in documents
        for ordinal in draw.sample(range(row.chunk_count), min(each, row.chunk_count))
    ]
    rows = await work.session.execute(
        select(Chunk.context, Chunk.text, Chunk.content_hash)
        .where(tuple_(Chunk.document_id, Chunk.ordinal).in_(places))
        .order_by(func.md5(Chunk.content_hash))
    )
    sample: list[Cloze] = []
    seen: set[str] = set()
    for context, text, content_hash in rows:
        if content_hash in seen or len(sample) >= SAMPLE:
            continue
        seen.add(content_hash)
        if (item := take_out(wanted.language, context, text, draw)) is not None:
            sample.append(item)
    return sample


async def _store(work: Work, tenant_id: UUID, wanted: Due, sampled: int, measured: Measured) -> None:
    if await work.session.get(EmbeddingSpace, wanted.space_id) is None:
        return
    values = {
        "chunk_count": wanted.chunk_count,
        "sampled": sampled,
        "by_text": measured.by_text,
        "by_vector": measured.by_vector,
        "unrelated": measured.unrelated,
        "spread": measured.spread,
    }
    await work.session.execute(
        insert(SpaceFitness)
        .values(id=uuid7(), tenant_id=tenant_id, space_id=wanted.space_id, language=wanted.language, **values)
        .on_conflict_do_update(index_elements=[SpaceFitness.space_id, SpaceFitness.language], set_=values)
    )
