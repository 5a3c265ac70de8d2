"""A tool as an answer's model is offered it, whoever brings it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from folkmoot_sdk import ToolSpec

CALL_SECONDS = 60.0
BUILTIN = ("search_knowledge", "read_document", "calculate", "current_date")
"""Names of our own tools."""


@dataclass(frozen=True)
class Outcome:
    """What a call came to. The text is somebody else's: data, never instructions."""

    text: str
    failed: str = ""
    """Code of the error; then the text says in plain words what went wrong, for the model."""


@dataclass(frozen=True)
class Offer:
    """One tool."""

    spec: ToolSpec
    """Its name is unique among the tools of one answer, and made of letters, digits, `_` and `-`."""
    title: str
    """For people."""
    call: Callable[[dict[str, Any]], Awaitable[Outcome]]
    """Takes arguments that were checked against the schema. May raise anything."""
    approval: bool = False
    """Whether the asker is asked before each call."""
    reads_only: bool = False
    """Whether its server says that a call changes nothing. It counts only where no approval is asked for: such a tool
    may be called at once even after text of documents or tools has come into the prompt."""
    tool_id: UUID | None = None
    """Of a tool server's tool."""
    seconds: float = CALL_SECONDS
    """How long a call may take."""
