"""What of the assistant's knowledge goes along with a question."""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot.conversations.cite import CitedPassage
from folkmoot.conversations.events import retrieved
from folkmoot.conversations.run import Run
from folkmoot.kit.app import App
from folkmoot.kit.stream import StreamWriter
from folkmoot.knowledge.passages import Hit
from folkmoot.knowledge.search import search

PASSAGES = 8


async def retrieve(app: App, run: Run, writer: StreamWriter) -> None:
    """Find the passages for the question, number them, and tell the reader."""
    if not run.collections:
        return
    hits = await search(
        app,
        run.principal,
        run.account("search"),
        run.collections,
        run.question.content,
        PASSAGES,
        asked_in=run.space_id,
    )
    add(run, writer, hits)


def add(run: Run, writer: StreamWriter, hits: Sequence[Hit]) -> list[CitedPassage]:
    """Number what was found, going on from what is there, and tell the reader. Returns the new ones."""
    known = {passage.chunk_id for passage in run.passages.values()}
    new = [
        CitedPassage(
            n=n,
            document_id=hit.chunk.document_id,
            document_name=hit.document_name,
            chunk_id=hit.chunk.id,
            text=hit.text,
            start=hit.start,
            page=hit.page,
            score=hit.score,
            heading=hit.chunk.context,
        )
        for n, hit in enumerate((hit for hit in hits if hit.chunk.id not in known), start=run.number())
    ]
    run.passages |= {passage.n: passage for passage in new}
    writer.write("retrieval.completed", retrieved([passage.reference() for passage in new]))
    return new
