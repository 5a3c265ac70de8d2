"""What of the assistant's knowledge goes along with a question: nothing, what a search finds, or all of it.

Small sources go along whole, so that nothing in them is missed; whether they are small is known from the search itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Row, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from folkmoot.ai.catalogue import Catalogue
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.citations.cite import CitedPassage
from folkmoot.conversations.events import retrieved
from folkmoot.conversations.prompting.prompt import DEFAULT_WINDOW
from folkmoot.conversations.retrieval.decide import WORD, Decision, decide
from folkmoot.conversations.retrieval.rewrite import Rewritten, joined, rewrite
from folkmoot.kit.app import App
from folkmoot.kit.stream import StreamWriter
from folkmoot.knowledge.models import Chunk, Document
from folkmoot.knowledge.passages import Hit
from folkmoot.knowledge.search import find

PASSAGES = 8
LOOKED_AT = 16
"""Passages of which the best are chosen where the words of an earlier question were added."""
OWN = 3.0
"""How much more a word of the newest question counts than an added one."""
FEW = 24
"""Chunks that go along whole, if they have no more than `FEW_TOKENS` and take no more than a quarter of the window."""
FEW_TOKENS = 6_000
MOST = 200
"""Chunks that go along whole where the assistant is told to take whole documents, if half of the window holds them."""
GIVEN_AGAIN = 4
"""A document that is read again gives its chunks new numbers: so many times as many numbers may be given, and it is
still worth counting the chunks."""

ALL = (
    select(Chunk, Document.name, Document.content_hash)
    .join(Document, Document.id == Chunk.document_id)
    .where(Chunk.collection_id == any_(bindparam("collections", type_=ARRAY(PG_UUID(as_uuid=True)))))
    .order_by(Chunk.document_id, Chunk.ordinal)
    .limit(bindparam("most"))
)
FIRST = (
    select(Chunk.token_count)
    .where(Chunk.collection_id == any_(bindparam("collections", type_=ARRAY(PG_UUID(as_uuid=True)))))
    .limit(FEW + 1)
)


async def retrieve(app: App, run: Run, writer: StreamWriter) -> None:
    """Find the passages for the question, number them, and tell the reader."""
    if not run.collections:
        return
    mode = run.version.parameters.get("retrieval", "auto")
    decision = decide(run.question.content, run.history, mode)
    if not decision.search:
        run.trace["retrieval"] = {"kind": "nothing", "query": "", "why": decision.why}
        return
    room = await _room(app, run, mode)
    asked = await _asked(app, run, decision, room)
    came = await find(
        app,
        run.principal,
        run.account("search"),
        run.collections,
        asked.query,
        LOOKED_AT if asked.joined else PASSAGES,
        asked_in=run.space_id,
    )
    hits = own_first(came.hits, run.question.content)[:PASSAGES] if asked.joined else came.hits
    rest: list[CitedPassage] = []
    kind, why = "search", decision.why
    most = MOST if mode == "documents" else FEW
    if room and 0 < came.among <= most * GIVEN_AGAIN:
        whole = await _whole(app, run, most, room)
        if whole is not None:
            there = {chunk for hit in hits for chunk in (hit.chunk.id, *hit.joined)}
            rest = [passage for passage in whole if passage.chunk_id not in there]
            kind, why = "whole", f"{decision.why}; the sources are small enough to go along whole"
    by = {"rewritten_by": asked.model} if asked.model is not None else {}
    run.trace["retrieval"] = {"kind": kind, "query": asked.query, "why": why, **by}
    add(run, writer, hits, asked.query, rest)


async def _room(app: App, run: Run, mode: str) -> int:
    """Tokens that whole documents may take; 0 if they are not wanted."""
    if mode == "search":
        return 0
    snapshot = await app.part(Catalogue).of(run.message.tenant_id)
    choice = snapshot.find(UUID((run.message.model or {})["id"]))
    if choice is None or choice.info.passages:
        # What only quotes has no use for what was not found.
        return 0
    window = choice.info.context_window or DEFAULT_WINDOW
    return window // 2 if mode == "documents" else min(FEW_TOKENS, window // 4)


async def _asked(app: App, run: Run, decision: Decision, room: int) -> Rewritten:
    """What is searched for. A model is not asked where all goes along anyway."""
    question = run.question.content
    if not decision.refers_back:
        return Rewritten(question, None)
    if room:
        async with app.begin(run.principal) as work:
            sizes = (await work.session.scalars(FIRST, {"collections": run.collections})).all()
        if len(sizes) <= FEW and sum(sizes) <= room:
            return Rewritten(joined(question, run.history), None, joined=True)
    return await rewrite(app, run)


async def _whole(app: App, run: Run, most: int, room: int) -> list[CitedPassage] | None:
    """All that the collections hold, in order, if it is that little; else None."""
    async with app.begin(run.principal) as work:
        rows = (await work.session.execute(ALL, {"collections": run.collections, "most": most + 1})).all()
    if len(rows) > most or sum(chunk.token_count for chunk, _, _ in rows) > room:
        return None
    return [passage_of(row) for row in rows]


def passage_of(row: Row[Chunk, str, str]) -> CitedPassage:
    """A chunk, with its document's name and hash, as a passage without a number yet."""
    chunk, name, content_hash = row
    return CitedPassage(
        n=0,
        document_id=chunk.document_id,
        document_name=name,
        chunk_id=chunk.id,
        text=chunk.text,
        start=chunk.start,
        page=chunk.page,
        score=0.0,
        heading=chunk.context,
        document_hash=content_hash,
    )


def found(hit: Hit) -> CitedPassage:
    """A passage that a search found, without a number yet."""
    return CitedPassage(
        n=0,
        document_id=hit.chunk.document_id,
        document_name=hit.document_name,
        chunk_id=hit.chunk.id,
        text=hit.text,
        start=hit.start,
        page=hit.page,
        score=hit.score,
        heading=hit.chunk.context,
        document_hash=hit.document_hash,
    )


def own_first(hits: Sequence[Hit], question: str) -> list[Hit]:
    """Passages that were found with the words of earlier questions as well, those with the newest one's words first.

    What the earlier ones were about is the same for all; what is asked now tells them apart.
    """
    own = {word.casefold() for word in WORD.findall(question)}

    def weight(hit: Hit) -> float:
        parts = hit.match.words.items() if hit.match is not None else ()
        return sum(part * (OWN if word.casefold() in own else 1) for word, part in parts)

    by_words = iter(sorted((hit for hit in hits if hit.match is not None), key=weight, reverse=True))
    # What was found by its vector alone keeps its place.
    return [hit if hit.match is None else next(by_words) for hit in hits]


def add(
    run: Run, writer: StreamWriter, hits: Sequence[Hit], query: str = "", rest: Iterable[CitedPassage] = ()
) -> list[CitedPassage]:
    """Number what was found, going on from what is there, and tell the reader. Returns the new ones.

    `query` is what was searched for; `rest` goes along besides.
    """
    new = number(run, [*map(found, hits), *rest])
    tell(run, writer, new, query)
    return new


def number(run: Run, passages: Iterable[CitedPassage], *, by_tool: bool = False) -> list[CitedPassage]:
    """Give those that the answer does not have yet their numbers. Returns them."""
    known = {(passage.chunk_id, passage.start) for passage in run.passages.values()}
    wanted = [passage for passage in passages if (passage.chunk_id, passage.start) not in known]
    new = [replace(passage, n=n, by_tool=by_tool) for n, passage in enumerate(wanted, start=run.number())]
    run.passages |= {passage.n: passage for passage in new}
    return new


def tell(run: Run, writer: StreamWriter, new: Sequence[CitedPassage], query: str) -> None:
    """Tell the reader of passages, and what was searched for if that is not the question."""
    shown = query if query != run.question.content else ""
    writer.write("retrieval.completed", retrieved([passage.reference() for passage in new], shown))
