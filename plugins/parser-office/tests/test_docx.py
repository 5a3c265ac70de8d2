from __future__ import annotations

import pytest

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def p(text: str, props: str = "") -> str:
    return f"<w:p><w:pPr>{props}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def cell(content: str, props: str = "") -> str:
    return f"<w:tc><w:tcPr>{props}</w:tcPr>{content}</w:tc>"


def row(*cells: str, props: str = "") -> str:
    return f"<w:tr><w:trPr>{props}</w:trPr>{''.join(cells)}</w:tr>"


@pytest.fixture
def blocks(make, parsed):
    def run(body: str, parts: dict[str, str] | None = None):
        return [(b.kind, b.text) for b in parsed("docx", make.word(body, parts)).blocks]

    return run


STYLES = f"""<w:styles {W}>
<w:style w:type="paragraph" w:styleId="Rubrik1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="Egen"><w:name w:val="Vår rubrik"/><w:basedOn w:val="Rubrik1"/></w:style>
<w:style w:type="paragraph" w:styleId="R3"><w:name w:val="Rubrik 3"/></w:style>
<w:style w:type="paragraph" w:styleId="T"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="O"><w:name w:val="Kapitel"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Loop"><w:name w:val="x"/><w:basedOn w:val="Loop"/></w:style>
</w:styles>"""


@pytest.mark.parametrize(
    ("props", "level"),
    [
        ('<w:pStyle w:val="Rubrik1"/>', 1),
        ('<w:pStyle w:val="Egen"/>', 1),
        ('<w:pStyle w:val="R3"/>', 3),
        ('<w:pStyle w:val="T"/>', 1),
        ('<w:pStyle w:val="O"/>', 2),
        ('<w:outlineLvl w:val="3"/>', 4),
        ('<w:pStyle w:val="Rubrik1"/><w:outlineLvl w:val="9"/>', None),
        ('<w:pStyle w:val="Loop"/>', None),
        ('<w:pStyle w:val="Unknown"/>', None),
    ],
)
def test_headings_are_known_by_style_base_or_outline_level(make, parsed, props, level):
    block = parsed("docx", make.word(p("Ord", props), {"styles.xml": STYLES})).blocks[0]
    assert (block.kind, block.level) == (("heading", level) if level else ("paragraph", None))


NUMBERING = f"""<w:numbering {W}><w:abstractNum w:abstractNumId="0">
<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>
</w:abstractNum>
<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="x"/></w:lvl>
</w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>
<w:num w:numId="3"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>
</w:num></w:numbering>"""


def item(text: str, number: int, level: int = 0) -> str:
    return p(text, f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


def test_lists_carry_the_labels_that_word_shows(blocks):
    body = item("ett", 1) + item("a", 1, 1) + item("b", 1, 1) + item("två", 1) + item("a", 1, 1)
    assert blocks(body, {"numbering.xml": NUMBERING}) == [("list", "1. ett\n  1.a) a\n  1.b) b\n2. två\n  2.a) a")]
    assert blocks(item("x", 2) + p("mitt") + item("y", 3) + item("z", 3), {"numbering.xml": NUMBERING}) == [
        ("list", "- x"),
        ("paragraph", "mitt"),
        ("list", "7. y\n8. z"),
    ]


def test_a_list_that_does_not_exist_is_plain_text(blocks):
    assert blocks(item("x", 99)) == [("paragraph", "x")]


def test_insertions_stay_and_deletions_go(blocks):
    body = (
        "<w:p><w:r><w:t>Vi </w:t></w:r><w:ins><w:r><w:t>vill</w:t></w:r></w:ins><w:del><w:r><w:delText>kan"
        "</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>bort</w:t></w:r></w:moveFrom></w:p>"
        f"<w:tbl>{row(cell(p('kvar')), cell(p('här')))}{row(cell(p('struken')), props='<w:del/>')}</w:tbl>"
    )
    assert blocks(body) == [("paragraph", "Vi vill"), ("table", "kvar | här")]


def test_of_a_field_the_result_is_read_and_not_the_code(blocks):
    char = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
    body = (
        f"<w:p>{char.format('begin')}<w:r><w:instrText>REF x</w:instrText><w:t>kod</w:t></w:r>"
        f"{char.format('separate')}<w:r><w:t>sida 4</w:t></w:r>{char.format('end')}"
        '<w:fldSimple w:instr="DATE"><w:r><w:t> idag</w:t></w:r></w:fldSimple>'
        "<w:hyperlink><w:r><w:t> länk</w:t></w:r></w:hyperlink></w:p>"
    )
    # A field that never ends takes nothing with it but its own paragraph.
    assert blocks(body + f"<w:p>{char.format('begin')}</w:p>" + p("efter")) == [
        ("paragraph", "sida 4 idag länk"),
        ("paragraph", "efter"),
    ]


def test_text_boxes_are_read_once_although_they_are_stored_twice(blocks):
    box = f"<w:txbxContent>{p('I rutan')}</w:txbxContent>"
    body = (
        "<w:p><w:r><w:t>Ankare</w:t></w:r><w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing>"
        f"<wps:txbx>{box}</wps:txbx></w:drawing></mc:Choice><mc:Fallback><w:pict><v:textbox>{box}</v:textbox>"
        "</w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    assert blocks(body) == [("paragraph", "Ankare"), ("paragraph", "I rutan")]


def test_content_controls_are_looked_into_at_every_depth(blocks):
    def sdt(inner: str) -> str:
        return f"<w:sdt><w:sdtPr/><w:sdtContent>{inner}</w:sdtContent></w:sdt>"

    body = sdt(sdt(p("block"))) + f"<w:p>{sdt('<w:r><w:t>inne</w:t></w:r>')}</w:p>"
    body += f"<w:tbl>{sdt(row(sdt(cell(p('a'))), cell(sdt(p('b')))))}</w:tbl>"
    assert blocks(body) == [("paragraph", "block"), ("paragraph", "inne"), ("table", "a | b")]


def test_tables_keep_their_columns_and_do_not_repeat_merged_cells(blocks):
    wide, top = '<w:gridSpan w:val="2"/>', '<w:vMerge w:val="restart"/>'
    body = (
        f"<w:tbl>{row(cell(p('Namn')), cell(p('År')), cell(p('Ort')))}"
        f"{row(cell(p('Ada') + p('Lovelace')), cell(p('båda'), wide))}"
        f"{row(cell(p('Åke'), top), cell(p('1')), cell(p('Umeå')))}"
        f"{row(cell(p('Åke'), '<w:vMerge/>'), cell(p('2')), cell(p('Luleå')))}"
        f"{row(cell('<w:p/>'), cell(p('3')), cell('<w:p/>'))}</w:tbl>"
    )
    table = "Namn | År | Ort\nAda Lovelace | båda |\nÅke | 1 | Umeå\n| 2 | Luleå\n| 3 |"
    assert blocks(body) == [("table", table)]


def test_a_table_in_a_cell_is_a_table_of_its_own(blocks):
    inner = f"<w:tbl>{row(cell(p('x')), cell(p('y')))}</w:tbl>"
    outer = f"<w:tbl>{row(cell(p('a')), cell(p('b') + inner))}</w:tbl>"
    assert blocks(outer) == [("table", "a | b"), ("table", "x | y")]


def test_a_table_that_is_only_a_frame_is_read_as_text(blocks):
    assert blocks(f"<w:tbl>{row(cell(p('ett') + p('två')))}</w:tbl>") == [("paragraph", "ett"), ("paragraph", "två")]


def test_notes_follow_the_paragraph_that_refers_to_them(blocks):
    notes = (
        f'<w:footnotes {W}><w:footnote w:type="separator" w:id="0">{p("---")}</w:footnote>'
        f'<w:footnote w:id="2">{p("Källa: arkivet")}</w:footnote></w:footnotes>'
    )
    body = '<w:p><w:r><w:t>Fakta</w:t><w:footnoteReference w:id="2"/></w:r></w:p>' + p("Mer")
    expected = [("paragraph", "Fakta"), ("note", "Källa: arkivet"), ("paragraph", "Mer")]
    assert blocks(body, {"footnotes.xml": notes}) == expected


def test_headers_and_footers_come_once(blocks):
    section = '<w:sectPr><w:headerReference r:id="header1"/><w:footerReference r:id="footer1"/></w:sectPr>'
    body = f"<w:p><w:pPr>{section}</w:pPr></w:p>" + p("Text") + section
    parts = {
        "header1.xml": f"<w:hdr {W}>{p('Arkivet')}</w:hdr>",
        "footer1.xml": f"<w:ftr {W}>{p('12')}</w:ftr>",
    }
    # A footer that is only a number says nothing.
    assert blocks(body, parts) == [("note", "Arkivet"), ("paragraph", "Text")]


def test_signs_hyphens_and_hidden_text_are_as_the_reader_sees_them(blocks):
    body = (
        "<w:p><w:r><w:t>av\u00adtal</w:t><w:softHyphen/><w:noBreakHyphen/><w:t>x</w:t>"
        '<w:sym w:font="Wingdings" w:char="F0FC"/><w:sym w:font="Symbol" w:char="F061"/></w:r>'
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>dold</w:t></w:r></w:p>"
    )
    assert blocks(body) == [("paragraph", "avtal-x✓α")]


def test_pages_follow_the_breaks_that_word_noted_and_count_none_twice(make, parsed):
    note = "<w:r><w:lastRenderedPageBreak/></w:r>"
    body = (
        p("ett")
        + '<w:p><w:r><w:br w:type="page"/></w:r></w:p>'
        + f"<w:p>{note}<w:r><w:t>två</w:t></w:r></w:p>"
        + f"<w:p>{note}<w:r><w:t>tre</w:t></w:r></w:p>"
        + p("fyra", "<w:pageBreakBefore/>")
        + '<w:p><w:r><w:t>slut</w:t><w:br w:type="page"/><w:t>fem</w:t></w:r></w:p>'
    )
    result = parsed("docx", make.word(body))
    assert [(b.text, b.page) for b in result.blocks] == [
        ("ett", 1),
        ("två", 2),
        ("tre", 3),
        ("fyra", 4),
        ("slut", 4),
        ("fem", 5),
    ]
    assert result.info.page_count == 5


def test_without_breaks_no_page_is_invented(make, parsed):
    result = parsed("docx", make.word(p("ett") + p("två")))
    assert {b.page for b in result.blocks} == {None}
    assert result.info.page_count is None


def test_a_table_over_a_page_break_goes_on_under_its_header(make, parsed):
    broken = "<w:p><w:r><w:lastRenderedPageBreak/><w:t>{}</w:t></w:r></w:p>"
    rows = row(cell(p("H")), cell(p("I"))) + row(cell(p("1")), cell(p("2")))
    rows += row(cell(broken.format("3")), cell(broken.format("4")))
    result = parsed("docx", make.word(p("före") + f"<w:tbl>{rows}</w:tbl>" + p("efter")))
    assert [(b.text, b.page) for b in result.blocks] == [
        ("före", 1),
        ("H | I\n1 | 2", 1),
        ("H | I\n3 | 4", 2),
        ("efter", 2),
    ]


def test_the_properties_give_title_and_language(make, parsed):
    core = (
        '<cp:coreProperties xmlns:cp="c" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Avtal</dc:title>'
        "<dc:language>sv-SE</dc:language></cp:coreProperties>"
    )
    data = make.package("word", {"word/document.xml": f"<w:document {W}/>", "docProps/core.xml": core})
    info = parsed("docx", data).info
    assert (info.title, info.language) == ("Avtal", "sv-SE")


def test_a_damaged_part_at_the_side_is_a_warning_and_not_the_end(make, parsed):
    result = parsed("docx", make.word(p("Text"), {"footnotes.xml": "<broken"}))
    assert [b.text for b in result.blocks] == ["Text"]
    assert result.info.warnings == ("The footnotes could not be read: that part of the file is damaged.",)


def test_strict_documents_are_read_like_transitional_ones(make, parsed):
    strict = "http://purl.oclc.org/ooxml/wordprocessingml/main"
    document = f'<w:document xmlns:w="{strict}"><w:body>{p("Strikt")}</w:body></w:document>'
    assert parsed("docx", make.package("word", {"word/document.xml": document})).text == "Strikt"
