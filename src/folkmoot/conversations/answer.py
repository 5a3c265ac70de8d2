"""Turning one question into one streamed answer.

Nothing here holds a database connection while the model talks: a slow model would otherwise drain the pool.
Reads and writes are short transactions of their own. However it ends (done, stopped, failed, the worker told
to go), a shielded write keeps the text so far, and only then does the stream say that it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from folkmoot_sdk import ChatRequest, ModelInfo, ProviderError, ReasoningDelta, TextDelta, Usage
from sqlalchemy import Select, Table, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Choice
from folkmoot.ai.runtime import Answering, Runtime
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.conversations import prompt
from folkmoot.conversations.cite import CitedPassage, MarkerReader, citation
from folkmoot.conversations.guarded import classes_in, guards
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.schemas import ending, retrieved
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError, Conflict, NotAvailable
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import StreamWriter
from folkmoot.knowledge.passages import Hit
from folkmoot.knowledge.search import search
from folkmoot.spaces.models import Space
from folkmoot.usage.ledger import Account

log = get_logger(__name__)

LEASE = timedelta(seconds=12)
RENEW_SECONDS = 3.0
PASSAGES = 8
_Question = aliased(Message)
NEEDED = (
    select(
        Message,
        _Question,
        AssistantVersion,
        Conversation.user_id,
        Assistant.space_id,
        # What guards the text that goes into the answer, as it is now and not as it was when the question was asked.
        select(func.array_agg(Space.data_class_id.distinct()))
        .where(guards(Assistant.space_id, Message.conversation_id))
        .correlate(Message, Assistant)
        .scalar_subquery(),
    )
    .join(_Question, _Question.id == Message.parent_id)
    .join(Conversation, Conversation.id == Message.conversation_id)
    .outerjoin(AssistantVersion, AssistantVersion.id == Message.assistant_version_id)
    .outerjoin(Assistant, Assistant.id == AssistantVersion.assistant_id)
    .where(Message.id == bindparam("message"))
    .with_for_update(of=Message)
)
"""All that an answer is made from; built once, since every answer asks it."""
_messages = cast("Table", Message.__table__)
CLAIM = update(_messages).where(_messages.c.id == bindparam("message"))
HISTORY = 40
"""Turns that are looked at; the prompt keeps as many of the newest as fit."""


def _above() -> Select[str, str]:
    turns = (Message.id, Message.parent_id, Message.role, Message.content)
    branch = select(*turns).where(Message.id == bindparam("newest")).cte("branch", recursive=True)
    branch = branch.union_all(select(*turns).join(branch, Message.id == branch.c.parent_id))
    return select(branch.c.role, branch.c.content).limit(HISTORY)


ABOVE = _above()
"""The turns on a branch, newest first."""


class Running:
    """The answers that this worker is writing, so that a request to stop reaches the right one."""

    def __init__(self) -> None:
        self._tasks: dict[UUID, asyncio.Task[Any]] = {}
        self._stopped: set[UUID] = set()

    def stop(self, message_id: UUID) -> None:
        if (running := self._tasks.get(message_id)) is not None:
            self._stopped.add(message_id)
            running.cancel()

    @asynccontextmanager
    async def entry(self, message_id: UUID, running: asyncio.Task[Any]) -> AsyncGenerator[None]:
        self._tasks[message_id] = running
        try:
            yield
        finally:
            self._tasks.pop(message_id, None)
            self._stopped.discard(message_id)

    def was_stopped(self, message_id: UUID) -> bool:
        return message_id in self._stopped


@dataclass
class Run:
    """One answer as it comes to be."""

    message: Message
    question: str
    history: list[prompt.Turn]
    version: AssistantVersion
    space_id: UUID
    class_ids: list[UUID | None]
    user_id: UUID
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    citations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    passages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    usage: Usage | None = None

    @property
    def principal(self) -> Principal:
        return Principal.system(self.message.tenant_id)

    def account(self, purpose: str) -> Account:
        return Account(
            tenant_id=self.message.tenant_id,
            purpose=purpose,
            user_id=self.user_id,
            key_id=self.message.key_id,
            space_id=self.space_id,
            assistant_id=self.version.assistant_id,
            message_id=self.message.id,
        )


async def answer(app: App, tenant_id: UUID, message_id: UUID) -> None:
    """Write the answer to a pending message, unless somebody else does or did."""
    try:
        run = await _claim(app, tenant_id, message_id)
    except AppError as error:
        await abandon(app, tenant_id, message_id, error.code, error.title, error.detail)
        return
    if run is None:
        return
    writer = await app.streams.writer(str(message_id))
    running = app.part(Running)
    writing = asyncio.create_task(_write(app, run, writer))
    async with running.entry(message_id, writing):
        renewing = asyncio.create_task(_renew(app, run))
        status, error = "complete", None
        try:
            async with asyncio.timeout(app.settings.answer_seconds):
                await writing
        except asyncio.CancelledError:
            if not running.was_stopped(message_id):
                # The worker is going down. Unsaid answers are left for another; begun ones keep their text.
                writing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await writing
                await asyncio.shield(_leave(app, run, writer))
                raise
            status = "stopped"
        except TimeoutError:
            status, error = "failed", _failure("answer-too-long", "The answer took too long", retryable=True)
        except ProviderError as failure:
            status, error = "failed", _failure(failure.code, str(failure), retryable=failure.retryable)
        except AppError as refusal:
            retryable = isinstance(refusal, NotAvailable)
            status, error = "failed", _failure(refusal.code, refusal.detail, retryable=retryable)
        except Exception:
            log.exception("answer.crashed", message_id=str(message_id))
            status, error = (
                "failed",
                _failure("internal-error", "this is our mistake; it is in the log", retryable=True),
            )
        finally:
            renewing.cancel()
        await asyncio.shield(_finish(app, run, writer, status, error))


def _failure(code: str, detail: str, *, retryable: bool) -> dict[str, Any]:
    title = "The answer could not be finished"
    return {"code": code, "title": title, "detail": detail, "retryable": retryable}


async def _claim(app: App, tenant_id: UUID, message_id: UUID) -> Run | None:
    """Take a pending answer for this worker, and read all that it needs, in one transaction."""
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        row = (await work.session.execute(NEEDED, {"message": message_id})).first()
        if row is None or row[0].status != "pending":
            return None
        message, asked, version, user_id, space_id, class_ids = row
        if message.lease_until is not None and message.lease_until > now:
            return None
        if version is None or space_id is None:
            raise Conflict("the assistant was deleted before it could answer: choose another", code="assistant-gone")
        stopped = message.stop_requested
        claimed = {"status": "stopped", "finished_at": now} if stopped else {"lease_until": now + LEASE}
        await work.session.execute(CLAIM.values(**claimed), {"message": message_id})
        history = await _history(work.session, asked) if asked.parent_id is not None else []
        run = Run(message, asked.content, history, version, space_id, class_ids or [], user_id)
    if stopped:
        message.status, message.finished_at = "stopped", now
        writer = await app.streams.writer(str(message_id))
        writer.write(*ending(message))
        await writer.flush()
        return None
    return run


async def _history(session: AsyncSession, question: Message) -> list[prompt.Turn]:
    """The turns on the branch above a question, oldest first."""
    rows = await session.execute(ABOVE, {"newest": question.parent_id})
    turns = [prompt.Turn(role, content) for role, content in rows if content]
    turns.reverse()
    return turns


async def _write(app: App, run: Run, writer: StreamWriter) -> None:
    """Search, ask the model, and pass on what it says."""
    model_id = UUID((run.message.model or {})["id"])
    snapshot = await app.part(Catalogue).of(run.message.tenant_id, need=model_id)
    route = replace(snapshot.route("chat", snapshot.text_of(run.class_ids), model_id), still=_still(app, run))
    collections = [UUID(item) for item in run.message.collection_ids]
    passages: list[CitedPassage] = []
    if collections:
        account = run.account("search")
        hits = await search(app, run.principal, account, collections, run.question, PASSAGES, asked_in=run.space_id)
        passages = [_passage(n, hit) for n, hit in enumerate(hits, start=1)]
        run.passages = [_reference(item) for item in passages]
        writer.write("retrieval.completed", retrieved(run.passages))

    def build(info: ModelInfo) -> ChatRequest:
        return prompt.build(
            info,
            instructions=run.version.instructions,
            history=run.history,
            question=run.question,
            passages=passages,
            grounded=bool(collections),
            parameters=run.version.parameters,
        )

    by_number = {item.n: item for item in passages}
    markers = MarkerReader(list(by_number))
    async with aclosing(app.part(Runtime).chat(route, run.account("answer"), build)) as events:
        async for event in events:
            match event:
                case TextDelta():
                    _say(run, writer, by_number, markers.feed(event.text))
                case ReasoningDelta():
                    thought = event.text.replace("\x00", "")
                    run.reasoning.append(thought)
                    writer.text("reasoning.delta", thought)
                case Usage():
                    run.usage = event
                case Answering() if event.model.id != model_id:
                    run.message.model = event.model.described() | {"instead_of": route.first.described()}
                case _:
                    pass
    _say(run, writer, by_number, markers.finish())


def _still(app: App, run: Run) -> Callable[[Choice], Awaitable[None]]:
    async def still(choice: Choice) -> None:
        async with app.begin(run.principal) as work:
            class_ids = await classes_in(work, run.message.conversation_id, run.space_id)
        snapshot = await app.part(Catalogue).of(run.message.tenant_id)
        snapshot.route("chat", snapshot.text_of(class_ids), choice.model.id)

    return still


def _say(
    run: Run,
    writer: StreamWriter,
    passages: dict[int, CitedPassage],
    read: tuple[str, list[tuple[int, str]]],
) -> None:
    text, markers = read
    # Text columns cannot hold NUL, and a model may say anything.
    text = text.replace("\x00", "")
    if text:
        run.text.append(text)
        writer.text("text.delta", text)
    for n, sentence in markers:
        cited = citation(passages[n], sentence)
        if cited not in run.citations:
            run.citations.append(cited)
            writer.write("citation", cited)


def _passage(n: int, hit: Hit) -> CitedPassage:
    chunk = hit.chunk
    return CitedPassage(
        n=n,
        document_id=chunk.document_id,
        document_name=hit.document_name,
        chunk_id=chunk.id,
        text=hit.text,
        start=hit.start,
        page=hit.page,
        score=hit.score,
        heading=chunk.context,
    )


def _reference(item: CitedPassage) -> dict[str, Any]:
    return {
        "n": item.n,
        "document_id": str(item.document_id),
        "document_name": item.document_name,
        "chunk_id": str(item.chunk_id),
        "page": item.page,
        "score": item.score,
    }


async def _renew(app: App, run: Run) -> None:
    """Keep the lease, and see a request to stop whose message was lost."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        async with app.begin(run.principal) as work:
            values: dict[str, Any] = {"lease_until": datetime.now(UTC) + LEASE}
            if run.text:
                # What was said so far survives even a kill.
                values |= {"status": "streaming", "content": "".join(run.text), "citations": run.citations}
            stop = await work.session.scalar(
                update(Message)
                .where(Message.id == run.message.id, Message.status.in_(("pending", "streaming")))
                .values(**values)
                .returning(Message.stop_requested)
            )
        if stop is not False:  # asked to, or the message is gone or was ended by the sweep
            app.part(Running).stop(run.message.id)


async def _finish(app: App, run: Run, writer: StreamWriter, status: str, error: dict[str, Any] | None) -> None:
    message, usage = run.message, run.usage
    fields: dict[str, Any] = {
        "status": status,
        "error": error,
        "content": "".join(run.text),
        "reasoning": "".join(run.reasoning),
        "citations": run.citations,
        "passages": run.passages,
        "model": message.model,
        "finished_at": datetime.now(UTC),
        "lease_until": None,
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens} if usage else None,
    }
    async with app.begin(run.principal) as work:
        stored = await work.session.execute(
            update(Message)
            .where(Message.id == message.id)
            .values(**fields)
            .returning(Message.id)
            .execution_options(synchronize_session=False)
        )
        if stored.first() is None:
            detail = "the conversation was deleted while it was answered"
            work.after_commit(lambda: _say_gone(writer, _failure("message-deleted", detail, retryable=False)))
            return
        work.record(
            f"message.{status}" if status != "complete" else "message.completed",
            "message",
            message.id,
            user_id=run.user_id,
            data={"conversation_id": str(message.conversation_id), "model": message.model, "usage": fields["usage"]},
        )
    for name, value in fields.items():
        setattr(message, name, value)
    writer.write(*ending(message))
    await writer.flush()


async def _say_gone(writer: StreamWriter, error: dict[str, Any]) -> None:
    writer.write("message.failed", error)
    await writer.flush()


async def _leave(app: App, run: Run, writer: StreamWriter) -> None:
    """The worker goes down: give an unsaid answer back, end a begun one with its text."""
    if run.text:
        error = _failure("interrupted", "the service was restarted while it answered: ask again", retryable=True)
        await _finish(app, run, writer, "failed", error)
        return
    async with app.begin(run.principal) as work:
        await work.session.execute(update(Message).where(Message.id == run.message.id).values(lease_until=None))


async def abandon(app: App, tenant_id: UUID, message_id: UUID, code: str, title: str, detail: str) -> None:
    """End an answer that nobody writes any more as failed, with its text kept, and tell its readers."""
    async with app.begin(Principal.system(tenant_id)) as work:
        message = await work.session.get(Message, message_id, with_for_update=True)
        if message is None or message.status not in ("pending", "streaming"):
            return
        message.status, message.finished_at, message.lease_until = "failed", datetime.now(UTC), None
        message.error = {"code": code, "title": title, "detail": detail, "retryable": True}
        owner = await work.session.scalar(
            select(Conversation.user_id).where(Conversation.id == message.conversation_id)
        )
        work.record("message.failed", "message", message.id, user_id=owner, data={"code": code})
    writer = await app.streams.writer(str(message_id))
    writer.write(*ending(message))
    await writer.flush()
