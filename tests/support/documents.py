"""Real files for tests, made on the spot: good ones in several formats, and bad ones of every kind."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence

import docx
import openpyxl
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import simpleSplit
from reportlab.pdfgen.canvas import Canvas

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def pdf(*pages: str, password: str | None = None) -> bytes:
    """A PDF with these texts, one a page; paragraphs are separated by a blank line."""
    out = io.BytesIO()
    encrypt = StandardEncryption(password, ownerPassword="owner", strength=128) if password else None
    canvas = Canvas(out, pagesize=A4, encrypt=encrypt)
    for text in pages:
        y = 780.0
        for paragraph in text.split("\n\n"):
            for line in simpleSplit(paragraph, "Helvetica", 11, 450):
                canvas.setFont("Helvetica", 11)
                canvas.drawString(72, y, line)
                y -= 14
            y -= 14
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def long_pdf(pages: int, word: str = "paragraph") -> bytes:
    """A PDF of so many full pages, each with words of its own."""
    return pdf(
        *(
            "\n\n".join(
                f"Page {page} has {word} {part}. The committee for matter {page * 31 + part} met and noted what "
                f"was said of it, and that the reply to number {page * 17 + part} was due within a month."
                for part in range(8)
            )
            for page in range(1, pages + 1)
        )
    )


def pdf_without_pages() -> bytes:
    """A PDF that is well formed and has no page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"]
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 3\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size 3 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def word(*paragraphs: str | tuple[str, int], table: Sequence[Sequence[str]] = ()) -> bytes:
    """A docx. A pair (text, level) is a heading."""
    document = docx.Document()
    for item in paragraphs:
        if isinstance(item, tuple):
            document.add_heading(item[0], level=item[1])
        else:
            document.add_paragraph(item)
    if table:
        grid = document.add_table(rows=0, cols=len(table[0]))
        for row in table:
            for cell, text in zip(grid.add_row().cells, row, strict=True):
                cell.text = text
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def sheet(*rows: Sequence[object]) -> bytes:
    """An xlsx with one sheet of these rows."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def png() -> bytes:
    """The head of a picture, which is all that anybody looks at."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + bytes(17) + bytes(range(256)) * 8


def zipped(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def _nothing(megabytes: int, fill: bytes = b"0") -> bytes:
    return fill * (megabytes << 20)


def zip_bomb(megabytes: int = 200) -> bytes:
    """A ZIP archive a thousandth of the size of what is in it."""
    return zipped({"a.txt": _nothing(megabytes)})


def _package(kind: str, main: str, parts: dict[str, bytes]) -> bytes:
    types = (
        f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{main}" ContentType="application/vnd.openxmlformats-officedocument.{kind}.main+xml"/>'
        "</Types>"
    )
    ties = (
        f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" Type="{OFFICE}/officeDocument" '
        f'Target="{main}"/></Relationships>'
    )
    return zipped({"[Content_Types].xml": types.encode(), "_rels/.rels": ties.encode(), **parts})


def docx_bomb(megabytes: int = 300) -> bytes:
    """A docx whose one paragraph is that long."""
    body = (
        f'<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>'.encode()
        + _nothing(megabytes, b"a")
        + b"</w:t></w:r></w:p></w:body></w:document>"
    )
    return _package("wordprocessingml.document", "word/document.xml", {"word/document.xml": body})


def xlsx_bomb(megabytes: int = 300) -> bytes:
    """A workbook of one sheet that unpacks to so much of the same row."""
    row = b'<row><c t="inlineStr"><is><t>boom</t></is></c></row>'
    rows = row * ((megabytes << 20) // len(row))
    book = (
        f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets><sheet name="A" sheetId="1" r:id="rId1"/>'
        "</sheets></workbook>"
    )
    ties = (
        f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" Type="{OFFICE}/worksheet" '
        'Target="worksheets/sheet1.xml"/></Relationships>'
    )
    body = f'<worksheet xmlns="{SHEET}"><sheetData>'.encode() + rows + b"</sheetData></worksheet>"
    return _package(
        "spreadsheetml.sheet",
        "xl/workbook.xml",
        {
            "xl/workbook.xml": book.encode(),
            "xl/_rels/workbook.xml.rels": ties.encode(),
            "xl/worksheets/sheet1.xml": body,
        },
    )


def laughs() -> bytes:
    """A docx whose XML names an entity that grows to billions of characters."""
    entities = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10 if level else "lol"}">' for level in range(10))
    body = (
        f'<?xml version="1.0"?><!DOCTYPE w [{entities}]><w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>&e9;'
        "</w:t></w:r></w:p></w:body></w:document>"
    )
    return _package("wordprocessingml.document", "word/document.xml", {"word/document.xml": body.encode()})


def encrypted_office() -> bytes:
    """What Word writes with a password: the older container, with the two streams that say so."""

    def entry(name: str, kind: int, child: int = -1, right: int = -1, start: int = -2, size: int = 0) -> bytes:
        text = name.encode("utf-16-le") + b"\0\0"
        links = struct.pack("<iii", -1, right, child)
        return (
            text.ljust(64, b"\0")
            + struct.pack("<HBB", len(text), kind, 1)
            + links
            + bytes(36)
            + struct.pack("<iQ", start, size)
        )

    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIiIiI", 0, 1, 1, 0, 4096, -2, 0, -2, 0) + struct.pack("<i", 0) + b"\xff" * 432
    table = struct.pack("<ii", -3, -2).ljust(512, b"\xff")
    folder = entry("Root Entry", 5, child=1) + entry("EncryptionInfo", 2, right=2) + entry("EncryptedPackage", 2)
    return head + table + folder.ljust(512, b"\0")
