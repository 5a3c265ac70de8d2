"""What bears a sentence out: pure, by figures, names, negations and words."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.citations import _judge, _rates, _read
from folkmoot.conversations.citations.cite import CitedPassage
from folkmoot.conversations.citations.figures import figures
from folkmoot.conversations.citations.sources import MOST_UNITS, Sources
from folkmoot.conversations.citations.support import check
from folkmoot.conversations.citations.verify import MOST_SENTENCES, checked
from folkmoot.conversations.citations.wording import language_of

FENCES = "A fence along the street may be 1.2 metres high. Elsewhere it may be 1.8 metres high."
COMMITTEE = (
    "Barbed wire is forbidden in residential areas. An application costs 2,400 kronor and is sent to the building "
    "committee. The committee decides within eight weeks."
)
SWEDISH = "Bygglov krävs för altaner som är högre än 1,2 meter. Ansökan skickas till byggnadsnämnden före den 5 mars."
GERMAN = "Auf Spielplätzen sind Hunde verboten. Die Steuer beträgt 1.200 Euro. Der Antrag geht an das Steueramt."


def passages(*texts: str) -> list[CitedPassage]:
    return [
        CitedPassage(n, uuid4(), f"{n}.md", uuid4(), text, start=100 * n, page=None, score=1.0)
        for n, text in enumerate(texts, start=1)
    ]


def of(sentence: str, *texts: str):
    return check(Sources.of(passages(*texts), language_of(sentence)), sentence)


def verdict(sentence: str, *texts: str) -> str:
    found = of(sentence, *texts)
    return found.support if found is not None else "no claim"


@pytest.mark.parametrize(
    "sentence",
    [
        "A fence along the street may be 1.2 metres high.",
        "Along the street your fence can be up to 120 cm high.",
        "Elsewhere a fence may be 1.8 m high. [1]",
        "You are not allowed to use barbed wire in residential areas.",
        "The committee decides within 8 weeks.",
        "An application costs 2400 kr.",
    ],
)
def test_what_a_passage_says_is_supported_in_other_words_too(sentence):
    assert verdict(sentence, FENCES, COMMITTEE) == "supported"


@pytest.mark.parametrize(
    "sentence",
    [
        "A fence along the street may be 2.1 metres high.",
        "A fence along the street may be 1.8 metres high.",
        "A fence along the street may be 1.2 centimetres high.",
        "A fence along the street must be at least 1.2 metres and at most 3 metres high.",
        "The committee decides within eight months.",
        "An application costs 24,000 kronor.",
    ],
)
def test_another_figure_or_one_that_belongs_to_something_else_is_not_found(sentence):
    assert verdict(sentence, FENCES, COMMITTEE) == "not_found"


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("Barbed wire is allowed in residential areas.", COMMITTEE),
        ("Barbed wire is not forbidden in residential areas.", COMMITTEE),
        ("Bygglov krävs inte för altaner som är högre än 1,2 meter.", SWEDISH),
        ("Hunde dürfen auf Spielplätze.", GERMAN),
        ("The fee is refunded.", "The fee isn't refunded."),
    ],
)
def test_the_opposite_is_not_found(sentence, passage):
    assert verdict(sentence, passage) == "not_found"


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("Hunde dürfen nicht auf Spielplätze.", GERMAN),
        ("The pool may not be used by dogs.", "It is prohibited for dogs to use the pool."),
        ("You do not have to pay.", "No one has to pay."),
    ],
)
def test_a_negation_may_be_worded_otherwise(sentence, passage):
    assert verdict(sentence, passage) == "supported"


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("Questions are answered by Peter Holm.", "Questions are answered by Maria Lind."),
        ("Ansökan skickas till miljönämnden.", SWEDISH),
        ("Der Antrag geht an das Ordnungsamt.", GERMAN),
        ("The office is closed on Mondays.", "The office is closed on Tuesdays."),
        ("Error E7 means that the unit is blocked.", "Error E5 means that the unit is blocked."),
        ("Books are lent for one week.", "Books are lent for four weeks and films for one week."),
    ],
)
def test_another_name_in_the_same_place_is_not_found(sentence, passage):
    assert verdict(sentence, passage) == "not_found"


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("Staff must store their work on the server.", "Staff should store their work on the server."),
        ("Everyone gets the activity grant.", "Associations with 25 members get the activity grant."),
        ("The committee decides within eight weeks, and the neighbours are informed by letter.", COMMITTEE),
        ("Coffee is free of charge and comes from a roastery nearby.", "Coffee is free of charge."),
    ],
)
def test_what_goes_beyond_the_passage_is_weak(sentence, passage):
    assert verdict(sentence, passage) == "weak"


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("It takes at most 10 days.", "supported"),
        ("It takes at least 10 days.", "not_found"),
        ("It does not take more than 10 days.", "supported"),
    ],
)
def test_most_and_least_are_told_apart(sentence, expected):
    assert verdict(sentence, "It takes up to 10 days.") == expected


def test_general_knowledge_is_not_found():
    assert verdict("Fences have been used since the Stone Age to keep animals.", FENCES, COMMITTEE) == "not_found"


def test_two_facts_of_two_passages_are_weak_and_of_one_supported():
    sentence = "A fence along the street may be 1.2 metres high, and the committee decides within eight weeks."
    assert verdict(sentence, FENCES, COMMITTEE) == "weak"
    assert verdict(sentence, f"{FENCES} {COMMITTEE}") == "supported"


def test_in_another_language_figures_and_names_make_it_weak_at_most():
    assert verdict("Ett staket mot gatan får vara 1,2 meter högt.", FENCES) == "weak"
    assert verdict("Ett staket mot gatan får vara 2,1 meter högt.", FENCES) == "not_found"


def test_the_place_is_the_sentence_that_bears_it_out():
    found = of("The committee decides within eight weeks.", FENCES, COMMITTEE)
    assert found.n == 2
    assert COMMITTEE[found.start : found.end] == "The committee decides within eight weeks."


def test_of_two_passages_that_say_it_the_one_that_is_named_is_shown():
    sources = Sources.of(passages(FENCES, COMMITTEE, FENCES))
    sentence = "A fence along the street may be 1.2 metres high."
    assert check(sources, sentence, prefer={3}).n == 3
    assert check(sources, sentence, prefer={2}).n == 1


@pytest.mark.parametrize("sentence", ["", "...", "[1]", "It is so.", "¿?", "\x00"])
def test_what_has_no_words_of_its_own_claims_nothing(sentence):
    assert verdict(sentence, FENCES) == "no claim"


def test_without_passages_nothing_is_found():
    assert verdict("The committee decides.") == "not_found"
    assert verdict("The committee decides.", "", "\n\n") == "not_found"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,200 kr", "1 200 kronor"),
        ("1.200 Euro", "€1200"),
        ("2.5 million", "2,5 miljoner"),
        ("5 %", "five percent"),
        ("8 pm", "20:00"),
        ("kl. 7.30", "07:30"),
        ("5 March", "den 5 mars"),
        ("2024-03-05", "5. März 2024"),
        ("March 5", "05.03."),
        ("a year", "twelve months"),
        ("two weeks", "14 Tage"),
        ("120 cm", "1,2 meter"),
        ("zweimal", "twice"),
        ("den 3:e", "3rd"),
        ("50 cents", "0.50 euros"),
    ],
)
def test_figures_agree_however_they_are_written(one, other):
    assert figures(one)[0].agrees(figures(other)[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.2 metres", "1.2 km"),
        ("8 am", "8 pm"),
        ("5 March 2023", "5 March 2024"),
        ("5 March", "15 March"),
        ("12,500 kr", "125 kr"),
        ("30 days", "30 weeks"),
        ("5 %", "5 kr"),
        ("1:100", "1:200"),
        ("first", "second place"),
    ],
)
def test_figures_that_differ_do_not_agree(one, other):
    assert not figures(one)[0].agrees(figures(other)[0])


@pytest.mark.parametrize(
    "text", ["31.13.", "9" * 5000, "1:" * 300, "5.", "--", "1,2,3,4,5", "٣٤", "½", "0x1F", "1e999"]
)
def test_odd_figures_break_nothing(text):
    assert isinstance(figures(text), list)


ODD = st.lists(
    st.sampled_from([*"ab .,;:!?\n[]019%€`|#*-–'’不北å ", "not ", "and ", "may ", "2 weeks ", "E5 ", "31.12. "]),
    max_size=80,
).map("".join)


@given(ODD, st.lists(ODD, max_size=4))
@settings(deadline=None)
def test_whatever_is_said_a_verdict_lies_within_its_passage(content, texts):
    given = passages(*texts)
    found, unchecked = checked(content, given)
    assert unchecked == 0
    for told in found:
        assert 0 <= told["start"] < told["end"] <= len(content)
        if told["n"] is None:
            assert (told["support"], told["quote"], told["source_start"]) == ("not_found", "", None)
        else:
            passage = given[told["n"] - 1]
            start, end = (told[name] - passage.start for name in ("source_start", "source_end"))
            assert passage.text[start:end] == told["quote"] != ""


@pytest.mark.parametrize(
    "content",
    [
        "word " * 40_000,
        "a" * 200_000,
        "not 1 2 3 and or, " * 10_000,
        "A fence may be 1.2 metres high. [1]" * 5_000,
        "(" * 100_000 + "1" * 100_000,
        "1 " * 100_000,
        "| a | b [1] |\n" * 15_000,
        "`[1]" * 50_000,
        "Committee department committees departed. " * 4_000,
    ],
)
def test_a_huge_answer_takes_bounded_work(content):
    begun = time.thread_time()
    found, unchecked = checked(content, passages(*[f"{FENCES} {COMMITTEE} " * 20] * 8))
    assert len(found) <= MOST_SENTENCES
    assert time.thread_time() - begun < 10
    if "fence" in content:
        assert unchecked == 5_000 - MOST_SENTENCES


def test_a_huge_passage_is_looked_at_up_to_a_bound():
    sources = Sources.of(passages("Word is a word. " * (2 * MOST_UNITS)))
    assert len(sources.units) == MOST_UNITS
    assert sources.cut


def test_what_may_stand_in_passages_that_were_not_looked_at_has_no_verdict():
    long = passages("Word is a word. " * (MOST_UNITS + 1))
    found, unchecked = checked("The committee decides within eight weeks. Word is a word.", long)
    assert [told["support"] for told in found] == ["supported"]
    assert unchecked == 1


def test_the_development_set_does_not_get_worse():
    judged = _judge(_read("development"))
    precision, recall, _ = _rates([one for one in judged if not one.item.foreign])
    assert precision >= 0.88
    assert recall >= 0.97
