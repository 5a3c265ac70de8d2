"""Fusing: scores that mean the same for each question, and a weight that follows the model."""

from __future__ import annotations

import math
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.knowledge.fuse import NOTHING, Fit, Near, Scored, fuse, relevance, weight_of

GOOD = Fit(weight=0.35, unrelated=0.02, spread=0.1)


def ids(count: int) -> list[UUID]:
    return [UUID(int=number + 1) for number in range(count)]


def order(fused) -> list[int]:
    return [item.chunk_id.int for item in fused]


def scored(*scores: float) -> list[Scored]:
    return [Scored(chunk_id, score) for chunk_id, score in zip(ids(len(scores)), scores, strict=True)]


def test_without_vectors_the_words_alone_decide():
    fused = fuse(scored(0.2, 0.5, 0.3))
    assert order(fused) == [2, 3, 1]
    assert [item.text_part for item in fused] == [0.5, 0.3, 0.2]
    assert all(item.vector_part == 0 for item in fused)
    assert fused[0].score == pytest.approx(relevance(0.5, 0))


def test_nothing_and_nothing_is_nothing():
    assert fuse([]) == []
    assert fuse([], [Near([], GOOD, full=False)]) == []


def test_how_much_better_the_first_is_counts_and_not_its_place_alone():
    # By ranks these two would be even: each is first once and second once.
    text = [Scored(UUID(int=1), 0.60), Scored(UUID(int=2), 0.10)]
    near = [Scored(UUID(int=2), 0.42), Scored(UUID(int=1), 0.40)]
    assert order(fuse(text, [Near(near, GOOD, full=False)])) == [1, 2]


def test_a_passage_without_a_word_of_the_question_is_found_by_its_meaning():
    text = [Scored(UUID(int=1), 0.12)]
    near = [Scored(UUID(int=2), 0.75), Scored(UUID(int=1), 0.10)]
    fused = fuse(text, [Near(near, GOOD, full=False)])
    assert order(fused) == [2, 1]
    assert fused[0].text_part == 0


def test_a_model_that_knows_the_language_badly_changes_little():
    text = [Scored(UUID(int=1), 0.4), Scored(UUID(int=2), 0.3)]
    near = [Scored(UUID(int=2), 0.7), Scored(UUID(int=1), 0.5)]
    well = Fit(weight_of(1.1), unrelated=0.3, spread=0.1)
    badly = Fit(weight_of(0.3), unrelated=0.3, spread=0.1)
    assert order(fuse(text, [Near(near, well, full=False)])) == [2, 1]
    assert order(fuse(text, [Near(near, badly, full=False)])) == [1, 2]


def test_the_weight_grows_with_what_the_model_knows():
    assert weight_of(0) == 0
    assert weight_of(1) == pytest.approx(1 / 3)
    assert weight_of(0.5) < weight_of(0.8) < weight_of(1) < weight_of(2) < 1


@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_where_a_model_puts_its_cosines_makes_no_difference(shift, scale):
    # Some models give 0.8 to texts that have nothing to do with each other.
    text = scored(0.4, 0.3, 0.1)
    cosines = [0.05, 0.3, 0.45]
    moved = [Scored(item, shift + scale * cosine) for item, cosine in zip(ids(3), cosines, strict=True)]
    fit = Fit(0.3, unrelated=shift, spread=0.1 * scale)
    fused = fuse(text, [Near(moved, fit, full=False)])
    plain = fuse(text, [Near(scored(*cosines), Fit(0.3, unrelated=0.0, spread=0.1), full=False)])
    assert order(fused) == order(plain)
    assert [item.score for item in fused] == pytest.approx([item.score for item in plain])


def test_of_a_model_that_nobody_measured_the_middle_of_what_came_counts_as_unrelated():
    near = [Scored(chunk_id, cosine) for chunk_id, cosine in zip(ids(5), [0.9, 0.8, 0.8, 0.79, 0.78], strict=True)]
    fused = fuse([], [Near(near, Fit(), full=False)])
    assert order(fused)[0] == 1
    assert [item.vector_part for item in fused][1:] == [0, 0, 0, 0]


def test_what_is_not_among_the_nearest_counts_as_the_last_of_them():
    text = [Scored(UUID(int=9), 0.5)]
    near = Near(scored(0.6, 0.2), GOOD, full=True)
    (found,) = [item for item in fuse(text, [near]) if item.chunk_id.int == 9]
    assert found.vector_part == pytest.approx(GOOD.weight * (0.2 - 0.02) / 0.8)
    assert found.text_part == pytest.approx(0.5 * (1 - GOOD.weight))


def test_a_passage_that_has_no_vector_is_judged_by_its_words_alone():
    text = [Scored(UUID(int=9), 0.5)]
    (found,) = [item for item in fuse(text, [Near(scored(0.6), GOOD, full=False)]) if item.chunk_id.int == 9]
    assert (found.text_part, found.vector_part) == (0.5, 0)


def test_two_spaces_are_each_read_as_their_model_is():
    one = Near([Scored(UUID(int=1), 0.5)], Fit(0.35, unrelated=0.0, spread=0.1), full=False)
    other = Near([Scored(UUID(int=2), 0.85)], Fit(0.35, unrelated=0.8, spread=0.03), full=False)
    fused = fuse([], [one, other])
    assert order(fused) == [1, 2], "0.85 is little for a model that gives 0.8 to everything"


def test_a_cosine_that_is_no_number_counts_as_nothing():
    fused = fuse(scored(0.4), [Near([Scored(UUID(int=2), math.nan), Scored(UUID(int=1), 0.3)], GOOD, full=False)])
    assert order(fused) == [1, 2]
    assert fused[1].vector_part == 0


def test_relevance_says_when_nothing_fits():
    assert relevance(0.08, 0) < NOTHING, "one word of ten"
    assert relevance(0.45, 0) > 0.9, "nearly all words"
    assert relevance(0.2, 0.35) < relevance(0.2, 0), "vectors give everything a little"


SCORES = st.floats(0, 1)
LISTS = st.lists(SCORES, max_size=12)


@given(LISTS, LISTS, st.floats(0, 1), st.booleans())
def test_scores_are_between_0_and_1_and_fall_with_the_place(by_text, cosines, weight, full):
    near = Near(scored(*cosines), Fit(weight, unrelated=0.1, spread=0.1), full=full)
    fused = fuse(scored(*by_text), [near])
    assert len({item.chunk_id for item in fused}) == len(fused) == max(len(by_text), len(cosines))
    assert all(0 <= item.score <= 1 for item in fused)
    assert [item.score for item in fused] == sorted((item.score for item in fused), reverse=True)
