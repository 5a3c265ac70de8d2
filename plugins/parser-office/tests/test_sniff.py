from __future__ import annotations

import io
import os
import zipfile

import pytest

TYPES = '<Types><Override PartName="/x" ContentType="application/{}+xml"/></Types>'
OOXML = "vnd.openxmlformats-officedocument."


@pytest.mark.parametrize(
    ("main", "kind", "media_type"),
    [
        (OOXML + "wordprocessingml.document.main", "docx", OOXML + "wordprocessingml.document"),
        (OOXML + "wordprocessingml.template.main", "docx", OOXML + "wordprocessingml.template"),
        ("vnd.ms-word.document.macroEnabled.main", "docx", "vnd.ms-word.document.macroenabled.12"),
        ("vnd.ms-word.template.macroEnabledTemplate.main", "docx", "vnd.ms-word.template.macroenabled.12"),
        (OOXML + "presentationml.slideshow.main", "pptx", OOXML + "presentationml.slideshow"),
        ("vnd.ms-powerpoint.presentation.macroEnabled.main", "pptx", "vnd.ms-powerpoint.presentation.macroenabled.12"),
        (OOXML + "spreadsheetml.template.main", "xlsx", OOXML + "spreadsheetml.template"),
        ("vnd.ms-excel.sheet.macroEnabled.main", "xlsx", "vnd.ms-excel.sheet.macroenabled.12"),
    ],
)
def test_the_content_types_say_what_a_file_is(make, sniff, main, kind, media_type):
    assert sniff(make.zipped({"[Content_Types].xml": TYPES.format(main)})) == {kind: f"application/{media_type}"}


def test_a_workbook_inside_a_document_does_not_make_it_a_workbook(make, sniff):
    data = make.zipped({"_rels/.rels": "", "word/embeddings/a.xlsx": "", "word/document.xml": "", "xl/x": ""})
    assert list(sniff(data)) == ["docx"]


def test_writers_that_put_everything_else_first_are_recognised(sniff):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", os.urandom(100_000))
        archive.writestr("[Content_Types].xml", "")
    assert list(sniff(buffer.getvalue())) == ["xlsx"]


@pytest.mark.parametrize(
    "parts",
    [
        {"mimetype": "application/vnd.oasis.opendocument.text", "_rels/.rels": "", "word/document.xml": ""},
        {"mimetype": "application/epub+zip", "META-INF/container.xml": ""},
        {"word/list.txt": "", "ppt/list.txt": ""},
        {"[Content_Types].xml": "<Types/>", "_rels/.rels": "", "3D/model.model": ""},
        {"holiday.jpg": ""},
    ],
)
def test_other_zips_are_nobodys(make, sniff, parts):
    assert sniff(make.zipped(parts)) == {}


def test_binary_workbooks_are_known_and_refused(make, sniff):
    types = '<Types><Override ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/></Types>'
    assert list(sniff(make.zipped({"[Content_Types].xml": types}))) == ["office-legacy"]
