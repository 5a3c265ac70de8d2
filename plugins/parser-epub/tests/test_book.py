"""Books as programs and people make them."""

from __future__ import annotations

import folkmoot_parser_epub
import pytest
from folkmoot_sdk.testing.parsers import read

SPEC = folkmoot_parser_epub.register_parsers()[0]
LINK = '<nav epub:type="toc"><ol><li><a href="one.xhtml">{}</a></li></ol></nav>'


def told(data: bytes) -> list[tuple[str, str]]:
    """Kind and text of the blocks below the title."""
    return [(block.kind, block.text) for block in read(SPEC, data, "a.epub").blocks[1:]]


def test_title_language_and_authors_are_known(make):
    result = read(SPEC, make.book({"one.xhtml": "<p>x</p>"}))
    assert (result.info.title, result.info.language, result.info.page_count) == ("Slussen i Norr", "sv", None)
    assert result.blocks[0].text == "Slussen i Norr\nAda Ek"


def test_chapters_come_in_the_order_of_the_spine_and_once(make):
    chapters = {"one.xhtml": "<p>1</p>", "two.xhtml": "<p>2</p>", "three.xhtml": "<p>3</p>"}
    data = make.book(chapters, spine=["three.xhtml", "one.xhtml", "three.xhtml", "css", "gone"])
    assert [text for _, text in told(data)] == ["3", "1"]


def test_the_contents_are_not_read_as_text(make):
    toc = '<nav epub:type="toc"><ol><li><a href="one.xhtml">Ett</a></li></ol></nav>'
    chapters = {"one.xhtml": f"{toc}<h1>Ett</h1><p>Text.</p>", "toc.xhtml": "<p>Innehåll: Ett, 3</p>"}
    data = make.book(chapters, nav=toc, guide='<reference type="toc" href="toc.xhtml"/>', spine=[*chapters, "nav"])
    assert told(data) == [("heading", "Ett"), ("paragraph", "Text.")]


@pytest.mark.parametrize(
    ("body", "blocks"),
    [
        ("<p>Text.</p>", [("heading", "Kapitel ett"), ("paragraph", "Text.")]),
        ("<p>KAPITEL <br/>ETT</p><p>Text.</p>", [("heading", "Kapitel ett"), ("paragraph", "Text.")]),
        ("<h2>En annan</h2><p>Text.</p>", [("heading", "En annan"), ("paragraph", "Text.")]),
        ("<p>I</p><h2>Kapitel ett</h2>", [("paragraph", "I"), ("heading", "Kapitel ett")]),
    ],
)
def test_a_chapter_without_a_heading_has_that_of_the_contents(make, body, blocks):
    assert told(make.book({"one.xhtml": body}, nav=LINK.format("Kapitel ett"))) == blocks


def test_poems_code_and_hidden_parts(make):
    body = (
        "<p>Rad ett,<br/>rad två.</p><pre>a = 1\n  b</pre><p hidden=''>no</p><script>no</script>"
        "<blockquote><p>Citat&nbsp;här &amp; nu.</p></blockquote>"
        "<p>Mjukt\u00adstreck<img alt='En karta' src='x.png'/></p>"
    )
    assert told(make.book({"one.xhtml": body})) == [
        ("paragraph", "Rad ett,\nrad två."),
        ("code", "a = 1\n  b"),
        ("paragraph", "Citat här & nu."),
        ("paragraph", "MjuktstreckEn karta"),
    ]


def test_elements_that_close_themselves_hold_nothing_of_what_follows(make):
    body = '<p>Ett <a id="x"/>två <span class="y"/>tre.</p><div/><p>Fyra.</p>'
    assert told(make.book({"one.xhtml": body})) == [("paragraph", "Ett två tre."), ("paragraph", "Fyra.")]


def test_pages_turn_within_a_chapter_and_never_back(make):
    mark = '<span epub:type="pagebreak" role="doc-pagebreak" aria-label="{0}" id="p{0}">{0}</span>'
    body = (
        f"<p>Före.</p>{mark.format(3)}<p>På tre {mark.format(4)} och fyra.</p><p>På fyra.</p>"
        f"<ul><li>Ett</li></ul>{mark.format(2)}<p>Tillbaka.</p>{mark.format('ix')}<p>Romersk.</p>"
    )
    result = read(SPEC, make.book({"one.xhtml": body, "two.xhtml": "<p>Efter.</p>"}))
    assert [(block.text, block.page) for block in result.blocks[1:]] == [
        ("Före.", None),
        ("På tre och fyra.", 3),
        ("På fyra.", 4),
        ("- Ett", 4),
        ("Tillbaka.", 4),
        ("Romersk.", 4),
        ("Efter.", 4),
    ]
    assert result.info.page_count == 4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_chapters_are_read_in_any_encoding(make, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><html><body><p>Räksmörgås</p></body></html>'
    data = make.book({"one.xhtml": ""}, extra={"OEBPS/one.xhtml": text.encode(encoding)})
    assert told(data) == [("paragraph", "Räksmörgås")]


def test_a_chapter_that_is_missing_is_told_and_the_others_are_read(make):
    data = make.book({"one.xhtml": "<p>Ett.</p>", "two.xhtml": "<p>Två.</p>"})
    broken = make.zipped({"META-INF/container.xml": "", **_parts(data, without="OEBPS/one.xhtml")})
    result = read(SPEC, broken, "a.epub")
    assert "Två." in result.text
    assert result.info.warnings == ("OEBPS/one.xhtml could not be read: that part of the book is missing or damaged",)


def _parts(data: bytes, without: str) -> dict[str, bytes]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if name not in {without, "mimetype", "META-INF/container.xml"}]
        return {name: archive.read(name) for name in names}


@pytest.mark.parametrize("opf", ["content.opf", "a/b c/å.opf", "OPS/package.opf"])
def test_the_package_may_lie_anywhere(make, opf):
    assert told(make.book({"one.xhtml": "<p>Text.</p>"}, opf=opf)) == [("paragraph", "Text.")]


def test_scrambled_fonts_are_no_protection(make):
    fonts = (
        '<encryption xmlns:enc="e"><enc:EncryptedData><enc:EncryptionMethod '
        'Algorithm="http://www.idpf.org/2008/embedding"/></enc:EncryptedData><enc:EncryptedData>'
        '<enc:EncryptionMethod Algorithm="http://ns.adobe.com/pdf/enc#RC"/></enc:EncryptedData></encryption>'
    )
    data = make.book({"one.xhtml": "<p>Text.</p>"}, extra={"META-INF/encryption.xml": fonts})
    assert told(data) == [("paragraph", "Text.")]


def test_a_book_packed_by_hand_is_known_and_other_zips_are_not(make):
    assert SPEC.sniff(make.book({"one.xhtml": "x"}, mimetype=b"")) == "application/epub+zip"
    assert SPEC.sniff(make.zipped({"a.txt": "x"}, mimetype=b"")) is None
    assert SPEC.sniff(make.zipped({"content.xml": "x"}, b"application/vnd.oasis.opendocument.text")) is None
