from __future__ import annotations

import pytest

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'


def notes(result) -> list[str]:
    return [block.text for block in result.blocks if block.kind == "note"]


def test_a_comment_in_a_text_follows_its_paragraph_with_the_name(make, parsed):
    comments = (
        f'<w:comments {W}><w:comment w:id="0" w:author="Ada"><w:p><w:r><w:t>Stämmer året?</w:t></w:r></w:p></w:comment>'
        '<w:comment w:id="1"><w:p><w:r><w:t>Lös</w:t></w:r></w:p></w:comment></w:comments>'
    )
    body = '<w:p><w:r><w:t>År 1843</w:t><w:commentReference w:id="0"/></w:r></w:p><w:p><w:r><w:t>Mer</w:t></w:r></w:p>'
    result = parsed("docx", make.word(body, {"comments.xml": comments}))
    assert [block.text for block in result.blocks] == ["År 1843", "Ada: Stämmer året?", "Mer", "Lös"]
    assert notes(result) == ["Ada: Stämmer året?", "Lös"]


def sheet(make, ties: tuple[tuple[str, str, str], ...], parts: dict[str, str]) -> bytes:
    cells = '<sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData>'
    return make.sheet(cells, {"worksheets/_rels/sheet1.xml.rels": make.ties(*ties), **parts})


OLD = (
    "<comments><authors><author>Ada</author></authors><commentList>"
    '<comment ref="A1" authorId="0"><text><r><t>Ada:</t></r><r><t> Summan?</t></r></text></comment>'
    '<comment ref="B2" authorId="7"><text><t>Ingen vet</t></text></comment></commentList></comments>'
)


def test_a_comment_on_a_cell_names_the_cell_and_the_author(make, parsed):
    data = sheet(make, (("rId1", "comments", "../comments1.xml"),), {"comments1.xml": OLD})
    assert notes(parsed("xlsx", data)) == ["A1, Ada: Summan?", "B2: Ingen vet"]


def test_a_comment_that_is_stored_in_the_old_and_in_the_new_way_comes_once(make, parsed):
    new = '<ThreadedComments><threadedComment ref="A1"><text>Summan?</text></threadedComment></ThreadedComments>'
    data = sheet(
        make,
        (("rId1", "comments", "../comments1.xml"), ("rId2", "threadedComment", "../threaded1.xml")),
        {"comments1.xml": OLD, "threaded1.xml": new},
    )
    assert notes(parsed("xlsx", data)) == ["A1: Summan?", "B2: Ingen vet"]


@pytest.mark.parametrize(
    ("authors_kind", "authors", "remarks"),
    [
        (
            "commentAuthors",
            '<l><cmAuthor id="0" name="Ada"/></l>',
            f'<p:cmLst {P}><p:cm authorId="0"><p:text>Byt bild</p:text></p:cm></p:cmLst>',
        ),
        (
            "authors",
            '<l><author id="0" name="Ada"/></l>',
            f'<c {A}><cm authorId="0"><txBody><a:p><a:r><a:t>Byt bild</a:t></a:r></a:p></txBody></cm></c>',
        ),
    ],
    ids=["old", "new"],
)
def test_a_comment_on_a_slide_is_a_note_of_its_page(make, parsed, authors_kind, authors, remarks):
    data = make.package(
        "ppt",
        {
            "ppt/presentation.xml": f'<p:presentation {P} {R}><p:sldIdLst><p:sldId r:id="rId1"/></p:sldIdLst>'
            "</p:presentation>",
            "ppt/_rels/presentation.xml.rels": make.ties(
                ("rId1", "slide", "slides/slide1.xml"), ("rId2", authors_kind, "authors.xml")
            ),
            "ppt/authors.xml": authors,
            "ppt/slides/slide1.xml": f"<p:sld {P}><p:cSld><p:spTree/></p:cSld></p:sld>",
            "ppt/slides/_rels/slide1.xml.rels": make.ties(("rId1", "comments", "../comments/c1.xml")),
            "ppt/comments/c1.xml": remarks,
        },
    )
    result = parsed("pptx", data)
    assert [(block.kind, block.text, block.page) for block in result.blocks] == [("note", "Ada: Byt bild", 1)]
