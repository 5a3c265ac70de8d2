from __future__ import annotations

import io
import time
from datetime import datetime

import openpyxl
import pytest
from folkmoot_parser_office.xlsx_values import formatter, general


def book(*sheets: tuple[str, list[list[object]]]) -> openpyxl.Workbook:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets:
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return made


def saved(workbook: openpyxl.Workbook) -> bytes:
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


@pytest.fixture
def lines(parsed):
    def run(rows: list[list[object]]) -> list[str]:
        blocks = parsed("xlsx", saved(book(("S", rows)))).blocks
        assert all(b.sheet == "S" and b.page is None for b in blocks)
        return [b.text for b in blocks[1:]]

    return run


def test_each_row_is_a_block_with_the_names_of_its_columns(parsed):
    result = parsed("xlsx", saved(book(("Folk", [["Name", "Year"], ["Ada", 1843]]), ("Tom", []))))
    assert [(b.kind, b.text, b.level, b.sheet) for b in result.blocks] == [
        ("heading", "Folk", 1, "Folk"),
        ("row", "Name: Ada; Year: 1843", None, "Folk"),
    ]


def test_titles_above_the_header_are_not_taken_for_it(lines):
    rows = [["Försäljning"], ["uppdaterad i maj"], ["Vara", "Antal", "Pris"], ["Te", 3, 1.0], ["Ost", 4, 2.5]]
    assert lines(rows) == [
        "Försäljning",
        "uppdaterad i maj",
        "Vara: Te; Antal: 3; Pris: 1",
        "Vara: Ost; Antal: 4; Pris: 2.5",
    ]


def test_after_an_empty_row_the_same_table_goes_on_and_another_begins_anew(lines):
    rows = [["Vara", "Antal"], ["Te", 3], [], ["Ost", 4], [], ["Stad", "Län"], ["Umeå", "AC"], ["Luleå", "BD"]]
    assert lines(rows) == [
        "Vara: Te; Antal: 3",
        "Vara: Ost; Antal: 4",
        "Stad: Umeå; Län: AC",
        "Stad: Luleå; Län: BD",
    ]


def test_figures_alone_get_no_invented_names(lines):
    assert lines([[1, 2], [3, 4]]) == ["1; 2", "3; 4"]


def test_names_of_groups_above_the_header_are_kept_as_text(lines):
    rows = [["Ort", "Skola", None, None], [None, "Elever", "Lärare", "Rum"], ["Umeå", 1, 2, 3], ["Luleå", 4, 5, 6]]
    assert lines(rows)[:2] == ["Ort; Skola", "Ort: Umeå; Elever: 1; Lärare: 2; Rum: 3"]


def test_a_column_without_values_keeps_its_name(lines):
    assert lines([["A", "B", "Anteckning"], [1, 2], [3, 4]]) == ["A: 1; B: 2", "A: 3; B: 4", "Anteckning"]


def test_empty_columns_and_line_breaks_leave_no_trace(lines):
    assert lines([[None, "A", None, "B"], [None, "x\ny", None, 2]]) == ["A: x y; B: 2"]


def test_hidden_sheets_are_read(parsed):
    made = book(("Syns", [["A", "B"], ["x", 1]]), ("Dold", [["A", "B"], ["y", 2]]))
    made["Dold"].sheet_state = "veryHidden"
    assert "A: y; B: 2" in parsed("xlsx", saved(made)).text


@pytest.mark.parametrize(
    ("code", "stored", "shown"),
    [
        ("General", "1.0", "1"),
        ("General", "0.30000000000000004", "0.3"),
        ("General", "1E+20", "1e+20"),
        ("0", "2.5", "3"),
        ("0.00", "12.5", "12.50"),
        ("0.00", "-0.001", "0.00"),
        ("#,##0.00", "1234.5", "1234.50"),
        ("0.##", "1.5", "1.5"),
        ("00000", "123", "00123"),
        ("0%", "0.12", "12%"),
        ("0.0%", "0.1234", "12.3%"),
        ('#,##0\\ "kr"', "1500", "1500 kr"),
        ("[$€-407]\\ 0.00", "-3", "-€3.00"),
        ("0.00E+00", "12345", "12345"),
        ("# ?/?", "0.5", "0.5"),
        ("0.0,,", "1500000", "1500000"),
        ("[Red]0;[Blue]-0", "7", "7"),
        ("yyyy-mm-dd", "45292", "2024-01-01"),
        ("d mmm yyyy", "45292", "2024-01-01"),
        ("mmm-yy", "45292", "2024-01-01"),
        ("[$-41D]yyyy-mm-dd hh:mm", "45292.5", "2024-01-01 12:00"),
        ("m/d/yy", "59", "1900-02-28"),
        ("h:mm AM/PM", "0.75", "18:00"),
        ("h:mm:ss", "0.000011574", "00:00:01"),
        ("[h]:mm", "1.5", "36:00"),
        ("mm:ss", "0.5", "12:00"),
        ("yyyy", "1e300", "1e+300"),
        ("@", "5", "5"),
    ],
)
def test_numbers_look_as_people_see_them(code, stored, shown):
    assert formatter(code, epoch_1904=False)(stored) == shown


def test_workbooks_from_old_macs_count_from_1904():
    assert formatter("yyyy-mm-dd", epoch_1904=True)("0") == "1904-01-01"
    assert general("007") == "007"


def test_dates_times_and_truth_come_through_a_real_file(lines):
    rows = [["När", "Ja", "Text"], [datetime(2024, 5, 6, 7, 8), True, "=x"[1:]], [datetime(2024, 5, 7), False, "y"]]
    assert lines(rows) == [
        "När: 2024-05-06 07:08; Ja: TRUE; Text: x",
        "När: 2024-05-07; Ja: FALSE; Text: y",
    ]


def test_formulas_give_the_value_that_was_stored_and_errors_nothing(make, parsed):
    rows = (
        '<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1" t="str"><f>A2</f><v>Sum</v></c>'
        '<c r="B1" t="inlineStr"><is><r><t>In</t></r><r><t>line</t></r></is></c></row>'
        '<row r="2"><c r="A2"><f>1+1</f><v>2</v></c><c r="B2" t="e"><v>#REF!</v></c><c r="C2"><f>1+2</f></c></row>'
        '<row><c><v>5</v></c><c t="d"><v>2024-01-02T00:00:00</v></c><c t="s"><v>99</v></c></row></sheetData>'
    )
    result = parsed("xlsx", make.sheet(rows))
    assert [b.text for b in result.blocks] == ["Data", "Sum: 2", "Sum: 5; Inline: 2024-01-02"]


def test_shared_texts_are_read_without_phonetic_guides_and_escapes(make, parsed):
    strings = "<sst><si><t>a_x000D_b</t></si><si><r><t>Tō</t></r><r><t>kyō</t></r><rPh><t>guide</t></rPh></si></sst>"
    rows = '<sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row></sheetData>'
    assert "a b; Tōkyō" in parsed("xlsx", make.sheet(rows, {"sharedStrings.xml": strings})).text


def test_the_header_of_a_table_that_excel_knows_is_believed(parsed):
    made = book(("S", [[2023, 2024], [1, 2], [3, 4]]))
    sheet = made["S"]
    for cell in sheet[1]:
        cell.value = str(cell.value)
    sheet.add_table(openpyxl.worksheet.table.Table(displayName="T", ref="A1:B3"))
    assert "2023: 1; 2024: 2" in parsed("xlsx", saved(made)).text


def test_many_rows_stream_and_report_progress(make, parsed):
    row = '<row r="{0}"><c r="A{0}"><v>{0}</v></c><c r="B{0}" t="str"><v>n{0}</v></c></row>'
    data = make.sheet("<sheetData>" + "".join(row.format(at) for at in range(1, 20_001)) + "</sheetData>")
    start = time.process_time()
    result = parsed("xlsx", data)
    assert len(result.blocks) == 20_001
    assert result.blocks[-1].text == "20000; n20000"
    assert len(result.events) > len(result.blocks) + 5
    assert time.process_time() - start < 5
