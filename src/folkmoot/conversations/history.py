"""Searching in one's own conversations: their titles, and what was asked and answered in them.

Other people's rows are never looked at, however many there are: under row-level security PostgreSQL cannot ask a
full-text index (`@@` is not leakproof), so it goes by the person's conversations to their messages, and the words of
each message stand beside it, counted once.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, bindparam, cast, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import TSQUERY, distinct_on

from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.schemas import ConversationOut
from folkmoot.kit.errors import BadRequest
from folkmoot.kit.paging import decode_cursor, encode_cursor
from folkmoot.kit.structs import Struct
from folkmoot.kit.work import Work

BEGIN, END = "\x01", "\x02"
"""Around what was found, on the way from the database; text that people write has neither."""
SNIPPET = f"StartSel={BEGIN},StopSel={END},MaxWords=30,MinWords=12,MaxFragments=1,HighlightAll=false"
SEARCHED = 100_000
"""Characters of a message that are searched."""
SIMPLE: ColumnElement[Any] = literal_column("'simple'::regconfig")


class Mark(Struct, frozen=True, kw_only=True):
    start: int
    """Offset in the stretch of text."""
    end: int


class FoundOut(Struct, frozen=True, kw_only=True):
    """A conversation in which the words stand."""

    conversation: ConversationOut
    message_id: UUID | None
    """The newest message that has them; null if only the title has."""
    role: str | None
    text: str
    """A stretch around them, of the message or the title. Plain text: whoever shows it as HTML escapes it."""
    marks: list[Mark]
    """Where in it they stand."""


def _wanted() -> ColumnElement[Any]:
    """What people type, each word as the beginning of one: "fence" finds "fences", and "Zaun" the "Zaunhöhe"."""
    said = cast(func.websearch_to_tsquery(SIMPLE, bindparam("said")), Text)
    begun = func.regexp_replace(said, literal_column("$$'((?:[^']|'')*)'$$"), literal_column("$$'\\1':*$$"), "g")
    return cast(begun, TSQUERY)


def _has(words: Any) -> ColumnElement[bool]:
    return words.bool_op("@@")(_wanted())


def _headline(text: Any) -> ColumnElement[str]:
    plain = func.translate(func.left(text, SEARCHED), f"{BEGIN}{END}", "")
    return func.ts_headline(SIMPLE, plain, _wanted(), SNIPPET)


_MINE = (Conversation.user_id == bindparam("user"), Conversation.origin == "app")
_HITS = (
    select(Message.conversation_id, Message.id)
    .join(Conversation, Conversation.id == Message.conversation_id)
    .where(*_MINE, _has(Message.words))
    .ext(distinct_on(Message.conversation_id))
    .order_by(Message.conversation_id, Message.id.desc())
    .subquery()
)
_PLACE = func.coalesce(_HITS.c.id, Conversation.id)
FIND = (
    select(Conversation, _HITS.c.id)
    .outerjoin(_HITS, _HITS.c.conversation_id == Conversation.id)
    .where(*_MINE, or_(_HITS.c.id.is_not(None), _has(func.to_tsvector(SIMPLE, Conversation.title))))
    .order_by(_PLACE.desc())
    .limit(bindparam("most"))
)
OLDER = FIND.where(_PLACE.op("<")(bindparam("last")))
IN_MESSAGES = select(Message.id, Message.role, _headline(Message.content)).where(
    Message.id.in_(bindparam("ids", expanding=True))
)
IN_TITLES = select(Conversation.id, _headline(Conversation.title)).where(
    Conversation.id.in_(bindparam("ids", expanding=True))
)


async def search(work: Work, said: str, limit: int, cursor: str | None) -> tuple[list[FoundOut], str | None]:
    """The caller's conversations that have all the words, those where they were said last first.

    Understands "quoted phrases", `or`, and `-` before a word that must not be there; whatever else is typed is looked
    for. Raises `BadRequest` for a foreign cursor and for text that cannot be stored, so that nothing has it.
    """
    if "\x00" in said:
        raise BadRequest("`q` has a character that text may not have (NUL)")
    given: dict[str, Any] = {"user": work.principal.user, "said": said, "most": limit + 1}
    query = FIND
    if cursor is not None:
        query, given["last"] = OLDER, decode_cursor(cursor)
    rows = (await work.session.execute(query, given)).all()
    more, rows = len(rows) > limit, rows[:limit]
    by_message: dict[UUID, tuple[str, str]] = {}
    by_title: dict[UUID, str] = {}
    if messages := [message_id for _, message_id in rows if message_id is not None]:
        found = await work.session.execute(IN_MESSAGES, {"said": said, "ids": messages})
        by_message = {message_id: (role, text) for message_id, role, text in found}
    if titles := [row.id for row, message_id in rows if message_id is None]:
        found = await work.session.execute(IN_TITLES, {"said": said, "ids": titles})
        by_title = dict(found.all())
    items: list[FoundOut] = []
    for row, message_id in rows:
        role, text = by_message[message_id] if message_id is not None else (None, by_title[row.id])
        text, marks = marked(text)
        out = ConversationOut.of(row)
        items.append(FoundOut(conversation=out, message_id=message_id, role=role, text=text, marks=marks))
    last = (rows[-1][1] or rows[-1][0].id) if more else None
    return items, encode_cursor(last) if last is not None else None


def marked(text: str) -> tuple[str, list[Mark]]:
    """The text without the marks that the database set, and where they stood."""
    plain, marks, size = list[str](), list[Mark](), 0
    for number, part in enumerate(text.split(BEGIN)):
        inside, _, rest = part.partition(END) if number else ("", "", part)
        if inside:
            marks.append(Mark(start=size, end=size + len(inside)))
        plain += (inside, rest)
        size += len(inside) + len(rest)
    return "".join(plain), marks
