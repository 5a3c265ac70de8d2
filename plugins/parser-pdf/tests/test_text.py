"""Cleaning and joining, without a PDF."""

from __future__ import annotations

import pytest
from folkmoot_parser_pdf.text import Joiner, clean


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("e\ufb03cient \ufb01sh", "efficient fish"),
        ("a\u030ar", "år"),
        ("one\u00a0two\u2003three", "one two three"),
        ("bell\x07 nul\0 dot\uf0b7 hole\ufffe\ufffd half\ud800", "bell nul dot hole half"),
        ("\ufeb3\ufefc\ufee1", "سلام"),
        ("plain ascii", "plain ascii"),
    ],
)
def test_text_is_as_a_person_would_type_it(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (["muni-", "cipal"], "municipal"),
        (["soft\u00ad", "ly"], "softly"),
        (["pages 3-", "5"], "pages 3-5"),
        (["Vor-", "und Nachteile"], "Vor- und Nachteile"),
        (["EU-", "länder"], "EU-länder"),
        (["a dash -", "and on"], "a dash - and on"),
        (["日本", "語"], "日本語"),
        (["one", "", "two"], "one two"),
        (["-", "x"], "- x"),
    ],
)
def test_lines_are_joined(parts: list[str], joined: str) -> None:
    assert Joiner().join(parts) == joined


def test_a_hyphen_seen_inside_a_line_is_kept_at_the_end_of_one() -> None:
    joiner = Joiner()
    joiner.remember("such a well-known thing as this")
    assert joiner.join(["a well-", "known thing"]) == "a well-known thing"
