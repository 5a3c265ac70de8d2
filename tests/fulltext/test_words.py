"""What the full-text index knows of a text: stems, stop words, names, and scripts without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.fulltext.stop_words import STOP_WORDS
from folkmoot.fulltext.words import LONGEST_WORD, SNOWBALL, ask, fold, key_of, terms


def keys(language: str, text: str) -> set[int]:
    return set(terms(language, text).counts)


def asked(query: str, *languages: str) -> set[int]:
    return {key for word in ask(query, languages).words for key in word.keys}


def finds(query: str, text: str, language: str) -> bool:
    return bool(asked(query, language) & keys(language, text))


@pytest.mark.parametrize(
    ("language", "query", "text"),
    [
        ("sv", "planken", "Ett plank vid gatan"),
        ("sv", "hundarna", "hundar"),
        ("en", "fences", "a fence"),
        ("de", "Häuser", "des Hauses, häusern"),
        ("no", "barnehagene", "barnehage"),
        ("fi", "taloissa", "talossa"),
        ("ru", "книги", "книгой"),
        ("hi", "किताबें", "किताबें मेज़ पर हैं"),
        ("zh", "东京都", "我住在东京都新宿区"),
        ("ja", "図書館", "市立図書館の利用"),
        ("ko", "도서관", "시립도서관에서 책을"),
        ("th", "ห้องสมุด", "ไปห้องสมุดประชาชน"),
        ("", "Ångström", "ÅNGSTRÖM"),
        ("en", "ﬁre", "fire"),
        ("en", "co\u00adoperate", "cooperate"),
    ],
)
def test_a_word_is_found_in_its_other_forms(language, query, text):
    assert finds(query, text, language)


def test_stop_words_say_nothing():
    assert terms("en", "it is what it is").counts == {}
    assert not finds("vad är det som", "det är som det är", "sv")


@pytest.mark.parametrize(("text", "query"), [("Ring IT vid fel", "IT"), ("the WHO said", "what did the WHO say")])
def test_a_word_in_capitals_is_kept_whatever_it_means_in_small_ones(text, query):
    language = "sv" if "Ring" in text else "en"
    assert finds(query, text, language)


def test_a_question_all_in_capitals_is_read_as_any_other():
    assert asked("WHAT IS THE FEE", "en") == asked("what is the fee", "en")


def test_the_small_words_of_a_question_mean_nothing_in_the_other_languages_either():
    assert asked("how high may a fence be", "en", "sv") == asked("high fence", "en", "sv") | asked("may", "en", "sv")


def test_a_word_is_looked_for_as_each_language_has_it():
    (word,) = ask("departments", ["en", "sv"]).words
    assert set(word.keys) == {key_of("depart"), key_of("department")}


def test_length_counts_each_time_a_word_stands_there():
    found = terms("en", "Fence, fence and fences.", "Boats")
    assert found.length == 4
    assert found.counts[key_of("fenc")] == 3


@pytest.mark.parametrize("mark", ['"{}"', "\u201d{}\u201d", "\u00bb{}\u00ab", "\u201e{}\u201c"])
def test_what_stands_in_quotation_marks_is_a_phrase(mark):
    assert ask(f"what is {mark.format('The  High Fence')} for", ["en"]).phrases == ("the high fence",)


def test_one_word_in_quotation_marks_is_no_phrase():
    assert ask('what is a "fence"', ["en"]).phrases == ()


def test_a_word_without_end_is_cut():
    assert keys("en", "x" * 10_000) == {key_of("x" * LONGEST_WORD)}


@given(st.text(max_size=300), st.sampled_from(["", "sv", "en", "zh", "ar", "hi", "xx"]))
def test_any_text_has_words_and_asks(text, language):
    found = terms(language, text)
    assert found.length == sum(found.counts.values())
    assert all(-(2**63) <= key < 2**63 for key in found.counts)
    assert fold(fold(text)) == fold(text)
    ask(text, [language, "sv"])


def test_every_language_named_can_be_stemmed():
    for code in SNOWBALL:
        assert terms(code, "folkmoot 2026").length == 2


def test_stop_words_are_written_as_they_are_looked_up():
    assert all(word == word.lower() for words in STOP_WORDS.values() for word in words)
