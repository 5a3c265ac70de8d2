from __future__ import annotations

import io
import struct
import zipfile

import pytest
from folkmoot_sdk import CorruptFile, TooLarge

P = "<text:p>{}</text:p>"
KINDS = ("odt", "odp", "ods")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_before_it_is_unpacked(make, parsed, kind):
    data = make.package(kind, P.format(" " * (60 << 20)))
    with pytest.raises(TooLarge, match=r"bomb\.odt"):
        parsed(kind, data, "bomb.odt")


def test_a_size_that_lies_is_found_out(make, parsed):
    data = bytearray(make.package("odt", P.format("x" * 100_000)))
    # The directory's last entry but one is the content.
    struct.pack_into("<I", data, data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + 24, 100)
    with pytest.raises(CorruptFile, match="liar"):
        parsed("odt", bytes(data), "liar.odt")


def test_too_many_parts_are_refused(make, parsed):
    with pytest.raises(TooLarge, match=r"many\.ods"):
        parsed("ods", make.zipped({f"{at}": "" for at in range(10_001)}, "x"), "many.ods")


@pytest.mark.parametrize("form", ["packed", "flat"])
@pytest.mark.parametrize("kind", KINDS)
def test_document_types_and_their_entities_are_refused(make, parsed, kind, form, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hemligt")
    for dtd in (
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "{secret.as_uri()}">]>',
        '<!DOCTYPE x [<!ENTITY b "ha"><!ENTITY a "&b;&b;&b;&b;&b;&b;">]>',
        "<!DOCTYPE x>",
    ):
        body = P.format("&a;") if "ENTITY" in dtd else ""
        if form == "flat":
            data = make.flat(kind, body).replace(b"<office:document ", dtd.encode() + b"<office:document ", 1)
        else:
            data = make.zipped({"content.xml": dtd + make.content(kind, body)}, "x")
        with pytest.raises(CorruptFile, match="xxe"):
            parsed(kind, data, "xxe.odt")


def test_names_that_climb_out_of_the_package_do_no_harm(make, parsed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make.package("odt", P.format("Hej"), parts={"../../evil.txt": "x", "/abs": "y"})
    assert parsed("odt", data).text == "Hej"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_elements_nested_without_end_are_damage(make, parsed, kind):
    deep = "<text:section>" * 20_000 + "</text:section>" * 20_000
    with pytest.raises(CorruptFile, match="deep"):
        parsed(kind, make.package(kind, deep), "deep.odt")


def test_lists_as_deep_as_xml_allows_are_read(make, parsed):
    deep = "<text:list><text:list-item>" * 100 + P.format("djup") + "</text:list-item></text:list>" * 100
    assert parsed("odt", make.package("odt", deep)).text == "- djup"


def test_a_million_repetitions_of_much_are_stopped(make, parsed, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_opendocument.package.MOST_TEXT", 1_000_000)
    cell = f'<table:table-cell table:number-columns-repeated="1000">{P.format("x" * 100)}</table:table-cell>'
    row = f'<table:table-row table:number-rows-repeated="1000000">{cell}</table:table-row>'
    with pytest.raises(TooLarge, match="much"):
        parsed("ods", make.package("ods", f"<table:table>{row}</table:table>"), "much.ods")


def test_a_row_without_end_is_stopped(make, parsed, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_opendocument.package.MOST_BYTES_BETWEEN", 200_000)
    row = "<table:table-row>" + f"<table:table-cell>{P.format(1)}</table:table-cell>" * 50_000 + "</table:table-row>"
    with pytest.raises(TooLarge):
        parsed("ods", make.package("ods", f"<table:table>{row}</table:table>"))


def test_a_tree_that_would_not_fit_is_stopped(make, parsed, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_opendocument.package.MOST_TREE_BYTES", 10_000)
    for data in (make.package("odt", P.format("x" * 20_000)), make.flat("odt", P.format("x" * 20_000))):
        with pytest.raises(TooLarge, match="huge"):
            parsed("odt", data, "huge.odt")


def test_methods_of_packing_that_the_format_lacks_are_refused(make, parsed):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("content.xml", make.content("odt", P.format("x")))
    with pytest.raises(CorruptFile):
        parsed("odt", buffer.getvalue())


@pytest.mark.parametrize("value", ["-1", "999999999999", "1e99", "NaN", "", "٣"])
def test_absurd_numbers_are_taken_for_what_they_can_be(make, parsed, value):
    repeated = f'table:number-columns-repeated="{value}"'
    cells = f"<table:table-cell {repeated}>{P.format('b')}</table:table-cell><table:table-cell>{P.format('c')}"
    body = (
        f'<text:h text:outline-level="{value}">a<text:s text:c="{value}"/></text:h><table:table><table:table-row '
        f'table:number-rows-repeated="{value}">{cells}</table:table-cell></table:table-row></table:table>'
    )
    assert parsed("odt", make.package("odt", body)).blocks[0].text == "a"
    assert "b" in parsed("ods", make.package("ods", body)).text
    frame = f'<draw:page><draw:frame svg:x="{value}" svg:y="{value}cm"><draw:text-box>{P.format("d")}</draw:text-box>'
    assert parsed("odp", make.package("odp", f"{frame}</draw:frame></draw:page>")).text == "d"


def test_an_object_that_holds_itself_ends(make, parsed):
    frame = '<draw:frame><draw:object xlink:href="./A"/></draw:frame>'
    content = make.content("odt", frame + P.format("djup"))
    assert "djup" in parsed("odt", make.package("odt", P.format(frame), parts={"A/content.xml": content})).text
