"""What a person thinks of an answer. The organisation hears the rating and its reason, and nobody the comment."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from sqlalchemy import null

from folkmoot.conversations.models import Message
from folkmoot.conversations.schemas import Rate
from folkmoot.conversations.service import OPEN, ConversationService
from folkmoot.kit.errors import BadRequest, Conflict
from folkmoot.kit.work import Work


async def rate(work: Work, message_id: UUID, data: Rate) -> Message:
    """Keep the rating of an answer, in the place of an earlier one.

    Raises `BadRequest` for a question, and `Conflict` (`answer-in-progress`) while the answer is written.
    """
    message = await ConversationService(work).message(message_id, lock=True)
    if message.role != "assistant":
        raise BadRequest("this message is a question: only answers are rated")
    if message.status in OPEN:
        raise Conflict("the answer is still being written: rate it when it is there", code="answer-in-progress")
    reason, at = data.reason or "", datetime.now(UTC)
    message.feedback = {
        "rating": data.rating,
        "reason": reason,
        "comment": data.comment.strip(),
        "at": msgspec.to_builtins(at),
    }
    told = {"rating": data.rating, "reason": reason}
    work.record("message.rated", "message", message.id, user_id=work.principal.user, data=told)
    return message


async def unrate(work: Work, message_id: UUID) -> None:
    """Take a rating back. Nothing happens if there is none."""
    message = await ConversationService(work).message(message_id, lock=True)
    if message.feedback is not None:
        # `None` would be stored as a JSON null.
        message.feedback = null()  # type: ignore[assignment]
        work.record("message.unrated", "message", message.id, user_id=work.principal.user)
