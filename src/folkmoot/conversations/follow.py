"""Reading an answer while it is written, or later: from its stream while that is kept, then from its row."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

import msgspec

from folkmoot.conversations.events import created, ending, retrieved
from folkmoot.conversations.models import Message
from folkmoot.conversations.service import OPEN, ConversationService
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.stream import ENDS, Entry


async def follow(app: App, principal: Principal, message: Message, *, after: int = 0) -> AsyncGenerator[Entry | None]:
    """The events of an answer after number `after`, up to the one that ends it. None is a heart-beat."""
    stream, seen = str(message.id), after
    if message.status in OPEN or await app.streams.exists(stream):
        async with aclosing(app.streams.read(stream, after)) as entries:
            async for entry in entries:
                if entry is None and await _has_ended(app, principal, message.id):
                    # Redis lost the stream: the stored message tells the end.
                    break
                yield entry
                if entry is not None:
                    seen = entry.number
                    if entry.event in ENDS:
                        return
    async with app.begin(principal) as work:
        finished = await ConversationService(work).message(message.id)
    for entry in _replayed(finished, seen):
        yield entry


async def _has_ended(app: App, principal: Principal, message_id: UUID) -> bool:
    async with app.begin(principal) as work:
        return (await ConversationService(work).message(message_id)).status not in OPEN


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
