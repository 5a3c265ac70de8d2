"""Which parser reads a file."""

from __future__ import annotations

import pytest
from folkmoot_sdk import CorruptFile, ParserSpec, UnsupportedFile

from folkmoot.plugins.builtin import register_parsers
from folkmoot.plugins.choose import EmptyFile, WronglyNamed, choose_parser


def spec(kind, media_type, suffix, mark=None, priority=0):
    return ParserSpec(
        kind=kind,
        title=kind.upper(),
        media_types=(media_type,),
        suffixes=(suffix,),
        parse=lambda source: (),
        sniff=lambda head: media_type if mark and head.startswith(mark) else None,
        priority=priority,
    )


PARSERS = (
    *register_parsers(),
    spec("pdf", "application/pdf", ".pdf", b"%PDF-"),
    spec("docx", "application/x-docx", ".docx", b"PK\x03\x04word"),
)


def chosen(head: bytes, name: str) -> tuple[str, str]:
    found, media_type = choose_parser(PARSERS, head, name)
    return found.kind, media_type


def test_the_bytes_win_over_the_name():
    assert chosen(b"%PDF-1.7", "notes.txt") == ("pdf", "application/pdf")
    assert chosen(b"<!doctype html><p>x", "notes.txt") == ("html", "text/html")


def test_the_name_decides_among_texts():
    assert chosen(b"# Hello", "a.MD") == ("markdown", "text/markdown")
    assert chosen(b"a\tb", "a.tsv") == ("csv", "text/tab-separated-values")
    assert chosen("hej".encode("utf-16"), "a.txt") == ("text", "text/plain")
    assert chosen(b'{"a": 1}', "a.json") == ("json", "application/json")
    assert chosen(b'{"a": 1}\n{"a": 2}', "a.ndjson") == ("json", "application/jsonl")
    assert chosen(b"<a/>", "a.xml") == ("xml", "application/xml")


@pytest.mark.parametrize("name", ["main.py", "README", "data.unknown", "../../etc/passwd", ".hidden"])
def test_text_of_an_unknown_kind_is_still_text(name):
    assert chosen(b'{"a": "text"}', name) == ("text", "text/plain")


def test_a_file_named_like_a_pdf_that_is_none_is_wrongly_named():
    with pytest.raises(WronglyNamed, match=r"^report\.pdf is named like a PDF but is not one: it looks like plain"):
        chosen(b"Dear all,", "report.pdf")
    with pytest.raises(WronglyNamed, match="it looks like a PNG picture"):
        chosen(b"\x89PNG\r\n\x1a\n" + bytes(20), "report.docx")
    assert issubclass(WronglyNamed, UnsupportedFile)


def test_a_container_that_cannot_be_told_from_its_first_bytes_is_left_to_its_parser():
    assert chosen(b"PK\x03\x04[Content_Types].xml", "a.docx")[0] == "docx"
    assert chosen(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), "locked.docx")[0] == "docx"


@pytest.mark.parametrize(
    ("head", "name", "what"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "photo.png", "a PNG picture"),
        (b"\xff\xd8\xff\xe0\x00\x10", "photo.txt", "a JPEG picture"),
        (b"PK\x03\x04\x14\x00\x00\x00", "all.zip", "a ZIP archive"),
        (b"PK\x03\x04\x14\x00\x00\x00", "letter.odt", "an OpenDocument text"),
        (b"\x7fELF\x02\x01\x01" + bytes(9), "run", "a program"),
        (bytes(range(256)), "noise.csv", "binary data"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(head, name, what):
    with pytest.raises(
        UnsupportedFile, match=rf"{name} is {what}.*CSV, DOCX, HTML, JSON, Markdown, PDF, Plain text, XML"
    ):
        chosen(head, name)


def test_a_text_that_begins_with_the_letters_of_a_picture_is_text():
    with pytest.raises(WronglyNamed, match="looks like plain text"):
        chosen(b"BMW makes cars", "cars.pdf")


def test_an_empty_file_is_corrupt_under_a_code_of_its_own():
    with pytest.raises(EmptyFile, match="is empty: there is nothing") as caught:
        chosen(b"", "a.txt")
    assert isinstance(caught.value, CorruptFile)
    assert caught.value.code == "empty-file"


def test_a_sniff_that_fails_or_lies_keeps_nobody_else_from_reading():
    def fail(head):
        raise ValueError(head)

    bad = spec("bad", "x/bad", ".bad", priority=9)
    parsers = (
        ParserSpec("bad", "Bad", bad.media_types, bad.suffixes, bad.parse, fail, 9),
        ParserSpec("liar", "Liar", ("x/liar",), (".liar",), bad.parse, lambda head: "x/other", 8),
        *PARSERS,
    )
    assert choose_parser(parsers, b"%PDF-1.7", "a.pdf")[0].kind == "pdf"


def test_of_two_parsers_for_one_format_the_first_in_order_reads():
    better = spec("better", "application/pdf", ".pdf", b"%PDF-", priority=1)
    assert choose_parser((better, *PARSERS), b"%PDF-1.7", "a.pdf")[0].kind == "better"
