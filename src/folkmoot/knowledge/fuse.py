"""Two lists of scored chunks as one, by what their scores mean.

Both scores are put on a scale that does not depend on the question. BM25 is divided by the most that the question's
words could give, so that a chunk which has few of them stays low even where nothing is better. A cosine is counted in
standard deviations above that of texts which have nothing to do with each other, which each model puts elsewhere. The
two are added, as in Bruch et al. 2023 ("An Analysis of Fusion Functions for Hybrid Retrieval"): ranks, which reciprocal
rank fusion adds, do not tell how much better the first is than the second, nor whether it is any good.

How much the vectors count follows how well their model knows the language, which `fitness.py` measures. Why it is so,
and the figures: docs/decisions/0023-fusion.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

SPREADS = 8.0
"""Standard deviations above unrelated texts at which two texts say the same: a cosine there counts as 1."""
USUAL_SPREAD = 0.11
"""Of the cosines of unrelated texts, where nobody has measured it. That of all-MiniLM-L6-v2 is 0.09 to 0.12."""
USUAL_WEIGHT = 0.25
"""Of vectors whose model nobody has measured: small enough to do no harm where it knows the language badly."""
TEXTS_COUNT = 2.0
"""A model that finds as much as the words do has half of their weight; see `weight_of`."""

STEEP, HALF, UNRELATED = 16.0, 0.29, 0.125
"""`relevance`, fitted by logistic regression. Questions of squad1_dev_en and squad2_dev_sv with all documents, against
the same questions without any document of their article; by words alone and with all-MiniLM-L6-v2, each set alike."""
NOTHING = 0.05
"""Below this relevance it is fair to say that nothing was found. Of the answerable questions of squad2_dev_sv 0.2 % are
below it by words alone and 0.8 % with vectors, of those whose article is not there 8 % and 24 %."""


@dataclass(frozen=True)
class Scored:
    chunk_id: UUID
    score: float
    """By text: BM25 divided by the most that the question's words could give, from 0 to 1. By vector: the cosine."""


@dataclass(frozen=True)
class Fit:
    """How one model's vectors are read, for what is searched now."""

    weight: float = USUAL_WEIGHT
    """Of the vectors, from 0 to 1; the words have the rest."""
    unrelated: float | None = None
    """The mean cosine of texts that have nothing to do with each other; None if nobody has measured it."""
    spread: float = USUAL_SPREAD
    """The standard deviation of those cosines."""


@dataclass(frozen=True)
class Near:
    """The nearest chunks of one embedding space."""

    found: Sequence[Scored]
    fit: Fit
    full: bool
    """Whether there were more, so that a chunk which is not among them may have a vector nonetheless."""


@dataclass(frozen=True)
class Fused:
    chunk_id: UUID
    score: float
    """`relevance` of the two parts."""
    text_part: float
    vector_part: float
    """What each gave; their sum orders the chunks of one space just as `score` does."""


def weight_of(ratio: float) -> float:
    """The weight of a model's vectors, from how well they find what the words find: 1 is just as well.

    It grows with the square: of a model that is half as good as the words, little is to be learned.
    """
    return ratio**2 / (ratio**2 + TEXTS_COUNT)


def relevance(total: float, weight: float) -> float:
    """How likely it is, from 0 to 1, that a collection which gives this sum as its best has what was asked for.

    `weight` is that of the vectors, which give every chunk a little, also where nothing fits. Monotonous in `total`.
    """
    return 1.0 / (1.0 + math.exp(-STEEP * (total - weight * UNRELATED - HALF)))


def fuse(by_text: Sequence[Scored], near: Sequence[Near] = ()) -> list[Fused]:
    """All chunks of all lists, most relevant first. Pure.

    A chunk that has words and is not among the nearest counts as if it were as near as the last of them, or by its
    words alone if all vectors were looked at: then it has none.
    """
    text = {item.chunk_id: _between(item.score) for item in by_text}
    lists = [one for one in near if one.found]
    parts: dict[UUID, tuple[float, float, float]] = {}
    for one in lists:
        for item, closeness in zip(one.found, _closeness(one), strict=True):
            words = text.get(item.chunk_id, 0.0)
            parts[item.chunk_id] = ((1 - one.fit.weight) * words, one.fit.weight * closeness, one.fit.weight)
    weight, least = _of_others([one for one in lists if one.full])
    for chunk_id, words in text.items():
        parts.setdefault(chunk_id, ((1 - weight) * words, weight * least, weight))
    fused = [
        Fused(chunk_id, relevance(of_text + of_vector, share), of_text, of_vector)
        for chunk_id, (of_text, of_vector, share) in parts.items()
    ]
    return sorted(fused, key=lambda item: (-item.score, -item.text_part - item.vector_part, item.chunk_id))


def _closeness(one: Near) -> list[float]:
    """Each cosine of a list, from 0 (unrelated) to 1."""
    unrelated = one.fit.unrelated
    if unrelated is None:
        # Most of what comes is not what was asked for.
        ordered = sorted(item.score for item in one.found)
        unrelated = ordered[len(ordered) // 2] if len(ordered) > 1 else 0.0
    reach = SPREADS * max(one.fit.spread, 1e-6)
    return [_between((item.score - unrelated) / reach) for item in one.found]


def _of_others(full: Sequence[Near]) -> tuple[float, float]:
    """Weight and closeness of what is in no list: of the farthest in it."""
    if not full:
        return 0.0, 0.0
    weight = sum(one.fit.weight for one in full) / len(full)
    return weight, sum(min(_closeness(one)) for one in full) / len(full)


def _between(value: float) -> float:
    # Not a number, as the cosine of a vector of zeros is, counts as nothing.
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
