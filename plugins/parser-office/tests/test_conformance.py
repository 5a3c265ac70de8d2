from __future__ import annotations

import io
from datetime import date

import docx
import folkmoot_parser_office as office
import openpyxl
import pptx
from docx.enum.text import WD_BREAK
from folkmoot_sdk import CorruptFile, UnsupportedFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample
from pptx.util import Inches

SPECS = {spec.kind: spec for spec in office.register_parsers()}
OOXML = "application/vnd.openxmlformats-officedocument."


def saved(document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def a_document() -> bytes:
    document = docx.Document()
    document.add_heading("Sluss i Norr", level=1)
    document.add_paragraph("Slussen öppnades 1843.")
    document.add_paragraph("Kvarn", style="List Bullet")
    document.add_paragraph("Första steget", style="List Number")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ["Namn", "År", "Ada", "1815"], strict=True):
        cell.text = text
    document.add_paragraph().add_run().add_break(WD_BREAK.PAGE)
    document.add_paragraph("På andra sidan.")
    document.sections[0].header.paragraphs[0].text = "Kommunens arkiv"
    document.sections[0].footer.paragraphs[0].text = "Diarienummer 7"
    return saved(document)


def a_deck() -> bytes:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Budget 2024"
    slide.placeholders[1].text = "Skola\nVård"
    slide.notes_slide.notes_text_frame.text = "Tala långsamt"
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Tabellen"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(2)).table
    for at, text in enumerate(["Post", "Kronor", "Skola", "12"]):
        table.cell(at // 2, at % 2).text = text
    return saved(deck)


def a_workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Personer"
    for row in (["Namn", "Född", "Andel"], ["Ada", date(1915, 12, 10), 0.5], ["Åke", date(1920, 1, 2), 0.25]):
        sheet.append(row)
    sheet["C2"].number_format = "0%"
    return saved(book)


class TestDocx(ParserConformance):
    plugin = "folkmoot_parser_office"
    spec = SPECS["docx"]

    def samples(self) -> list[Sample]:
        snippets = ("Kommunens arkiv", "Sluss i Norr", "1843", "- Kvarn", "1. Första", "Ada | 1815", "andra", "Diarie")
        pages = {"1843": 1, "På andra sidan.": 2}
        return [Sample("a.docx", a_document(), OOXML + "wordprocessingml.document", snippets, pages)]

    def broken(self) -> list[Broken]:
        data = a_document()
        return [
            Broken("half.docx", data[: len(data) // 2], CorruptFile),
            Broken("text.docx", b"only words", CorruptFile),
            Broken("deck.docx", a_deck(), UnsupportedFile),
        ]


class TestPptx(ParserConformance):
    plugin = "folkmoot_parser_office"
    spec = SPECS["pptx"]

    def samples(self) -> list[Sample]:
        snippets = ("Budget 2024", "- Skola - Vård", "Tala långsamt", "Tabellen", "Post | Kronor Skola | 12")
        pages = {"Skola - Vård": 1, "Tala långsamt": 1, "Skola | 12": 2}
        return [Sample("a.pptx", a_deck(), OOXML + "presentationml.presentation", snippets, pages)]

    def broken(self) -> list[Broken]:
        return [Broken("half.pptx", a_deck()[:9000], CorruptFile)]


class TestXlsx(ParserConformance):
    plugin = "folkmoot_parser_office"
    spec = SPECS["xlsx"]

    def samples(self) -> list[Sample]:
        snippets = ("Personer", "Namn: Ada; Född: 1915-12-10; Andel: 50%", "Namn: Åke")
        return [Sample("a.xlsx", a_workbook(), OOXML + "spreadsheetml.sheet", snippets)]

    def broken(self) -> list[Broken]:
        return [Broken("half.xlsx", a_workbook()[:3000], CorruptFile)]
