"""PDFs that lie, loop, hide their letters or carry what nobody asked for."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import pytest
from folkmoot_parser_pdf import SPEC
from folkmoot_sdk import Block, Progress, Source
from folkmoot_sdk.testing.parsers import Result, read
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas


def _neighbour(name: str) -> ModuleType:
    """A module beside this one: the tests of plugins are no package."""
    spec = importlib.util.spec_from_file_location(f"parser_pdf_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


raw = _neighbour("raw")


def of(data: bytes, **options: object) -> Result:
    return read(SPEC, data, "odd.pdf", options=options)


def test_a_password_that_only_the_owner_needs_is_not_asked_for():
    buffer = io.BytesIO()
    canvas = Canvas(buffer, encrypt=StandardEncryption("", ownerPassword="owner", canCopy=0))
    canvas.drawString(72, 700, "Everybody may read this.")
    canvas.save()
    assert of(buffer.getvalue()).text == "Everybody may read this."


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a page tree that holds itself", raw.one_page(kids=b"3 0 R 2 0 R", count=5)),
        ("a page tree that promises too much", raw.one_page(count=4_000)),
        ("a table of places that points nowhere", raw.one_page().replace(b"startxref\n", b"startxref\n9")),
        ("no table at all", raw.one_page().replace(b"xref\n0", b"lost\n0", 1)),
        (
            "an outline that goes round",
            raw.one_page(
                None,
                b"<< /First 7 0 R /Last 7 0 R >>",
                b"<< /Title (A) /Next 7 0 R /First 6 0 R /Parent 6 0 R /Dest [3 0 R /Fit] >>",
                catalog=b"/Outlines 6 0 R ",
            ),
        ),
        (
            "a script that never ends",
            raw.one_page(catalog=b"/OpenAction << /S /JavaScript /JS (while(1){app.alert(1)}) >> "),
        ),
    ],
)
def test_what_can_be_read_is_read_in_spite_of(what, data):
    assert of(data).blocks[0].text == "Hello there, this is a page.", what


def test_pages_that_are_promised_and_missing_are_named():
    assert of(raw.one_page(count=7)).info.warnings == ("pages 2-7 could not be read: the file is damaged there",)


CODES = [40 + number * 7 % 90 for number in range(200)]


def test_a_font_that_does_not_say_what_its_glyphs_mean_is_named():
    warning = of(raw.glyphs(CODES)).info.warnings[0]
    assert warning.startswith("page 1: a font does not say which letters its signs stand for")


def test_glyphs_in_the_private_area_are_no_text_and_said_to_be_none():
    result = of(raw.glyphs(CODES, (40, 0xE000)))
    assert result.blocks == []
    assert "page 1: a font does not say" in result.info.warnings[0]


def test_a_page_whose_text_gives_no_character_at_all_is_named():
    # Glyphs without a width, one by one: PDFium leaves them out before anybody can ask what they are.
    content = b"".join(b"BT /F1 12 Tf %d 700 Td <0029> Tj ET " % (72 + 7 * number) for number in range(40))
    below = raw.GLYPHS_BELOW.replace(b"/DW 500", b"/DW 0")
    result = of(raw.one_page(raw.stream(content), below, raw.DESCRIPTOR, font=raw.GLYPHS % b""))
    assert "page 1" in result.info.warnings[0]


def test_a_font_that_says_what_its_glyphs_mean_needs_no_warning():
    result = of(raw.glyphs([40 + number * 7 % 50 for number in range(200)], (40, ord("A"))))
    assert len(result.text) > 100
    assert result.info.warnings == ()


@pytest.mark.parametrize("leftwards", [True, False])
def test_hebrew_reads_from_the_right_however_it_was_written(leftwards):
    logical = "שלוםעולם"
    codes = [ord(letter) - 0x05D0 + 1 for letter in logical]
    data = raw.glyphs(codes, (1, 0x05D0), step=1000) if leftwards else raw.glyphs(codes[::-1], (1, 0x05D0))
    assert of(data).text == logical


def test_attached_files_are_not_read_and_said_not_to_be():
    names = b"/Names << /EmbeddedFiles << /Names [(a.txt) 6 0 R] >> >> "
    data = raw.one_page(
        None,
        b"<< /Type /Filespec /F (a.txt) /UF (a.txt) /EF << /F 7 0 R >> >>",
        raw.stream(b"hidden words"),
        catalog=names,
    )
    result = of(data)
    assert "hidden" not in result.text
    assert result.info.warnings == (
        "a file is attached to it and not read: save what you need and upload it by itself",
    )


def test_a_scan_with_a_stamp_on_it_is_a_scan_still():
    picture = ImageReader(Image.new("L", (100, 140), 255))
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    for _ in range(2):
        canvas.drawImage(picture, 0, 0, *A4)
        canvas.drawString(300, 20, "Received 2024")
        canvas.showPage()
    canvas.save()
    result = of(buffer.getvalue())
    assert "Received 2024" in result.text
    assert result.info.warnings == (
        "the whole file is scanned: pages 1-2 are pictures without text (scanned): "
        "they need text recognition, which is not connected",
    )


def test_a_photo_beside_a_few_words_makes_no_scan():
    picture = ImageReader(Image.new("L", (100, 100), 255))
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    canvas.drawImage(picture, 100, 300, 300, 300)
    canvas.drawString(72, 700, "A duck.")
    canvas.save()
    assert of(buffer.getvalue()).info.warnings == ()


class Watched(io.BytesIO):
    """Counts the most that was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self.most = max(self.most, len(data))
        return data


def test_a_document_of_thousands_of_pages_is_read_in_small_pieces():
    pages = 3_000
    kids = b" ".join(b"%d 0 R" % (number + 6) for number in range(pages))
    data = raw.pdf(
        raw.CATALOG % b"",
        raw.PAGES % (kids, pages),
        b"null",
        raw.words("One page of very many."),
        raw.HELVETICA,
        *[raw.PAGE % b""] * pages,
    )
    file = Watched(data)
    events = list(SPEC.parse(Source("long.pdf", "application/pdf", len(data), file)))
    assert [event.page for event in events if isinstance(event, Block)] == list(range(1, pages + 1))
    assert file.most < len(data) / 4
    assert sum(isinstance(event, Progress) for event in events) <= 500
