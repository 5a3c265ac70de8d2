"""The sentences that answer a question, as they stand, and an honest word where there are none."""

from __future__ import annotations

import logging
import time

import pytest
from folkmoot_provider_extractive import Config, connect
from folkmoot_provider_extractive.answer import compose
from folkmoot_provider_extractive.pick import pick
from folkmoot_provider_extractive.words import LANGUAGES, detect
from folkmoot_sdk import ChatRequest, Finish, Message, ModelNotFound, Passage, PluginContext, TextDelta, TextPart, Usage
from folkmoot_sdk.testing.harness import FixedClock
from hypothesis import given
from hypothesis import strategies as st

LIBRARY = (
    "# Library rules\nThe library is open Monday to Friday, 9 a.m. to 6 p.m. It was founded in 1912 by Dr. Ada Lund. "
    "Members may borrow up to 12 books for 28 days. Late returns cost 2 euros per week.\n\n"
    "Name | Role | Phone\nBo Ek | Caretaker | 555-0199\nCy Ray | Director | 555-0101\n"
)
LEAVE = (
    "Semester\n\nAnställda har rätt till 25 dagars betald semester per år, t.ex. under sommaren. Den som har fyllt "
    "40 år har 31 dagar. Ansökan lämnas senast den 15. april till närmaste chef.\n\nSjukfrånvaro\nSjukanmälan görs "
    "före kl. 9.00 till chefen. Läkarintyg krävs från dag 8. Kontakta HR-chefen Anna Berg vid frågor."
)


def request(question, *passages, grounded=True, earlier=()):
    turns = [Message("user", (TextPart(text),)) for text in (*earlier, question)]
    found = tuple(
        given if isinstance(given, Passage) else Passage(n, given, "a.md") for n, given in enumerate(passages, 1)
    )
    return ChatRequest("extractive", tuple(turns), passages=found, grounded=grounded)


def extracts(question, *passages, **more):
    """The sentences of an answer, with their markers."""
    return compose(request(question, *passages, **more)).split("\n\n")[1:]


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        ("When was the library founded?", LIBRARY, "It was founded in 1912 by Dr. Ada Lund. [1]"),
        ("Who founded it?", LIBRARY, "It was founded in 1912 by Dr. Ada Lund. [1]"),
        ("How many books may members borrow?", LIBRARY, "Members may borrow up to 12 books for 28 days. [1]"),
        ("How much do late returns cost?", LIBRARY, "Late returns cost 2 euros per week. [1]"),
        ("What is the director's phone number?", LIBRARY, "Cy Ray | Director | 555-0101 [1]"),
        (
            "Hur många semesterdagar har jag rätt till per år?",
            LEAVE,
            "Anställda har rätt till 25 dagars betald semester per år, t.ex. under sommaren. [1]",
        ),
        ("När ska ansökan lämnas?", LEAVE, "Ansökan lämnas senast den 15. april till närmaste chef. [1]"),
        ("Vem kontaktar jag vid frågor?", LEAVE, "Kontakta HR-chefen Anna Berg vid frågor. [1]"),
        ("läkarintyg", LEAVE, "Läkarintyg krävs från dag 8. [1]"),
        ("Wie hoch ist die Gebühr?", "Hunde beißen. Die Gebühren sind 3 Euro.", "Die Gebühren sind 3 Euro. [1]"),
        ("Hvor mange bøker kan jeg låne?", "Åpent nå. Du kan låne 20 bøker.", "Du kan låne 20 bøker. [1]"),
        ("Hvornår lukker museet?", "Museet er stort. Museet lukker kl. 17.", "Museet lukker kl. 17. [1]"),
        ("Kuinka pitkä on laina-aika?", "Ovi on auki. Laina-aika on 28 päivää.", "Laina-aika on 28 päivää. [1]"),
    ],
)
def test_the_sentence_that_answers_is_among_the_extracts(question, text, answer):
    assert answer in extracts(question, text)


def test_each_sentence_carries_the_marker_of_its_passage_and_they_keep_their_order():
    found = extracts(
        "How high is the parking fee?",
        Passage(4, "The parking fee is 30 kronor an hour.", "b.md"),
        Passage(7, "Trees are green. Residents pay a parking fee of 200 kronor a month.", "a.md"),
    )
    assert found == [
        "The parking fee is 30 kronor an hour. [4]",
        "Residents pay a parking fee of 200 kronor a month. [7]",
    ]


def test_the_same_fact_is_not_told_twice():
    found = extracts("What is the fee?", "The fee is 30 kronor.", "The fee is 30 kronor.", "So the fee is 30 kronor.")
    assert found == ["The fee is 30 kronor. [1]"]


def test_never_more_than_three():
    text = " ".join(f"The fee in zone {letter} is {n}0 kronor for {letter * 5}." for n, letter in enumerate("abcdefgh"))
    assert 1 <= len(extracts("What is the fee?", text)) <= 3


def test_a_heading_lends_its_words_to_the_sentence_under_it():
    text = "Opening hours\nMonday to Friday 9–17.\n\nParking\nThere are 40 places behind the house."
    assert "Monday to Friday 9–17. [1]" in extracts("What are the opening hours?", text)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_it_says_what_it_is_in_the_language_of_the_question(language):
    question, text = {
        "en": ("What is the fee?", "The fee is 3."),
        "sv": ("Vad är avgiften?", "Avgiften är 3."),
        "no": ("Hva er gebyret?", "Gebyret er 3."),
        "da": ("Hvad er gebyret?", "Gebyret er 3."),
        "fi": ("Mikä on maksu?", "Maksu on 3."),
        "de": ("Was ist die Gebühr?", "Die Gebühr ist 3."),
    }[language.code]
    assert compose(request(question, text)) == f"{language.extracts}\n\n{text} [1]"
    assert compose(request(question)) == language.nothing
    assert compose(request(question, "Zebra xylofon.")) == language.nothing
    assert compose(request(question, grounded=False)) == language.no_documents


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("How many days?", "en"),
        ("Hur länge får man låna en bok?", "sv"),
        ("Hvor lenge kan jeg låne en bok?", "no"),
        ("Hvor længe må jeg låne en bog?", "da"),
        ("Kuinka kauan voin lainata kirjaa?", "fi"),
        ("Wie lange kann ich ein Buch ausleihen?", "de"),
        ("GDPR?", None),
        ("", None),
    ],
)
def test_the_language_of_a_question_is_found(question, code):
    found = detect(question)
    assert (found.code if found else None) == code


def test_a_question_of_one_word_takes_the_language_of_the_documents():
    assert compose(request("Läkarintyg?", LEAVE)).startswith("Ingen språkmodell")
    assert compose(request("Fee?", "The fee is 3.")).startswith("No language model")


@pytest.mark.parametrize("question", ["", "?", "What is it?", "😀", "the and of"])
def test_a_question_without_content_finds_nothing(question):
    assert extracts(question, LIBRARY) == []


def test_a_follow_up_without_content_is_about_what_was_asked_before():
    assert extracts("And why is that?", LIBRARY, earlier=["What do late returns cost?"]) == [
        "Late returns cost 2 euros per week. [1]"
    ]


@given(st.text(max_size=80), st.lists(st.text(max_size=200), min_size=1, max_size=3))
def test_every_extract_stands_in_its_passage_byte_for_byte(question, texts):
    passages = [Passage(n, f"{text} fee", "a.md") for n, text in enumerate(texts, 1)]
    picked = pick(f"fee {question}", passages, LANGUAGES[0])
    assert 1 <= len(picked) <= 3
    for sentence in picked:
        assert passages[sentence.n - 1].text[sentence.start : sentence.end] == sentence.text
    answer = compose(request(f"fee {question}", *passages))
    body = "\n\n".join(f"{sentence.text} [{sentence.n}]" for sentence in picked)
    assert answer.endswith(body) or not answer.startswith(LANGUAGES[0].extracts)


async def test_it_streams_word_by_word_and_counts_words():
    context = PluginContext(http=None, log=logging.getLogger("x"), clock=FixedClock())
    async with connect(Config(), context) as connection:
        [model] = await connection.models()
        assert (model.name, model.passages) == ("extractive", True)
        asked = request("What is the fee?", "The fee is 3.")
        events = [event async for event in connection.chat(asked)]
        with pytest.raises(ModelNotFound, match="gpt-4o"):
            await anext(connection.chat(ChatRequest("gpt-4o", asked.messages)))
    *deltas, usage, finish = events
    assert all(isinstance(delta, TextDelta) and len(delta.text.split()) == 1 for delta in deltas)
    assert "".join(delta.text for delta in deltas) == compose(asked)
    assert usage == Usage(8, len(deltas))
    assert finish == Finish("stop")


def test_eight_long_passages_take_milliseconds():
    stems = ("semester", "avgift", "ansökan", "dag", "chef", "bok")
    words = [f"{stem}{ending}" for stem in stems for ending in ("en", "ens", "arna", "x")]
    passages = []
    for n in range(8):
        sentences = (" ".join(words[(n * 7 + k * 5 + j) % len(words)] for j in range(9)) for k in range(40))
        passages.append(". ".join(s.capitalize() for s in sentences)[:2000])
    asked = request("Hur många dagar har chefen på sig att svara på en ansökan om semester?", *passages)
    compose(asked)
    best = min(_timed(asked) for _ in range(5))
    assert best < 0.03, f"{best * 1000:.1f} ms"  # the aim is 5 ms; a busy machine is given room


def _timed(asked):
    start = time.perf_counter()
    compose(asked)
    return time.perf_counter() - start


def test_a_flood_of_text_ends_soon():
    start = time.perf_counter()
    compose(request("fee " * 50_000, "fee " * 50_000, "a|b\t" * 20_000))
    assert time.perf_counter() - start < 3
