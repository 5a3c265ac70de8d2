"""One branch of a conversation's tree: a message and all above it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, literal, select

from folkmoot.conversations.models import Message

DEEPEST = 20_000
"""Messages of one branch that are looked at."""


def branch_ids(conversation_id: Any, message_id: Any) -> Select[UUID]:
    """The ids of a message and of all above it, as a sub-query."""
    above = select(Message.id, Message.parent_id, literal(1).label("depth"))
    above = above.where(Message.id == message_id, Message.conversation_id == conversation_id)
    above = above.cte("branch", recursive=True)
    more = select(Message.id, Message.parent_id, above.c.depth + 1).join(above, Message.id == above.c.parent_id)
    above = above.union_all(more.where(above.c.depth < DEEPEST))
    return select(above.c.id)
