"""One answer as it comes to be, and which answers this worker writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import Message as Said
from folkmoot_sdk import Usage

from folkmoot.assistants.models import AssistantVersion
from folkmoot.conversations.cite import CitedPassage
from folkmoot.conversations.models import Message
from folkmoot.conversations.prompt import Turn
from folkmoot.kit.access import Principal
from folkmoot.usage.ledger import Account


class Running:
    """The answers that this worker is writing, so that a request to stop reaches the right one."""

    def __init__(self) -> None:
        self._tasks: dict[UUID, asyncio.Task[Any]] = {}
        self._stopped: set[UUID] = set()

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
    """The turns on the branch above the question, oldest first."""
    version: AssistantVersion
    space_id: UUID
    class_ids: list[UUID | None]
    user_id: UUID
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    passages: dict[int, CitedPassage] = field(default_factory=dict[int, CitedPassage])
    """By number; a further search goes on counting."""
    citations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sentences: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    turns: list[Said] = field(default_factory=list[Said])
    """What model and tools said to each other before the part that is being written."""
    trace: dict[str, Any] = field(default_factory=dict[str, Any])
    usage: Usage | None = None

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
        run.text = [message.content] if message.content else []
        run.reasoning = [message.reasoning] if message.reasoning else []
        run.citations, run.trace = list(message.citations), dict(message.trace)
        run.turns = msgspec.convert(message.turns, list[Said])
        kept = msgspec.convert(run.trace.pop("passages", []), list[CitedPassage])
        run.passages = {passage.n: passage for passage in kept}
        if counted := run.trace.pop("usage", None):
            run.usage = msgspec.convert(counted, Usage)
        return run

    def kept(self) -> dict[str, Any]:
        """Columns with what another worker needs to go on."""
        trace = dict(self.trace)
        trace["passages"] = msgspec.to_builtins(list(self.passages.values()))
        trace["usage"] = msgspec.to_builtins(self.usage)
        return {
            "content": "".join(self.text),
            "reasoning": "".join(self.reasoning),
            "citations": self.citations,
            "passages": self.references(),
            "turns": msgspec.to_builtins(self.turns),
            "trace": trace,
        }

    def references(self) -> list[dict[str, Any]]:
        """The passages as events and messages name them."""
        return [passage.reference() for passage in self.passages.values()]

    def number(self) -> int:
        """Of the next passage."""
        return max(self.passages, default=0) + 1

    def add_usage(self, usage: Usage) -> None:
        """Of a further call of the model."""
        before = self.usage
        if before is None:
            self.usage = usage
            return
        names = Usage.__struct_fields__
        self.usage = Usage(**{name: getattr(before, name) + getattr(usage, name) for name in names})

    @property
    def principal(self) -> Principal:
        return Principal.system(self.message.tenant_id)

    @property
    def collections(self) -> list[UUID]:
        """Where the answer may look."""
        return [UUID(item) for item in self.message.collection_ids]

    def account(self, purpose: str) -> Account:
        return Account(
            tenant_id=self.message.tenant_id,
            purpose=purpose,
            user_id=self.user_id,
            key_id=self.message.key_id,
            space_id=self.space_id,
            assistant_id=self.version.assistant_id,
            message_id=self.message.id,
        )
