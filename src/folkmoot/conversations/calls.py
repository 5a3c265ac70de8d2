"""Calls of tools that a model asks for: checked, approved where that is needed, made at the same time, and kept.

A call is stored before it is made. A worker that dies in the middle of one leaves it `running`, and whoever goes on
tells the model so instead of calling again: nobody knows whether it had its effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from folkmoot_sdk import Message as Said
from folkmoot_sdk import ModelInfo, TextPart
from folkmoot_sdk import ToolCall as Asked
from sqlalchemy import select, update

from folkmoot.conversations import builtin
from folkmoot.conversations.models import Message, ToolCall
from folkmoot.conversations.run import Run
from folkmoot.kit.app import App
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import StreamWriter
from folkmoot.tools.chosen import chosen
from folkmoot.tools.offer import Offer, Outcome

log = get_logger(__name__)

MOST_RESULT = 20_000
"""Characters of a result that the model is told."""
SHOWN = 2_000
DENIED = "The person who asks did not allow this call. Go on without it."
INTERRUPTED = "The call was interrupted, and nobody knows whether it had its effect. Do not make it again; say so."


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
    theirs = await chosen(app, run.message.tenant_id, run.space_id, run.version.tool_ids)
    return [*builtin.offers(app, run, writer), *theirs]


async def begin(app: App, run: Run, number: int, asked: Sequence[Asked], offers: Sequence[Offer]) -> None:
    """Store the calls of a round, with all that another worker needs to go on."""
    by_name = {offer.spec.name: offer for offer in offers}
    async with app.begin(run.principal) as work:
        await work.session.execute(update(Message).where(Message.id == run.message.id).values(**run.kept()))
        for place, call in enumerate(asked):
            offer = by_name.get(call.name)
            work.session.add(
                ToolCall(
                    tenant_id=run.message.tenant_id,
                    message_id=run.message.id,
                    round=number,
                    call_id=f"{number}-{place + 1}",
                    name=call.name,
                    title=offer.title if offer else "",
                    tool_id=offer.tool_id if offer else None,
                    arguments=call.arguments,
                    status="waiting" if offer is not None and offer.approval else "approved",
                )
            )


async def finish(app: App, run: Run, writer: StreamWriter, offers: Sequence[Offer]) -> None:
    """Make the calls of the newest round that are not made yet, and tell the model's next turn of all of them.

    Raises `Waits` if some wait for the asker.
    """
    if not run.turns or run.turns[-1].role != "assistant" or not run.turns[-1].tool_calls:
        return
    number = sum(1 for turn in run.turns if turn.role == "assistant")
    query = select(ToolCall).where(ToolCall.message_id == run.message.id, ToolCall.round == number)
    async with app.begin(run.principal) as work:
        rows = sorted(await work.session.scalars(query), key=lambda row: int(row.call_id.split("-")[1]))
    by_name = {offer.spec.name: offer for offer in offers}
    await asyncio.gather(*(_make(app, run, writer, row, by_name.get(row.name)) for row in rows))
    if waiting := [row for row in rows if row.status == "waiting"]:
        raise Waits([_described(row) for row in waiting])
    for row, asked in zip(rows, run.turns[-1].tool_calls, strict=True):
        run.turns.append(Said(role="tool", content=(TextPart(row.result),), tool_call_id=asked.id))


async def _make(app: App, run: Run, writer: StreamWriter, row: ToolCall, offer: Offer | None) -> None:
    if row.status in ("waiting", "done", "failed"):
        return
    if row.status == "denied":
        await _keep(app, run, row, Outcome(DENIED), "denied")
    elif row.status == "running":
        await _keep(app, run, row, Outcome(INTERRUPTED, "interrupted"), "failed")
    else:
        writer.write("tool.called", _described(row))
        async with app.begin(run.principal) as work:
            await work.session.execute(update(ToolCall).where(ToolCall.id == row.id).values(status="running"))
        outcome = await _called(row, offer)
        await _keep(app, run, row, outcome, "failed" if outcome.failed else "done")
    told = {"call_id": row.call_id, "name": row.name, "status": row.status, "result": row.result[:SHOWN]}
    writer.write("tool.completed", told | {"error": row.error})


async def _called(row: ToolCall, offer: Offer | None) -> Outcome:
    if offer is None:
        return Outcome(f"there is no tool {row.name!r}: use only those that you were given", "no-such-tool")
    try:
        arguments = msgspec.json.decode(row.arguments or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return Outcome("the arguments are not a JSON object: write them again", "arguments-invalid")
    try:
        async with asyncio.timeout(offer.seconds):
            return await offer.call(arguments)
    except TimeoutError:
        return Outcome(f"{row.name} gave no answer within {offer.seconds:.0f} seconds", "tool-timeout")
    except Exception as error:  # noqa: BLE001 - a tool may raise anything, and the answer goes on
        log.warning("tool.failed", tool=row.name, error=type(error).__name__)
        return Outcome(f"{row.name} failed", "tool-failed")


async def _keep(app: App, run: Run, row: ToolCall, outcome: Outcome, status: str) -> None:
    text = outcome.text.replace("\x00", "")
    if len(text) > MOST_RESULT:
        text = text[:MOST_RESULT] + f"\n[cut: {len(outcome.text) - MOST_RESULT} more characters]"
    row.status, row.result, row.error, row.finished_at = status, text, outcome.failed, datetime.now(UTC)
    values = {"status": status, "result": text, "error": outcome.failed, "finished_at": row.finished_at}
    async with app.begin(run.principal) as work:
        await work.session.execute(update(ToolCall).where(ToolCall.id == row.id).values(**values))


def _described(row: ToolCall) -> dict[str, Any]:
    try:
        arguments = msgspec.json.decode(row.arguments or "{}")
    except msgspec.DecodeError:
        arguments = row.arguments
    return {"call_id": row.call_id, "name": row.name, "title": row.title, "arguments": arguments}
