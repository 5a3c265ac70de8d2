from __future__ import annotations

import base64
from email.message import EmailMessage

import folkmoot_parser_mail as mail
from folkmoot_sdk import CorruptFile, EncryptedFile, UnsupportedFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample

SPECS = {spec.kind: spec for spec in mail.register_parsers()}
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(40)


def a_letter() -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = "Åsa Öberg <asa@kommun.se>"
    letter["To"] = "Ada Lovelace <ada@example.org>, Bo Ek <bo@example.org>"
    letter["Cc"] = "arkiv@kommun.se"
    letter["Date"] = "Wed, 01 May 2024 12:30:00 +0200"
    letter["Subject"] = "Beslut om slussen i Norr"
    letter["Message-ID"] = "<1@kommun.se>"
    letter.set_content("Hej!\n\nSlussen öppnas på måndag.\n\n> När öppnas slussen?\n> Ada\n\nVänligen\nÅsa\n")
    return letter


def with_everything() -> bytes:
    letter = a_letter()
    letter.add_alternative("<p>Hej!</p><p>Slussen <b>öppnas</b> på måndag.</p><img src='cid:logo'>", subtype="html")
    letter.get_payload()[1].add_related(PICTURE, "image", "png", cid="<logo>")
    letter.add_attachment(b"%PDF-1.7 beslut", maintype="application", subtype="pdf", filename="beslut nr 7 å.pdf")
    letter.add_attachment("namn;år\nAda;1815\n", subtype="csv", filename="lista.csv")
    return bytes(letter)


class TestMail(ParserConformance):
    plugin = "folkmoot_parser_mail"
    spec = SPECS["mail"]

    def samples(self) -> list[Sample]:
        head = ("Beslut om slussen i Norr", "From: Åsa Öberg <asa@kommun.se>", "Bo Ek", "Cc: arkiv", "2024-05-01 12:30")
        said = ("Slussen öppnas på måndag.", "> När öppnas slussen?", "Vänligen")
        inside = {"beslut nr 7 å.pdf": b"%PDF-1.7 beslut", "lista.csv": "namn;år\nAda;1815\n".encode()}
        files = ("- beslut nr 7 å.pdf - lista.csv",)
        return [
            Sample("plain.eml", bytes(a_letter()), "message/rfc822", (*head, *said), members={}),
            Sample("all.eml", with_everything(), "message/rfc822", (*head, *said, *files), members=inside),
        ]

    def broken(self) -> list[Broken]:
        secret = (
            b"From: a@b.se\nSubject: x\nDate: y\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\n"
        )
        pgp = b"From: a@b.se\nSubject: x\nContent-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--\n"
        return [
            Broken("words.eml", b"Only words\n\nand no fields.\n", CorruptFile),
            Broken("smime.eml", secret + base64.b64encode(b"x"), EncryptedFile),
            Broken("pgp.eml", pgp, EncryptedFile),
        ]


def test_a_message_of_outlook_is_known_and_refused_with_the_way_out():
    outlook = SPECS["outlook"]
    data = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000) + "__properties_version1.0".encode("utf-16-le") + bytes(500)
    )
    assert outlook.sniff(data) == "application/vnd.ms-outlook"
    assert outlook.sniff(data[:1000]) is None
    assert outlook.sniff(b"From: a@b.se\n") is None
    kit = ParserConformance()
    kit.spec = outlook
    message = str(kit._refused(Broken("a.msg", data, UnsupportedFile)))
    assert "a.msg" in message
    assert "save it as .eml" in message
    kit._refused(Broken("a.msg", b"", CorruptFile))
