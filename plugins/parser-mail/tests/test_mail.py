"""Letters as programs write them, well and badly."""

from __future__ import annotations

import base64
import textwrap
from datetime import UTC, datetime
from email.message import EmailMessage

import folkmoot_parser_mail
import pytest
from folkmoot_sdk import Member
from folkmoot_sdk.testing.parsers import read

SPEC = folkmoot_parser_mail.register_parsers()[0]
FIELDS = "From: a@b.se\nTo: c@d.se\nSubject: S\nMIME-Version: 1.0\n"


def letter(text: str | bytes, fields: str = FIELDS) -> bytes:
    body = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    return fields.encode() + body


def body(data: bytes, **more) -> list[str]:
    """What is said below the fields."""
    return [block.text for block in read(SPEC, data, "a.eml", **more).blocks[2:]]


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        (b"=?utf-8?q?Beslut_om_=C3=A5n?=", "Beslut om ån"),
        (b"=?iso-8859-1?q?=E5?=\r\n =?utf-8?b?w6Q=?= slut", "åä slut"),
        (b"Re: =?windows-1252?q?=80_100?=", "Re: € 100"),
        ("Rå text på ån".encode(), "Rå text på ån"),
        ("Rå text".encode("latin-1"), "Rå text"),
        (b"=?utf-8?b?A?= x", "=?utf-8?b?A?= x"),
        (b"=?no-such-charset?q?=C3=A5?=", "å"),
        (b"=?idna?q?abc?=", "abc"),
        (b"a\r\n\tlong\r\n one", "a long one"),
        (b"", "(no subject)"),
    ],
)
def test_a_subject_is_read_in_any_encoding(raw, subject):
    result = read(SPEC, b"From: a@b.se\r\nSubject: " + raw + b"\r\n\r\nHi")
    assert (result.blocks[0].text, result.blocks[0].kind, result.blocks[0].level) == (subject, "heading", 1)
    assert result.info.title == (subject if raw else None)


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("iso-8859-1", "räksmörgås".encode("latin-1")),
        ("utf-8", "räksmörgås".encode()),
        ("us-ascii", "räksmörgås".encode()),
        ("us-ascii", "räksmörgås".encode("cp1252")),
        ("utf-8", "räksmörgås".encode("cp1252")),
        ("x-unknown", "räksmörgås".encode()),
        ("zlib", "räksmörgås".encode()),
        ("utf-16", "räksmörgås".encode("utf-16")),
        ('"UTF-8"', "räksmörgås".encode()),
    ],
)
def test_a_text_is_read_in_any_encoding(charset, data):
    head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n"
    assert body(letter(head.encode() + base64.encodebytes(data))) == ["räksmörgås"]


def test_html_is_read_where_there_is_no_plain_text():
    text = """\
        Content-Type: text/html; charset=utf-8

        <html><head><title>no</title><style>p {}</style></head><body>
        <div style="display: none">preview</div>
        <h2>Möte</h2><p>Vi ses<br>på <b>tisdag</b>.</p><ul><li>Kaffe<ul><li>Svart</li></ul></li><li>Te</li></ul>
        <table><tr><td>Tid</td><td>10.00</td></tr></table><p>&nbsp;</p></body></html>
        """
    result = read(SPEC, letter(text))
    assert [(block.kind, block.text) for block in result.blocks[2:]] == [
        ("heading", "Möte"),
        ("paragraph", "Vi ses\npå tisdag."),
        ("list", "- Kaffe\n  - Svart\n- Te"),
        ("paragraph", "Tid"),
        ("paragraph", "10.00"),
    ]


ALTERNATIVE = """\
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain

{plain}
--b
Content-Type: text/html

<p>In HTML</p>
--b--
"""


@pytest.mark.parametrize(("plain", "said"), [("In words", "In words"), ("  ", "In HTML")])
def test_of_two_ways_to_say_it_the_plain_one_is_read_if_it_says_anything(plain, said):
    assert body(letter(ALTERNATIVE.format(plain=plain))) == [said]


def test_a_file_that_lies_among_the_ways_to_say_it_is_kept():
    made = EmailMessage()
    made["From"], made["Subject"] = "a@b.se", "S"
    made.set_content("In words")
    made.add_alternative("<p>In HTML</p>", subtype="html")
    made.get_payload()[1].make_mixed()
    made.get_payload()[1].add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    result = read(SPEC, bytes(made))
    assert result.members == [("a.pdf", b"%PDF")]
    assert "In words" in result.text
    assert "In HTML" not in result.text


def test_a_forwarded_letter_is_a_file_with_its_subject_for_a_name():
    inner = EmailMessage()
    inner["From"], inner["Subject"], inner["Date"] = "x@y.se", "Gammalt/nytt ärende", "Wed, 01 May 2024 12:30:00 +0200"
    inner.set_content("Det första brevet.")
    inner.add_attachment(b"bytes", maintype="application", subtype="pdf", filename="a.pdf")
    outer = EmailMessage()
    outer["From"], outer["Subject"] = "a@b.se", "Vb: ärende"
    outer.set_content("Se nedan.")
    outer.add_attachment(inner)
    result = read(SPEC, bytes(outer), "a.eml")
    assert [name for name, _ in result.members] == ["Gammalt-nytt ärende.eml"]
    again = read(SPEC, result.members[0][1], "inner.eml")
    assert "Det första brevet." in again.text
    assert "Det första brevet." not in result.text
    assert again.members == [("a.pdf", b"bytes")]


def test_inline_pictures_are_left_out_and_attached_ones_kept():
    made = EmailMessage()
    made["From"], made["Subject"] = "a@b.se", "S"
    made.set_content("Se bilden.")
    made.add_attachment(b"logo", maintype="image", subtype="png", filename="logo.png", disposition="inline")
    made.add_attachment(b"photo", maintype="image", subtype="jpeg", filename="foto.jpg")
    assert read(SPEC, bytes(made)).members == [("foto.jpg", b"photo")]


def test_attachments_bear_the_time_of_the_letter_and_their_type():
    made = EmailMessage()
    made["From"], made["Date"] = "a@b.se", "Wed, 01 May 2024 12:30:00 +0200"
    made.add_attachment(bytes(1_500_000), maintype="application", subtype="pdf", filename="a.pdf")
    pieces = [event for event in read(SPEC, bytes(made)).events if isinstance(event, Member)]
    assert [len(piece.data) for piece in pieces] == [1 << 20, 1_500_000 - (1 << 20)]
    assert {piece.modified_at for piece in pieces} == {datetime(2024, 5, 1, 10, 30, tzinfo=UTC)}
    assert {piece.media_type for piece in pieces} == {"application/pdf"}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\Users\\\\a.txt"', "a.txt"),
        ("attachment; filename*=utf-8''%C3%A5%20%2F%20b.pdf", "b.pdf"),
        ('attachment; filename="=?utf-8?q?=C3=A5r.pdf?="', "år.pdf"),
        ('attachment; filename="år.pdf"', "år.pdf"),
        ("attachment; filename*0=lo; filename*1=ng.pdf", "long.pdf"),
        ('attachment; filename=".."', "attachment 1.pdf"),
        ("attachment", "attachment 1.pdf"),
    ],
)
def test_attachments_have_names_that_stay_inside(disposition, name):
    text = f"Content-Type: application/pdf\nContent-Disposition: {disposition}\n\n%PDF"
    assert read(SPEC, letter(text)).members == [(name, b"%PDF")]


@pytest.mark.parametrize("text", ["Content-Type: application/ms-tnef\n\nx", "Content-Type: a/b; name=winmail.dat\n\nx"])
def test_what_outlook_packed_for_itself_is_told(text):
    result = read(SPEC, letter(text))
    assert result.members == []
    assert "winmail.dat was not read: Outlook packed attachments in its own format" in result.info.warnings[0]


def test_wrapped_lines_are_put_together_where_the_letter_says_that_they_were():
    lines = ["One line ", "that goes on.", "Another.", "> quoted ", "> and more", "not quoted", "-- ", "Ada"]
    text = "\n".join(["Content-Type: text/plain; format=flowed", "", *lines])
    assert body(letter(text)) == ["One line that goes on.\nAnother.\n> quoted and more\nnot quoted\n--\nAda"]


def test_a_report_says_what_was_not_delivered():
    text = """\
        Content-Type: multipart/report; boundary=b

        --b

        It could not be delivered.
        --b
        Content-Type: message/delivery-status

        Reporting-MTA: dns; mail.se

        Final-Recipient: rfc822; bo@example.org
        --b--
        """
    assert body(letter(text)) == [
        "It could not be delivered.",
        "Reporting-MTA: dns; mail.se",
        "Final-Recipient: rfc822; bo@example.org",
    ]


def test_prose_and_other_fields_are_no_mail():
    for head in (
        b"Dear all:\n\nfrom: here\n",
        b"HTTP/1.1 200 OK\nDate: x\nContent-Type: y\n\n",
        b"title: a\nauthor: b\ndate: c\n\n# Text\n",
        b"From: the desk of Ada\nWe write to you today about it.\n",
    ):
        assert SPEC.sniff(head) is None
    assert SPEC.sniff(b"From ada Wed May  1\nReceived: x\n y\nFrom: a@b.se\nSubject: s\n\n") == "message/rfc822"
