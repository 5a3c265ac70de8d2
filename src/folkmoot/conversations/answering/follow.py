"""Reading an answer while it is written, or later: from its stream while that is kept, then from its row."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import msgspec

from folkmoot.conversations.events import created, ending, retrieved
from folkmoot.conversations.models import Message, ToolCall
from folkmoot.conversations.service import OPEN, ConversationService
from folkmoot.conversations.toolcalls.approve import calls_of
from folkmoot.conversations.toolcalls.kept import completed, described
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.stream import ENDS, Entry

WAITS = "waiting_for_approval"


async def follow(app: App, principal: Principal, message: Message, *, after: int = 0) -> AsyncGenerator[Entry | None]:
    """The events of an answer after number `after`, up to the one that ends it. None is a heart-beat."""
    stream, seen = str(message.id), after
    if message.status in OPEN or await app.streams.exists(stream):
        for entry in await _before(app, principal, message, after):
            yield entry
            seen = entry.number
        async with aclosing(app.streams.read(stream, seen)) as entries:
            async for entry in entries:
                if entry is None:
                    now = await _now(app, principal, message.id)
                    if now.status not in OPEN:
                        # Redis lost the stream: the stored message tells the end.
                        break
                    if now.status == WAITS and seen < now.stream_at:
                        # The same, or its worker died before it could say that it waits.
                        for missed in _numbered(await _asked(app, principal, message.id), now.stream_at, seen):
                            yield missed
                            seen = missed.number
                yield entry
                if entry is not None:
                    seen = entry.number
                    if entry.event in ENDS:
                        return
    finished = await _now(app, principal, message.id)
    for entry in _replayed(finished, seen):
        yield entry


async def told(app: App, principal: Principal, message: Message) -> Message:
    """The answer once it has ended, or waits for its asker."""
    async with aclosing(follow(app, principal, message)) as entries:
        async for entry in entries:
            if entry is not None and entry.event == b"approval.requested":
                now = await _now(app, principal, message.id)
                if now.status == WAITS:
                    return now
    return await _now(app, principal, message.id)


async def _now(app: App, principal: Principal, message_id: UUID) -> Message:
    async with app.begin(principal) as work:
        return await ConversationService(work).message(message_id)


async def _before(app: App, principal: Principal, message: Message, after: int) -> list[Entry]:
    """What an answer said before it began to wait for its asker, if the stream does not have it any more.

    Each event was at least one event then, so their numbers fit in below the one that it had reached. Who has read a
    part of it is told only what it waits for; the text comes whole with the end.
    """
    if not message.stream_at or after >= message.stream_at:
        return []
    kept = await app.streams.so_far(str(message.id))
    if kept and kept[0].number <= message.stream_at:
        return []
    async with app.begin(principal) as work:
        calls = await calls_of(work, message.id)
    shown, since = message.content[: message.trace.get("shown", 0)], message.turned_at or message.created_at
    rows: list[tuple[str, Any]] = []
    if after == 0:
        rows = [("message.created", created(message))]
        if message.passages:
            rows.append(("retrieval.completed", retrieved(message.passages)))
        if shown:
            rows.append(("text.delta", {"text": shown}))
        rows += [("citation", item) for item in message.citations]
        for call in calls:
            if call.finished_at is not None and call.finished_at <= since:
                rows += [("tool.called", described(call)), ("tool.completed", completed(call))]
    rows += _asking(calls)
    return _numbered(rows, message.stream_at, after)


def _asking(calls: Sequence[ToolCall]) -> list[tuple[str, Any]]:
    return [("approval.requested", described(call)) for call in calls if call.status == "waiting"]


async def _asked(app: App, principal: Principal, message_id: UUID) -> list[tuple[str, Any]]:
    async with app.begin(principal) as work:
        return _asking(await calls_of(work, message_id))


def _numbered(rows: Sequence[tuple[str, Any]], last: int, after: int) -> list[Entry]:
    """Events that end with the number `last`; those that lie before `after` are left out."""
    first = last - len(rows) + 1
    entries = [
        Entry(number, name.encode(), msgspec.json.encode(data)) for number, (name, data) in enumerate(rows, start=first)
    ]
    return [entry for entry in entries if entry.number > after]


def _replayed(message: Message, after: int) -> list[Entry]:
    """A finished answer as events, once its stream is no longer kept. Someone who resumes gets just the end."""
    event, data = ending(message)
    rows: list[tuple[str, Any]] = []
    if after == 0:
        rows = [("message.created", created(message))]
        if message.collection_ids:
            rows.append(("retrieval.completed", retrieved(message.passages)))
        if message.content:
            rows.append(("text.delta", {"text": message.content}))
        rows += [("citation", item) for item in message.citations]
    rows.append((event, data))
    return [
        Entry(number, name.encode(), msgspec.json.encode(data))
        for number, (name, data) in enumerate(rows, start=after + 1)
    ]
