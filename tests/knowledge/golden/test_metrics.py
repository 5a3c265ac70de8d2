"""Figures of rankings, against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from folkmoot.knowledge.golden.metrics import auc, ndcg, place, recall


def test_the_first_place_counts_most():
    grades = {"a": 1.0}
    assert ndcg(["a", "b"], grades) == 1.0
    assert ndcg(["b", "a"], grades) == pytest.approx(1 / math.log2(3))
    assert ndcg(["b", "c"], grades) == 0.0


def test_what_stands_beyond_the_tenth_place_does_not_count():
    ranked = [f"other {number}" for number in range(10)] + ["a"]
    assert ndcg(ranked, {"a": 1.0}) == 0.0
    assert recall(ranked, {"a": 1.0}) == 0.0


def test_higher_grades_count_as_much_more_as_they_are_higher():
    grades = {"a": 2.0, "b": 1.0}
    ideal = 2 + 1 / math.log2(3)
    assert ndcg(["b", "a"], grades) == pytest.approx((1 + 2 / math.log2(3)) / ideal)


def test_more_than_ten_relevant_documents_are_measured_by_the_best_ten():
    grades = {str(number): 1.0 for number in range(20)}
    assert ndcg([str(number) for number in range(10)], grades) == 1.0
    assert recall([str(number) for number in range(10)], grades) == 0.5


def test_without_anything_relevant_nothing_can_be_found():
    assert ndcg(["a"], {}) == 0.0
    assert recall(["a"], {"a": 0.0}) == 0.0


def test_the_place_is_that_of_the_first_that_was_wanted():
    assert place(["x", "b", "a"], {"a", "b"}) == 2
    assert place(["x"], {"a"}) is None


def test_the_area_under_the_curve_is_how_often_the_right_one_scores_higher():
    assert auc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert auc([0.1], [0.9]) == 0.0
    assert auc([0.5, 0.5], [0.5]) == 0.5
    assert auc([0.3, 0.7], [0.5]) == 0.5
    assert auc([], [0.5]) == 0.5
