from __future__ import annotations

import io

import pptx
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches


def saved(deck) -> bytes:
    buffer = io.BytesIO()
    deck.save(buffer)
    return buffer.getvalue()


def blank():
    deck = pptx.Presentation()
    return deck, deck.slides.add_slide(deck.slide_layouts[6]).shapes


def box(shapes, text: str, left: float, top: float):
    shape = shapes.add_textbox(Inches(left), Inches(top), Inches(1), Inches(1))
    shape.text_frame.text = text
    return shape


def test_shapes_are_read_from_top_to_bottom_and_left_to_right(parsed):
    deck, shapes = blank()
    for text, left, top in (("nere", 1, 5), ("höger", 5, 1.1), ("vänster", 1, 1.2), ("mitten", 2, 3)):
        box(shapes, text, left, top)
    assert [b.text for b in parsed("pptx", saved(deck)).blocks] == ["vänster", "höger", "mitten", "nere"]


def test_groups_are_opened_in_their_place(parsed):
    deck, shapes = blank()
    box(shapes, "först", 1, 0.5)
    group = shapes.add_group_shape()
    inner = group.shapes.add_group_shape()
    box(inner.shapes, "djupt", 1, 2)
    box(group.shapes, "grunt", 1, 3)
    box(shapes, "sist", 1, 5)
    assert [b.text for b in parsed("pptx", saved(deck)).blocks] == ["först", "djupt", "grunt", "sist"]


def test_bullets_that_only_the_master_knows_make_a_list(parsed):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Rubrik\vpå två rader"
    frame = slide.placeholders[1].text_frame
    frame.text = "ett"
    frame.add_paragraph().text = "under"
    frame.paragraphs[1].level = 1
    result = parsed("pptx", saved(deck))
    assert [(b.kind, b.text, b.level) for b in result.blocks] == [
        ("heading", "Rubrik på två rader", 1),
        ("list", "- ett\n  - under", None),
    ]


def test_numbered_paragraphs_count(parsed):
    deck, shapes = blank()
    shape = box(shapes, "a\nb", 1, 1)
    for paragraph in shape.text_frame.paragraphs:
        props = paragraph._p.get_or_add_pPr()
        props.insert(0, props.makeelement(props.tag.replace("pPr", "buAutoNum"), {"type": "romanUcParenR"}))
    assert parsed("pptx", saved(deck)).text == "I) a\nII) b"


def test_hidden_slides_count_as_pages_and_are_read(parsed):
    deck, shapes = blank()
    box(shapes, "syns", 1, 1)
    hidden = deck.slides.add_slide(deck.slide_layouts[6])
    box(hidden.shapes, "dold", 1, 1)
    hidden._element.set("show", "0")
    result = parsed("pptx", saved(deck))
    assert [(b.text, b.page) for b in result.blocks] == [("syns", 1), ("dold", 2)]
    assert result.info.page_count == 2


def test_charts_give_their_title_and_figures(parsed):
    deck, shapes = blank()
    data = CategoryChartData()
    data.categories = ["2023", "2024"]
    data.add_series("Ankor", (1.5, 2))
    frame = shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, Inches(4), Inches(3), data)
    frame.chart.has_title = True
    frame.chart.chart_title.text_frame.text = "Ankor i sjön"
    assert [(b.kind, b.text) for b in parsed("pptx", saved(deck)).blocks] == [
        ("paragraph", "Ankor i sjön"),
        ("table", "| Ankor\n2023 | 1.5\n2024 | 2"),
    ]


def test_merged_cells_of_a_table_are_not_repeated(parsed):
    deck, shapes = blank()
    table = shapes.add_table(2, 2, 0, 0, Inches(4), Inches(2)).table
    table.cell(0, 0).merge(table.cell(0, 1))
    for at, text in (((0, 0), "båda"), ((1, 0), "a"), ((1, 1), "b")):
        table.cell(*at).text = text
    assert parsed("pptx", saved(deck)).text == "båda |\na | b"


def test_smart_art_is_read_as_a_list(make, parsed):
    a = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    p = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
    r = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
    d = 'xmlns:d="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
    point = '<d:pt type="{}"><d:t><a:p><a:r><a:t>{}</a:t></a:r></a:p></d:t></d:pt>'
    data = make.package(
        "ppt",
        {
            "ppt/presentation.xml": f'<p:presentation {p} {r}><p:sldIdLst><p:sldId id="256" r:id="rId9"/>'
            '<p:sldId id="257" r:id="rId9"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": make.ties(("rId9", "slide", "slides/slide1.xml")),
            "ppt/slides/slide1.xml": f"<p:sld {p} {r} {a} {d}><p:cSld><p:spTree><p:graphicFrame><a:graphic>"
            '<a:graphicData><d:relIds r:dm="rId2"/></a:graphicData></a:graphic></p:graphicFrame>'
            "</p:spTree></p:cSld></p:sld>",
            "ppt/slides/_rels/slide1.xml.rels": make.ties(("rId2", "diagramData", "../diagrams/data1.xml")),
            "ppt/diagrams/data1.xml": f"<d:dataModel {d} {a}><d:ptLst>{point.format('node', 'Plan')}"
            f"{point.format('pres', 'nej')}{point.format('node', 'Bygg')}</d:ptLst></d:dataModel>",
        },
    )
    result = parsed("pptx", data)
    assert [(b.kind, b.text) for b in result.blocks] == [("list", "- Plan\n- Bygg")]
    assert result.info.page_count == 1
