from __future__ import annotations

import pytest
from folkmoot_sdk import Progress


def cell(text: str, props: str = 'office:value-type="string"') -> str:
    return f"<table:table-cell {props}><text:p>{text}</text:p></table:table-cell>"


def value(kind: str, stored: str, shown: str) -> str:
    key = {"date": "date-value", "time": "time-value", "boolean": "boolean-value"}.get(kind, "value")
    return cell(shown, f'office:value-type="{kind}" office:{key}="{stored}"')


def row(*cells: str, props: str = "") -> str:
    return f"<table:table-row {props}>{''.join(cells)}</table:table-row>"


def sheet(*rows: str, name: str = "Data") -> str:
    return f'<table:table table:name="{name}">{"".join(rows)}</table:table>'


HEAD = row(cell("Namn"), cell("Antal"))
EMPTY_ROWS = row(
    '<table:table-cell table:number-columns-repeated="16384"/>', props='table:number-rows-repeated="1000000"'
)


def ada(count: str) -> str:
    return row(cell("Ada"), value("float", count, count))


def test_rows_bear_the_names_of_their_columns(blocks):
    wide = row(cell("Bo"), '<table:table-cell table:number-columns-repeated="7"/>', cell("anmärkning"))
    body = sheet(row(cell("Personer 2024")), HEAD, ada("3"), wide)
    assert blocks("ods", body) == [
        ("heading", "Data"),
        ("paragraph", "Personer 2024"),
        ("row", "Namn: Ada; Antal: 3"),
        ("row", "Namn: Bo; anmärkning"),
    ]


def test_sheets_are_named_and_empty_ones_passed_over(make, parsed):
    body = sheet(HEAD, ada("1"), name="Ett") + sheet(EMPTY_ROWS, name="Tomt") + sheet(HEAD, ada("2"), name="")
    found = [(b.sheet, b.text) for b in parsed("ods", make.package("ods", body)).blocks]
    assert found == [
        ("Ett", "Ett"),
        ("Ett", "Namn: Ada; Antal: 1"),
        ("3", "3"),
        ("3", "Namn: Ada; Antal: 2"),
    ]


def test_an_empty_row_parts_tables_however_it_is_repeated(blocks):
    other = row(cell("Ort"), cell("Invånare"))
    body = sheet(HEAD, ada("1"), EMPTY_ROWS, other, row(cell("Umeå"), value("float", "9", "9")), EMPTY_ROWS)
    assert [text for _, text in blocks("ods", body)] == ["Data", "Namn: Ada; Antal: 1", "Ort: Umeå; Invånare: 9"]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (value("float", "1234.5", "1 234,50 kr"), "1 234,50 kr"),
        (value("percentage", "0.5", "50%"), "50%"),
        (value("date", "2024-04-03", "03/04/24"), "2024-04-03"),
        (value("date", "2024-04-03T08:30:00", "3.4.2024 08:30"), "2024-04-03 08:30:00"),
        (value("date", "2024-04-03", "onsdag 3 april 2024"), "onsdag 3 april 2024"),
        (value("date", "2024-04-03", "2024"), "2024"),
        (value("date", "2024-04-03", "###"), "2024-04-03"),
        (value("date", "nonsense", "###"), "###"),
        (value("float", "12", "###"), "12"),
        (value("time", "PT08H30M00S", "08:30"), "08:30"),
        (value("time", "PT08H30M00S", ""), "8:30:00"),
        (value("boolean", "true", ""), "TRUE"),
        (cell("#REF!", 'office:value-type="string" calcext:value-type="error"'), None),
        (cell("rad ett</text:p><text:p>rad två"), "rad ett rad två"),
    ],
)
def test_values_are_as_shown_and_dates_in_figures_are_unmistakable(blocks, made, text):
    found = blocks("ods", sheet(row(cell("Rubrik"), cell("X")), row(cell("a"), made)))
    assert found[1][1] == ("Rubrik: a" if text is None else f"Rubrik: a; X: {text}")


def test_repeated_cells_and_rows_with_something_in_them_are_read_so_often(make, parsed):
    twice = row(cell("b"), cell("x", 'office:value-type="string" table:number-columns-repeated="2"'))
    body = sheet(row(cell("A"), cell("B"), cell("C")), twice)
    assert parsed("ods", make.package("ods", body)).blocks[1].text == "A: b; B: x; C: x"
    filled = row(cell("fyllning"), props='table:number-rows-repeated="1048576"')
    result = parsed("ods", make.package("ods", sheet(filled)))
    assert sum(b.text == "fyllning" for b in result.blocks) == 100
    assert result.info.warnings == ("Row 1 of the sheet 'Data' stands there 1048576 times: it was read 100 times.",)


def test_rows_in_groups_and_covered_cells_are_where_they_stand(blocks):
    covered = row(cell("Ada"), "<table:covered-table-cell><text:p>dold</text:p></table:covered-table-cell>", cell("x"))
    body = sheet(
        f"<table:table-header-rows>{row(cell('A'), cell('B'), cell('C'))}</table:table-header-rows>",
        f"<table:table-row-group><table:table-rows>{covered}</table:table-rows></table:table-row-group>",
    )
    assert [text for _, text in blocks("ods", body)] == ["Data", "A: Ada; C: x", "B"]


def test_comments_boxes_and_charts_follow_what_they_hang_on(make, blocks):
    comment = "<office:annotation><dc:creator>Ada</dc:creator><text:p>Säkert?</text:p></office:annotation>"
    shapes = (
        "<table:shapes><draw:frame><draw:text-box><text:p>I rutan</text:p></draw:text-box></draw:frame></table:shapes>"
    )
    noted = f'<table:table-cell office:value-type="string">{comment}<text:p>b</text:p></table:table-cell>'
    body = sheet(shapes, row(cell("A"), cell("B")), row(cell("a"), noted))
    assert sorted(blocks("ods", body)[1:]) == [
        ("note", "Ada: Säkert?"),
        ("paragraph", "I rutan"),
        ("row", "A: a; B: b"),
    ]


def test_a_long_sheet_tells_how_far_it_is_and_is_not_held(make, parsed, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_opendocument.package.MOST_TREE_BYTES", 1000)
    result = parsed("ods", make.package("ods", sheet(HEAD, ada("1") * 5_000)))
    assert sum(b.kind == "row" for b in result.blocks) == 5_000
    ticks = [event.done for event in result.events if isinstance(event, Progress)]
    assert ticks == sorted(ticks)
    assert len(ticks) == 2


def test_tracked_changes_of_a_sheet_are_not_read(blocks):
    tracked = (
        "<table:tracked-changes><table:deletion><table:cut-offs/><table:previous><table:change-track-table-cell>"
        "<text:p>struket</text:p></table:change-track-table-cell></table:previous></table:deletion></table:tracked-changes>"
    )
    assert [text for _, text in blocks("ods", tracked + sheet(HEAD, ada("1")))] == ["Data", "Namn: Ada; Antal: 1"]
