"""What the readers of JSON and JSON Lines make of data, friendly and hostile."""

from __future__ import annotations

import io
import json as stdlib
from itertools import islice

import pytest
from folkmoot_sdk import CorruptFile, TooLarge
from folkmoot_sdk.parsers import Block, Source
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Result, Sample, read

from folkmoot.plugins.parsers import json
from tests.plugins.parsers.reading import SPECS, binary, of, seen


class TestJsonConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["json"]

    def samples(self):
        rows = b'[{"name": "Ada", "born": {"year": 1815}}, {"name": "Grace", "tags": ["navy", "cobol"]}]'
        lines = b'{"name": "Ada"}\n{"name": "Grace"}\n'
        return [
            Sample("a.json", rows, "application/json", ("name: Ada; born.year: 1815", "tags: navy"), sniffed=False),
            Sample("a.jsonl", lines, "application/jsonl", ("name: Ada", "name: Grace"), sniffed=False),
        ]

    def broken(self):
        return [
            binary(".json"),
            Broken("half.json", b'[{"name": "Ada"}, {"na', CorruptFile),
            Broken("prose.json", b"Dear all, this is no JSON.", CorruptFile),
            Broken("prose.jsonl", b"Dear all,\nthis is no JSON.\n", CorruptFile, media_type="application/jsonl"),
            Broken("deep.json", b"[" * 5_000, TooLarge),
        ]


def lines(text: str) -> Result:
    return read(SPECS["json"], text.encode(), "a.jsonl", media_type="application/jsonl")


def test_records_are_rows_and_what_holds_them_is_a_heading():
    people = [{"name": f"Person {number}", "born": {"year": 1900 + number, "in": "Åre"}} for number in range(20)]
    found = seen(of("json", stdlib.dumps({"source": "the parish", "people": people, "count": 20})))
    assert found[:3] == [
        ("row", "source: the parish"),
        ("heading", "people"),
        ("row", "name: Person 0; born.year: 1900; born.in: Åre"),
    ]
    assert found[-1] == ("row", "count: 20")
    assert len(found) == 23


def test_a_small_object_is_one_row_with_the_paths_of_its_values():
    text = '{"server": {"host": "x.se", "ports": [80, 443]}, "debug": false, "owner": null}'
    assert seen(of("json", text)) == [("row", "server.host: x.se; server.ports: 80, 443; debug: false")]


def test_a_record_keeps_what_it_holds_however_that_is_nested():
    order = {"id": 7, "lines": [{"sku": "A1", "count": 2}, {"sku": "B2", "count": 1}]}
    assert of("json", stdlib.dumps([order, order])).blocks[0].text == (
        "id: 7; lines.sku: A1; lines.count: 2; lines.sku: B2; lines.count: 1"
    )


def test_long_texts_are_paragraphs_after_their_row():
    story = "A sentence that goes on. " * 40
    found = seen(of("json", stdlib.dumps([{"id": 1, "body": story}, {"id": 2, "body": "short"}])))
    assert found == [("row", "id: 1"), ("paragraph", story.strip()), ("row", "id: 2; body: short")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN, "b": -Infinity}', "a: NaN; b: -Infinity"),
        ('{"a": 1, "a": 2}', "a: 1, 2"),
        (r'{"a": "half \ud83d of a pair"}', "a: half \ufffd of a pair"),
        (r'{"a": "\u00e5\n\"b\" \ud83d\ude00"}', 'a: å "b" 😀'),
        ('{"a": "tab\tand\nline"}', "a: tab and line"),
        (r'{"a": "C:\new \q"}', "a: C: ew"),
        ('\ufeff{"a": 1}', "a: 1"),
        ('{"a": 1,}', "a: 1"),
        ('{"a": "x"}\n\n{"a": "y"}', "a: x a: y"),
        ('"only a text"', "only a text"),
        ("{} [] 7", "7"),
    ],
)
def test_what_other_readers_stumble_over_is_read(text, said):
    found = " ".join(block.text for block in of("json", text).blocks)
    assert found == said or found.startswith(said)


def test_a_number_of_a_million_digits_is_cut_and_said_to_be():
    result = of("json", f"[1, {'9' * 1_000_000}]")
    assert "9" * 900 in result.text
    assert len(result.text) < 2_000
    assert "1,000 digits" in result.info.warnings[0]


def test_a_text_longer_than_any_is_cut_and_the_rest_is_read_on():
    result = of("json", f'{{"long": "{"word " * 400_000}", "next": "still here"}}')
    assert "next: still here" in result.text
    assert len(result.text) < 1_100_000
    assert "are cut off" in result.info.warnings[0]


def test_two_hundred_levels_are_read_with_the_innermost_names():
    deep = '{"a": ' * 200 + '{"last": "deep"}' + "}" * 200
    assert of("json", deep).blocks[-1].text.endswith("a.a.last: deep")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252", "utf-32-le"])
def test_json_that_is_not_utf8_is_read(encoding):
    assert of("json", '{"ort": "Västerås"}'.encode(encoding)).text == "ort: Västerås"


@pytest.mark.parametrize(
    "broken",
    ['{"a" 1}', '{"a": 1', "[1, 2", '["unfinished', "[1 2]", "{1: 2}", "]", '{"a": }', "[1}", "nonsense", " "],
)
def test_what_is_no_json_is_refused_with_the_place(broken):
    with pytest.raises(CorruptFile, match=r"file is not sound JSON: .*export it again"):
        of("json", broken)


def test_broken_lines_are_left_out_and_named():
    result = lines('{"a": 1}\nno json\n\n{"a": "it goes on"}\n{"a": \n')
    assert [block.text for block in result.blocks] == ["a: 1", "a: it goes on"]
    assert result.info.warnings == ("2 lines (2, 5) are not sound JSON and left out",)


def test_a_line_longer_than_a_piece_is_one_value():
    found = lines(stdlib.dumps({"a": "x " * 100_000, "b": 1}) + '\n{"a": 2}\n').blocks
    assert "".join(block.text for block in found[:-2]).count("x") == 100_000
    assert [block.text for block in found[-2:]] == ["b: 1", "a: 2"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 65_536])
def test_tokens_are_the_same_wherever_the_text_is_cut(size, monkeypatch):
    monkeypatch.setattr(json, "_PIECE", size)
    text = r'{"first key": "a \"quoted\" \\ text", "n": [-12.5e3, true, null, {"\u00e5": ""}]}'
    assert of("json", text).text == 'first key: a "quoted" \\ text; n: -12.5e3, true'


def test_a_long_list_is_told_as_it_comes():
    row = b'{"id": 1, "name": "somebody with a name"},\n'
    file = io.BytesIO(b"[" + row * 100_000)
    events = json.parse(Source("a.json", "application/json", len(file.getvalue()), file))
    found = list(islice((event for event in events if isinstance(event, Block)), 3))
    assert [block.text for block in found] == ["id: 1; name: somebody with a name"] * 3
    assert file.tell() < 200_000


@pytest.mark.parametrize(
    "bomb", ['["' + "\\\\" * 200_000 + '"]', "[" + "[]," * 100_000 + "1]", "[" + "1," * 100_000 + "1]", '{"a":' * 900]
)
def test_a_bomb_in_json_does_not_go_off(bomb):
    try:
        assert len(of("json", bomb).text) <= 2 * len(bomb)
    except CorruptFile as error:
        assert "breaks off" in str(error)  # noqa: PT017 - of what is only opened
