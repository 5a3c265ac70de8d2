"""How long a text is to one model, without its tokenizer.

`chunk.count_tokens` counts every text alike. What a provider says that it counted for texts that it embedded, by what
we had counted, is the rate of that model in that language; it is kept, and texts are measured by it from then on. A
text that may be longer than the model reads is cut into parts and its vector is the mean of theirs, because many
servers drop what is too long without a word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from uuid import UUID

import numpy as np
from folkmoot_sdk import ModelInfo
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from folkmoot.kit.work import Work
from folkmoot.knowledge.chunk import MAX_TOKENS, MIN_TOKENS, TARGET_TOKENS, Limits, count_tokens, reach
from folkmoot.knowledge.embedding.models import TokenRate

LEAST_KNOWN = 2_000
"""Tokens that must have been counted before a rate is believed."""
UNKNOWN_RATE = 1.25
"""What is taken for the rate of a model that nobody has measured, where being wrong would cut a text off."""
SPREAD = 1.3
"""How much more than the mean of its language a text may have: numbers and addresses have."""
SMALLEST_ROOM = 32
CONTEXT_SHARE = 4
"""The headings above a text that is too long take at most this part of what the model reads."""
_STEP = 0.25
_LOWEST, _HIGHEST = 0.5, 6.0
"""A server that counts otherwise counts something else."""


async def learn(work: Work, model_id: UUID, language: str, texts: Sequence[str], counted: int) -> None:
    """Keep what a provider counted for these texts."""
    estimated = sum(count_tokens(text) for text in texts)
    if estimated <= 0 or not _LOWEST <= counted / estimated <= _HIGHEST:
        return
    row = insert(TokenRate).values(
        tenant_id=work.principal.tenant, model_id=model_id, language=language, estimated=estimated, counted=counted
    )
    more = {
        "estimated": TokenRate.estimated + row.excluded.estimated,
        "counted": TokenRate.counted + row.excluded.counted,
    }
    await work.session.execute(
        row.on_conflict_do_update(index_elements=[TokenRate.model_id, TokenRate.language], set_=more)
    )


async def rate_of(work: Work, model_id: UUID, language: str | None = None) -> float | None:
    """Tokens of the model for each that we count, in a language or else in all; None if too few were counted."""
    for only in ([TokenRate.language == language] if language is not None else [], []):
        estimated, counted = (
            await work.session.execute(
                select(func.sum(TokenRate.estimated), func.sum(TokenRate.counted)).where(
                    TokenRate.model_id == model_id, *only
                )
            )
        ).one()
        if (estimated or 0) >= LEAST_KNOWN:
            return float(counted) / float(estimated)
    return None


def room(info: ModelInfo, rate: float | None) -> int | None:
    """How many tokens as we count them the model surely reads; None if nobody knows where it ends."""
    if info.context_window is None:
        return None
    return max(SMALLEST_ROOM, int(info.context_window / (max(rate or UNKNOWN_RATE, 1.0) * SPREAD)))


def limits(info: ModelInfo, rate: float | None) -> Limits:
    """How long chunks are to be for a model. The rate goes in steps, so that it moves no cut from day to day."""
    step = math.ceil((rate or 1.0) / _STEP - 0.4) * _STEP
    most = int(MAX_TOKENS / max(step, _STEP))
    if (whole := room(info, rate)) is not None:
        # The headings above a chunk are embedded with it.
        most = min(most, whole - whole // CONTEXT_SHARE)
    most = max(most, SMALLEST_ROOM)
    return Limits(target=most * TARGET_TOKENS // MAX_TOKENS, most=most, least=most * MIN_TOKENS // MAX_TOKENS)


def parts(context: str, text: str, most: int | None) -> list[str]:
    """What is embedded for a chunk: headings and text, in parts of at most `most` tokens as we count them."""
    whole = f"{context}\n{text}".strip()
    if most is None or count_tokens(whole) <= most:
        return [whole]
    above = _end_of(context, most // CONTEXT_SHARE)
    left = max(most - count_tokens(above), 1)
    found: list[str] = []
    at = 0
    while at < len(text):
        end = reach(text, at, left)
        if end < len(text):
            # Rather between words, if that does not cost half of the part.
            blank = max(text.rfind(" ", at, end), text.rfind("\n", at, end))
            end = blank if blank > at + (end - at) // 2 else end
        if piece := text[at:end].strip():
            found.append(f"{above}\n{piece}".strip())
        at = end
    return found or [whole]


def _end_of(context: str, most: int) -> str:
    """The nearest headings, which stand last, as far as they fit."""
    if count_tokens(context) <= most:
        return context
    low, high = 0, len(context)
    while low < high:
        middle = (low + high) // 2
        if count_tokens(context[middle:]) <= most:
            high = middle
        else:
            low = middle + 1
    return context[low:].strip()


def mean(vectors: Sequence[Sequence[float]], lengths: Sequence[int]) -> list[float]:
    """The vector of a text from those of its parts: their mean, each by its length, as directions."""
    if len(vectors) == 1:
        return list(vectors[0])
    made = np.asarray(vectors, np.float64)
    made = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-300)
    return (np.asarray(lengths, np.float64) @ made / max(sum(lengths), 1)).tolist()
