"""Sentences end where a reader says they end, in six languages, and lose not a byte."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from folkmoot_provider_extractive.sentences import LONGEST, split
from hypothesis import example, given
from hypothesis import strategies as st


def parts(text: str) -> list[str]:
    return [text[sentence.start : sentence.end] for sentence in split(text)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Det gäller t.ex. Sverige och Norge.", "Nästa mening."],
        ["Mötet är kl. 9.30 den 3. Maj, enl. Bo.", "Sedan fika!"],
        ["Kommuner, regioner m.m.", "Det gäller alla."],
        ["Dr. Ada Lund met Mr. J. Smith, e.g. On Tuesday.", "Did she?", "Yes."],
        ["The library closes at 6 p.m.", "It opens at 9 a.m.", "Version 2.5 costs 3.50 euros."],
        ["He said “no.”", "(Then he left.)", "See No. 5 and Art. 6."],
        ["Das gilt z.B. Für Hunde.", "Am 3. Mai 2024 beginnt es."],
        ["Det gjelder f.eks. Oslo.", "Ellers ikke."],
        ["Se on esim. Helsinki.", "Kauppa on auki klo 9–18."],
        ["It costs 5 kr.", "«Ja», sa hun."],
        ["Wait… what?", "Really?!", "Yes."],
    ],
)
def test_sentences_end_where_a_reader_says(sentences):
    assert parts(" ".join(sentences)) == sentences


def test_lines_that_only_wrap_belong_together_and_others_stand_alone():
    text = (
        "Leave policy\nEmployees have the right to twenty-five days of paid leave every year\n"
        "and may save five of them.\n- Apply in April\n- Ask your manager\n1. First\n2. Then\n\n"
        "Name | Role\nAda | Head\n\nName: Bo; Year: 1843"
    )
    assert parts(text) == [
        "Leave policy",
        "Employees have the right to twenty-five days of paid leave every year\nand may save five of them.",
        "- Apply in April",
        "- Ask your manager",
        "1. First",
        "2. Then",
        "Name | Role",
        "Ada | Head",
        "Name: Bo; Year: 1843",
    ]


def test_a_heading_is_known_for_one():
    assert [sentence.heading for sentence in split("Leave policy\n\nIt is long.\n\nA | B")] == [True, False, False]


def test_what_never_ends_is_cut_at_a_smaller_mark():
    found = parts("word, " * 400)
    assert max(map(len, found)) <= LONGEST
    assert all(part.endswith(",") for part in found)


@given(st.text(alphabet='aB1. ,;\n|?!…"”()-\tå#', max_size=300))
@example("....\n | \n1. a")
def test_every_visible_character_is_in_exactly_one_sentence(text):
    found = split(text)
    assert "".join(text[s.start : s.end] for s in found).split() == "".join(parts(text)).split()
    assert all(one.end <= other.start for one, other in pairwise(found))
    covered = "".join("".join(part.split()) for part in parts(text))
    assert covered == "".join(text.split())
    assert all(part == part.strip() and part for part in parts(text))


@pytest.mark.parametrize("unit", [".", "\n", "a. ", "a", " | ", "1. ", '."', "å\n", ". ", "\t\n", "(", "A. B "])
def test_hostile_text_costs_no_square_of_time(unit):
    start = time.perf_counter()
    split(unit * (60_000 // len(unit)) + "x")
    assert time.perf_counter() - start < 1.5
