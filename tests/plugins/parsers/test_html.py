"""What the reader of HTML makes of pages, friendly and hostile."""

from __future__ import annotations

import time

import pytest
from folkmoot_sdk import TooLarge
from folkmoot_sdk.parsers import Source
from folkmoot_sdk.testing.parsers import ParserConformance, Sample

from folkmoot.plugins.parsers import html
from tests.plugins.parsers.reading import SPECS, binary, of, seen


class TestHtmlConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["html"]

    def samples(self):
        page = b"<!doctype html><html lang=sv><title>T</title><h1>Head</h1><p>Body<ul><li>one<li>two</ul></html>"
        return [Sample("a.html", page, "text/html", ("Head", "Body", "- one", "- two"))]

    def broken(self):
        return [binary(".html")]


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
        b"<div class=menu>" * 250 + b"<a>x</a>" * 20_000,
        b"<p>" * 100_000,
        b"<!--" * 100_000 + b"--><p>x",
        b"<p title='" + b"x" * 1_000_000 + b"'>x",
    ],
)
def test_a_bomb_in_html_does_not_go_off(bomb):
    begun = time.monotonic()
    result = of("html", bomb)
    assert time.monotonic() - begun < 5
    assert len(result.text) <= 20 * len(bomb)


def test_too_deep_a_page_says_that_it_was_not_read_to_the_end():
    assert "too deeply" in " ".join(of("html", b"<p>top</p>" + b"<div>" * 100_000 + b"deep").info.warnings)


def test_the_whole_page_is_read_where_that_is_asked_for():
    text = of("html", PAGE, main_only=False).text
    assert "Menu" in text
    assert "Slogan" in text
    assert "no()" not in text  # a script is no text anywhere


STORY = "The council met on Monday and decided on the budget of the coming year, after a long debate. " * 12


@pytest.mark.parametrize(
    "around",
    [
        '<div id="cookie-consent"><p>We use cookies to make the site better for you.</p><button>OK</button></div>',
        '<div class="site-nav"><a href="/a">Start</a> <a href="/b">We use cookies</a></div>',
        '<ul class="breadcrumbs"><li><a href="/">We use cookies</a></li></ul>',
        '<div class="page-footer"><a href="/x">We use cookies</a></div>',
        '<p class="skip-link"><a href="#main">We use cookies</a></p>',
    ],
)
def test_menus_and_banners_made_of_plain_elements_are_known_by_their_names(around):
    text = of("html", f"<html><body>{around}<div><h1>News</h1><p>{STORY}</p></div></body>").text
    assert "cookies" not in text
    assert text.startswith("News")


def test_a_text_about_cookies_is_not_a_banner():
    page = f'<html><body><article><h1>Cookies</h1><div class="cookie-policy"><p>{STORY}</p></div></article></body>'
    assert STORY.strip() in of("html", page).text


def test_a_box_named_menu_that_is_prose_is_kept():
    page = f'<html><body><div class="menu"><p>Monday: pea soup and pancakes.</p></div><p>{STORY}</p></body>'
    assert "pea soup" in of("html", page).text


def test_a_page_whose_text_stands_where_menus_stand_is_read_whole():
    page = f"<html><body><p>Short.</p><aside><p>{STORY}</p></aside></body>"
    assert STORY.strip() in of("html", page).text


def test_a_hint_inside_an_article_is_part_of_it():
    page = f"<html><body><main><p>{STORY}</p><aside><p>Mind the step.</p></aside></main></body>"
    assert "Mind the step." in of("html", page).text


def test_a_page_that_breaks_off_inside_one_huge_thing_says_so():
    result = of("html", b"<p>first</p><p title='" + b"x" * 11_000_000 + b"'>last")
    assert "read only in part" in " ".join(result.info.warnings)


def test_a_page_larger_than_memory_allows_is_refused_unread():
    source = Source("a.html", "text/html", 33 << 20, None)  # type: ignore[arg-type]
    with pytest.raises(TooLarge, match=r"a\.html has 35 MB, at most 34 MB"):
        list(html.parse(source))
