"""What an assistant's instructions may leave open, and what stands there for one question.

`{{date}}`, `{{time}}`, `{{user.name}}`, `{{user.unit}}` (the person's groups) and `{{language}}`. What stands in their
place is data that people chose themselves, so it is one short line of letters and figures. A name that is none of these
stays as it was written.
"""

from __future__ import annotations

import re
from datetime import UTC
from uuid import UUID

from sqlalchemy import bindparam, select

from folkmoot.conversations.answering.run import Run
from folkmoot.identity.models import User
from folkmoot.kit.app import App
from folkmoot.people.models import Group, GroupMember

NAMES = ("date", "time", "user.name", "user.unit", "language")
LANGUAGE = "the language of the question"
LONGEST = 80
MOST_GROUPS = 5
_VARIABLE = re.compile(r"\{\{\s*([a-z]+(?:\.[a-z]+)?)\s*\}\}")
_STRANGE = re.compile(r"[^\w\s.,&'’()/@+-]|_")
_PERSON = select(User.name).where(User.id == bindparam("person"))
_GROUPS = (
    select(Group.name)
    .join(GroupMember, GroupMember.group_id == Group.id)
    .where(GroupMember.user_id == bindparam("person"))
    .order_by(Group.name)
    .limit(MOST_GROUPS)
)


def used(text: str) -> set[str]:
    """The variables that stand in a text, known ones only."""
    return {name for name in _VARIABLE.findall(text) if name in NAMES} if "{{" in text else set()


async def filled(app: App, run: Run) -> str:
    """The assistant's instructions as they hold for this question.

    Date and time are those of the question in UTC, so that they stay the same for all of its answer.
    """
    text = run.version.instructions
    wanted = used(text)
    if not wanted:
        return text
    asked = run.question.created_at.astimezone(UTC)
    values = {"date": asked.strftime("%Y-%m-%d"), "time": asked.strftime("%H:%M UTC"), "language": LANGUAGE}
    if wanted & {"user.name", "user.unit"}:
        values |= await _person(app, run, run.user_id)
    return _VARIABLE.sub(lambda found: values.get(found.group(1), found.group()), text)


async def _person(app: App, run: Run, user_id: UUID) -> dict[str, str]:
    async with app.begin(run.principal) as work:
        name = await work.session.scalar(_PERSON, {"person": user_id})
        groups = list(await work.session.scalars(_GROUPS, {"person": user_id}))
    return {"user.name": plain(name or ""), "user.unit": plain(", ".join(groups))}


def plain(value: str) -> str:
    """A name on one line, of letters, figures and what stands in names, and not longer than one."""
    return " ".join(_STRANGE.sub(" ", value).split())[:LONGEST].strip()
