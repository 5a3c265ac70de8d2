"""A person changes the text of an answer: what the assistant wrote is kept, and a further receipt tells of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from folkmoot.conversations.citations.cite import MARKER
from folkmoot.conversations.models import Message
from folkmoot.conversations.prompting.summary import forget
from folkmoot.conversations.receipts.issue import add_edit
from folkmoot.conversations.service import OPEN, ConversationService
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import BadRequest, Conflict
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Work

MOST = 200
"""Edits of one answer, each of which keeps the text before it."""


async def edit(work: Work, keyring: Keyring, streams: Streams, message_id: UUID, content: str) -> Message:
    """Put `content` in the place of an answer's text. Later questions go on from it.

    What was checked of the sentences is forgotten, since it was checked of others. A citation stays while its marker
    does, and counts as unchecked. Raises `BadRequest` for a question, and `Conflict` while the answer is written.
    """
    message = await ConversationService(work).message(message_id, lock=True)
    if message.role != "assistant":
        raise BadRequest("this message is a question: ask it anew instead of editing it")
    if message.status in OPEN:
        raise Conflict("the answer is still being written: wait for it, or stop it", code="answer-in-progress")
    if content == message.content:
        return message
    if len(message.edits) >= MOST:
        raise Conflict(f"this answer was edited {MOST} times, which is the most", code="too-many-edits")
    before, now = message.content, datetime.now(UTC)
    made = {"at": now.isoformat(), "by": str(work.principal.user), "before": before}
    message.content, message.edits = content, [*message.edits, made]
    message.sentences, message.citations = [], _still_cited(message.citations, content)
    await forget(work, message.conversation_id)
    work.record("message.edited", "message", message.id, user_id=work.principal.user)
    # Whoever reads the answer again reads it from the row, as it stands now.
    work.after_commit(lambda: streams.forget([str(message_id)]))
    await add_edit(work, keyring, message, work.principal.user, before)
    return message


def _still_cited(citations: list[dict[str, Any]], content: str) -> list[dict[str, Any]]:
    left = {int(found) for found in MARKER.findall(content)}
    return [{k: v for k, v in item.items() if k != "support"} for item in citations if item["n"] in left]
