"""What an API key may spend on answers in a month.

Counted are the tokens of answers in conversations that the key began, it and those that rotation made of it.
So a key with a limit asks only in conversations of its own and deletes none: elsewhere it would not be
counted. Answers under way when the limit is reached are finished.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Uuid, any_, bindparam, case, func, select

from folkmoot.conversations.models import Conversation, Message
from folkmoot.keys.models import ApiKey
from folkmoot.keys.rotate import family_of
from folkmoot.kit.errors import Forbidden, TooManyRequests
from folkmoot.kit.work import Work

_FAMILY = family_of(bindparam("key"))
# One conversation at a time, and the keys as an array: so each is found by its index, whatever the planner guesses.
_IN_ONE = (
    select(
        func.sum(
            func.coalesce(Message.usage["input_tokens"].astext.cast(BigInteger), 0)
            + func.coalesce(Message.usage["output_tokens"].astext.cast(BigInteger), 0)
        )
    )
    .where(
        Message.conversation_id == Conversation.id,
        Message.created_at >= bindparam("month"),
        Message.role == "assistant",
    )
    .correlate(Conversation)
    .scalar_subquery()
)
_USED = (
    select(func.coalesce(func.sum(_IN_ONE), 0))
    .where(
        Conversation.key_id == any_(func.array(_FAMILY.scalar_subquery(), type_=ARRAY(Uuid()))),
        # Every question touches its conversation: what was not touched has nothing of this month.
        Conversation.updated_at >= bindparam("month"),
    )
    .scalar_subquery()
)
SPENT = select(
    ApiKey.tokens_per_month,
    case((ApiKey.tokens_per_month.is_(None), 0), else_=_USED),
    bindparam("began_by", type_=ApiKey.id.type).in_(_FAMILY),
).where(ApiKey.id == bindparam("key"))
"""One statement; a key without a limit sums nothing."""


async def check_spending(work: Work, conversation: Conversation) -> None:
    """Raise `TooManyRequests` (`spending-limit-reached`) if the caller is a key that has spent its month."""
    if (key_id := work.principal.key_id) is None:
        return
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    asked = {"key": key_id, "month": month, "began_by": conversation.key_id}
    row = (await work.session.execute(SPENT, asked)).first()
    if row is None or row[0] is None:
        return
    limit, spent, own = row
    if not own:
        raise Forbidden(
            "this API key has a spending limit, so it can ask only in conversations that it began: begin one",
            code="key-not-allowed",
        )
    if spent >= limit:
        raise TooManyRequests(
            f"this API key has spent {spent} of its {limit} tokens of this month: its owner can raise the limit",
            (_next(month) - datetime.now(UTC)).total_seconds(),
            code="spending-limit-reached",
        )


async def check_may_delete(work: Work) -> None:
    """Raise `Forbidden` for a key with a spending limit: with the conversation, its count would go."""
    key_id: UUID | None = work.principal.key_id
    if key_id is None:
        return
    limit = await work.session.scalar(select(ApiKey.tokens_per_month).where(ApiKey.id == key_id))
    if limit is not None:
        raise Forbidden(
            "this API key has a spending limit, so it cannot delete conversations: its owner can",
            code="key-not-allowed",
        )


def _next(month: datetime) -> datetime:
    return (month + timedelta(days=32)).replace(day=1)
