"""Calls of tools as they are stored: what another worker goes by, and what people are shown."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from sqlalchemy import Table, Update, bindparam, case, literal, select, update

from folkmoot.conversations.models import Message, ToolCall

SHOWN = 2_000
"""Characters of a result in an event."""
_calls = cast("Table", ToolCall.__table__)
OF_MESSAGE = select(ToolCall).where(ToolCall.message_id == bindparam("message"))


def _left_open() -> Update:
    code = "answer-ended"
    broken_off = literal("interrupted")
    return (
        update(_calls)
        .where(_calls.c.message_id == bindparam("message"), _calls.c.status.in_(("waiting", "approved", "running")))
        .values(
            status="failed",
            error=case((_calls.c.status == "running", broken_off), else_=literal(code)),
            finished_at=bindparam("now"),
        )
    )


LEFT_OPEN = _left_open()
"""What becomes of the calls that an answer leaves behind when it ends."""


def in_order(rows: list[ToolCall]) -> list[ToolCall]:
    return sorted(rows, key=lambda row: (row.round, int(row.call_id.rpartition("-")[2])))


def arguments_of(text: str) -> dict[str, Any] | None:
    """The arguments as people are shown them and tools are given them; None if they are not a JSON object."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None


def completed(row: ToolCall) -> dict[str, Any]:
    """What a call came to, as events tell it."""
    told = {"call_id": row.call_id, "name": row.name, "status": row.status, "result": row.result[:SHOWN]}
    return told | {"error": row.error}


def described(row: ToolCall) -> dict[str, Any]:
    """A call as events name it."""
    arguments = arguments_of(row.arguments)
    shown = row.arguments if arguments is None else arguments
    return {"call_id": row.call_id, "name": row.name, "title": row.title, "arguments": shown}


def put_away(message: Message) -> None:
    """Of an answer that nobody goes on with: take out what only they would need, and count what it took so far."""
    trace = dict(message.trace or {})
    trace.pop("passages", None)
    counted = trace.pop("usage", None)
    if counted and not message.usage:
        message.usage = {name: counted[name] for name in ("input_tokens", "output_tokens")}
    message.trace = trace
