"""Messages as a long list shows them: what is stored as JSON goes out as it stands, without being taken apart first."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Text, bindparam, cast, select

from folkmoot.conversations.branch import branch_ids
from folkmoot.conversations.models import Message
from folkmoot.conversations.service import ConversationService
from folkmoot.kit.errors import NotFound
from folkmoot.kit.paging import decode_cursor, encode_cursor
from folkmoot.kit.structs import Struct
from folkmoot.kit.work import Work

EMPTY, NULL = msgspec.Raw(b"[]"), msgspec.Raw(b"null")


class Shown(Struct, frozen=True, kw_only=True):
    """`MessageOut`, with the same fields."""

    id: UUID
    conversation_id: UUID
    parent_id: UUID | None
    role: str
    content: str
    reasoning: str
    status: str
    file_ids: msgspec.Raw
    continues_id: UUID | None
    citations: msgspec.Raw
    sentences: msgspec.Raw
    left_out: msgspec.Raw
    feedback: msgspec.Raw
    usage: msgspec.Raw
    model: msgspec.Raw
    assistant_version_id: UUID | None
    error: msgspec.Raw
    finish_reason: str | None
    created_at: datetime
    finished_at: datetime | None
    edited_at: datetime | None
    original: str | None


def _json(column: Any) -> Any:
    return cast(column, Text)


_ROWS: Any = (
    select(
        Message.id,
        Message.conversation_id,
        Message.parent_id,
        Message.role,
        Message.content,
        Message.reasoning,
        Message.status,
        _json(Message.file_ids).label("file_ids"),
        Message.continues_id,
        _json(Message.citations).label("citations"),
        _json(Message.sentences).label("sentences"),
        _json(Message.trace["left_out"]).label("left_out"),
        _json(Message.feedback).label("feedback"),
        _json(Message.usage).label("usage"),
        _json(Message.model).label("model"),
        Message.assistant_version_id,
        _json(Message.error).label("error"),
        Message.trace["finish"].astext.label("finish"),
        Message.created_at,
        Message.finished_at,
        Message.edits[-1]["at"].astext.label("edited_at"),
        Message.edits[0]["before"].astext.label("original"),
    )
    .where(Message.conversation_id == bindparam("conversation"))
    .order_by(Message.id)
    .limit(bindparam("most"))
)
_AFTER = Message.id > bindparam("last")
_ON_BRANCH = Message.id.in_(branch_ids(bindparam("conversation"), bindparam("leaf")))
_QUERIES: dict[tuple[bool, bool], Any] = {
    (False, False): _ROWS,
    (False, True): _ROWS.where(_AFTER),
    (True, False): _ROWS.where(_ON_BRANCH),
    (True, True): _ROWS.where(_ON_BRANCH, _AFTER),
}
"""By whether it is of one branch, and goes on after a cursor."""
_THERE = select(Message.id).where(Message.id == bindparam("leaf"), Message.conversation_id == bindparam("conversation"))


async def shown(
    work: Work, conversation_id: UUID, limit: int, cursor: str | None, branch: UUID | None
) -> tuple[list[Shown], str | None]:
    """The messages of a conversation of the caller, or those from its beginning to the message `branch`, oldest first.

    Raises `NotFound`, and `BadRequest` for a foreign cursor.
    """
    await ConversationService(work).get(conversation_id)
    given: dict[str, Any] = {"conversation": conversation_id, "most": limit + 1}
    if branch is not None:
        given["leaf"] = branch
        if await work.session.scalar(_THERE, given) is None:
            raise NotFound("`branch` names no message of this conversation")
    if cursor is not None:
        given["last"] = decode_cursor(cursor)
    rows = (await work.session.execute(_QUERIES[branch is not None, cursor is not None], given)).all()
    more, rows = len(rows) > limit, rows[:limit]
    return [_shown(row) for row in rows], encode_cursor(rows[-1].id) if more else None


def _shown(row: Any) -> Shown:
    return Shown(
        id=row.id,
        conversation_id=row.conversation_id,
        parent_id=row.parent_id,
        role=row.role,
        content=row.content,
        reasoning=row.reasoning,
        status=row.status,
        file_ids=_raw(row.file_ids, EMPTY),
        continues_id=row.continues_id,
        citations=_raw(row.citations, EMPTY),
        sentences=_raw(row.sentences, EMPTY),
        left_out=_raw(row.left_out, EMPTY),
        feedback=_raw(row.feedback, NULL),
        usage=_raw(row.usage, NULL),
        model=_raw(row.model, NULL),
        assistant_version_id=row.assistant_version_id,
        error=_raw(row.error, NULL),
        finish_reason=row.finish if row.finished_at is not None else None,
        created_at=row.created_at,
        finished_at=row.finished_at,
        edited_at=datetime.fromisoformat(row.edited_at) if row.edited_at is not None else None,
        original=row.original,
    )


def _raw(text: str | None, without: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(text) if text is not None else without
