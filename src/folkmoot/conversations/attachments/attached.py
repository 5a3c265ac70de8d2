"""What of the attached files goes along with a question.

The files of a branch go along with every question on it. First they must be read: an answer waits for that, and holds
nothing meanwhile. Short ones then go along whole, as numbered passages; in long ones is searched; and where a question
needs all of a long one, it is read part by part (`whole.py`). Pictures go to models that see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from folkmoot_sdk import ImagePart, ModelInfo
from sqlalchemy import Select, any_, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from folkmoot.ai.counting import BYTES_PER_TOKEN
from folkmoot.ai.route import Route
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.attachments.whole import needs_all, read_whole
from folkmoot.conversations.citations.cite import CitedPassage
from folkmoot.conversations.models import Attachment, Message
from folkmoot.conversations.prompting.prompt import DEFAULT_WINDOW
from folkmoot.conversations.retrieval.decide import decide
from folkmoot.conversations.retrieval.retrieve import add, passage_of
from folkmoot.conversations.retrieval.rewrite import rewrite
from folkmoot.files import pictures
from folkmoot.files.models import File
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict, NotAvailable, NotFound
from folkmoot.kit.log import get_logger
from folkmoot.kit.storage_errors import Missing
from folkmoot.kit.stream import StreamWriter
from folkmoot.knowledge.documents import OPEN
from folkmoot.knowledge.filters import MOST_IDS, Filters
from folkmoot.knowledge.models import Chunk, Document
from folkmoot.knowledge.passages import Hit
from folkmoot.knowledge.search import find

log = get_logger(__name__)

PASSAGES = 12
"""Found in long files."""
SHORT_TOKENS = 24_000
"""Files that have no more together go along whole, if half of the model's window holds them."""
PASSAGE_TOKENS = 30
"""What a passage costs beside its text."""
MOST_IMAGES = 10
MOST_IMAGE_BYTES = 20 * 1024 * 1024
"""Of all pictures on one question: about what services take in one request."""
FIRST_PAUSE, LONGEST_PAUSE = 0.15, 1.0
"""Seconds from one look at what is still being read to the next."""
NOTICEABLE = 0.1
MOST_TURNS = 2_000
_IDS = ARRAY(PG_UUID(as_uuid=True))


def _branch() -> Select[Any]:
    turns = (Message.id, Message.parent_id, Message.file_ids)
    branch = select(*turns, literal(1).label("depth")).where(Message.id == bindparam("newest"))
    branch = branch.cte("branch", recursive=True)
    above = select(*turns, branch.c.depth + 1).join(branch, Message.id == branch.c.parent_id)
    branch = branch.union_all(above.where(branch.c.depth < MOST_TURNS))
    named = branch.c.file_ids
    return select(named).where(func.jsonb_array_length(named) > 0).order_by(branch.c.depth)


BRANCH = _branch()
"""The files that questions on a branch name, those of the newest question first."""
ATTACHED = (
    select(Attachment, File.storage_key)
    .outerjoin(File, File.id == Attachment.file_id)
    .where(Attachment.conversation_id == bindparam("conversation"), Attachment.id == any_(bindparam("ids", type_=_IDS)))
)
DOCUMENTS = (
    select(
        Document.id,
        Document.parent_id,
        Document.name,
        Document.status,
        Document.progress,
        Document.error_message,
    )
    .where(Document.collection_id == bindparam("collection"))
    .order_by(Document.id)
)
_OF_DOCUMENTS = Chunk.document_id == any_(bindparam("documents", type_=_IDS))
SIZES = (
    select(Chunk.document_id, func.sum(func.octet_length(Chunk.text) + func.octet_length(Chunk.context)), func.count())
    .where(_OF_DOCUMENTS)
    .group_by(Chunk.document_id)
)
CHUNKS = (
    select(Chunk, Document.name, Document.content_hash)
    .join(Document, Document.id == Chunk.document_id)
    .where(_OF_DOCUMENTS)
    .order_by(Chunk.document_id, Chunk.ordinal)
)
BEGINNINGS = CHUNKS.where(Chunk.ordinal < 2)


@dataclass(frozen=True)
class Piece:
    """A document that is attached, or lies in an archive or a mail that is."""

    id: UUID
    attachment: Attachment
    name: str
    status: str
    progress: float
    reason: str
    """Why it could not be read, if it failed."""
    inner: bool
    """Whether it came in another."""


@dataclass(frozen=True)
class Files:
    """All that is attached on a branch."""

    newest: frozenset[UUID]
    """Attachments of the newest question."""
    gone: int
    """Files that a question on the branch names and that are not there any more."""
    pieces: tuple[Piece, ...] = ()
    images: tuple[tuple[Attachment, str], ...] = ()
    """With the keys of their bytes; those of the newest question first."""

    @property
    def open(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.status in OPEN]

    def of_newest(self, piece: Piece) -> bool:
        return piece.attachment.id in self.newest


async def await_files(app: App, run: Run, writer: StreamWriter) -> Files | None:
    """The files of the branch, once they are read; None if it has none.

    Raises `NotAvailable` (`file-not-ready`) after too long a time, and `Conflict` (`file-unreadable`) if one of the
    newest question's could not be read.
    """
    if run.attached_in is None:
        return None
    attached = await _attached(app, run)
    if attached is None:
        return None
    files = await _looked_at(app, run, attached)
    if not run.turns:
        files = await _read_through(app, run, writer, files)
        _check(files)
    run.attached = [piece.id for piece in files.pieces if piece.status == "ready"]
    return files


async def attach(app: App, run: Run, writer: StreamWriter, route: Route, files: Files | None) -> None:
    """Give the answer what it needs of the files. Raises what models raise."""
    if files is None:
        return
    run.images, missed = await _pictures(app, run, files, sees=route.first.info.vision)
    if run.turns:
        # What goes along was found before the tools were called.
        return
    small_talk = not decide(run.question.content, run.history).search
    if small_talk and not run.question.file_ids:
        return
    left = _unread(files)
    if missed:
        left.append(_left(missed, "are pictures that had no room beside the others"))
    if run.attached:
        left += await _give(app, run, writer, route, files)
    if left:
        run.trace["left_out"] = [*run.trace.get("left_out", []), *left]
        writer.write("context.reduced", {"left_out": run.trace["left_out"]})


async def _give(app: App, run: Run, writer: StreamWriter, route: Route, files: Files) -> list[dict[str, Any]]:
    """Let the documents' passages go along. Returns what was left out."""
    left: list[dict[str, Any]] = []
    sizes = await _sizes(app, run)
    if blank := [piece.name for piece in files.pieces if piece.status == "ready" and piece.id not in sizes]:
        left.append(_left(len(blank), f"no text was found in {_names(blank)}"))
    plan = _plan(files, sizes, run.question.content, route.first.info)
    query, hits, rest = "", list[Hit](), list[CitedPassage]()
    if plan.whole:
        rest = [replace(passage, score=1.0) for passage in await _chunks(app, run, plan.whole)]
    if plan.searched:
        query, hits = await _search(app, run, plan.searched)
        known = {hit.chunk.id for hit in hits}
        newest = [piece.id for piece in files.pieces if piece.id in plan.searched and files.of_newest(piece)]
        # "What is this?" finds nothing; the beginning tells.
        rest += [item for item in await _chunks(app, run, newest, beginnings=True) if item.chunk_id not in known]
    if hits or rest:
        add(run, writer, hits, query, rest)
    if plan.read:
        passages = await _chunks(app, run, plan.read)
        left += await read_whole(app, run, writer, route, passages, room=plan.room)
    run.trace["files"] = {"whole": len(plan.whole), "searched": len(plan.searched), "read": len(plan.read)}
    return left


# Waiting


async def _attached(app: App, run: Run) -> Files | None:
    async with app.begin(run.principal) as work:
        named = list(await work.session.scalars(BRANCH, {"newest": run.question.id}))
        order = list(dict.fromkeys(UUID(item) for ids in named for item in ids))
        if not order:
            return None
        given = {"conversation": run.message.conversation_id, "ids": order}
        rows = (await work.session.execute(ATTACHED, given)).all()
    place = {item: at for at, item in enumerate(order)}
    rows = sorted(rows, key=lambda row: place[row[0].id])
    newest = frozenset(UUID(item) for item in run.question.file_ids)
    images = tuple((attachment, key) for attachment, key in rows if key is not None)
    pieces = tuple(
        Piece(attachment.document_id, attachment, attachment.name, "queued", 0.0, "", inner=False)
        for attachment, _ in rows
        if attachment.document_id is not None
    )
    return Files(newest, len(order) - len(rows), pieces, images)


async def _looked_at(app: App, run: Run, files: Files) -> Files:
    """The same, with how far each has come and what came in them."""
    if not files.pieces:
        return files
    async with app.begin(run.principal) as work:
        rows = (await work.session.execute(DOCUMENTS, {"collection": run.attached_in})).all()
    by_id = {row.id: row for row in rows}
    inside: dict[UUID, list[UUID]] = {}
    for row in rows:
        if row.parent_id is not None:
            inside.setdefault(row.parent_id, []).append(row.id)
    found: list[Piece] = []
    for piece in files.pieces:
        if piece.inner:
            continue
        reached = [(piece.id, False)]
        for document_id, inner in reached:
            if (row := by_id.get(document_id)) is not None:
                reason = row.error_message or ""
                state = (row.status, row.progress, reason)
                found.append(Piece(document_id, piece.attachment, row.name, *state, inner=inner))
                reached += [(member, True) for member in inside.get(document_id, [])]
    return replace(files, pieces=tuple(found))


async def _read_through(app: App, run: Run, writer: StreamWriter, files: Files) -> Files:
    until = run.message.created_at + timedelta(seconds=app.settings.attachment_seconds)
    told: list[dict[str, Any]] = []
    pause = FIRST_PAUSE
    while waiting := files.open:
        state = _states(files)
        if _moved(told, state):
            told = state
            writer.write("files.waiting", {"files": state})
        if datetime.now(UTC) > until:
            raise NotAvailable(
                f"{_names(piece.name for piece in waiting)} is still being read: ask again in a while",
                code="file-not-ready",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
        files = await _looked_at(app, run, files)
    return files


def _states(files: Files) -> list[dict[str, Any]]:
    """Of each attachment that is not read yet, with all that came in it."""
    waiting = {piece.attachment.id: piece.attachment for piece in files.open}
    found: list[dict[str, Any]] = []
    for attachment in waiting.values():
        parts = [piece for piece in files.pieces if piece.attachment.id == attachment.id]
        done = sum(1.0 if piece.status not in OPEN else piece.progress for piece in parts) / len(parts)
        queued = all(piece.status == "queued" for piece in parts)
        found.append(
            {
                "id": str(attachment.id),
                "name": attachment.name,
                "status": "queued" if queued else "processing",
                "progress": round(done, 3),
            }
        )
    return found


def _moved(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> bool:
    if [(item["id"], item["status"]) for item in before] != [(item["id"], item["status"]) for item in now]:
        return True
    return any(abs(new["progress"] - old["progress"]) >= NOTICEABLE for old, new in zip(before, now, strict=True))


def _check(files: Files) -> None:
    for piece in files.pieces:
        if piece.status == "failed" and not piece.inner and files.of_newest(piece):
            raise Conflict(
                f"{piece.name} could not be read: {piece.reason or 'the reason is not known'}", code="file-unreadable"
            )


# Choosing


@dataclass(frozen=True)
class Plan:
    """What goes along of each document: all, what a search finds, or notes of all."""

    whole: list[UUID]
    searched: list[UUID]
    read: list[UUID]
    room: int
    """Tokens that are left for notes."""


def _plan(files: Files, sizes: dict[UUID, int], question: str, model: ModelInfo) -> Plan:
    """`sizes` in tokens."""
    room = (model.context_window or DEFAULT_WINDOW) // 2
    there = [piece for piece in files.pieces if piece.id in sizes]
    # Those of the newest question first, of these the shortest.
    order = sorted(there, key=lambda piece: (not files.of_newest(piece), sizes[piece.id]))
    plan = Plan([], [], [], room)
    if needs_all(question):
        about = [piece for piece in order if files.of_newest(piece)] or order
        if sum(sizes[piece.id] for piece in about) <= room:
            plan.whole.extend(piece.id for piece in about)
        elif not model.passages:
            # One that only quotes writes no notes.
            plan.read.extend(piece.id for piece in about)
    limit = min(room, SHORT_TOKENS) if not plan.read else 0
    used = sum(sizes[document_id] for document_id in plan.whole)
    for piece in order:
        if piece.id in plan.whole or piece.id in plan.read:
            continue
        if used + sizes[piece.id] <= limit:
            used += sizes[piece.id]
            plan.whole.append(piece.id)
        else:
            plan.searched.append(piece.id)
    # In the order in which they were attached.
    place = {piece.id: at for at, piece in enumerate(files.pieces)}
    for ids in (plan.whole, plan.searched, plan.read):
        ids.sort(key=place.__getitem__)
    return plan


async def _sizes(app: App, run: Run) -> dict[UUID, int]:
    """Tokens of each document that has text."""
    async with app.begin(run.principal) as work:
        rows = (await work.session.execute(SIZES, {"documents": run.attached})).all()
    return {document_id: int(size) // BYTES_PER_TOKEN + PASSAGE_TOKENS * count for document_id, size, count in rows}


async def _chunks(app: App, run: Run, ids: Sequence[UUID], *, beginnings: bool = False) -> list[CitedPassage]:
    """The passages of these documents, in this order."""
    if not ids:
        return []
    async with app.begin(run.principal) as work:
        query = BEGINNINGS if beginnings else CHUNKS
        rows = (await work.session.execute(query, {"documents": list(ids)})).all()
    place = {document_id: at for at, document_id in enumerate(ids)}
    found = [passage_of(row) for row in rows]
    return sorted(found, key=lambda passage: place[passage.document_id])


async def _search(app: App, run: Run, ids: Sequence[UUID]) -> tuple[str, list[Hit]]:
    """What was searched for in these documents, and what was found."""
    assert run.attached_in is not None
    query = run.trace.get("retrieval", {}).get("query", "")
    if not query:
        decision = decide(run.question.content, run.history)
        query = (await rewrite(app, run)).query if decision.refers_back else run.question.content
    try:
        found = await find(
            app,
            run.principal,
            run.account("search"),
            [run.attached_in],
            query,
            PASSAGES,
            asked_in=run.space_id,
            filters=Filters(document_ids=list(ids)[:MOST_IDS]),
        )
    except NotFound:
        # One was deleted at this moment.
        return query, []
    return query, found.hits


async def _pictures(app: App, run: Run, files: Files, *, sees: bool) -> tuple[list[ImagePart], int]:
    """Of the newest question, then earlier ones, as many as go into one request; and how many do not."""
    found: list[ImagePart] = []
    room, missed = MOST_IMAGE_BYTES, 0
    for attachment, key in files.images:
        if not sees and attachment.id not in files.newest:
            continue
        if len(found) == MOST_IMAGES or attachment.size > room:
            missed += 1
            continue
        room -= attachment.size
        try:
            data = await app.storage.read_bytes(run.message.tenant_id, key)
        except Missing:
            log.warning("attachment.missing", attachment_id=str(attachment.id))
            missed += 1
            continue
        picture = await asyncio.to_thread(pictures.read, data)
        found.append(ImagePart(picture.media_type, picture.data, width=picture.width, height=picture.height))
    return found, missed


# Telling


def _unread(files: Files) -> list[dict[str, Any]]:
    left: list[dict[str, Any]] = []
    if files.gone:
        left.append(_left(files.gone, "was deleted since it was attached"))
    if failed := [piece.name for piece in files.pieces if piece.status == "failed"]:
        left.append(_left(len(failed), f"{_names(failed)} could not be read"))
    return left


def _left(count: int, why: str) -> dict[str, Any]:
    return {"what": "files", "count": count, "why": why}


def _names(names: Iterable[str]) -> str:
    """The first few of them."""
    known = list(names)
    more = f" and {len(known) - 3} more" if len(known) > 3 else ""
    return ", ".join(known[:3]) + more
