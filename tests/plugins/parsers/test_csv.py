"""What the reader of CSV makes of tables, friendly and hostile."""

from __future__ import annotations

import pytest
from folkmoot_sdk import CorruptFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample

from tests.plugins.parsers.reading import SPECS, binary, of, seen


class TestCsvConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["csv"]

    def samples(self):
        rows = b"name;year\nAda;1843\nGrace;1952\n"
        return [Sample("a.csv", rows, "text/csv", ("name: Ada; year: 1843", "name: Grace"), sniffed=False)]

    def broken(self):
        unclosed = b'a,b\n1,"' + b"x,y\n" * 300_000
        return [binary(".csv"), Broken("quote.csv", unclosed, CorruptFile)]


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


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("a;b\r\n1,5;2,75\r\n", ["a: 1,5; b: 2,75"]),
        ('sep=|\nname|note\nAda|"x|y"\n', ["name: Ada; note: x|y"]),
        ('"sep=;"\nname;note\nAda;y\n', ["name: Ada; note: y"]),
        ('name, note\nAda, likes "cats"\n', ['name: Ada; note: likes "cats"']),
        ("name\tnote\n\n\n \t \nAda\tx\n", ["name: Ada; note: x"]),
        ("one\ntwo\n", ["one: two"]),
        ("name,2023,2024\nAda,1,2\n", ["name: Ada; 2023: 1; 2024: 2"]),
    ],
)
def test_tables_of_every_dialect_are_read(table, rows):
    assert [block.text for block in of("csv", table).blocks] == rows


def test_a_table_in_utf16_as_excel_saves_unicode_text_is_read():
    assert seen(of("csv", "namn\tort\nÅsa\tVästerås\n".encode("utf-16"))) == [("row", "namn: Åsa; ort: Västerås")]


def test_a_large_field_is_kept_whole():
    assert len(of("csv", "a,b\n1," + "x" * 900_000).blocks[0].text) > 900_000


def test_columns_without_end_take_time_in_proportion():
    assert of("csv", "a," * 200_000).blocks[0].text.startswith("Column 1: a; Column 2: a")
