"""Calls of tools that a model asks for: checked, approved where that is needed, made at the same time, and kept.

A call is stored before it is made. A worker that dies in the middle of one leaves it `running`, and whoever goes on
tells the model so instead of calling again: nobody knows whether it had its effect.

Only what a model asked for as a call, by its provider's own form for calls, is ever made; text never becomes one. What
is made is what stands in the row, which is also what its asker was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from folkmoot_sdk import Message as Said
from folkmoot_sdk import ModelInfo, TextPart
from folkmoot_sdk import ToolCall as Asked
from sqlalchemy import exists, update

from folkmoot.ai.guard import storable
from folkmoot.conversations.answering.ends import Lost
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.models import Message, ToolCall
from folkmoot.conversations.toolcalls import builtin
from folkmoot.conversations.toolcalls.fit import misfit
from folkmoot.conversations.toolcalls.kept import OF_MESSAGE, arguments_of, completed, described, in_order
from folkmoot.kit.app import App
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import StreamWriter
from folkmoot.tools.chosen import chosen
from folkmoot.tools.offer import Offer, Outcome

log = get_logger(__name__)

MOST_CALLS = 16
"""Calls of one round; the model is told of the others that they were too many."""
MOST_RESULT = 20_000
"""Characters of a result that the model is told."""
DENIED = "The person who asks did not allow this call. Go on without it."
NOBODY_TO_ASK = "This call needs a person's approval, and there is nobody to ask here. Go on without it."
INTERRUPTED = "The call was interrupted, and nobody knows whether it had its effect. Do not make it again; say so."
TOO_MANY = f"At most {MOST_CALLS} calls are made at a time, and this was one too many. Make it later if it is needed."
REPEATED = "(You have made just this call before. It was not made again; this is what it came to then.)\n"
WITHDRAWN = "This tool may not be used here any more. Go on without it."
ENDED = ("done", "failed", "denied")

_left: set[asyncio.Task[Any]] = set()
"""Tools that were told to end, and have not yet."""


class Waits(Exception):
    """The answer cannot go on before its asker has decided about calls."""

    def __init__(self, requested: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self.requested = requested
        """Data of `approval.requested` for each."""


async def offered(app: App, run: Run, writer: StreamWriter, model: ModelInfo) -> list[Offer]:
    """The tools that this answer's model may call; none if it cannot."""
    if not model.tools:
        return []
    theirs = await chosen(app, run.message.tenant_id, run.space_id, run.version.tool_ids, run.class_ids)
    if run.origin == "api":
        # A program that calls `/v1` cannot be asked.
        theirs = [offer for offer in theirs if not offer.approval]
    return [*builtin.offers(app, run, writer), *theirs]


def key_of(offer: Offer) -> str:
    """By which `Conversation.approved_tools` names a tool."""
    return str(offer.tool_id or offer.spec.name)


def must_ask(run: Run, offer: Offer) -> bool:
    """Whether the asker decides about a call of this tool.

    Always where administrators want it so, unless the asker has approved the tool for the whole conversation. A tool
    that they declared harmless is asked about too, once somebody else's text may have put the model up to it, unless
    it only reads.
    """
    if key_of(offer) in run.approved:
        return False
    return offer.approval or (offer.tool_id is not None and not offer.reads_only and run.untrusted)


async def begin(
    app: App, run: Run, writer: StreamWriter, number: int, asked: Sequence[Asked], offers: Sequence[Offer]
) -> int:
    """Store the calls of a round, with all that another worker needs to go on. Returns how many of them are new."""
    by_name = {offer.spec.name: offer for offer in offers}
    rows = [
        ToolCall(
            tenant_id=run.message.tenant_id,
            message_id=run.message.id,
            round=number,
            call_id=f"{number}-{place}",
            name=storable(call.name)[:200],
            title=offer.title if (offer := by_name.get(call.name)) else "",
            tool_id=offer.tool_id if offer else None,
            arguments=storable(call.arguments),
            status="approved",
            result="",
            error="",
        )
        for place, call in enumerate(asked, start=1)
    ]
    async with app.begin(run.principal) as work:
        kept = update(Message).where(*run.mine).values(status="pending", **run.kept()).returning(Message.id)
        if await work.session.scalar(kept) is None:
            raise Lost
        run.stored = len(run.passages)
        before = list(await work.session.scalars(OF_MESSAGE, {"message": run.message.id})) if number > 1 else []
        repeated = _repeated([*before, *rows], number)
        for place, row in enumerate(rows):
            _judge(run, row, by_name.get(row.name), over=place >= MOST_CALLS, repeated=row.call_id in repeated)
        work.session.add_all(rows)
    run.safe = run.size
    for row in rows:
        if row.status == "failed":
            writer.write("tool.completed", completed(row))
    return len(rows) - len(repeated)


def _judge(run: Run, row: ToolCall, offer: Offer | None, *, over: bool, repeated: bool) -> None:
    if over:
        _ended(row, Outcome(TOO_MANY, "too-many-calls"), "failed")
    elif offer is None or repeated or not must_ask(run, offer):
        return
    elif wrong := _wrong(row, offer):
        # Nobody is asked about what cannot be done.
        _ended(row, wrong, "failed")
    elif run.origin == "api":
        row.status = "denied"
    else:
        row.status = "waiting"


async def finish(app: App, run: Run, writer: StreamWriter, offers: Sequence[Offer]) -> None:
    """Make the calls of the newest round that are not made yet, and tell the model's next turn of all of them.

    Raises `Waits` if some wait for the asker, and `Lost`.
    """
    if not run.turns or run.turns[-1].role != "assistant" or not run.turns[-1].tool_calls:
        return
    number = sum(1 for turn in run.turns if turn.role == "assistant")
    async with app.begin(run.principal) as work:
        known = in_order(list(await work.session.scalars(OF_MESSAGE, {"message": run.message.id})))
    rows, repeated = [row for row in known if row.round == number], _repeated(known, number)
    by_name = {offer.spec.name: offer for offer in offers}
    firsts = [row for row in rows if row.call_id not in repeated and row.status not in ENDED]
    for row in firsts:
        if row.status == "running":
            await _settled(app, run, writer, row, Outcome(INTERRUPTED, "interrupted"))
    ready = [row for row in firsts if row.status == "approved"]
    await _start(app, run, ready)
    for row in ready:
        writer.write("tool.called", described(row))
    await _together([_make(app, run, writer, row, by_name.get(row.name)) for row in ready])
    for row in rows:
        if row.status == "denied" and row.finished_at is None:
            told = NOBODY_TO_ASK if row.decided_by is None else DENIED
            await _settled(app, run, writer, row, Outcome(told), status="denied")
    if waiting := [row for row in rows if row.status == "waiting"]:
        raise Waits([described(row) for row in waiting])
    for row in rows:
        if (first := repeated.get(row.call_id)) is not None and row.status not in ENDED:
            writer.write("tool.called", described(row))
            await _settled(app, run, writer, row, Outcome(REPEATED + first.result, first.error), status=first.status)
    for row, asked in zip(rows, run.turns[-1].tool_calls, strict=True):
        run.turns.append(Said(role="tool", content=(TextPart(row.result),), tool_call_id=asked.id))


def _repeated(rows: Sequence[ToolCall], number: int) -> dict[str, ToolCall]:
    """Of the calls of round `number` those that were made before, by their ids, each with the first one of its kind.

    What failed may be tried again in a later round, unless nobody knows whether it had its effect.
    """
    seen: dict[tuple[str, bytes], ToolCall] = {}
    found: dict[str, ToolCall] = {}
    for row in in_order(list(rows)):
        arguments = arguments_of(row.arguments)
        if arguments is None or row.error == "too-many-calls":
            continue
        same = (row.name, msgspec.json.encode(arguments, order="sorted"))
        first = seen.get(same)
        if first is None or (first.round < row.round and first.status == "failed" and first.error != "interrupted"):
            seen[same] = row
        elif row.round == number:
            found[row.call_id] = first
    return found


async def _start(app: App, run: Run, rows: Sequence[ToolCall]) -> None:
    """Mark calls as being made, if the answer is still ours: from here on nobody makes them again."""
    if not rows:
        return
    starting = (
        update(ToolCall)
        .where(
            ToolCall.id.in_([row.id for row in rows]),
            ToolCall.status == "approved",
            exists().where(*run.mine),
        )
        .values(status="running")
        .returning(ToolCall.id)
        .execution_options(synchronize_session=False)
    )
    async with app.begin(run.principal) as work:
        if len((await work.session.scalars(starting)).all()) < len(rows):
            # Raised inside, so that none of them is marked.
            raise Lost


async def _together(answers: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All at the same time; none goes on if one of them cannot be kept."""
    tasks = [asyncio.create_task(answer) for answer in answers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _make(app: App, run: Run, writer: StreamWriter, row: ToolCall, offer: Offer | None) -> None:
    await _settled(app, run, writer, row, await _called(row, offer))


async def _called(row: ToolCall, offer: Offer | None) -> Outcome:
    if offer is None or offer.tool_id != row.tool_id:
        if row.title or row.tool_id is not None:
            return Outcome(WITHDRAWN, "tool-withdrawn")
        return Outcome(f"there is no tool {row.name[:100]!r}: use only those that you were given", "no-such-tool")
    if wrong := _wrong(row, offer):
        return wrong
    task = asyncio.create_task(_answered(row, offer, arguments_of(row.arguments) or {}))
    try:
        done, _ = await asyncio.wait({task}, timeout=offer.seconds)
    finally:
        if not task.done():
            # A tool that does not hear of it must not hold up whoever stops the answer.
            task.cancel()
            _left.add(task)
            task.add_done_callback(_left.discard)
    if not done:
        return Outcome(f"{row.name} gave no answer within {offer.seconds:.0f} seconds", "tool-timeout")
    return Outcome(f"{row.name} failed", "tool-failed") if task.cancelled() else task.result()


async def _answered(row: ToolCall, offer: Offer, arguments: dict[str, Any]) -> Outcome:
    try:
        outcome = await offer.call(arguments)
        return Outcome(str(outcome.text), str(outcome.failed))
    except Exception as error:  # noqa: BLE001 - a tool may raise anything, and the answer goes on
        log.warning("tool.failed", tool=row.name, error=type(error).__name__)
        return Outcome(f"{row.name} failed", "tool-failed")


def _wrong(row: ToolCall, offer: Offer) -> Outcome | None:
    arguments = arguments_of(row.arguments)
    if arguments is None:
        return Outcome("the arguments are not a JSON object: write them again", "arguments-invalid")
    if (why := misfit(arguments, offer.spec.parameters)) is not None:
        return Outcome(f"the arguments do not fit the tool: {why}. Write them again", "arguments-invalid")
    return None


async def _settled(
    app: App, run: Run, writer: StreamWriter, row: ToolCall, outcome: Outcome, *, status: str = ""
) -> None:
    """Keep what a call came to, and tell readers."""
    _ended(row, outcome, status or ("failed" if outcome.failed else "done"))
    values = {"status": row.status, "result": row.result, "error": row.error, "finished_at": row.finished_at}
    async with app.begin(run.principal) as work:
        keeping = update(ToolCall).where(ToolCall.id == row.id).values(**values)
        await work.session.execute(keeping.execution_options(synchronize_session=False))
        if len(run.passages) > run.stored:
            # A search has found some, and its result names them.
            run.stored = len(run.passages)
            await work.session.execute(update(Message).where(*run.mine).values(**run.kept()))
    writer.write("tool.completed", completed(row))


def _ended(row: ToolCall, outcome: Outcome, status: str) -> None:
    text = storable(outcome.text)
    if len(text) > MOST_RESULT:
        text = text[:MOST_RESULT] + f"\n[cut: {len(text) - MOST_RESULT} more characters]"
    row.status, row.result, row.error, row.finished_at = status, text, outcome.failed, datetime.now(UTC)
