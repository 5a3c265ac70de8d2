"""Figures of how good a ranking is, as trec_eval and BEIR count them. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

DEPTH = 10
"""Places that count: nDCG@10 and recall@10."""


def ndcg(ranked: Sequence[T], grades: Mapping[T, float], depth: int = DEPTH) -> float:
    """Normalised discounted cumulative gain, from 0 to 1, with linear gain.

    `ranked` has each document once, best first; `grades` those that are relevant, with how much. As in Järvelin &
    Kekäläinen 2002 with the discount 1 / log2(place + 1), like `ndcg_cut` of trec_eval. 0 where nothing is relevant.
    """
    gained = _discounted([grades.get(item, 0.0) for item in ranked[:depth]])
    ideal = _discounted(sorted(grades.values(), reverse=True)[:depth])
    return gained / ideal if ideal > 0 else 0.0


def recall(ranked: Sequence[T], grades: Mapping[T, float], depth: int = DEPTH) -> float:
    """The share of the relevant documents that are among the first `depth`."""
    relevant = {item for item, grade in grades.items() if grade > 0}
    return len(relevant & set(ranked[:depth])) / len(relevant) if relevant else 0.0


def place(ranked: Sequence[T], relevant: set[T]) -> int | None:
    """Where the first of the relevant documents stands, from 1; None if none is there."""
    return next((at for at, item in enumerate(ranked, 1) if item in relevant), None)


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a value of the first kind is above one of the second, ties counted half: 0.5 is chance.

    The area under the ROC curve by the rank sum of Mann & Whitney 1947. 0.5 if there are none of a kind.
    """
    if not positive or not negative:
        return 0.5
    both = sorted([(value, 1) for value in positive] + [(value, 0) for value in negative])
    total = 0.0
    start = 0
    while start < len(both):
        end = start
        while end < len(both) and both[end][0] == both[start][0]:
            end += 1
        middle = (start + end + 1) / 2
        total += middle * sum(kind for _, kind in both[start:end])
        start = end
    return (total - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative))


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(at + 2) for at, gain in enumerate(gains))
