"""From markers to places: pure, and the same however the text is cut into pieces."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.conversations.citations.cite import (
    LONGEST_QUOTE,
    CitedPassage,
    MarkerReader,
    citation,
    markers,
    quote_for,
)

RULES = (
    "Fences are subject to rules. A fence along the street may be 1.2 metres high. Elsewhere it may be 1.8 metres.\n"
    "Hedges are no fences"
)


def read(known, *pieces):
    reader = MarkerReader(known)
    shown, found = "", []
    for part in (*map(reader.feed, pieces), reader.finish()):
        shown += part[0]
        found += part[1]
    return shown, found


def test_a_marker_is_kept_and_found_with_the_sentence_before_it():
    shown, found = read([1, 2], "Fences may be high [1]. Trees may not be felled [2].")
    assert shown == "Fences may be high [1]. Trees may not be felled [2]."
    assert found == [(1, "Fences may be high"), (2, "Trees may not be felled")]


def test_a_marker_after_the_full_stop_belongs_to_the_sentence_before():
    assert read([1], "First. Second one. [1] Third.")[1] == [(1, "Second one.")]


def test_markers_that_cite_nothing_are_dropped():
    assert read([1], "High [7], low [1], wide [0].") == ("High, low [1], wide.", [(1, "High, low")])
    assert read([], "Nothing [1] at all.") == ("Nothing at all.", [])


@pytest.mark.parametrize("text", ["a[b]c", "x[1", "[", "[12", "[1234]", "[x1]", "f(a[i])", "[]", "[1 ]"])
def test_brackets_that_are_no_markers_are_left_alone(text):
    assert read([1, 12], text) == (text, [])


@pytest.mark.parametrize(
    ("text", "shown", "cited"),
    [
        ("High [1, 2].", "High [1][2].", [1, 2]),
        ("High [1,2;3].", "High [1][2][3].", [1, 2, 3]),
        ("High [1-3].", "High [1][2][3].", [1, 2, 3]),
        ("High [2–3, 1].", "High [2][3][1].", [2, 3, 1]),
        ("High [1, 9].", "High [1].", [1]),
        ("High [1][2] [3].", "High [1][2] [3].", [1, 2, 3]),
        ("High【1】.", "High[1].", [1]),
        ("High 【2†rules.pdf】.", "High [2].", [2]),
        ("High 【7】.", "High.", []),
        ("High[^1].", "High[1].", [1]),
    ],
)
def test_what_models_write_instead_becomes_a_marker(text, shown, cited):
    said, found = read([1, 2, 3], text)
    assert said == shown
    assert [n for n, _ in found] == cited
    assert {sentence for _, sentence in found} <= {"High"}
    assert read([1, 2, 3], *text) == (said, found)


@pytest.mark.parametrize(
    "text",
    [
        "between [0, 1]",
        "from [8, 9] on",
        "[3-1]",
        "[1-2-3]",
        "[^7] a note",
        "[1, x]",
        "[1, 2",
        "[1,, 2]",
        "【x】",
        "【1",
    ],
)
def test_lists_and_notes_that_cite_nothing_are_left_alone(text):
    assert read([1, 2, 3], text) == (text, [])
    assert read([1, 2, 3], *text) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        "Write `a[1]` here.",
        "``a ` [1]`` there",
        "```python\nx = a[1]\ny[7] = 2\n```\n",
        "Text\n  ```\na[1]\n",
        "````\n```\na[1]\n````\n",
    ],
)
def test_numbers_in_code_are_no_markers(text):
    assert read([1], text) == (text, [])
    assert read([1], *text) == (text, [])
    assert list(markers(text)) == []


@pytest.mark.parametrize(
    "text", ["```\na[7]\n```\nHigh [1].", "An open ` tick\nHigh [1].", "`code` High [1].", "```a``` High [1]."]
)
def test_after_code_markers_count_again(text):
    assert read([1], text)[0] == text
    assert [n for n, _ in read([1], text)[1]] == [1]
    assert [found.group() for found in markers(text)] == ["[1]"]


def test_each_of_two_markers_in_a_sentence_has_its_own_part():
    text = "A fence along the street may be 1.2 metres [1], and a hedge may be two metres [2]. Both [1] and so on [2]."
    assert read([1, 2], text)[1] == [
        (1, "A fence along the street may be 1.2 metres"),
        (2, "and a hedge may be two metres"),
        (1, "Both"),
        (2, "and so on"),
    ]


def test_only_what_may_become_a_marker_is_held_back():
    reader = MarkerReader([1])
    assert reader.feed("Fences [")[0] == "Fences"
    assert reader.feed("1")[0] == ""
    assert reader.feed("]")[0] == " [1]"
    assert reader.feed("2 [word")[0] == "2 [word"


def test_a_sentence_of_any_length_is_found_the_same_in_one_piece_and_in_many():
    text = "word " * 900 + "end [1]."
    assert read([1], text) == read([1], *text)


TEXTS = st.lists(st.sampled_from([*"ab .\n[]0123é", " [1]", "[12]", " [7].", "[7] ", " [7] [8]"]), max_size=60).map(
    "".join
)
ODD = st.lists(
    st.sampled_from([*"ab .\n[]012`,-^【】†", "[1, 2]", "```\n", "[^1]", "【1†a】", " [1-3]"]), max_size=60
).map("".join)


@given(TEXTS | ODD, st.lists(st.integers(0, 80), max_size=12), st.sets(st.integers(0, 23)))
def test_any_cut_of_the_text_gives_the_same_result(text, cuts, known):
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert read(known, *pieces) == read(known, text)


@given(TEXTS)
def test_text_in_which_every_number_is_known_is_not_changed(text):
    assert read(range(1000), text)[0] == text


def test_the_sentence_itself_is_the_quote_if_it_stands_there():
    start, end = quote_for(RULES, "Elsewhere it may be 1.8 metres.")
    assert RULES[start:end] == "Elsewhere it may be 1.8 metres."


def test_else_the_sentence_that_shares_most_words():
    start, end = quote_for(RULES, "Along a street your fence may be as high as 1.2 metres")
    assert RULES[start:end] == "A fence along the street may be 1.2 metres high."


def test_a_last_line_without_a_full_stop_can_be_quoted():
    start, end = quote_for(RULES, "The hedges are not fences")
    assert RULES[start:end] == "Hedges are no fences"


@pytest.mark.parametrize("sentence", ["", "Something else entirely", "???"])
def test_where_no_word_is_shared_the_quote_is_still_of_the_passage(sentence):
    start, end = quote_for(RULES, sentence)
    assert RULES[start:end]


@given(st.text(max_size=2000), st.text(max_size=100))
def test_a_quote_lies_within_the_passage_and_is_not_long(passage, sentence):
    start, end = quote_for(passage, sentence)
    assert 0 <= start <= end <= len(passage)
    assert end - start <= max(LONGEST_QUOTE, len(sentence))
    if passage.strip():
        assert end > start


def passage(text: str, start: int = 100, page: int | None = 3) -> CitedPassage:
    return CitedPassage(
        n=1,
        document_id=uuid4(),
        document_name="rules.pdf",
        chunk_id=uuid4(),
        text=text,
        start=start,
        page=page,
        score=1.0,
    )


def test_a_citation_counts_in_the_document_and_names_the_page_of_the_quote():
    whole = "x" * 100 + RULES
    cited = citation(passage(RULES), "Elsewhere it may be 1.8 metres.")
    assert whole[cited["start"] : cited["end"]] == cited["quote"] == "Elsewhere it may be 1.8 metres."
    assert cited["page"] == 3
    assert citation(passage(RULES, page=None), "Fences are subject to rules.")["page"] is None
