"""What is read out of a PDF, on PDFs made here."""

# pyright: reportUnknownMemberType=false
# reportlab has types for some of its functions only

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Callable

import pytest
from folkmoot_parser_pdf import SPEC, sniff
from folkmoot_sdk import CorruptFile, EncryptedFile, ParserError, Progress, TooLarge
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Result, Sample, read
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

PDF = "application/pdf"


def make(draw: Callable[[Canvas], None], encrypt: StandardEncryption | None = None) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1, encrypt=encrypt)
    draw(canvas)
    canvas.save()
    return buffer.getvalue()


def lines(canvas: Canvas, texts: list[str], x: float = 72, y: float = 700, size: float = 10) -> None:
    """One below the other, a paragraph's distance at each empty one."""
    canvas.setFont("Helvetica", size)
    for text in texts:
        canvas.drawString(x, y, text)
        y -= 1.3 * size


def of(draw: Callable[[Canvas], None], max_pages: int | None = None) -> Result:
    return read(SPEC, make(draw), "test.pdf", options={"max_pages": max_pages} if max_pages else None)


def kinds(result: Result) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in result.blocks]


def report(canvas: Canvas) -> None:
    """Three pages with bookmarks, Swedish letters and a table."""
    canvas.setTitle("Årsredovisning för Åre")
    canvas.bookmarkPage("one")
    canvas.addOutlineEntry("Inledning", "one", level=0)
    lines(canvas, ["1 Inledning"], y=760)
    lines(canvas, ["Kommunen växte under året, och förskolan fick", "fler platser än någonsin förut."])
    canvas.showPage()
    canvas.bookmarkPage("two")
    canvas.addOutlineEntry("Barn och unga", "two", level=0)
    canvas.bookmarkPage("two-one")
    canvas.addOutlineEntry("Förskola", "two-one", level=1)
    lines(canvas, ["2 Barn och unga"], y=760)
    lines(canvas, ["2.1 Förskola"], y=730)
    for index, row in enumerate([("Enhet", "Barn", "Kostnad"), ("Björken", "42", "1 200"), ("Åsen", "7", "90")]):
        for column, cell in enumerate(row):
            canvas.drawString(72 + 120 * column, 690 - 16 * index, cell)
    canvas.showPage()
    lines(canvas, ["Övrigt: ordet överförmyndare står här."])
    canvas.showPage()


def locked(canvas: Canvas) -> None:
    lines(canvas, ["The secret is that there is no secret."])


class TestPdf(ParserConformance):
    plugin = "folkmoot_parser_pdf"
    spec = SPEC

    def samples(self) -> list[Sample]:
        return [
            Sample(
                "report.pdf",
                make(report),
                PDF,
                snippets=("1 Inledning", "fick fler platser", "Björken | 42 | 1 200", "överförmyndare"),
                pages={"Kommunen växte": 1, "Åsen | 7 | 90": 2, "överförmyndare": 3},
            ),
            Sample(
                "locked.pdf",
                make(locked, encrypt=StandardEncryption("open sesame", canPrint=1)),
                PDF,
                snippets=("no secret",),
                password="open sesame",
            ),
        ]

    def broken(self) -> list[Broken]:
        sound = make(report)
        return [
            Broken("half.pdf", sound[: len(sound) // 2], CorruptFile),
            Broken("letter.pdf", b"PK\x03\x04 this is no PDF at all", CorruptFile),
            Broken("hollow.pdf", no_pages(), CorruptFile),
        ]


def no_pages() -> bytes:
    """A PDF that is sound but for its having no page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"]
    data, places = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer << /Size 3 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(data)
    return data + b"xref\n0 3\n0000000000 65535 f \n" + table + trailer


def test_bookmarks_make_headings_with_their_level() -> None:
    result = of(report)
    headings = [(b.text, b.level, b.page) for b in result.blocks if b.kind == "heading"]
    assert headings == [("1 Inledning", 1, 1), ("2 Barn och unga", 1, 2), ("2.1 Förskola", 2, 2)]
    assert result.info.title == "Årsredovisning för Åre"
    assert result.info.page_count == 3


def test_without_bookmarks_larger_letters_make_headings() -> None:
    def draw(canvas: Canvas) -> None:
        lines(canvas, ["Hens and geese"], y=780, size=20)
        lines(canvas, ["Feed"], y=740, size=14)
        lines(canvas, ["A hen eats what it finds in the yard, and more than that", "if it is given grain."])

    found = [(b.kind, b.level, b.text) for b in of(draw).blocks]
    assert found[0] == ("heading", 1, "Hens and geese")
    assert found[1] == ("heading", 2, "Feed")
    assert found[2][0] == "paragraph"
    assert found[2][2].endswith("more than that if it is given grain.")


def test_two_columns_are_read_one_after_the_other() -> None:
    left = [f"left line {n} goes on as far as this" for n in range(20)]
    right = [f"right line {n} goes on as far as this" for n in range(20)]

    def draw(canvas: Canvas) -> None:
        lines(canvas, ["A title that stands across the two columns of the whole page as it is"], y=780, size=14)
        # Written line by line across both, as some programs do: the order in the file is no help.
        for n, pair in enumerate(zip(left, right, strict=True)):
            lines(canvas, [pair[0]], x=72, y=740 - 13 * n)
            lines(canvas, [pair[1]], x=310, y=740 - 13 * n)
        lines(canvas, ["One last line that again runs across the page from the left to the right edge"], y=400)

    text = re.sub(r"\s+", " ", of(draw).text)
    assert " ".join(left) in text
    assert " ".join(right) in text
    assert text.index("A title") < text.index("left line 19") < text.index("right line 0") < text.index("One last")


def test_a_table_keeps_its_rows_even_with_empty_cells() -> None:
    rows = [("Year", "Births", "Note"), ("1901", "12", ""), ("1902", "", "flood"), ("1903", "15", "good year")]

    def draw(canvas: Canvas) -> None:
        lines(canvas, ["The parish kept a book of births, which is shown below in full."], y=760)
        for n, row in enumerate(rows):
            for column, cell in enumerate(row):
                canvas.drawString(72 + 110 * column, 720 - 15 * n, cell)

    tables = [block.text for block in of(draw).blocks if block.kind == "table"]
    assert tables == ["Year | Births | Note\n1901 | 12 |\n1902 |  | flood\n1903 | 15 | good year"]


def test_words_broken_at_the_end_of_a_line_are_whole_again() -> None:
    def draw(canvas: Canvas) -> None:
        lines(
            canvas,
            [
                "The well-known rule about municipal deci-",
                "sions holds for pre- and postschool care, för-",
                "och nackdelar included; a well-",
                "known case from 1990-",
                "1995 is one of the Nord-",
                "Ostsee kind.",
            ],
        )

    text = of(draw).text
    assert "municipal decisions holds" in text
    assert "för- och nackdelar" in text
    assert "a well-known case" in text
    assert "1990-1995" in text
    assert "Nord-Ostsee" in text


def test_running_headers_and_page_numbers_go_but_a_line_on_three_pages_stays() -> None:
    def draw(canvas: Canvas) -> None:
        for page in range(1, 21):
            lines(canvas, ["Municipality of Ankeborg - budget"], y=810)
            if page <= 3:
                lines(canvas, ["Draft, not for circulation"], y=795)
            lines(canvas, [f"There is something about invoice number {page * 7 % 19}."], y=780)
            lines(canvas, [f"Budget 2024, kapitel {page + 4} av 20"], x=280, y=30)
            lines(canvas, [f"Sida {page} av 20"], x=400, y=15)
            canvas.showPage()

    result = of(draw)
    assert "Municipality" not in result.text
    assert "Sida" not in result.text
    assert "Budget 2024" not in result.text
    assert result.text.count("Draft, not for circulation") == 3
    assert [block.page for block in result.blocks if "There is something" in block.text] == list(range(1, 21))


def test_a_page_of_nothing_but_its_number_keeps_it() -> None:
    assert of(lambda canvas: lines(canvas, ["7"], x=290, y=30)).text == "7"


def test_scanned_pages_are_said_in_a_sentence() -> None:
    picture = Image.new("RGB", (200, 280), (250, 240, 230))

    def draw(canvas: Canvas) -> None:
        lines(canvas, ["A page of text."])
        canvas.showPage()
        canvas.showPage()  # empty: nothing is missing there
        for _ in range(3):
            canvas.drawImage(ImageReader(picture), 0, 0, *A4)
            canvas.showPage()

    result = of(draw)
    assert [block.page for block in result.blocks] == [1]
    assert result.info.warnings == (
        "pages 3-5 are pictures without text (scanned): they need text recognition, which is not connected",
    )


def test_a_scan_through_and_through_has_no_blocks_and_a_warning() -> None:
    picture = ImageReader(Image.new("L", (100, 140), 255))
    result = of(lambda canvas: canvas.drawImage(picture, 0, 0, *A4) and None)
    assert result.blocks == []
    assert "page 1 is a picture" in result.info.warnings[0]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_page_reads_like_any_other(turn: int) -> None:
    def draw(canvas: Canvas) -> None:
        width, height = A4
        # Turned in the file, and drawn against it, as scanners and landscape tables do.
        canvas.setPageRotation(turn)
        canvas.translate(*{90: (width, 0), 180: (width, height), 270: (0, height)}[turn])
        canvas.rotate(turn)
        lines(canvas, ["First line of a turned page that is", "followed by its second line."], x=60, y=400)

    assert kinds(of(draw)) == [("paragraph", "First line of a turned page that is followed by its second line.")]


def test_text_on_its_side_does_not_cut_the_lines_beside_it() -> None:
    def draw(canvas: Canvas) -> None:
        lines(canvas, [f"line {n} of the running text of this page" for n in range(12)])
        canvas.rotate(90)
        canvas.drawString(500, -40, "arXiv stamp in the margin")

    blocks = of(draw).blocks
    assert len(blocks) == 2
    assert "line 5 of the running text of this page line 6" in blocks[0].text
    assert blocks[1].text == "arXiv stamp in the margin"


def test_lists_keep_one_line_an_item() -> None:
    def draw(canvas: Canvas) -> None:
        lines(canvas, ["1. Take the eggs out of the nest and", "   count them.", "2. Write it down."])

    assert kinds(of(draw)) == [("list", "1. Take the eggs out of the nest and count them.\n2. Write it down.")]


def test_progress_comes_every_ten_pages_and_at_the_end() -> None:
    def draw(canvas: Canvas) -> None:
        for _ in range(25):
            canvas.drawString(72, 700, "text")
            canvas.showPage()

    done = [event.done for event in of(draw).events if isinstance(event, Progress)]
    assert done == [10, 20, 25]


def test_too_many_pages_are_refused_with_the_limit() -> None:
    with pytest.raises(TooLarge, match=r"test\.pdf has 3 pages, at most 2"):
        of(report, max_pages=2)


def test_encrypted_says_whether_a_password_is_missing_or_wrong() -> None:
    data = make(locked, encrypt=StandardEncryption("right", canPrint=1))
    with pytest.raises(EncryptedFile, match="give its password"):
        read(SPEC, data, "locked.pdf")
    with pytest.raises(EncryptedFile, match="does not open with this password"):
        read(SPEC, data, "locked.pdf", password="wrong")


def test_a_pdf_without_pages_says_so() -> None:
    with pytest.raises(CorruptFile, match=r"hollow\.pdf has no pages"):
        read(SPEC, no_pages(), "hollow.pdf")


def test_a_file_that_lost_its_end_is_refused_or_warned_about() -> None:
    data = make(report)
    try:
        result = read(SPEC, data[:-200], "cut.pdf")
    except ParserError as error:
        assert "cut.pdf" in str(error)  # noqa: PT017 - either end is right, silence is not
    else:
        assert any("cut off" in warning for warning in result.info.warnings)


def test_sniff_allows_a_little_before_the_header_but_not_a_text_about_pdf() -> None:
    assert sniff(b"\xef\xbb\xbf%PDF-1.7\n") == PDF
    assert sniff(b"From: mail\r\n\r\n%PDF-1.4\n1 0 obj\n") == PDF
    assert sniff(b"A PDF begins with\n%PDF-1.4 and a line break.") is None
    assert sniff(b"x" * 2000 + b"\n%PDF-1.4\n1 0 obj") is None


def test_the_parser_can_be_stopped_in_the_middle() -> None:
    from folkmoot_sdk import Source

    data = make(report)
    events = SPEC.parse(Source("r.pdf", PDF, len(data), io.BytesIO(data)))
    next(iter(events))
    events.close()  # type: ignore[attr-defined]
    assert read(SPEC, data, "r.pdf").blocks


def test_a_hundred_pages_take_about_a_second() -> None:
    dice = random.Random(1)
    words = "kommunen beslutar om barnens skola och omsorg enligt lagen från nämnden".split()  # noqa: SIM905

    def draw(canvas: Canvas) -> None:
        for _ in range(100):
            lines(canvas, [" ".join(dice.choices(words, k=14)) for _ in range(45)])
            canvas.showPage()

    data = make(draw)
    start = time.process_time()
    result = read(SPEC, data, "long.pdf")
    # 0.4 s of processor time where this was written; three times that on a slow machine is still fine.
    assert time.process_time() - start < 2
    assert result.blocks[-1].page == 100
