"""What a worker holds while it reads 2,000 documents of many kinds: `python -m benchmarks memory`.

A `folkmoot up` of its own gets them over its API, twenty in a request. The kernel says the most that its worker ever
held (VmHWM); the processes that its parsers run in are looked at twenty times a second. Reference, in the same run: the
same worker at rest, before.
"""

from __future__ import annotations

import csv
import io
import json
import random
import threading
import time
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import docx
import httpx
import openpyxl
import pptx
import psutil
from reportlab.pdfgen.canvas import Canvas

from benchmarks.report import Report
from tests.support.server import Server, until

DOCUMENTS = 2_000
AT_ONCE = 20
GOAL = 400
MEGABYTE = 1024 * 1024
SYLLABLES = ("re", "an", "for", "un", "be", "tal", "gar", "mel", "sten", "ing", "hus", "skog", "vat")
WORDS = [f"{a}{b}{c}" for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]


def run(report: Report, folder: Path) -> None:
    server = Server(folder / "data", FOLKMOOT_REQUESTS_PER_USER="0", FOLKMOOT_REQUESTS_PER_TENANT="0").start()
    try:
        worker = server.part("worker")
        with server.client() as client:
            time.sleep(5)
            rest = worker.memory_info().rss / MEGABYTE
            watch = _Watch(worker)
            states, size, took = _sent(client)
            parsers = watch.end()
            most = _most(worker)
        report.line(
            f"memory of a worker over {DOCUMENTS:,} documents, at most",
            most,
            "MB",
            GOAL,
            f"at rest before {rest:.0f} MB, after {worker.memory_info().rss / MEGABYTE:.0f} MB; its parsers together"
            f" at most {parsers:.0f} MB; {states}, {size / MEGABYTE:.0f} MB in {took:.0f} s",
        )
    finally:
        server.stop()


def _most(process: psutil.Process) -> float:
    """Megabytes that were ever resident, as the kernel counts."""
    told = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in told.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


class _Watch:
    """Looks at the children of a process until it is told to end."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._most, self._ended = process, 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            held = 0
            for child in self._process.children(recursive=True):
                try:
                    held += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self._most = max(self._most, held)

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._most / MEGABYTE


def _sent(client: httpx.Client) -> tuple[str, int, float]:
    """What became of the documents, their size together, and the seconds that it took."""
    space = client.post("/spaces", json={"name": "Bench"}).json()["id"]
    collection = client.post(f"/spaces/{space}/collections", json={"name": "Mixed"}).json()["id"]
    dice = random.Random(11)
    size, begun = 0, time.perf_counter()
    for start in range(0, DOCUMENTS, AT_ONCE):
        files = [_file(dice, number) for number in range(start, start + AT_ONCE)]
        size += sum(len(data) for _, data in files)
        sent = client.post(
            f"/collections/{collection}/documents", files=[("file", file) for file in files], timeout=120
        )
        assert sent.status_code == 202, sent.text
    path = f"/collections/{collection}/status"

    def over() -> dict[str, int]:
        counts = client.get(path).json()
        return {} if counts["queued"] or counts["processing"] else counts

    counts = until(over, 1800, "every document is read")
    return f"{counts['ready']:,} ready, {counts['failed']} failed", size, time.perf_counter() - begun


def _file(dice: random.Random, number: int) -> tuple[str, bytes]:
    """Of each kind in turn; most are small, one in a hundred is long, as in the folders that people have."""
    paragraphs = dice.choice((4, 10, 30)) if number % 100 else 2_000
    suffix, made = list(KINDS.items())[number % len(KINDS)]
    lines = [" ".join(dice.choices(WORDS, k=60)).capitalize() + "." for _ in range(paragraphs)]
    return f"{number}.{suffix}", made([f"Number {number}.", *lines])


def _text(lines: list[str]) -> bytes:
    return "\n\n".join(lines).encode()


def _html(lines: list[str]) -> bytes:
    return f"<title>{lines[0]}</title><main>{''.join(f'<p>{line}</p>' for line in lines)}</main>".encode()


def _json(lines: list[str]) -> bytes:
    return json.dumps([{"number": number, "text": line} for number, line in enumerate(lines)]).encode()


def _csv(lines: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([("number", "text"), *enumerate(lines)])
    return out.getvalue().encode()


def _docx(lines: list[str]) -> bytes:
    made = docx.Document()
    made.add_heading(lines[0])
    for line in lines[1:]:
        made.add_paragraph(line)
    return _saved(made.save)


def _xlsx(lines: list[str]) -> bytes:
    book = openpyxl.Workbook()
    for row in enumerate(lines):
        book.worksheets[0].append(row)
    return _saved(book.save)


def _pptx(lines: list[str]) -> bytes:
    slides = pptx.Presentation()
    for line in lines[:40]:
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.placeholders[1].text = line
    return _saved(slides.save)


def _pdf(lines: list[str]) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out)
    for start in range(0, len(lines), 10):
        text = canvas.beginText(50, 790)
        for line in lines[start : start + 10]:
            text.textLines([line[at : at + 90] for at in range(0, len(line), 90)])
        canvas.drawText(text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _mail(lines: list[str]) -> bytes:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = lines[0], "ada@example.org", "bo@example.org"
    mail.set_content("\n\n".join(lines))
    return bytes(mail)


def _zip(lines: list[str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "\n\n".join(lines))
    return out.getvalue()


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    save(out)
    return out.getvalue()


KINDS = {
    "txt": _text,
    "docx": _docx,
    "md": _text,
    "pdf": _pdf,
    "html": _html,
    "xlsx": _xlsx,
    "csv": _csv,
    "pptx": _pptx,
    "json": _json,
    "eml": _mail,
    "zip": _zip,
}
