from __future__ import annotations

import pytest


def p(text: str, style: str = "") -> str:
    return f'<text:p text:style-name="{style}">{text}</text:p>'


def item(*inside: str, props: str = "") -> str:
    return f"<text:list-item {props}>{''.join(inside)}</text:list-item>"


def listed(*items: str, props: str = 'text:style-name="L"') -> str:
    return f"<text:list {props}>{''.join(items)}</text:list>"


def cell(inside: str, props: str = "") -> str:
    return f"<table:table-cell {props}>{inside}</table:table-cell>"


def row(*cells: str) -> str:
    return f"<table:table-row>{''.join(cells)}</table:table-row>"


def table(*rows: str) -> str:
    return f"<table:table>{''.join(rows)}</table:table>"


def style(name: str, inside: str = "", props: str = "", family: str = "paragraph") -> str:
    return f'<style:style style:name="{name}" style:family="{family}" {props}>{inside}</style:style>'


LEVELS = (
    '<text:list-style style:name="L"><text:list-level-style-number text:level="1" style:num-format="1" '
    'style:num-suffix="."/><text:list-level-style-number text:level="2" style:num-format="a" style:num-suffix=")" '
    'text:display-levels="2"/><text:list-level-style-bullet text:level="3"/></text:list-style>'
)


@pytest.mark.parametrize(
    ("body", "level"),
    [
        ('<text:h text:outline-level="3">Ord</text:h>', 3),
        ("<text:h>Ord</text:h>", 1),
        ('<text:h text:outline-level="99999999999">Ord</text:h>', 1),
        (p("Ord", "Heading_20_2"), 2),
        (p("Ord", "Egen"), 4),
        (p("Ord", "Title"), 1),
        (p("Ord", "Loop"), None),
        (p("Ord"), None),
    ],
)
def test_headings_are_known_by_outline_level_or_style(make, parsed, body, level):
    autos = style("Egen", props='style:parent-style-name="Heading_20_4"')
    autos += style("Loop", props='style:parent-style-name="Loop"')
    block = parsed("odt", make.package("odt", body, autos)).blocks[0]
    assert (block.kind, block.level, block.text) == ("heading" if level else "paragraph", level, "Ord")


def test_headings_bear_the_numbers_of_their_outline(blocks):
    unnumbered = style("Utan", props='style:list-style-name=""')
    outline = (
        '<office:styles><text:outline-style><text:outline-level-style text:level="1" style:num-format="I" '
        'style:num-suffix="."/><text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/>'
        f"</text:outline-style>{unnumbered}</office:styles>"
    )
    heading = '<text:h text:outline-level="{}" {}>{}</text:h>'
    body = heading.format(1, "", "Ett") + heading.format(2, "", "Under") + heading.format(2, "", "Mer")
    body += heading.format(1, 'text:is-list-header="true"', "Utan") + heading.format(1, "", "Två")
    body += heading.format(1, 'text:style-name="Utan"', "Inget")
    body += heading.format(2, "", "Nytt")
    assert [text for _, text in blocks("odt", body, styles=outline)] == [
        "I. Ett",
        "I.1 Under",
        "I.2 Mer",
        "Utan",
        "II. Två",
        "Inget",
        "II.1 Nytt",
    ]


def test_lists_carry_the_labels_that_the_reader_sees(blocks):
    inner = listed(item(p("a")), item(p("b"), listed(item(p("kula")), props="")), props="")
    assert blocks("odt", listed(item(p("ett"), inner), item(p("två"), p("mer om två"))), LEVELS) == [
        ("list", "1. ett\n  1.a) a\n  1.b) b\n    - kula\n2. två\n  mer om två")
    ]


def test_a_list_goes_on_only_where_it_says_so(blocks):
    def one(text: str, props: str) -> str:
        return listed(item(p(text)), props=f'text:style-name="L" {props}') + p("mitt")

    body = one("a", 'xml:id="x"') + one("b", "") + one("c", 'text:continue-numbering="true"')
    body += one("d", 'text:continue-list="x"') + listed(item(p("e"), props='text:start-value="7"'))
    assert [text for kind, text in blocks("odt", body, LEVELS) if kind == "list"] == [
        "1. a",
        "1. b",
        "2. c",
        "2. d",
        "7. e",
    ]


def test_list_headers_and_unknown_lists_have_no_number(blocks):
    header = f"<text:list-header>{p('rubrik')}</text:list-header>"
    assert blocks("odt", listed(header, item(p("ett"))), LEVELS) == [("paragraph", "rubrik"), ("list", "1. ett")]
    assert blocks("odt", listed(item(p("x")), props="")) == [("list", "- x")]


def test_spaces_tabs_and_breaks_are_as_the_reader_sees_them(blocks):
    text = 'a   b\n c<text:s text:c="2"/>d<text:tab/>e<text:line-break/>f<text:s text:c="999999999"/>av\u00adtal'
    (block,) = blocks("odt", p(text))
    assert block[1].startswith("a b c  d\te\nf ")
    assert block[1].endswith("avtal")
    assert len(block[1]) < 300


def test_tracked_deletions_and_hidden_text_are_left_out(blocks):
    hidden = style("H", '<style:text-properties text:display="none"/>', family="text")
    hidden += style("HP", '<style:text-properties text:display="none"/>')
    changes = (
        "<text:tracked-changes><text:changed-region><text:deletion><office:change-info/><text:p>struket</text:p>"
        "</text:deletion></text:changed-region></text:tracked-changes>"
    )
    runs = (
        'Vi <text:change text:change-id="1"/><text:span>vill</text:span><text:span text:style-name="H">dolt</text:span>'
        '<text:hidden-text text:is-hidden="true">x</text:hidden-text>'
    )
    sections = (
        f'<text:section text:display="none">{p("dolt")}</text:section><text:section>{p("synligt")}</text:section>'
    )
    body = changes + p(runs) + p("dolt stycke", "HP") + sections
    assert blocks("odt", body, hidden) == [("paragraph", "Vi vill"), ("paragraph", "synligt")]


def test_notes_and_comments_follow_their_paragraph(blocks):
    note = (
        '<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body>'
        f"{p('Källa: arkivet')}</text:note-body></text:note>"
    )
    comment = (
        f"<office:annotation><dc:creator>Ada</dc:creator><dc:date>2024</dc:date>{p('Stämmer?')}</office:annotation>"
    )
    assert blocks("odt", p(f"Fakta{note}{comment} här") + p("Mer")) == [
        ("paragraph", "Fakta här"),
        ("note", "Källa: arkivet"),
        ("note", "Ada: Stämmer?"),
        ("paragraph", "Mer"),
    ]


def test_tables_keep_their_columns_and_do_not_repeat_merged_cells(blocks):
    body = table(
        f"<table:table-header-rows>{row(cell(p('Namn')), cell(p('År')), cell(p('Ort')))}</table:table-header-rows>",
        row(
            cell(p("Ada") + p("Lovelace")),
            cell(p("båda"), 'table:number-columns-spanned="2"'),
            "<table:covered-table-cell/>",
        ),
        f"<table:table-row-group>{row(cell(''), cell(p('1')), cell(p('Umeå')))}</table:table-row-group>",
        row(cell("", 'table:number-columns-repeated="1000000"')),
    )
    assert blocks("odt", body) == [("table", "Namn | År | Ort\nAda Lovelace | båda |\n| 1 | Umeå")]


def test_tables_in_cells_come_after_and_frames_are_text(blocks):
    inner = table(row(cell(p("x")), cell(p("y"))))
    assert blocks("odt", table(row(cell(p("a")), cell(p("b") + inner)))) == [("table", "a | b"), ("table", "x | y")]
    assert blocks("odt", table(row(cell(p("ett") + p("två"))))) == [("paragraph", "ett"), ("paragraph", "två")]


def test_text_boxes_and_pictures_are_read_where_they_hang(blocks):
    box = f"<draw:frame><draw:text-box>{p('I rutan')}</draw:text-box></draw:frame>"
    group = f"<draw:g><draw:rect>{p('I gruppen')}</draw:rect></draw:g>"
    picture = "<draw:frame><draw:image/><svg:title>Namn</svg:title><svg:desc>En sluss</svg:desc></draw:frame>"
    assert blocks("odt", p(f"Ankare{box}<draw:a>{group}</draw:a>") + picture) == [
        ("paragraph", "Ankare"),
        ("paragraph", "I rutan"),
        ("paragraph", "I gruppen"),
        ("paragraph", "En sluss"),
    ]


def test_embedded_charts_formulas_and_documents_are_read(make, blocks):
    names = make.content("odt", "").partition("<office:automatic")[0]
    chart = (
        f"{names}<office:body><office:chart><chart:chart><chart:title>{p('Ankor')}</chart:title>"
        f"{table(row(cell(''), cell(p('Antal'))), row(cell(p('2023')), cell(p('12'))))}</chart:chart></office:chart>"
        "</office:body></office:document-content>"
    )
    formula = (
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mi>x</mi><annotation>x^2 + y</annotation>'
        "</semantics></math>"
    )

    def frame(name: str) -> str:
        return f'<draw:frame><draw:object xlink:href="./{name}"/><draw:image xlink:href="x.png"/></draw:frame>'

    parts = {
        "Chart/content.xml": chart,
        "Formula/content.xml": formula,
        "Self/content.xml": make.content("odt", p(frame("Self") + "djup")),
    }
    body = p(frame("Chart")) + p(frame("Formula")) + p(frame("../../etc")) + p(frame("Self"))
    found = blocks("odt", body, parts=parts)
    assert found[:3] == [("paragraph", "Ankor"), ("table", "| Antal\n2023 | 12"), ("paragraph", "x^2 + y")]
    assert found[3:] == [("paragraph", "djup")] * 3


def test_headers_and_footers_of_layouts_in_use_come_once(blocks):
    def layout(name: str, header: str, following: str = "") -> str:
        return (
            f'<style:master-page style:name="{name}" style:next-style-name="{following}"><style:header>{p(header)}'
            f"</style:header><style:footer>{p('<text:page-number>3</text:page-number>')}</style:footer></style:master-page>"
        )

    layouts = layout("Standard", "Arkivet") + layout("First", "Omslag", "Rest") + layout("Rest", "Arkivet")
    layouts += layout("Unused", "Mall")
    found = blocks(
        "odt",
        p("Text", "P1"),
        style("P1", props='style:master-page-name="First"'),
        f"<office:master-styles>{layouts}</office:master-styles>",
    )
    assert found == [("note", "Arkivet"), ("note", "Omslag"), ("paragraph", "Text")]


def test_pages_follow_the_breaks_where_all_are_noted(make, parsed):
    autos = style("Ny", '<style:paragraph-properties fo:break-before="page"/>')
    autos += style("Inte", '<style:paragraph-properties fo:break-before="auto"/>', 'style:parent-style-name="Ny"')
    body = p("ett", "Ny") + p("två<text:soft-page-break/>") + p("tre") + p("fyra", "Ny") + p("fem", "Inte")
    result = parsed(
        "odt", make.package("odt", body, autos, parts=make.meta('<meta:document-statistic meta:page-count="3"/>'))
    )
    assert [(b.text, b.page) for b in result.blocks] == [("ett", 1), ("två", 1), ("tre", 2), ("fyra", 3), ("fem", 3)]
    assert result.info.page_count == 3
    unknown = parsed("odt", make.package("odt", p("ett") + p("två", "Ny"), autos))
    assert {b.page for b in unknown.blocks} == {None}


def test_the_properties_give_title_and_language(make, parsed):
    meta = make.meta("<dc:title>Ett\n avtal</dc:title><dc:language>sv-SE</dc:language>")
    info = parsed("odt", make.package("odt", p("x"), parts=meta)).info
    assert (info.title, info.language) == ("Ett avtal", "sv-SE")


def test_a_damaged_part_at_the_side_is_a_warning_and_not_the_end(make, parsed):
    data = make.zipped({"content.xml": make.content("odt", p("Text")), "styles.xml": "<broken"}, "x")
    result = parsed("odt", data)
    assert result.text == "Text"
    assert result.info.warnings == ("The styles could not be read: that part of the file is damaged.",)


def test_other_prefixes_for_the_same_namespaces_make_no_difference(make, parsed):
    content = make.content("odt", p("Ord")).replace("text:p", "t:p").replace("xmlns:text=", "xmlns:t=")
    content = content.replace("text:style-name", "t:style-name")
    assert parsed("odt", make.zipped({"content.xml": content}, "x")).text == "Ord"


def test_a_picture_in_a_flat_file_is_passed_over_however_large(make, parsed):
    data = f"<office:binary-data>{'QUJD' * 3_000_000}</office:binary-data>"
    picture = f"<draw:frame><draw:image>{data}</draw:image></draw:frame>"
    assert parsed("odt", make.flat("odt", p("före") + picture + p("efter"))).text == "före\n\nefter"
