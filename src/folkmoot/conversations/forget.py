"""What else goes when a conversation goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, or_, select

from folkmoot.conversations.models import Attachment, Conversation, Message
from folkmoot.kit.jobs import TASKS
from folkmoot.kit.stream import KEEP_SECONDS, Streams
from folkmoot.kit.work import Work
from folkmoot.knowledge.documents import FILES
from folkmoot.knowledge.models import Collection, Document

GONE = {
    "code": "message-deleted",
    "title": "The answer could not be finished",
    "detail": "the conversation was deleted while it was answered",
    "retryable": False,
}


async def forget_files(work: Work, conversation: Conversation) -> None:
    """Delete what was attached to a conversation that is about to be deleted; its files go after the commit."""
    files = select(Attachment.file_id).where(
        Attachment.conversation_id == conversation.id, Attachment.file_id.is_not(None)
    )
    file_ids = list(await work.session.scalars(files))
    if conversation.collection_id is not None:
        inside = select(Document.file_id).where(Document.collection_id == conversation.collection_id)
        file_ids += list(await work.session.scalars(inside))
        await work.session.execute(delete(Collection).where(Collection.id == conversation.collection_id))
    for start in range(0, len(file_ids), FILES):
        work.enqueue(
            TASKS["knowledge.remove_files"], tenant_id=conversation.tenant_id, file_ids=file_ids[start : start + FILES]
        )


async def forget_streams(work: Work, conversation: Conversation, streams: Streams) -> list[UUID]:
    """After the commit, nobody reads in the streams of its answers any more. Returns the answers that are under way."""
    since = datetime.now(UTC) - timedelta(seconds=KEEP_SECONDS)
    kept = select(Message.id, Message.finished_at).where(
        Message.conversation_id == conversation.id,
        Message.role == "assistant",
        or_(Message.finished_at.is_(None), Message.finished_at > since),
    )
    rows = (await work.session.execute(kept)).all()
    ended = [str(row.id) for row in rows if row.finished_at is not None]
    under_way = [row.id for row in rows if row.finished_at is None]

    async def forget() -> None:
        await streams.forget(ended)
        for message_id in under_way:
            await streams.end(str(message_id), "message.failed", GONE)

    work.after_commit(forget)
    return under_way
