"""What guards the text of a conversation: the classes of all spaces that it may have come from.

An assistant may look elsewhere tomorrow than today, and what it found stays in the answers that it gave. They go along
with the next question, so every collection that a conversation ever drew from counts for as long as it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, and_, any_, bindparam, func, or_, select, true
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from folkmoot.conversations.models import Message
from folkmoot.kit.access import SpaceKind
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Collection
from folkmoot.spaces.models import Space

_Said = aliased(Message)
_Common = aliased(Space)


def drawn_from(conversation_id: Any) -> Select[UUID]:
    """The ids of the spaces that a conversation drew from, as a sub-query; `conversation_id` may be a column.

    Of a collection that was deleted nobody knows any more where it lay: in the assistant's own space, which counts
    anyway, or in the organisation's, which then counts too.
    """
    used = func.jsonb_array_elements_text(_Said.collection_ids).table_valued("value", name="used")
    return (
        select(func.coalesce(Collection.space_id, _Common.id))
        .select_from(_Said)
        .join(used, true())
        .outerjoin(Collection, Collection.id == sql_cast(used.c.value, Uuid()))
        .outerjoin(_Common, and_(_Common.tenant_id == _Said.tenant_id, _Common.kind == SpaceKind.ORGANISATION))
        .where(_Said.conversation_id == conversation_id)
    )


def guards(space_id: Any, conversation_id: Any) -> ColumnElement[bool]:
    """Of `Space`: whether text of it may go along, in a conversation with an assistant of the space `space_id`."""
    return or_(Space.id == space_id, Space.id.in_(drawn_from(conversation_id)))


_ASKED = select(Collection.space_id).where(Collection.id == any_(bindparam("collections", type_=ARRAY(Uuid()))))
CLASSES = (
    select(Space.data_class_id)
    .where(or_(guards(bindparam("space"), bindparam("conversation")), Space.id.in_(_ASKED)))
    .distinct()
)
"""Built once, since every question asks it."""


async def classes_in(
    work: Work, conversation_id: UUID, space_id: UUID, collection_ids: Sequence[UUID] = ()
) -> list[UUID | None]:
    """The data classes that bind the next answer, which looks into these collections too; None: none of its own."""
    given = {"conversation": conversation_id, "space": space_id, "collections": list(collection_ids)}
    return list(await work.session.scalars(CLASSES, given))
