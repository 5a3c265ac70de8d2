"""What the reader of Markdown makes of it, friendly and hostile."""

from __future__ import annotations

import pytest
from folkmoot_sdk.testing.parsers import ParserConformance, Sample

from tests.plugins.parsers.reading import SPECS, binary, of, seen


class TestMarkdownConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["markdown"]

    def samples(self):
        text = b"# Title\n\nSome *text*.\n\n- a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n"
        return [Sample("a.md", text, "text/markdown", ("Title", "Some text.", "- b", "1 | 2"), sniffed=False)]

    def broken(self):
        return [binary(".md")]


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


def test_reference_links_and_footnotes_keep_their_words():
    text = "Read the [plan][1] and [rules].\n\n[1]: http://x.se/plan 'The plan'\n[rules]: http://x.se/rules\n"
    assert of("markdown", text).text == "Read the plan and rules."


def test_lists_forty_five_levels_deep_lose_no_word():
    deep = "".join(f"{'  ' * level}- word{level}.\n" for level in range(45))
    found = of("markdown", deep).text
    assert [level for level in range(45) if f"word{level}." not in found] == []


@pytest.mark.parametrize("text", ["> " * 5000 + "deep", "- " * 5000 + "deep", "[only]: http://a.se 'an address'"])
def test_a_text_of_nothing_but_signs_is_kept_with_them(text):
    assert of("markdown", text).text.replace("\n", "") == text.strip()


@pytest.mark.parametrize(
    "bomb", ["[a](" * 20_000, "*a **a " * 10_000, "![[]()" * 5_000, "`" * 50_000, "<div>" * 20_000]
)
def test_a_bomb_in_markdown_does_not_grow(bomb):
    assert len(of("markdown", bomb).text) <= 1.1 * len(bomb)


def test_a_long_text_reads_the_same_as_its_parts():
    part = "# Head\n\nSee [the plan][p].\n\n- one\n\n  more\n- two\n\n```\n\n# no head\n\ncode\n```\n\n> quoted\n\n"
    once = seen(of("markdown", part + "\n[p]: http://x.se\n"))
    assert ("paragraph", "See the plan.") in once
    # The address of the link comes last of all, long after the piece that names it.
    assert seen(of("markdown", part * 2_500 + "\n[p]: http://x.se\n")) == once * 2_500
