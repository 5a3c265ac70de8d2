"""Which language a text is in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from folkmoot.parsing.language import detect, normalise


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Alla människor är födda fria och lika i värde och rättigheter.", "sv"),
        ("Alle mennesker er født frie og med samme menneskeverd og menneskerettigheter.", "no"),
        ("Eg veit ikkje kva dei seier om dette, men me får sjå korleis det går.", "no"),
        ("Alle mennesker er født frie og lige i værdighed og rettigheder.", "da"),
        ("Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan.", "fi"),
        ("All human beings are born free and equal in dignity and rights.", "en"),
        ("Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "de"),
        ("Tous les êtres humains naissent libres et égaux en dignité.", "fr"),
        ("人人生而自由,在尊严和权利上一律平等。", "zh"),
    ],
)
def test_one_sentence_is_enough(text, language):
    assert detect(text) == language


@pytest.mark.parametrize(
    ("swedish", "norwegian", "danish"),
    [
        ("Hur söker jag föräldraledighet?", "Hvordan søker jeg om foreldrepermisjon?", "Hvordan søger jeg orlov?"),
        ("Det är inte tillåtet att röka.", "Det er ikke tillatt å røyke her.", "Det er ikke tilladt at ryge."),
        ("Tack för hjälpen!", "Takk for hjelpen!", "Tak for hjælpen!"),
    ],
)
def test_the_neighbours_are_told_apart_even_in_a_few_words(swedish, norwegian, danish):
    assert [detect(swedish), detect(norwegian), detect(danish)] == ["sv", "no", "da"]


@pytest.mark.parametrize(
    "text", ["", "x", "1 234,50 kr", "AB-123/45 67 89", "https://example.org/om/oss/och/kontakt", "foo@example.org"]
)
def test_what_has_no_words_has_no_language(text):
    assert detect(text) == ""


def test_addresses_and_numbers_do_not_decide():
    assert detect("https://www.example.com/the/english/way " * 20 + "Var finns protokollet från mötet i går?") == "sv"


def test_a_long_text_is_found_by_its_beginning_in_little_time():
    assert detect("Styrelsen har sammanträtt fem gånger under året. " * 100_000) == "sv"


def test_codes_are_brought_to_one_form():
    assert [normalise(code) for code in ("nb", "nn", "no", "swe", "sv", "xx")] == ["no", "no", "no", "sv", "sv", "xx"]


def test_importing_it_loads_no_model():
    code = "import sys, folkmoot.parsing.language; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
