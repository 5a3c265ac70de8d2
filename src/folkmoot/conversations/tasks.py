"""What the worker does for conversations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import uniform
from uuid import UUID

from sqlalchemy import and_, func, or_, select

from folkmoot.conversations import title
from folkmoot.conversations.answering.answer import UNFINISHED, abandon, answer
from folkmoot.conversations.answering.run import Running
from folkmoot.conversations.models import Message
from folkmoot.conversations.service import resume
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task

FEW = 16
"""Answers under way beside which conversations are named: people wait for answers, and nobody for a title."""
WAIT_SECONDS = (1.0, 3.0)
MOST_WAITS = 30
UNHEARD_PATIENCE = timedelta(seconds=10)
GIVE_UP = timedelta(minutes=10)
BEGAN = func.coalesce(Message.turned_at, Message.created_at)
"""Since when an answer waits for a worker, or for its asker."""


@task("conversations.answer", lane="chat", attempts=3)
async def answer_message(app: App, *, tenant_id: str, message_id: str) -> None:
    """Answer one question."""
    await answer(app, UUID(tenant_id), UUID(message_id))


@task("conversations.title", lane="maintenance", attempts=2)
async def name_conversation(app: App, *, tenant_id: str, message_id: str, waited: int = 0) -> None:
    """Name the conversation that begins with this answer, once this worker has not its hands full with answers."""
    if len(app.part(Running)) > FEW and waited < MOST_WAITS:
        payload = {"tenant_id": tenant_id, "message_id": message_id, "waited": waited + 1}
        await app.sessions.jobs.send(name_conversation, payload, delay=uniform(*WAIT_SECONDS))
        return
    await title.name(app, UUID(tenant_id), UUID(message_id))


@sweep
async def find_left_answers(app: App, tenant_id: UUID) -> None:
    """Answers whose worker died: those that said nothing yet are asked again, begun ones end with their text."""
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        rows = await work.session.execute(
            select(Message.id, Message.status, BEGAN)
            .where(
                Message.role == "assistant",
                or_(
                    and_(
                        Message.status == "pending",
                        or_(
                            and_(Message.lease_until.is_(None), now - UNHEARD_PATIENCE > BEGAN),
                            Message.lease_until < now,
                        ),
                    ),
                    and_(Message.status == "streaming", Message.lease_until < now),
                ),
            )
            .limit(1000)
        )
        lost: list[UUID] = []
        for message_id, status, began in rows:
            if status == "pending" and began > now - GIVE_UP:
                work.enqueue(answer_message, tenant_id=tenant_id, message_id=message_id)
            else:
                lost.append(message_id)
    for message_id in lost:
        await abandon(
            app,
            tenant_id,
            message_id,
            "interrupted",
            UNFINISHED,
            "the service stopped while it answered: ask again",
        )


@sweep
async def end_old_approvals(app: App, tenant_id: UUID) -> None:
    """Answers that waited for their asker for too long end as stopped, with their text."""
    waiting = (
        select(Message)
        .where(
            Message.status == "waiting_for_approval",
            Message.turned_at < datetime.now(UTC) - timedelta(hours=app.settings.approval_hours),
        )
        .limit(1000)
        .with_for_update(skip_locked=True)
    )
    async with app.begin(Principal.system(tenant_id)) as work:
        for message in await work.session.scalars(waiting):
            message.stop_requested = True
            message.trace = message.trace | {"stopped": "approval-expired"}
            resume(work, message)
