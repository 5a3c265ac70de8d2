"""Letters that were made to do harm, or that somebody spoiled."""

from __future__ import annotations

import folkmoot_parser_mail
import pytest
from folkmoot_sdk import TooLarge
from folkmoot_sdk.testing.parsers import read

SPEC = folkmoot_parser_mail.register_parsers()[0]
FIELDS = b"From: a@b.se\nSubject: S\nMIME-Version: 1.0\n"


def test_ten_thousand_parts_are_refused():
    part = b"--b\nContent-Type: application/pdf\n\nx\n"
    data = FIELDS + b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 10_000 + b"--b--\n"
    with pytest.raises(TooLarge, match=r"many\.eml has more than 5,000 parts"):
        read(SPEC, data, "many.eml")


@pytest.mark.parametrize("depth", [40, 3000])
def test_parts_within_parts_come_to_an_end(depth):
    data = FIELDS
    for level in range(depth):
        data += b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
    with pytest.raises(TooLarge, match=r"deep\.eml has parts within parts"):
        read(SPEC, data, "deep.eml")


def test_letters_within_letters_come_to_an_end():
    with pytest.raises(TooLarge, match="parts within parts"):
        read(SPEC, FIELDS + b"Content-Type: message/rfc822\n\n" * 3000 + b"x", "deep.eml")


def test_a_few_letters_within_letters_are_files_in_files():
    data = b"From: a@b.se\nSubject: last\n\nx"
    for _ in range(10):
        data = FIELDS + b"Content-Type: message/rfc822\n\n" + data
    for level in range(10, 0, -1):
        result = read(SPEC, data, "a.eml")
        ((name, data),) = result.members
        assert name == ("S.eml" if level > 1 else "last.eml")


@pytest.mark.parametrize(
    ("spoiled", "whole"),
    [
        (b"aGVsbG8gd29ybGQ", b"hello world"),
        (b"aGVs!!bG8gd29\nybGQ=", b"hello world"),
        (b"aGVsbG8gd29ybGQ=====", b"hello world"),
    ],
)
def test_base64_that_is_not_quite_right_is_read(spoiled, whole):
    text = b"Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n" + spoiled
    assert read(SPEC, FIELDS + text).members == [("a.pdf", whole)]


def test_a_file_whose_bytes_are_beyond_repair_does_not_end_the_others():
    data = FIELDS + b"Content-Type: multipart/mixed; boundary=b\n\n"
    data += b"--b\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nA\n"
    data += b"--b\nContent-Type: application/pdf; name=b.pdf\n\n%PDF\n--b--\n"
    result = read(SPEC, data)
    assert result.members == [("b.pdf", b"%PDF")]
    assert result.problems == ["a.pdf was not read: its bytes were damaged on the way"]


def test_a_letter_without_its_last_boundary_is_read_to_its_end():
    data = FIELDS + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n--b\nContent-Type: a/b; name=c\n\nhalf"
    result = read(SPEC, data)
    assert "Hello" in result.text
    assert result.members == [("c", b"half")]


def test_a_letter_of_several_parts_that_has_none_is_read_as_it_is():
    assert "words" in read(SPEC, FIELDS + b"Content-Type: multipart/mixed; boundary=b\n\nOnly words.\n").text


@pytest.mark.parametrize(
    "field",
    [
        b"To: " + b", ".join(b"Ada <a%d@b.se>" % number for number in range(50_000)),
        b"Subject: " + b"=?utf-8?q?x?= " * 100_000,
        b"Content-Type: text/plain" + b"; a=b" * 100_000,
        b'Content-Disposition: attachment; filename="' + b"x" * 1_000_000 + b'"',
        b"Content-Type: text/plain; charset=" + b"x" * 1_000_000,
        b"Content-Type: ;;;===\nContent-Disposition: =?",
    ],
)
def test_endless_and_broken_fields_are_cut(field):
    result = read(SPEC, b"From: a@b.se\n" + field + b"\n\nHello")
    assert "Hello" in result.text or result.members
    assert max(len(block.text) for block in result.blocks) < 21_000


def test_a_letter_that_is_too_large_is_refused_unread(monkeypatch):
    monkeypatch.setattr("folkmoot_parser_mail.mail.MOST_BYTES", 10 << 20)
    with pytest.raises(TooLarge, match="larger than 10 MB"):
        read(SPEC, FIELDS + b"\n" + bytes(11 << 20), "a.eml")


def test_html_beyond_all_depth_is_read_without_recursion():
    text = b"Content-Type: text/html\n\n" + b"<div>" * 20_000 + b"deep" + b"</div>" * 20_000 + b"<p>after</p>"
    assert read(SPEC, FIELDS + text).blocks


def test_entities_of_its_own_are_not_expanded():
    laughs = b'<!DOCTYPE h [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><p>&b;&b; words</p>'
    assert "hahaha" not in read(SPEC, FIELDS + b"Content-Type: text/html\n\n" + laughs).text
