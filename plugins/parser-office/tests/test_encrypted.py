from __future__ import annotations

import io
import random
import zipfile

import docx
import folkmoot_parser_office as office
import pytest
from folkmoot_sdk import CorruptFile, EncryptedFile, TooLarge
from folkmoot_sdk.testing.parsers import ParserConformance, Sample, read
from msoffcrypto.format.ooxml import OOXMLFile

SPECS = {spec.kind: spec for spec in office.register_parsers()}
TYPES = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
PASSWORD = "blåbärssoppa"


def locked(data: bytes) -> bytes:
    package = io.BytesIO(data)
    with zipfile.ZipFile(package, "a") as archive:
        # The library encrypts nothing below four kilobytes, which no program writes.
        if "[Content_Types].xml" not in archive.namelist():
            archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("padding.bin", random.Random(1).randbytes(8_000))
    out = io.BytesIO()
    OOXMLFile(package).encrypt(PASSWORD, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def document() -> bytes:
    plain = docx.Document()
    plain.add_paragraph("Endast för nämnden.")
    buffer = io.BytesIO()
    plain.save(buffer)
    return locked(buffer.getvalue())


class TestEncrypted(ParserConformance):
    plugin = "folkmoot_parser_office"
    spec = SPECS["office-legacy"]

    @pytest.fixture(autouse=True)
    def _made_once(self, document):
        self.document = document

    def samples(self) -> list[Sample]:
        return [Sample("a.docx", self.document, "application/x-cfb", ("Endast för nämnden.",), password=PASSWORD)]

    def broken(self):
        return []


def test_each_program_s_files_open_with_their_password(make):
    workbook = make.sheet('<sheetData><row><c t="inlineStr"><is><t>Hemlig siffra</t></is></c></row></sheetData>')
    assert "Hemlig siffra" in read(SPECS["office-legacy"], locked(workbook), "b.xlsx", password=PASSWORD).text
    # The parser of the format itself opens it too, should the host ask that one by the suffix.
    assert "Hemlig siffra" in read(SPECS["xlsx"], locked(workbook), "b.xlsx", password=PASSWORD).text


def test_the_password_is_in_no_message(document):
    with pytest.raises(EncryptedFile) as caught:
        read(SPECS["docx"], document, "a.docx", password="inte rätt")
    assert "inte rätt" not in str(caught.value)


def test_a_description_with_a_document_type_is_refused_before_it_is_parsed(document):
    start = document.index(b"<?xml")
    changed = bytearray(document)
    changed[start : start + 20] = b"<!DOCTYPE a [      ]"
    with pytest.raises(CorruptFile, match=r"a\.docx"):
        read(SPECS["docx"], bytes(changed), "a.docx", password=PASSWORD)


def test_a_password_that_would_take_a_day_to_check_is_not_checked(document, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_office.encrypted.MOST_ROUNDS", 10)
    with pytest.raises(CorruptFile, match="more work"):
        read(SPECS["docx"], document, "a.docx", password=PASSWORD)


def test_an_encrypted_file_of_no_end_is_not_taken_into_memory(document, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_office.encrypted.MOST_BYTES", len(document) - 1)
    with pytest.raises(TooLarge, match="too large"):
        read(SPECS["office-legacy"], document, "a.docx", password=PASSWORD)


def test_something_else_under_a_password_is_damage(make):
    data = locked(make.zipped({"readme.txt": "x"}))
    with pytest.raises(CorruptFile, match="no Word, PowerPoint or Excel"):
        read(SPECS["office-legacy"], data, "a.docx", password=PASSWORD)
