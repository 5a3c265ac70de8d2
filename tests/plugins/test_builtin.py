"""What the built-in readers make of text, Markdown, HTML and CSV, friendly and hostile."""

from __future__ import annotations

import time

import pytest
from folkmoot_sdk import CorruptFile, UnsupportedFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Result, Sample, read

from folkmoot.plugins import builtin

SPECS = {spec.kind: spec for spec in builtin.register_parsers()}
SWEDISH = "Alla människor är födda fria och lika i värde och rättigheter. Öl kostar 5 kr på Åland."


def of(kind: str, data: bytes | str, name: str = "file") -> Result:
    return read(SPECS[kind], data.encode() if isinstance(data, str) else data, name)


def seen(result: Result) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in result.blocks]


def binary(suffix: str) -> Broken:
    return Broken(f"noise{suffix}", bytes(range(256)) * 8, UnsupportedFile)


class TestTextConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["text"]

    def samples(self):
        return [
            Sample("a.txt", b"One.\nStill one.\n\nTwo.\n", "text/plain", ("Still one.", "Two."), sniffed=False),
            Sample("b.txt", b"First\fSecond", "text/plain", pages={"First": 1, "Second": 2}, sniffed=False),
        ]

    def broken(self):
        return [binary(".txt")]


class TestMarkdownConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["markdown"]

    def samples(self):
        text = b"# Title\n\nSome *text*.\n\n- a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n"
        return [Sample("a.md", text, "text/markdown", ("Title", "Some text.", "- b", "1 | 2"), sniffed=False)]

    def broken(self):
        return [binary(".md")]


class TestHtmlConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["html"]

    def samples(self):
        page = b"<!doctype html><html lang=sv><title>T</title><h1>Head</h1><p>Body<ul><li>one<li>two</ul></html>"
        return [Sample("a.html", page, "text/html", ("Head", "Body", "- one", "- two"))]

    def broken(self):
        return [binary(".html")]


class TestCsvConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["csv"]

    def samples(self):
        rows = b"name;year\nAda;1843\nGrace;1952\n"
        return [Sample("a.csv", rows, "text/csv", ("name: Ada; year: 1843", "name: Grace"), sniffed=False)]

    def broken(self):
        unclosed = b'a,b\n1,"' + b"x,y\n" * 300_000
        return [binary(".csv"), Broken("quote.csv", unclosed, CorruptFile)]


@pytest.mark.parametrize(
    "encoding",
    [f"utf-{form}" for form in ("8", "8-sig", "16", "16-le", "16-be", "32", "32-le", "32-be")]
    + ["cp1252", "cp850", "mac_roman"],
)
def test_swedish_text_is_read_in_every_encoding_of_forty_years(encoding):
    assert of("text", SWEDISH.encode(encoding)).text == SWEDISH


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Все люди рождаются свободными и равными в своём достоинстве и правах. " * 5, "cp1251"),
        ("名前,年齢,住所\n佐藤太郎,30,東京\n三木英子,25,大阪\n" * 5, "cp932"),
    ],
)
def test_other_scripts_are_left_to_charset_normalizer(text, encoding):
    assert of("text", text.encode(encoding)).text == text.strip()


def test_some_damaged_bytes_do_not_make_utf8_another_encoding():
    damaged = (SWEDISH * 3).encode().replace(b"kr", b"k\xff")
    assert "människor är födda" in of("text", damaged).text


def test_nul_bytes_are_left_out_of_text():
    assert of("text", b"before\x00\x00after").text == "beforeafter"


def test_paragraphs_are_what_stands_between_blank_lines():
    assert seen(of("text", "One\r\nmore\r\n  \r\n\r\nTwo")) == [("paragraph", "One\nmore"), ("paragraph", "Two")]


def test_a_line_without_end_becomes_blocks_of_bounded_size():
    result = of("text", b"word " * 200_000)
    assert max(len(block.text) for block in result.blocks) <= 20_000
    assert sum(block.text.count("word") for block in result.blocks) == 200_000


def test_markdown_keeps_words_and_drops_signs_and_addresses():
    text = "Setext\n===\n\nSee **the** [rules](http://x.se/rules) and ![a map](m.png) `now`.<br>Next <b>line</b>"
    assert seen(of("markdown", text)) == [
        ("heading", "Setext"),
        ("paragraph", "See the rules and a map now.\nNext line"),
    ]


def test_markdown_levels_lists_tables_and_code_are_kept():
    text = (
        "## Two\n\n1. one\n2. two\n   - deep\n\n     more\n\n"
        "| A | B |\n|---|---|\n| 1 | `x` |\n\n```py\nif a:\n    b\n```\n\n> quoted\n"
    )
    result = of("markdown", text)
    assert result.blocks[0].level == 2
    assert seen(result)[1:] == [
        ("list", "1. one\n2. two\n  - deep\n    more"),
        ("table", "A | B\n1 | x"),
        ("code", "if a:\n    b"),
        ("paragraph", "quoted"),
    ]


def test_front_matter_gives_title_and_language_and_is_not_text():
    result = of("markdown", "---\ntitle: 'Our plan'\nlang: sv\n---\n# Other\n\nText")
    assert (result.info.title, result.info.language) == ("Our plan", "sv")
    assert result.text == "Other\n\nText"


def test_html_inside_markdown_is_read_as_html():
    table = "Before\n\n<table><tr><th>A<th>B<tr><td>1<td>2</table>\n\n<script>evil()</script>\n"
    assert seen(of("markdown", table)) == [("paragraph", "Before"), ("table", "A | B\n1 | 2")]


PAGE = """<!DOCTYPE html><html lang="sv"><head><title> The  title </title><style>p{}</style></head><body>
<header><nav>Menu</nav><p>Slogan</p></header><main><h1>Head<br>line</h1><p>Some <b>bold</b>text &amp; more&nbsp;so.
<!-- hidden -->After</p><div hidden>no</div><p style="color:red; display : none">no</p><span aria-hidden=true>no</span>
<form><input value=no><label>no</label></form><ul><li>one<ul><li>deep</li></ul></li><li>two</li></ul>
<table><caption>Sums</caption><tr><th>A</th><th>B</th></tr><tr><td rowspan=2>x</td><td>1</td></tr><tr><td>2</td></tr>
</table><pre>def f():
    return 1</pre></main><aside>no</aside><footer>no</footer><script>no()</script></body></html>"""


def test_a_page_is_read_without_what_stands_around_its_text():
    result = of("html", PAGE)
    assert seen(result) == [
        ("heading", "Head line"),
        ("paragraph", "Some boldtext & more so. After"),
        ("list", "- one\n  - deep\n- two"),
        ("paragraph", "Sums"),
        ("table", "A | B\nx | 1\nx | 2"),
        ("code", "def f():\n    return 1"),
    ]
    assert (result.info.title, result.info.language) == ("The title", "sv")


def test_articles_are_preferred_where_there_is_no_main():
    page = "<body><div>Cookies</div><article><p>" + "The news. " * 20 + "</article><div>Imprint</div>"
    assert "Cookies" not in of("html", page).text


def test_a_form_around_the_whole_page_is_no_form():
    page = "<body><form><p>" + "All of the text. " * 20 + "</p><input></form></body>"
    assert of("html", page).text.startswith("All of the text.")


def test_the_charset_of_a_page_is_found_in_its_head():
    page = '<html><meta http-equiv=Content-Type content="text/html; charset=windows-1251"><p>Привет, мир'
    assert of("html", page.encode("cp1251")).text == "Привет, мир"
    assert of("html", "<html><p>Åäö".encode("utf-16")).text == "Åäö"


@pytest.mark.parametrize(
    "bomb",
    [
        b"<div>" * 200_000 + b"deep",
        b"<ul><li>x" * 20_000,
        b"<table><tr><td>a<td>b" * 5_000,
        b"<table>" + b"<tr><td colspan=999999999 rowspan=9999999>x<td>y" * 200,
        b'<!DOCTYPE html [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><p>x &b;&b;&b;</p>',
        b"<p " + b"a=b " * 100_000 + b">x",
        b"<html><body>" + b"<script>a</script>x" * 30_000,
    ],
)
def test_a_bomb_in_html_does_not_go_off(bomb):
    begun = time.monotonic()
    result = of("html", bomb)
    assert time.monotonic() - begun < 5
    assert len(result.text) <= 20 * len(bomb)


def test_too_deep_a_page_says_that_it_was_not_read_to_the_end():
    assert "too deeply" in " ".join(of("html", b"<p>top</p>" + b"<div>" * 100_000 + b"deep").info.warnings)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_rows_are_sentences_of_names_and_values_under_every_delimiter(delimiter):
    rows = [["name", "year", "note"], ["Ada", "1843", ""], ["Grace", "1952", f'"a{delimiter}b"']]
    text = "\n".join(delimiter.join(row) for row in rows)
    assert seen(of("csv", text)) == [
        ("row", "name: Ada; year: 1843"),
        ("row", f"name: Grace; year: 1952; note: {'a b' if delimiter == chr(9) else f'a{delimiter}b'}"),
    ]


def test_a_swedish_export_of_excel_is_read():
    data = "sep=;\r\nnamn;belopp\r\nÅsa Öberg;1 234,50\r\n".encode("cp1252")
    assert seen(of("csv", data)) == [("row", "namn: Åsa Öberg; belopp: 1 234,50")]


def test_rows_without_names_and_ragged_rows_get_numbered_columns():
    assert of("csv", "1,2\n3,4\n").blocks[0].text == "Column 1: 1; Column 2: 2"
    ragged = of("csv", "a,b\nx,y\nx,y,z\nx\n")
    assert [block.text for block in ragged.blocks] == ["a: x; b: y", "a: x; b: y; Column 3: z", "a: x"]
    assert "2 rows" in ragged.info.warnings[0]


def test_a_cell_may_hold_lines_and_quotes():
    assert of("csv", 'a,b\n"x\ny","say ""hi"""\n').text == 'a: x y; b: say "hi"'


@pytest.mark.parametrize("head", [b"<!DOCTYPE html>", b"\xef\xbb\xbf\n <HTML lang=sv>", b"<!-- c --><html>"])
def test_html_is_known_by_its_first_tag(head):
    assert SPECS["html"].sniff(head) == "text/html"


def test_text_that_talks_about_html_is_not_html():
    assert SPECS["html"].sniff(b"Write <html> first.") is None
