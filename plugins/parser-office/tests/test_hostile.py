from __future__ import annotations

import io
import struct
import zipfile

import folkmoot_parser_office as office
import pytest
from folkmoot_sdk import CorruptFile, EncryptedFile, ParserError, TooLarge, UnsupportedFile

SNIFF = next(spec.sniff for spec in office.register_parsers() if spec.kind == "office-legacy")
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
TEXT = f"<w:document {W}><w:body><w:p><w:r><w:t>%s</w:t></w:r></w:p></w:body></w:document>"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(make, parsed):
    data = make.package("word", {"word/document.xml": b" " * (60 << 20)})
    with pytest.raises(TooLarge, match="bomb"):
        parsed("docx", data, "bomb.docx")


def test_a_size_that_lies_is_found_out(make, parsed):
    data = bytearray(make.package("word", {"word/document.xml": TEXT % ("x" * 100_000)}))
    central = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 100)
    with pytest.raises(CorruptFile, match="liar"):
        parsed("docx", bytes(data), "liar.docx")


def test_too_many_entries_are_refused(make, parsed):
    data = make.zipped({f"{at}": "" for at in range(10_001)})
    with pytest.raises(TooLarge, match=r"many\.xlsx"):
        parsed("xlsx", data, "many.xlsx")


def test_a_part_read_over_and_over_counts_every_time(make, parsed, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_office.package.MOST_BYTES", 100_000)
    names = "".join(f'<sheet name="{at}" sheetId="{at}" r:id="rId{at}"/>' for at in range(1, 31))
    r = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook xmlns:r="{r}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": make.ties(*((f"rId{at}", "worksheet", f"{at}.xml") for at in range(1, 31))),
        "xl/chart.xml": f"<c><!--{'x' * 9_000}--></c>",
        "xl/drawing.xml": f'<d xmlns:r="{r}"><chart r:id="rId1"/></d>',
        "xl/_rels/drawing.xml.rels": make.ties(("rId1", "chart", "chart.xml")),
    }
    for at in range(1, 31):
        parts[f"xl/{at}.xml"] = "<worksheet/>"
        parts[f"xl/_rels/{at}.xml.rels"] = make.ties(("rId1", "drawing", "drawing.xml"))
    with pytest.raises(TooLarge):
        parsed("xlsx", make.package("xl", parts))


def test_one_long_text_in_a_million_cells_is_stopped(make, parsed, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_office.package.MOST_TEXT", 1_000_000)
    cell = '<row><c t="s"><v>0</v></c></row>'
    data = make.sheet(
        f"<sheetData>{cell * 1000}</sheetData>", {"sharedStrings.xml": f"<sst><si><t>{'x' * 30_000}</t></si></sst>"}
    )
    with pytest.raises(TooLarge):
        parsed("xlsx", data)


def test_a_row_without_end_is_stopped(make, parsed, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_office.package.MOST_BYTES_BETWEEN", 200_000)
    data = make.sheet("<sheetData><row>" + "<c><v>1</v></c>" * 50_000 + "</row></sheetData>")
    with pytest.raises(TooLarge):
        parsed("xlsx", data)


@pytest.mark.parametrize("body", ["&a;", "plain"])
def test_document_types_and_their_entities_are_refused(make, parsed, body, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hemligt")
    dtd = f'<!DOCTYPE x [<!ENTITY a SYSTEM "{secret.as_uri()}">]>'
    with pytest.raises(CorruptFile, match="xxe"):
        parsed("docx", make.package("word", {"word/document.xml": dtd + TEXT % body}), "xxe.docx")
    sheet = make.package("xl", {"xl/workbook.xml": dtd + "<workbook/>"})
    with pytest.raises(CorruptFile):
        parsed("xlsx", sheet)


def test_a_document_type_in_a_streamed_sheet_is_refused(make, parsed):
    data = make.sheet("<sheetData/>")
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            dtd = b"<!DOCTYPE worksheet []>" if name.endswith("sheet1.xml") else b""
            new.writestr(name, dtd + old.read(name))
    with pytest.raises(CorruptFile, match="document type"):
        parsed("xlsx", buffer.getvalue())


def test_names_that_climb_out_of_the_package_do_no_harm(make, parsed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make.package("word", {"../../evil.txt": "x", "/abs": "y", "word/document.xml": TEXT % "Hej"})
    assert parsed("docx", data).text == "Hej"
    assert not list(tmp_path.iterdir())


def test_elements_nested_without_end_are_damage(make, parsed):
    deep = "<w:sdt><w:sdtContent>" * 5_000 + "</w:sdtContent></w:sdt>" * 5_000
    data = make.package("word", {"word/document.xml": f"<w:document {W}><w:body>{deep}</w:body></w:document>"})
    with pytest.raises(CorruptFile, match="deep"):
        parsed("docx", data, "deep.docx")


def test_a_password_is_named_as_the_reason(make, parsed, sniff):
    data = make.container("EncryptedPackage", "EncryptionInfo")
    assert sniff(data) == {"office-legacy": "application/x-cfb"}
    for kind in ("docx", "pptx", "xlsx", "office-legacy"):
        with pytest.raises(EncryptedFile, match=r"'secret\.docx' is protected with a password"):
            parsed(kind, data, "secret.docx")


@pytest.mark.parametrize(
    ("stream", "media_type", "suffix"),
    [
        ("WordDocument", "application/msword", ".docx"),
        ("Workbook", "application/vnd.ms-excel", ".xlsx"),
        ("PowerPoint Document", "application/vnd.ms-powerpoint", ".pptx"),
    ],
)
def test_old_formats_are_refused_with_advice(make, parsed, stream, media_type, suffix):
    data = make.container(stream)
    assert SNIFF(data) == media_type
    with pytest.raises(UnsupportedFile, match=rf"'old' .* convert it to \{suffix} .*choose Save As"):
        parsed("office-legacy", data, "old")


def test_what_only_its_suffix_calls_old_gets_the_same_advice(parsed):
    with pytest.raises(UnsupportedFile, match=r"convert it to \.docx"):
        parsed("office-legacy", b"{\\rtf1 Hej}", "brev.doc")
    with pytest.raises(CorruptFile, match="empty"):
        parsed("office-legacy", b"", "tom.doc")


def test_other_users_of_the_old_container_are_not_claimed(make, sniff):
    assert sniff(make.container("__properties_version1.0")) == {}


def test_a_container_whose_directory_runs_in_circles_ends(make, sniff):
    data = bytearray(make.container("WordDocument"))
    struct.pack_into("<I", data, 512 + 3 * 4, 1)
    assert sniff(bytes(data)) == {"office-legacy": "application/msword"}


def test_methods_of_packing_that_office_lacks_are_refused(parsed):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("word/document.xml", TEXT % "x")
    with pytest.raises(CorruptFile):
        parsed("docx", buffer.getvalue())


@pytest.mark.parametrize("value", ["-1", "999999999999", "1e99", "NaN", "x"])
def test_absurd_numbers_are_taken_for_what_they_can_be(make, parsed, value):
    body = (
        f'<w:p><w:pPr><w:outlineLvl w:val="{value}"/><w:numPr><w:ilvl w:val="{value}"/><w:numId w:val="{value}"/>'
        f"</w:numPr></w:pPr><w:r><w:t>a</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val='{value}'/>"
        "</w:tcPr><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>c</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    assert [b.text for b in parsed("docx", make.word(body)).blocks] == ["a", "b | c"]
    cells = f'<sheetData><row r="{value}"><c r="ZZZZZ{value}" s="{value}"><v>{value}</v></c></row></sheetData>'
    try:
        assert len(parsed("xlsx", make.sheet(cells)).blocks) == 2
    except ParserError as error:
        pytest.fail(f"{value}: {error}")
