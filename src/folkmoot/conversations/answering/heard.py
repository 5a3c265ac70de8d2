"""What readers of an answer have seen of it, when nobody is left who knows: its stream has more than its row.

A worker stores what it has said every few seconds, and the stream has every word. So an answer whose worker was killed
is put together again from there; if Redis has lost the stream, the row has what it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from folkmoot.conversations.models import Message
from folkmoot.kit.app import App


@dataclass
class Heard:
    begun: bool = False
    """Whether there is such a stream at all."""
    whole: bool = False
    """Whether it has its beginning still."""
    text: str = ""
    reasoning: str = ""
    citations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    passages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def beyond(self, message: Message) -> bool:
        """Whether readers saw more than is stored."""
        text = self.of(message)
        return len(text) > len(message.content) and text.startswith(message.content)

    def of(self, message: Message) -> str:
        """The text that readers have; what was said before an approval may not be in the stream any more."""
        return self.text if self.whole else message.content[: (message.trace or {}).get("shown", 0)] + self.text

    def restore(self, message: Message) -> None:
        """Put into the row what it lacks."""
        if self.beyond(message):
            message.content = self.of(message)
            if self.whole:
                message.citations = self.citations
        if len(self.reasoning) > len(message.reasoning):
            message.reasoning = self.reasoning
        if len(self.passages) > len(message.passages or []):
            message.passages = self.passages


async def heard(app: App, message_id: UUID) -> Heard:
    """What its stream has of an answer."""
    text: list[str] = []
    reasoning: list[str] = []
    found = Heard()
    for entry in await app.streams.so_far(str(message_id)):
        found.begun, data = True, msgspec.json.decode(entry.data)
        match entry.event:
            case b"message.created":
                found.whole = True
            case b"text.delta":
                text.append(data["text"])
            case b"reasoning.delta":
                reasoning.append(data["text"])
            case b"citation":
                found.citations.append(data)
            case b"retrieval.completed":
                found.passages += data["passages"]
            case _:
                pass
    found.text, found.reasoning = "".join(text), "".join(reasoning)
    return found
