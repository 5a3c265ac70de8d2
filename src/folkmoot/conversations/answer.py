"""Turning one question into one streamed answer.

Nothing here holds a database connection while the model talks: a slow model would otherwise drain the pool.
Reads and writes are short transactions of their own. However it ends (done, stopped, failed, waiting for its asker, the
worker told to go), a shielded write keeps the text so far, and only then does the stream say so.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import ProviderError
from sqlalchemy import select, update

from folkmoot.conversations.calls import Waits
from folkmoot.conversations.claim import LEASE, claim
from folkmoot.conversations.events import ending
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.run import Run, Running
from folkmoot.conversations.write import write
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError, NotAvailable
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import StreamWriter

log = get_logger(__name__)

RENEW_SECONDS = 3.0


async def answer(app: App, tenant_id: UUID, message_id: UUID) -> None:
    """Write the answer to a pending message, unless somebody else does or did."""
    try:
        run = await claim(app, tenant_id, message_id)
    except AppError as error:
        await abandon(app, tenant_id, message_id, error.code, error.title, error.detail)
        return
    if run is None:
        return
    writer = await app.streams.writer(str(message_id), least=run.message.stream_at)
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


async def _wait(app: App, run: Run, writer: StreamWriter, waits: Waits) -> None:
    """Let go of an answer that needs its asker's word; whoever hears it goes on, in this process or another."""
    await writer.flush()
    async with app.begin(run.principal) as work:
        at = writer.last + len(waits.requested)
        values = {"status": "waiting_for_approval", "lease_until": None, "stream_at": at, **run.kept()}
        await work.session.execute(
            update(Message)
            .where(Message.id == run.message.id, Message.status.in_(("pending", "streaming")))
            .values(**values)
        )
        told = {"conversation_id": str(run.message.conversation_id)}
        work.record("message.waiting", "message", run.message.id, user_id=run.user_id, data=told)
    # Only now can a decision be taken.
    for requested in waits.requested:
        writer.write("approval.requested", requested)
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
