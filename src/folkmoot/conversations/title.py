"""Naming a conversation after its first answer, by a cheap model that may see it.

Without one, or with nothing spent on it any more, it goes on being called by how its first question begins.
"""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import aliased

from folkmoot.ai.catalogue import Catalogue
from folkmoot.assistants.models import Assistant
from folkmoot.conversations.aside import aside
from folkmoot.conversations.guarded import classes_in
from folkmoot.conversations.models import Conversation, Message
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.usage.ledger import Account

TASK = """\
Write a title for the conversation below: three to seven words that say what it is about, in the language of the \
question. Write the title alone, without quotation marks and without a full stop."""
GIVEN = 1_500
"""Characters of the question, and of the answer, that the model is given."""
TOKENS = 40
SECONDS = 20.0
LONGEST = 80
MOST_WORDS = 12
"""More are no title but an answer."""
_Question = aliased(Message)
UNTITLED = (
    select(Conversation, Message, Assistant.space_id, _Question.content)
    .join(Message, Message.conversation_id == Conversation.id)
    .join(_Question, _Question.id == Message.parent_id)
    .join(Assistant, Assistant.id == Conversation.assistant_id)
    .where(Message.id == bindparam("answer"), Conversation.titled_by == "", Conversation.origin == "app")
)
_MARKUP = re.compile(r"^(?:[#>*\-–•\s]|\d+[.)]\s)+|[*_`#]{1,3}")
_LABEL = re.compile(r"^(?:title|titel|rubrik|titre|título|otsikko|überschrift)\s*[:：]\s*", re.IGNORECASE)
_QUOTES = "\"'“”„‟«»‹›‘’‚「」『』"
_ENDS = " .。,;:…" + _QUOTES


async def name(app: App, tenant_id: UUID, answer_id: UUID) -> None:
    """Name the conversation that begins with this answer, unless somebody has."""
    who = Principal.system(tenant_id)
    async with app.begin(who) as work:
        row = (await work.session.execute(UNTITLED, {"answer": answer_id})).first()
        if row is None:
            return
        conversation, answer, space_id, asked = row
        class_ids = await classes_in(work, conversation.id, space_id)
    models = await app.part(Catalogue).of(tenant_id, classes=class_ids)
    try:
        levels = models.text_of(class_ids)
    except AppError:
        return
    account = Account(
        tenant_id=tenant_id,
        purpose="title",
        user_id=conversation.user_id,
        key_id=answer.key_id,
        space_id=space_id,
        assistant_id=conversation.assistant_id,
        message_id=answer.id,
    )
    given = f"Question:\n{asked[:GIVEN]}\n\nAnswer:\n{answer.content[:GIVEN]}"
    written = await aside(app, models, levels, account, TASK, given, tokens=TOKENS, seconds=SECONDS)
    title = cleaned(written.text) if written is not None else ""
    if not title:
        return
    async with app.begin(who) as work:
        # Naming it is no activity, so it keeps its place in the list.
        values = {"title": title, "titled_by": "model", "updated_at": Conversation.updated_at}
        named = update(Conversation).where(Conversation.id == conversation.id, Conversation.titled_by == "")
        named = named.values(**values).returning(Conversation.id).execution_options(synchronize_session=False)
        if (await work.session.execute(named)).first() is not None:
            work.record("conversation.titled", "conversation", conversation.id, user_id=conversation.user_id)


def cleaned(text: str) -> str:
    """What a model wrote, as a title; empty if it is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    line = _LABEL.sub("", _MARKUP.sub("", lines[0]).strip(_QUOTES + " "))
    line = "".join(char for char in line if unicodedata.category(char)[0] != "C" or char == "\t")
    words = line.strip(_ENDS).split()
    if not words or len(words) > MOST_WORDS:
        return ""
    title = " ".join(words)
    while len(title) > LONGEST and len(words) > 1:
        words.pop()
        title = " ".join(words).rstrip(_ENDS)
    return title[:LONGEST]
