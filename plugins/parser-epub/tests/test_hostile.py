"""Books that were made to do harm."""

from __future__ import annotations

import struct

import folkmoot_parser_epub
import pytest
from folkmoot_sdk import CorruptFile, TooLarge
from folkmoot_sdk.testing.parsers import read

SPEC = folkmoot_parser_epub.register_parsers()[0]
LAUGHS = '<!DOCTYPE package [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'


def test_a_bomb_is_refused_before_it_is_unpacked(make):
    data = make.book({"one.xhtml": "x"}, extra={"OEBPS/one.xhtml": b" " * (60 << 20)})
    with pytest.raises(TooLarge, match=r"bomb\.epub unpacks to more than 200 times its size"):
        read(SPEC, data, "bomb.epub")


def test_a_chapter_beyond_its_bound_is_refused(make, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_epub.package.MOST_PART_BYTES", 100_000)
    with pytest.raises(TooLarge, match=r"long\.epub unpacks to more than is read"):
        read(SPEC, make.book({"one.xhtml": "x" * 200_000}), "long.epub")


def test_all_parts_together_have_a_bound(make, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_epub.package.MOST_READ", 100_000)
    chapters = {f"{number}.xhtml": f"<p>{'x' * 20_000}</p>" for number in range(10)}
    with pytest.raises(TooLarge, match="unpacks to more than is read"):
        read(SPEC, make.book(chapters), "long.epub")


def test_text_has_a_bound(make, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_epub.book.MOST_TEXT", 1000)
    with pytest.raises(TooLarge):
        read(SPEC, make.book({"one.xhtml": f"<p>{'x' * 2000}</p>"}), "long.epub")


def test_entities_in_the_package_are_refused(make):
    opf = f"<?xml version='1.0'?>{LAUGHS}<package><metadata><title>&b;</title></metadata></package>"
    with pytest.raises(CorruptFile, match="declares entities"):
        read(SPEC, make.book({"one.xhtml": "x"}, extra={"OEBPS/content.opf": opf}), "laughs.epub")


def test_entities_in_a_chapter_are_not_expanded_and_no_file_is_read(make, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("battery staple")
    doctype = LAUGHS.replace("package", "html").replace("]>", f'<!ENTITY s SYSTEM "{secret.as_uri()}">]>')
    chapter = f"<?xml version='1.0'?>{doctype}<html><body><p>&b;&s; words</p></body></html>"
    text = read(SPEC, make.book({"one.xhtml": "x"}, extra={"OEBPS/one.xhtml": chapter})).text
    assert "words" in text
    assert "haha" not in text
    assert "battery" not in text


def test_links_that_lead_out_lead_nowhere(make):
    for href in ("../../../../etc/passwd", "file:///etc/passwd", "http://example.org/a.xhtml", "data:text/html,x"):
        items = f'</metadata><manifest><item id="x" href="{href}" media-type="application/xhtml+xml"/></manifest>'
        data = make.book({"one.xhtml": "<p>Text.</p>"}, metadata=items + "<metadata>", spine=["x", "one.xhtml"])
        result = read(SPEC, data, "a.epub")
        assert [block.text for block in result.blocks] == ["Text."]


def test_a_chapter_beyond_all_depth_is_read_without_recursion_and_told(make):
    body = "<div>" * 20_000 + "djupt" + "</div>" * 20_000
    result = read(SPEC, make.book({"one.xhtml": f"<p>Före.</p>{body}"}), "deep.epub")
    assert "Före." in result.text
    assert result.info.warnings == ("parts of the book are nested too deeply to be read",)


def test_contents_in_contents_in_contents_come_to_an_end(make):
    point = '<navPoint><navLabel><text>x</text></navLabel><content src="one.xhtml"/>'
    ncx = f"<navMap>{point * 200}{'</navPoint>' * 200}</navMap>"
    assert read(SPEC, make.book({"one.xhtml": "<p>Text.</p>"}, ncx=ncx)).blocks[1].text == "x"


@pytest.mark.parametrize("told", [70_000, 3])
def test_an_endless_directory_is_refused(make, told):
    data = make.zipped({f"{number}": "" for number in range(20_001)})
    end = data.rfind(b"PK\x05\x06")
    data = data[: end + 8] + struct.pack("<HH", told & 0xFFFF, told & 0xFFFF) + data[end + 12 :]
    with pytest.raises(TooLarge):
        read(SPEC, data, "many.epub")


def test_a_size_that_lies_is_a_damaged_chapter(make):
    data = bytearray(make.book({"one.xhtml": f"<p>{'x' * 100_000}</p>", "two.xhtml": "<p>Två.</p>"}))
    at = data.find(b"OEBPS/one.xhtml", data.find(b"PK\x01\x02")) - 46
    struct.pack_into("<I", data, at + 24, 100)
    result = read(SPEC, bytes(data), "liar.epub")
    assert "Två." in result.text
    assert "OEBPS/one.xhtml could not be read" in result.info.warnings[0]
