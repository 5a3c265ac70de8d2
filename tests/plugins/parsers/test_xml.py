"""What the reader of XML makes of documents, data and feeds, and which it refuses."""

from __future__ import annotations

import pytest
from folkmoot_sdk import CorruptFile, ParserError, TooLarge, UnsupportedFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample

from tests.plugins.parsers.reading import SPECS, binary, of, seen

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))


class TestXmlConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["xml"]

    def samples(self):
        data = b'<?xml version="1.0"?><p><m id="1"><n>Ada</n></m><m id="2"><n>Grace</n></m></p>'
        return [Sample("a.xml", data, "application/xml", ("m.id: 1; m.n: Ada", "m.n: Grace"))]

    def broken(self):
        return [
            binary(".xml"),
            Broken("half.xml", b"<a><b>text</b>", CorruptFile),
            Broken("prose.xml", b"Dear all,", CorruptFile),
            Broken("laughs.xml", f'<!DOCTYPE a [<!ENTITY l0 "lol">{LAUGHS}]><a>&l8;</a>'.encode(), UnsupportedFile),
        ]


def test_records_are_rows_of_their_attributes_and_elements():
    books = "".join(f'<book id="b{n}"><author>Ada</author><price unit="kr">{n},50</price></book>' for n in range(3))
    assert seen(of("xml", f"<catalog><shelf>{books}</shelf></catalog>")) == [
        ("heading", "shelf"),
        ("row", "book.id: b0; book.author: Ada; book.price.unit: kr; book.price: 0,50"),
        ("row", "book.id: b1; book.author: Ada; book.price.unit: kr; book.price: 1,50"),
        ("row", "book.id: b2; book.author: Ada; book.price.unit: kr; book.price: 2,50"),
    ]


def test_a_document_keeps_its_titles_and_paragraphs():
    text = """<article xmlns="http://docbook.org/ns/docbook"><title>The whole</title>
      <section><title>First part</title><para>Some <em>mixed</em> text,
        over two lines.</para><!-- not this --><para>More.</para></section>
      <section><title>Second</title><para><![CDATA[a < b]]> &amp; c</para></section></article>"""
    result = of("xml", text)
    assert seen(result) == [
        ("heading", "The whole"),
        ("heading", "First part"),
        ("paragraph", "Some mixed text,\nover two lines."),
        ("paragraph", "More."),
        ("heading", "Second"),
        ("paragraph", "a < b & c"),
    ]
    assert [block.level for block in result.blocks if block.kind == "heading"] == [1, 2, 2]


RSS = """<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>News of Åre</title>
<link>https://x.se</link><description>What happens</description><language>sv</language>
<item><title>Snow &amp; ice</title><pubDate>Mon, 2 Jan</pubDate>
<description>&lt;p&gt;Much &lt;b&gt;snow&lt;/b&gt;.&lt;/p&gt;
</description></item><item><title>Sun</title><description>Short</description>
<content:encoded><![CDATA[<p>The whole story.</p>
<ul><li>one</li><li>two</li></ul><script>no()</script>]]></content:encoded>
</item></channel></rss>"""


def test_a_feed_is_read_as_its_entries():
    result = of("xml", RSS)
    assert seen(result) == [
        ("heading", "News of Åre"),
        ("row", "link: https://x.se; language: sv"),
        ("paragraph", "What happens"),
        ("heading", "Snow & ice"),
        ("row", "pubDate: Mon, 2 Jan"),
        ("paragraph", "Much snow."),
        ("heading", "Sun"),
        ("paragraph", "Short"),
        ("paragraph", "The whole story."),
        ("list", "- one\n- two"),
    ]
    assert (result.info.title, result.info.language) == ("News of Åre", "sv")


def test_an_atom_feed_keeps_what_its_stories_are_made_of():
    feed = """<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en"><title>Letters</title><entry><title>One</title>
      <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>A <b>bold</b> word.</p></div></content>
      </entry></feed>"""
    result = of("xml", feed)
    assert [text for _, text in seen(result)] == ["Letters", "One", "A bold word."]
    assert result.info.language == "en"


@pytest.mark.parametrize(
    "doctype",
    [
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY a PUBLIC "x" "http://127.0.0.1/x">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1/x"> %a;',
        '<!ENTITY b "lol"><!ENTITY a "&b;&b;&b;&b;">',
        '<!ENTITY b "<x>"><!ENTITY a "&b;&b;&b;&b;">',
        f'<!ENTITY a "{"x" * 2000}">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_from_elsewhere_or_of_one_another_are_refused(doctype, encoding):
    text = f'<?xml version="1.0"?><!-- <x --><!DOCTYPE x [{doctype}]><x>&a;</x>'
    with pytest.raises(UnsupportedFile, match=r"declares the entity 'a'.*can be a bomb"):
        of("xml", text.encode(encoding))


def test_a_plain_entity_of_the_documents_own_is_read():
    assert of("xml", '<!DOCTYPE x [<!ENTITY co "ACME">]><x><by>From &co; with love</by></x>').text.endswith(
        "From ACME with love"
    )


def test_a_document_type_from_elsewhere_is_not_asked_for():
    text = '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><x><y>read all the same</y></x>'
    assert "read all the same" in of("xml", text).text


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1251", "utf-16", "shift_jis", "utf-8"])
def test_the_encoding_that_a_document_names_is_believed(encoding):
    word = {"windows-1251": "Привет", "shift_jis": "東京"}.get(encoding, "Räksmörgås")
    data = f'<?xml version="1.0" encoding="{encoding}"?><a><b>{word}</b></a>'.encode(encoding)
    assert of("xml", data).text == f"a.b: {word}"


@pytest.mark.parametrize(
    "bomb",
    [
        "<a>" * 100_000,
        "<a>" + "<b/>" * 100_000 + "</a>",
        "<a>" + "<b><c>x</c></b>" * 30_000 + "</a>",
        "<a " + " ".join(f'a{n}="v"' for n in range(20_000)) + "/>",
        "<a>" + "x" * 5_000_000 + "</a>",
        f'<a b="{"x" * 11_000_000}"/>',
        "<!-- " + "x" * 300_000 + "--><a>b</a>",
        "<a>" + "x<b>y</b>" * 100_000 + "</a>",
    ],
    ids=lambda bomb: bomb[:12],
)
def test_a_bomb_in_xml_does_not_go_off(bomb):
    try:
        result = of("xml", bomb)
    except ParserError as error:
        assert isinstance(error, CorruptFile | TooLarge)  # noqa: PT017 - either end is right
    else:
        assert len(result.text) <= 2 * len(bomb)
        assert max((len(block.text) for block in result.blocks), default=0) <= 20_000


def test_words_between_elements_are_not_lost_however_long_the_whole_is():
    text = of("xml", "<p>" + "before <b>inside</b> after " * 2_000 + "</p>").text.replace("\n", " ")
    assert [text.count(word) for word in ("before", "inside", "after")] == [2_000] * 3
