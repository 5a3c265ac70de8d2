"""What the receipt of an answer tells, noted down while the answer comes to be. No text: hashes and figures only.

It is kept with the rest of the answer's state, so that whoever goes on after an approval notes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import ChatRequest

from folkmoot.ai.policy import Level
from folkmoot.ai.route import Choice, Snapshot
from folkmoot.usage.account import Noted


class Prompt(msgspec.Struct):
    """One request as it was made for a model."""

    round: int
    model: str
    sha256: str


class Guard(msgspec.Struct):
    """A data class that bound where the text could go."""

    id: UUID
    name: str
    level: int


class Record(msgspec.Struct):
    prompts: list[Prompt] = []
    noted: list[Noted] = []
    """What each call of a provider came to, searches and small tasks among them."""
    offered: list[str] = []
    """Names of the tools that the model could call."""
    guards: list[Guard] = []
    currency: str = ""
    connection_id: UUID | None = None
    region: str | None = None
    """Country of the connection or model that answered, as its administrators state it."""
    in_process: bool = False
    """Whether the text stayed in the installation."""
    first_text_at: datetime | None = None

    def begins(self, snapshot: Snapshot, levels: Iterable[Level]) -> None:
        """Under which classes, and in which currency it is counted."""
        self.currency = snapshot.currency
        self.guards = [Guard(level.id, level.name, level.level) for level in levels]

    def asks(self, round: int, request: ChatRequest) -> ChatRequest:  # noqa: A002 - what it is
        """A model is about to be asked. One that is asked the same again, after a failure, is noted once."""
        said = Prompt(round, request.model, hash_of(request))
        if not self.prompts or self.prompts[-1] != said:
            self.prompts.append(said)
        return request

    def answers(self, choice: Choice) -> None:
        """This one does."""
        self.connection_id, self.region = choice.connection.id, choice.standing.country or None
        self.in_process = choice.standing.in_process

    def says(self) -> None:
        """Its first word."""
        if self.first_text_at is None:
            self.first_text_at = datetime.now(UTC)


def hash_of(value: Any) -> str:
    """SHA-256 of a text, or of anything else as JSON with sorted keys and no white space."""
    data = value.encode() if isinstance(value, str) else msgspec.json.encode(value, order="sorted")
    return hashlib.sha256(data).hexdigest()
