"""Turning one question into one streamed answer.

Nothing here holds a database connection while the model talks: a slow model would otherwise drain the pool.
Reads and writes are short transactions of their own. However it ends (done, stopped, failed, waiting for its asker, the
worker told to go), a shielded write keeps the text so far, and only then does the stream say so.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from folkmoot_sdk import ProviderError
from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import ReturningUpdate

from folkmoot.conversations.answering.claim import LEASE, claim
from folkmoot.conversations.answering.ends import Enough, Lost, Unanswered
from folkmoot.conversations.answering.heard import heard
from folkmoot.conversations.answering.run import Run, Running
from folkmoot.conversations.answering.write import write
from folkmoot.conversations.events import ending, opening
from folkmoot.conversations.models import Message
from folkmoot.conversations.receipts.issue import issue, issue_later, owner_of
from folkmoot.conversations.toolcalls.calls import Waits
from folkmoot.conversations.toolcalls.kept import LEFT_OPEN, put_away
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError, NotAvailable
from folkmoot.kit.jobs import TASKS
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import StreamWriter

log = get_logger(__name__)

RENEW_SECONDS = 3.0
TITLE_SECONDS = 1.0
"""Naming a conversation waits until answers that end at the same moment are through."""
UNFINISHED = "The answer could not be finished"
ENDED = ("status", "error", "content", "reasoning", "citations", "sentences", "passages", "turns", "trace", "model",
         "finished_at", "lease_until", "usage")  # fmt: skip
"""Columns that are written when an answer ends."""


async def answer(app: App, tenant_id: UUID, message_id: UUID) -> None:
    """Write the answer to a pending message, unless somebody else does or did."""
    try:
        run = await claim(app, tenant_id, message_id)
    except AppError as error:
        await abandon(app, tenant_id, message_id, error.code, error.title, error.detail)
        return
    if run is None:
        return
    if (writer := await _writer(app, run)) is None:
        return
    running = app.part(Running)
    writing = asyncio.create_task(write(app, run, writer))
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
        except Waits as waits:
            renewing.cancel()
            await asyncio.shield(_wait(app, run, writer, waits))
            return
        except Lost:
            log.warning("answer.lost", message_id=str(message_id))
            return
        except Exception as failure:  # noqa: BLE001 - each is told, and the unknown ones are logged
            status, error = _end(run, failure)
        finally:
            renewing.cancel()
        await asyncio.shield(_finish(app, run, writer, status, error))


def _end(run: Run, why: Exception) -> tuple[str, dict[str, Any] | None]:
    """The status and the error of an answer that could not be completed."""
    match why:
        case Enough():
            run.trace["finish"] = "too-long"
            return "stopped", None
        case Unanswered():
            return "failed", _failure(why.code, why.detail, retryable=why.retryable)
        case TimeoutError():
            return "failed", _failure("answer-too-long", "The answer took too long", retryable=True)
        case ProviderError():
            return "failed", _failure(why.code, str(why), retryable=why.retryable)
        case AppError():
            return "failed", _failure(why.code, why.detail, retryable=isinstance(why, NotAvailable))
        case _:
            log.error("answer.crashed", message_id=str(run.message.id), exc_info=why)
            return "failed", _failure("internal-error", "this is our mistake; it is in the log", retryable=True)


async def _writer(app: App, run: Run) -> StreamWriter | None:
    """Of the answer's stream. None if another worker has said more than it stored, which ends the answer with that."""
    stream, least = str(run.message.id), run.message.stream_at
    if not run.taken_over:
        writer = await app.streams.writer(stream, least=least)
        begun = writer.last > 0
    else:
        # First nobody else may say anything any more, then we look at what was said.
        writer = await app.streams.take_over(stream, least=least)
        seen = await heard(app, run.message.id)
        if seen.beyond(run.message):
            detail = "the service stopped while it answered: ask again"
            await abandon(app, run.message.tenant_id, run.message.id, "interrupted", UNFINISHED, detail)
            return None
        begun = seen.begun
    if not begun and not run.message.stream_at:
        # Whoever asked died before it could open the stream, or Redis lost it.
        for event, data in opening(run.message):
            writer.write(event, data)
    return writer


def _failure(code: str, detail: str, *, retryable: bool) -> dict[str, Any]:
    return {"code": code, "title": UNFINISHED, "detail": detail, "retryable": retryable}


async def _renew(app: App, run: Run) -> None:
    """Keep the lease, and see a request to stop whose message was lost."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        values: dict[str, Any] = {"lease_until": datetime.now(UTC) + LEASE}
        if run.size > run.safe:
            # What was said so far survives even a kill.
            values |= {"status": "streaming", **run.said()}
        renewal = update(Message).where(*run.mine).values(**values).returning(Message.stop_requested)
        try:
            async with app.begin(run.principal) as work:
                stop = await work.session.scalar(renewal)
        except (DBAPIError, OSError) as error:
            # The lease holds for some more tries: a database that is away for a moment ends no answer.
            log.warning("answer.not_renewed", message_id=str(run.message.id), error=repr(error))
            continue
        if stop is not False:  # asked to, or the message is gone or was ended by the sweep
            app.part(Running).stop(run.message.id)


def _finishing() -> ReturningUpdate[Any]:
    c = cast("Table", Message.__table__).c
    mine = c.id == bindparam("message"), c.claim == bindparam("held"), c.status.in_(("pending", "streaming"))
    values = {name: bindparam(f"new_{name}", type_=c[name].type) for name in ENDED}
    return update(c.id.table).where(*mine).values(**values).returning(c.id)


FINISH = _finishing()
"""Built once, since every answer ends with it: `Run.mine`, and what becomes of it."""


async def _finish(app: App, run: Run, writer: StreamWriter, status: str, error: dict[str, Any] | None) -> None:
    message, usage = run.message, run.usage
    fields: dict[str, Any] = {
        "status": status,
        "error": error,
        "content": "".join(run.text),
        "reasoning": "".join(run.reasoning),
        "citations": run.citations,
        "sentences": run.sentences,
        "passages": run.references(),
        "turns": msgspec.to_builtins(run.turns),
        "trace": run.trace,
        "model": message.model,
        "finished_at": datetime.now(UTC),
        "lease_until": None,
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens} if usage else None,
    }
    async with app.begin(run.principal) as work:
        given = {f"new_{name}": value for name, value in fields.items()}
        stored = await work.session.execute(FINISH, {"message": message.id, "held": message.claim, **given})
        if stored.first() is None:
            if await work.session.scalar(select(Message.id).where(Message.id == message.id)) is not None:
                log.warning("answer.lost", message_id=str(message.id))  # another worker has it, or the sweep ended it
                return
            detail = "the conversation was deleted while it was answered"
            work.after_commit(lambda: _say_gone(writer, _failure("message-deleted", detail, retryable=False)))
            return
        if run.turns:
            await work.session.execute(LEFT_OPEN, {"message": message.id, "now": fields["finished_at"]})
        await issue(work, app.keyring, run, fields)
        work.record(
            f"message.{status}" if status != "complete" else "message.completed",
            "message",
            message.id,
            user_id=run.user_id,
            data={"conversation_id": str(message.conversation_id), "model": message.model, "usage": fields["usage"]},
        )
        if run.untitled and status == "complete":
            naming = {"tenant_id": message.tenant_id, "message_id": message.id}
            work.enqueue(TASKS["conversations.title"], delay=TITLE_SECONDS, **naming)
    for name, value in fields.items():
        setattr(message, name, value)
    writer.write(*ending(message))
    await writer.flush()


async def _say_gone(writer: StreamWriter, error: dict[str, Any]) -> None:
    writer.write("message.failed", error)
    await writer.flush()


async def _wait(app: App, run: Run, writer: StreamWriter, waits: Waits) -> None:
    """Let go of an answer that needs its asker's word; whoever hears it goes on, in this process or another."""
    await writer.flush()
    at, now = writer.last + len(waits.requested), datetime.now(UTC)
    run.trace["shown"] = run.size
    values = {"status": "waiting_for_approval", "lease_until": None, "stream_at": at, "turned_at": now, **run.kept()}
    waiting = update(Message).where(*run.mine, Message.stop_requested.is_(False)).values(**values)
    async with app.begin(run.principal) as work:
        waits_now = await work.session.scalar(waiting.returning(Message.id)) is not None
        if waits_now:
            told = {"conversation_id": str(run.message.conversation_id)}
            work.record("message.waiting", "message", run.message.id, user_id=run.user_id, data=told)
    if not waits_now:
        # Somebody stopped it at this moment; or it is not ours any more, which `_finish` sees.
        await _finish(app, run, writer, "stopped", None)
        return
    # Only now can a decision be taken.
    for requested in waits.requested:
        writer.write("approval.requested", requested)
    await writer.flush()


async def _leave(app: App, run: Run, writer: StreamWriter) -> None:
    """The worker goes down: give an unsaid answer back, end a begun one with its text."""
    if run.size > run.safe:
        error = _failure("interrupted", "the service was restarted while it answered: ask again", retryable=True)
        await _finish(app, run, writer, "failed", error)
        return
    async with app.begin(run.principal) as work:
        await work.session.execute(update(Message).where(*run.mine).values(lease_until=None))


async def abandon(app: App, tenant_id: UUID, message_id: UUID, code: str, title: str, detail: str) -> None:
    """End an answer that nobody writes any more as failed, with its text kept, and tell its readers."""
    seen = await heard(app, message_id)
    async with app.begin(Principal.system(tenant_id)) as work:
        message = await work.session.get(Message, message_id, with_for_update=True)
        if message is None or message.status not in ("pending", "streaming"):
            return
        message.status, message.finished_at, message.lease_until = "failed", datetime.now(UTC), None
        if message.turns:
            await work.session.execute(LEFT_OPEN, {"message": message.id, "now": message.finished_at})
        message.error = {"code": code, "title": title, "detail": detail, "retryable": True}
        seen.restore(message)
        owner = await owner_of(work, message.conversation_id)
        if owner is not None:
            await issue_later(work, app.keyring, message, owner, broken=True)
        put_away(message)
        work.record("message.failed", "message", message.id, user_id=owner, data={"code": code})
    writer = await app.streams.writer(str(message_id))
    writer.write(*ending(message))
    await writer.flush()
