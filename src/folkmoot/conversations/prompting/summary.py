"""The oldest turns of a conversation in short, once they have no room: written by a cheap model, and kept.

A summary is never changed. Whoever reads the branch later finds the newest one above and begins there, on every branch
that goes through its message; once there is too much again, the next one is made from it and what came since.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from folkmoot.ai.guard import storable
from folkmoot.ai.policy import Level
from folkmoot.ai.route import Snapshot
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.aside import Aside, aside
from folkmoot.conversations.models import Message, Summary
from folkmoot.conversations.prompting.prompt import DEFAULT_WINDOW, Summarised, Turn, inert
from folkmoot.kit.app import App
from folkmoot.kit.work import Work

TASK = """\
Shorten the beginning of a conversation between a person and an assistant, so that the assistant can go on without it. \
Keep what the person wants and what they are, what was decided, names, numbers, dates, which document says what, and \
what is still open. Leave courtesies out. If <summary> stands first, it is what came before: keep of it what still \
matters. Write in the language of the conversation, in the third person, at most 300 words, and nothing beside it."""
TOKENS = 700
LONGEST = 4_000
"""Characters of a summary."""
SECONDS = 10.0
PATIENCE = 20.0
"""For all calls: the answer waits for it."""
LONGEST_TURN = 4_000
"""Characters of one turn that the model reads: its beginning and its end."""
MOST_CALLS = 3
_CHARACTERS = 2
"""A token, at the least: what is read must have room whatever the script."""
_LEAST_READ, _MOST_READ = 600, 150_000


async def summarise(
    app: App, run: Run, models: Snapshot, levels: Sequence[Level], old: Summarised | None, turns: Sequence[Turn]
) -> Summarised | None:
    """`old` and the turns after it in short, kept for the next question; None if no model may or can do it."""
    route = models.cheapest(levels)
    newest = turns[-1].id if turns else None
    if route is None or newest is None:
        return None
    window = route.first.info.context_window or DEFAULT_WINDOW
    text, by = old.text if old else "", dict[str, str]()
    room = min((window - TOKENS) * _CHARACTERS - len(TASK) - max(len(text), TOKENS), _MOST_READ)
    if room < _LEAST_READ:
        return None
    by_then = monotonic() + PATIENCE
    for piece in _pieces(turns, room):
        seconds = min(SECONDS, by_then - monotonic())
        before = f"<summary>\n{inert(text)}\n</summary>\n\n" if text else ""
        account = run.account("summary")
        made = await aside(app, models, levels, account, TASK, before + piece, tokens=TOKENS, seconds=seconds)
        if made is None:
            return None
        text, by = _whole(made), made.model
    messages = len(turns) + (old.messages if old else 0)
    await _keep(app, run, newest, text, messages, by)
    return Summarised(text, messages)


def _pieces(turns: Sequence[Turn], room: int) -> list[str]:
    """The turns as a script, in as many pieces as there are calls at most."""
    most = min(LONGEST_TURN, room // 2, max(room * (MOST_CALLS - 1) // len(turns) - 20, 40))
    pieces: list[list[str]] = [[]]
    size = 0
    for turn in turns:
        said = f"{'Person' if turn.role == 'user' else 'Assistant'}: {inert(_clipped(turn.text, most))}"
        if size + len(said) > room and pieces[-1]:
            pieces.append([])
            size = 0
        pieces[-1].append(said)
        size += len(said) + 2
    # Of more turns than that, the newest.
    return ["\n\n".join(piece)[:room] for piece in pieces[-MOST_CALLS:]]


def _clipped(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} […] {text[-half:]}"


def _whole(made: Aside) -> str:
    text = storable(made.text)
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"


async def forget(work: Work, conversation_id: UUID) -> None:
    """After a message was changed: what was said of it in short may not be true any more."""
    await work.session.execute(delete(Summary).where(Summary.conversation_id == conversation_id))


async def _keep(app: App, run: Run, message_id: UUID, text: str, messages: int, model: dict[str, str]) -> None:
    async with app.begin(run.principal) as work:
        # It may be gone by now, and with it what the summary is of.
        there = select(Message.id).where(Message.id == message_id).with_for_update(read=True, key_share=True)
        if await work.session.scalar(there) is None:
            return
        row = {
            "id": uuid7(),
            "tenant_id": run.message.tenant_id,
            "conversation_id": run.message.conversation_id,
            "message_id": message_id,
            "text": text,
            "messages": messages,
            "model": model,
        }
        await work.session.execute(insert(Summary).values(row).on_conflict_do_nothing(index_elements=["message_id"]))
