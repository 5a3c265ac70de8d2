from __future__ import annotations


def box(text: str, props: str = "", x: str = "1cm", y: str = "1cm") -> str:
    inside = f"<draw:text-box><text:p>{text}</text:p></draw:text-box>" if text else ""
    return f'<draw:frame svg:x="{x}" svg:y="{y}" {props}>{inside}</draw:frame>'


def page(*inside: str, props: str = "") -> str:
    return f"<draw:page {props}>{''.join(inside)}</draw:page>"


def test_the_title_comes_first_then_shapes_from_top_to_bottom_and_left_to_right(blocks):
    body = page(
        box("nere", y="8cm"),
        box("höger", x="5in", y="30mm"),
        box("vänster", y="3.2cm"),
        f"<draw:g>{box('i gruppen', y='5cm')}</draw:g>",
        '<draw:rect draw:transform="rotate (1) translate (1cm 6cm)"><text:p>vriden</text:p></draw:rect>',
        box("Rubrik", 'presentation:class="title"', y="20cm"),
    )
    assert blocks("odp", body) == [
        ("heading", "Rubrik"),
        ("paragraph", "vänster"),
        ("paragraph", "höger"),
        ("paragraph", "i gruppen"),
        ("paragraph", "vriden"),
        ("paragraph", "nere"),
    ]


def test_slides_are_pages_with_their_notes_and_comments(make, parsed):
    inside = box("1", 'presentation:class="page-number"') + box("Tala långsamt", 'presentation:class="notes"')
    notes = f"<presentation:notes>{inside}</presentation:notes>"
    comment = "<office:annotation><dc:creator>Ada</dc:creator><text:p>Byt bild</text:p></office:annotation>"
    body = page(box("ett"), notes, comment) + page(box("två"), props='presentation:visibility="hidden"')
    result = parsed("odp", make.package("odp", body))
    assert [(b.kind, b.text, b.page) for b in result.blocks] == [
        ("paragraph", "ett", 1),
        ("note", "Tala långsamt", 1),
        ("note", "Ada: Byt bild", 1),
        ("paragraph", "två", 2),
    ]
    assert result.info.page_count == 2


def test_what_stands_on_every_slide_comes_once_or_never(blocks):
    declared = '<presentation:footer-decl presentation:name="f">Styrelsen</presentation:footer-decl>'
    date = box("2024", 'presentation:class="date-time"')
    own = box("Styrelsen", 'presentation:class="footer"')
    empty = box("Klicka här", 'presentation:placeholder="true"')
    body = declared + page(date, own, empty, box("a")) + page(box("b"), props='presentation:use-footer-name="f"')
    assert blocks("odp", body) == [("note", "Styrelsen"), ("paragraph", "a"), ("paragraph", "b")]


def test_lists_tables_and_lines_of_a_box_are_kept_apart(blocks):
    item = "<text:list-item><text:p>{}</text:p></text:list-item>"
    text = (
        "<draw:frame><draw:text-box><text:p>en</text:p><text:p>två</text:p>"
        f"<text:list>{item.format('a')}{item.format('b')}</text:list></draw:text-box></draw:frame>"
    )
    cell = f"<table:table-cell><text:list>{item.format('{}')}</text:list></table:table-cell>"
    table = (
        f"<draw:frame svg:y='9cm'><table:table><table:table-row>{cell.format('x')}{cell.format('y')}</table:table-row>"
        f"<table:table-row>{cell.format('1')}{cell.format('2')}</table:table-row></table:table>"
        "<draw:image><text:p>samma tabell som bild</text:p></draw:image></draw:frame>"
    )
    assert blocks("odp", page(text, table)) == [
        ("paragraph", "en\ntvå"),
        ("list", "- a\n- b"),
        ("table", "x | y\n1 | 2"),
    ]


def test_drawings_are_read_like_slides(make, parsed):
    drawing = make.flat("odp", page(box("Ritning"))).replace(b"office:presentation", b"office:drawing")
    assert parsed("odp", drawing).text == "Ritning"
