"""Whether a model may see text of a class. Pure, and the only place where that is decided.

Every way out asks here: answers, titles, embeddings, reranking, transcription, and whatever a fallback would try.
What is not known counts against the model: without a clearance it sees only text without a class, and a class that
names countries is not for a model whose country nobody has said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Level:
    """A data class, as far as it decides."""

    id: UUID
    name: str
    level: int
    countries: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Standing:
    """What counts of a model."""

    in_process: bool
    """It answers within this installation's own process, so text that goes to it goes nowhere."""
    clearance: Level | None
    country: str | None


def why_not(model: Standing, text: Iterable[Level]) -> str | None:
    """Why text of these classes, all of them, may not go to this model, for people; None if it may."""
    if model.in_process:
        return None
    for level in text:
        if model.clearance is None:
            return f"it is not cleared for {level.name!r}, nor for any other class"
        if model.clearance.level < level.level:
            return f"it is cleared for {model.clearance.name!r}, and the text is {level.name!r}"
        if level.countries and model.country not in level.countries:
            stands = f"stands in {model.country}" if model.country else "has no country that is known"
            return f"it {stands}, and text of the class {level.name!r} stays in {', '.join(sorted(level.countries))}"
    return None
