"""Two lists of scored chunks as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Scored:
    chunk_id: UUID
    score: float


@dataclass(frozen=True)
class Fused:
    chunk_id: UUID
    score: float
    text_part: float
    vector_part: float


def fuse(by_text: Sequence[Scored], by_vector: Sequence[Scored], weight: float = 0.5) -> list[Fused]:
    """Both lists as one: `weight` is the vectors' part of the sum of min-max scores."""
    parts: dict[UUID, list[float]] = {}
    for at, (scored, share) in enumerate(((by_text, 1 - weight), (by_vector, weight))):
        if not scored:
            continue
        low, high = min(item.score for item in scored), max(item.score for item in scored)
        for item in scored:
            part = (item.score - low) / (high - low) if high > low else 1.0
            parts.setdefault(item.chunk_id, [0.0, 0.0])[at] = part * share
    fused = [Fused(chunk_id, sum(both), *both) for chunk_id, both in parts.items()]
    return sorted(fused, key=lambda item: (-item.score, item.chunk_id))
