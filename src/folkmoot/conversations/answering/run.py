"""One answer as it comes to be, and which answers this worker writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import ChatRequest, ImagePart, Usage
from folkmoot_sdk import Message as Said
from sqlalchemy import ColumnElement

from folkmoot.assistants.models import AssistantVersion
from folkmoot.conversations.citations.cite import CitedPassage
from folkmoot.conversations.citations.sources import Sources
from folkmoot.conversations.models import Message
from folkmoot.conversations.prompting.prompt import Summarised, Turn
from folkmoot.conversations.receipts.record import Record
from folkmoot.kit.access import Principal
from folkmoot.usage.ledger import Account


class Running:
    """The answers that this worker is writing, so that a request to stop reaches the right one."""

    def __init__(self) -> None:
        self._tasks: dict[UUID, asyncio.Task[Any]] = {}
        self._stopped: set[UUID] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def stop(self, message_id: UUID) -> None:
        if (running := self._tasks.get(message_id)) is not None:
            self._stopped.add(message_id)
            running.cancel()

    @asynccontextmanager
    async def entry(self, message_id: UUID, running: asyncio.Task[Any]) -> AsyncGenerator[None]:
        self._tasks[message_id] = running
        try:
            yield
        finally:
            self._tasks.pop(message_id, None)
            self._stopped.discard(message_id)

    def was_stopped(self, message_id: UUID) -> bool:
        return message_id in self._stopped


@dataclass
class Run:
    """All that an answer is made from, and what there is of it so far."""

    message: Message
    question: Message
    history: list[Turn]
    """The turns on the branch above the question, oldest first; after those that the summary has."""
    version: AssistantVersion
    space_id: UUID
    class_ids: list[UUID | None]
    user_id: UUID
    text: list[str] = field(default_factory=list[str])
    size: int = 0
    """Characters of it."""
    safe: int = 0
    """So many of them are in its row, with all that whoever goes on from there needs."""
    reasoning: list[str] = field(default_factory=list[str])
    passages: dict[int, CitedPassage] = field(default_factory=dict[int, CitedPassage])
    """By number; a further search goes on counting."""
    citations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sentences: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    turns: list[Said] = field(default_factory=list[Said])
    """What model and tools said to each other before the part that is being written."""
    trace: dict[str, Any] = field(default_factory=dict[str, Any])
    usage: Usage | None = None
    record: Record = field(default_factory=Record)
    """For its receipt."""
    origin: str = "app"
    """`Conversation.origin`."""
    untitled: bool = False
    """The conversation begins with this, and nobody has named it."""
    approved: list[str] = field(default_factory=list[str])
    """`Conversation.approved_tools`."""
    stored: int = 0
    """So many of the passages are in its row, for whoever goes on."""
    summary: Summarised | None = None
    """Of the oldest turns on the branch, if they were summarised before."""
    above: UUID | None = None
    """The newest message that was not read any more, if the branch is longer than what was read."""
    images: list[ImagePart] = field(default_factory=list[ImagePart])
    """Pictures on the question."""
    notes: str = ""
    """What was read for the question beforehand, in short."""
    attached_in: UUID | None = None
    """The collection of the conversation's files, if the answer may look there."""
    attached: list[UUID] = field(default_factory=list[UUID])
    """Documents in it that belong to questions on this branch, and that are read."""
    sources: Sources | None = None
    """The passages as its sentences are checked against them; made at the first check."""
    taken_over: bool = False
    """Whether another worker had it, and let its lease run out."""

    @classmethod
    def of(
        cls,
        message: Message,
        question: Message,
        history: Sequence[Turn],
        version: AssistantVersion,
        space_id: UUID,
        class_ids: Sequence[UUID | None],
        user_id: UUID,
    ) -> Run:
        """With what an earlier worker left of it."""
        run = cls(message, question, list(history), version, space_id, list(class_ids), user_id)
        if message.content:
            run.says(message.content)
            run.safe = run.size
        run.reasoning = [message.reasoning] if message.reasoning else []
        run.citations, run.trace = list(message.citations), dict(message.trace)
        run.turns = msgspec.convert(message.turns, list[Said])
        kept = msgspec.convert(run.trace.pop("passages", []), list[CitedPassage])
        run.passages = {passage.n: passage for passage in kept}
        run.stored = len(run.passages)
        run.record = msgspec.convert(run.trace.pop("record", {}), Record)
        run.notes = run.trace.pop("notes", "")
        if counted := run.trace.pop("usage", None):
            run.usage = msgspec.convert(counted, Usage)
        return run

    def kept(self) -> dict[str, Any]:
        """Columns with what another worker needs to go on."""
        trace = dict(self.trace)
        trace["passages"] = msgspec.to_builtins(list(self.passages.values()))
        trace["usage"] = msgspec.to_builtins(self.usage)
        trace["record"] = msgspec.to_builtins(self.record)
        trace["notes"] = self.notes
        return {
            "content": "".join(self.text),
            "reasoning": "".join(self.reasoning),
            "citations": self.citations,
            "passages": self.references(),
            "turns": msgspec.to_builtins(self.turns),
            "trace": trace,
        }

    def said(self) -> dict[str, Any]:
        """Columns with what readers have seen, and what its receipt needs if this worker dies."""
        return {
            "content": "".join(self.text),
            "citations": self.citations,
            "passages": self.references(),
            "trace": self.trace | {"record": msgspec.to_builtins(self.record)},
        }

    def says(self, text: str) -> None:
        self.text.append(text)
        self.size += len(text)

    def references(self) -> list[dict[str, Any]]:
        """The passages as events and messages name them."""
        return [passage.reference() for passage in self.passages.values()]

    @property
    def given(self) -> list[CitedPassage]:
        """The passages that go along with the question; the others stand in the results of tools."""
        return [passage for passage in self.passages.values() if not passage.by_tool]

    @property
    def grounded(self) -> bool:
        """Whether documents were looked into for the question, so that no passages means that nothing was found."""
        return bool(self.collections) and self.trace.get("retrieval", {}).get("kind") != "nothing"

    @property
    def untrusted(self) -> bool:
        """Whether the prompt has, or may have, text that neither the asker nor the assistant's editors wrote.

        Earlier answers count: nobody knows any more what they were made from.
        """
        if self.passages or self.question.file_ids or self.summary or self.message.continues_id:
            return True
        return any(turn.role == "tool" for turn in self.turns) or any(turn.role != "user" for turn in self.history)

    def number(self) -> int:
        """Of the next passage."""
        return max(self.passages, default=0) + 1

    def asks(self, request: ChatRequest) -> ChatRequest:
        """The same, noted for the receipt."""
        return self.record.asks(1 + sum(1 for turn in self.turns if turn.role == "assistant"), request)

    def add_usage(self, usage: Usage) -> None:
        """Of a further call of the model."""
        before = self.usage
        if before is None:
            self.usage = usage
            return
        names = Usage.__struct_fields__
        self.usage = Usage(**{name: getattr(before, name) + getattr(usage, name) for name in names})

    @property
    def mine(self) -> tuple[ColumnElement[bool], ...]:
        """Of `Message`: this answer, as long as no other worker has taken it over and nobody has ended it."""
        row = self.message
        return (Message.id == row.id, Message.claim == row.claim, Message.status.in_(("pending", "streaming")))

    @property
    def principal(self) -> Principal:
        return Principal.system(self.message.tenant_id)

    @property
    def collections(self) -> list[UUID]:
        """Where the answer may look, without the files of the conversation (`attached`)."""
        return [found for item in self.message.collection_ids if (found := UUID(item)) != self.attached_in]

    def account(self, purpose: str) -> Account:
        return Account(
            tenant_id=self.message.tenant_id,
            purpose=purpose,
            user_id=self.user_id,
            key_id=self.message.key_id,
            space_id=self.space_id,
            assistant_id=self.version.assistant_id,
            message_id=self.message.id,
            noted=self.record.noted,
        )
