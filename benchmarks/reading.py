"""How soon a long PDF can be searched, without embeddings.

Reference: what PDFium alone takes to give the text of the same file in this process.
"""

from __future__ import annotations

import io
import random
import time
from pathlib import Path

import pypdfium2
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from benchmarks.report import Report
from tests.support.server import Server, until

PAGES = 300
LINES = 45


def run(report: Report, folder: Path) -> None:
    data = book()
    begun = time.perf_counter()
    with pypdfium2.PdfDocument(data) as document:
        for page in document:
            page.get_textpage().get_text_bounded()
    alone = time.perf_counter() - begun
    server = Server(folder / "data").start()
    try:
        took, chunks = _read(server, data)
        report.line(
            f"a PDF of {PAGES} pages, sent to searchable",
            took,
            "s",
            10,
            f"PDFium alone {alone:.2f} s; {len(data) / 1e6:.1f} MB, {chunks} chunks",
        )
    finally:
        server.stop()


def _read(server: Server, data: bytes) -> tuple[float, int]:
    """Seconds from sending to finding, and the number of chunks."""
    with server.client() as client:
        space = client.post("/spaces", json={"name": "Bench"}).json()["id"]
        collection = client.post(f"/spaces/{space}/collections", json={"name": "Books"}).json()["id"]
        begun = time.perf_counter()
        sent = client.post(f"/collections/{collection}/documents", files={"file": ("book.pdf", data)})
        document_id = sent.json()["items"][0]["id"]
        until(lambda: client.get(f"/documents/{document_id}").json()["status"] in ("ready", "failed"), 120)
        found = client.post(f"/collections/{collection}/search", json={"query": f"marker{PAGES - 1}"}).json()["items"]
        took = time.perf_counter() - begun
        pages = client.get(f"/documents/{document_id}").json()
        assert found, f"the last page is not found: {pages}"
        assert f"marker{PAGES - 1}" in found[0]["text"], found[0]
        return took, pages["chunk_count"]


def book() -> bytes:
    """A text of many words, the same each time, with a word of its own on each page."""
    words = [
        f"{a}{b}{c}"
        for a in ("re", "an", "for", "un")
        for b in ("tal", "gar", "mel", "sten")
        for c in ("ing", "en", "a")
    ]
    dice = random.Random(7)
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, pageCompression=1)
    for number in range(PAGES):
        lines = [" ".join(dice.choices(words, k=12)) + "." for _ in range(LINES)]
        # In the text: on a line of its own it would be taken for a page number, and left out.
        lines[20] = f"{' '.join(dice.choices(words, k=5))} marker{number} {' '.join(dice.choices(words, k=5))}."
        text = canvas.beginText(50, 790)
        text.textLines(lines)
        canvas.drawText(text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()
