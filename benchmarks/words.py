"""How many of the words that are in a file come out of it, and what broken files end in.

A folder of test files is read through the product's own choice of parser and its processes. It holds
`docs/manifest.jsonl`: `path`, `kind`, `expect` (`ok`, `error` or `any`), and where known `expected_text_path`,
`expected_snippets`, `absent_snippets`, `password`, `optional` and `needs_ocr`.

Reference, in the same run: PDFium's plain text of the PDF files, trafilatura's of the HTML files.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path

import msgspec
import pypdfium2
import trafilatura
from folkmoot_sdk import Block, DocumentInfo, EncryptedFile, ParserError, UnsupportedFile

from benchmarks.report import Report
from folkmoot.parsing.pool import ParserPool
from folkmoot.plugins.choose import HEAD
from folkmoot.plugins.manager import PluginManager

GOAL = 95.0
"""Per cent of the expected distinct words."""
WORST = 10
SOON = 60.0
"""Seconds that no file may take."""

_WORD = re.compile(r"[^\W_]+")
_CJK = re.compile("[\u2e80-\u9fff\uf900-\ufaff]+")


class Item(msgspec.Struct, frozen=True):
    """One line of the manifest."""

    path: str
    kind: str
    expect: str
    expected_text_path: str | None = None
    expected_snippets: tuple[str, ...] = ()
    absent_snippets: tuple[str, ...] = ()
    password: str | None = None
    optional: bool = False
    needs_ocr: bool = False


class Outcome(msgspec.Struct):
    """What became of one file."""

    item: Item
    text: str = ""
    warnings: tuple[str, ...] = ()
    error: ParserError | None = None
    crashed: bool = False
    seconds: float = 0.0

    @property
    def refused_as_it_may(self) -> bool:
        return self.item.optional and isinstance(self.error, UnsupportedFile)

    @property
    def fate(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"[:160] if self.error else f"{len(self.text):,} characters"


class Kept(msgspec.Struct):
    """The expected words of a file and those that are missing."""

    path: str
    expected: set[str]
    missing: set[str]

    @property
    def share(self) -> float:
        return 100.0 * (1 - len(self.missing) / len(self.expected))


class _Watch(logging.Handler):
    """A crash is told to the person as a damaged file, and to the log as what it is."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, _record: logging.LogRecord) -> None:
        self.count += 1


def run(report: Report, _folder: Path, corpora: Path) -> None:
    """`corpora` holds the folder `docs`; nothing is written anywhere."""
    folder = corpora / "docs"
    decoder = msgspec.json.Decoder(Item)
    items = [decoder.decode(line) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]
    outcomes, whole = asyncio.run(_read_all(folder, items))
    _words(report, folder, outcomes, whole)
    _snippets(report, outcomes)
    _errors(report, outcomes)
    slowest = max(outcomes, key=lambda one: one.seconds)
    report.line("slowest file", slowest.seconds, "s", SOON, slowest.item.path)


async def _read_all(folder: Path, items: list[Item]) -> tuple[list[Outcome], list[Outcome]]:
    """What became of each file, and of the HTML files once more with all that stands around their text."""
    plugins, watch = PluginManager.load(), _Watch()
    logger = logging.getLogger("folkmoot.parsing.pool")
    logger.addHandler(watch)
    found: list[Outcome] = []
    whole: list[Outcome] = []
    try:
        async with ParserPool(plugins) as pool:
            for item in items:
                if item.expect == "error" and item.password is not None:
                    # An error is expected without the password, the text with it.
                    locked = msgspec.structs.replace(item, password=None)
                    found.append(await _read(pool, plugins, folder, locked, watch))
                    item = msgspec.structs.replace(item, expect="ok")  # noqa: PLW2901
                found.append(await _read(pool, plugins, folder, item, watch))
            for item in (one.item for one in list(found) if one.item.kind == "html"):
                whole.append(await _read(pool, plugins, folder, item, watch, {"main_only": False}))
    finally:
        logger.removeHandler(watch)
    return found, whole


async def _read(
    pool: ParserPool,
    plugins: PluginManager,
    folder: Path,
    item: Item,
    watch: _Watch,
    options: dict[str, bool] | None = None,
) -> Outcome:
    outcome, before, begun = Outcome(item), watch.count, time.perf_counter()
    path, parts, title = folder / item.path, list[str](), ""
    try:
        with path.open("rb") as file:
            spec, media_type = plugins.choose_parser(file.read(HEAD), path.name)
        events = pool.parse(
            path,
            name=path.name,
            parser_kind=spec.kind,
            media_type=media_type,
            password=item.password,
            options=options,
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Block):
                    parts.append(event.text)
                elif isinstance(event, DocumentInfo):
                    outcome.warnings = event.warnings
                    title = event.title or ""
        # A title is stored and searched with its document, whether the text repeats it or not.
        parts.append(title)
    except ParserError as error:
        outcome.error = error
    outcome.text = "\n\n".join(parts)
    outcome.crashed = watch.count > before
    outcome.seconds = time.perf_counter() - begun
    return outcome


def words(text: str) -> set[str]:
    """Distinct words, by their letters; scripts without spaces by pairs of characters."""
    found: set[str] = set()
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        rest = _CJK.sub(" ", word)
        found.update(rest.split())
        for run_ in _CJK.findall(word):
            found.update(run_[at : at + 2] for at in range(max(1, len(run_) - 1)))
    return found


def _kept(folder: Path, item: Item, text: str) -> Kept:
    assert item.expected_text_path is not None
    expected = words((folder / item.expected_text_path).read_text(encoding="utf-8"))
    return Kept(item.path, expected, expected - words(text))


def _words(report: Report, folder: Path, outcomes: list[Outcome], whole: list[Outcome]) -> None:
    kinds: dict[str, list[Kept]] = defaultdict(list)
    left_out = 0
    for one in outcomes:
        if one.item.expected_text_path is None:
            continue
        if one.refused_as_it_may:
            left_out += 1
            continue
        kinds[one.item.kind].append(_kept(folder, one.item, one.text))
    all_of_html = [_kept(folder, one.item, one.text) for one in whole if one.item.expected_text_path is not None]
    pdfium = [_kept(folder, one, _pdfium(folder / one.path)) for one in _of(outcomes, "pdf")]
    extracted = [_kept(folder, one, _trafilatura(folder / one.path)) for one in _of(outcomes, "html")]
    beside = {
        "pdf": f"; PDFium's plain text keeps {_share(pdfium):.2f} %",
        "html": f" (with their menus, which are left out; read whole {_share(all_of_html):.2f} %); "
        f"trafilatura keeps {_share(extracted):.2f} %",
    }
    for kind, kept in sorted(kinds.items()):
        files = f"{len(kept)} file{'s' if len(kept) > 1 else ''}, {sum(len(one.expected) for one in kept)} words"
        report.note(f"{_share(kept):6.2f} % of the words of {kind}: {files}{beside.get(kind, '')}")
    every = [one for kept in kinds.values() for one in kept]
    refused = f"{len(every)} files; {left_out} of older Office are refused and not counted"
    report.at_least("words kept in all", _share(every), "%", GOAL, refused)
    report.at_least("words kept, mean of the files", sum(one.share for one in every) / len(every), "%", GOAL, refused)
    report.note(f"the worst {WORST}:")
    for one in sorted(every, key=lambda one: one.share)[:WORST]:
        report.note(f"{one.share:6.2f} % {one.path}: missing {', '.join(sorted(one.missing)[:8]) or 'nothing'}")


def _share(kept: Iterable[Kept]) -> float:
    kept = list(kept)
    return 100.0 * (1 - sum(len(one.missing) for one in kept) / max(1, sum(len(one.expected) for one in kept)))


def _of(outcomes: list[Outcome], kind: str) -> list[Item]:
    return [one.item for one in outcomes if one.item.kind == kind and one.item.expected_text_path is not None]


def _pdfium(path: Path) -> str:
    with pypdfium2.PdfDocument(path) as document:
        return "\n".join(page.get_textpage().get_text_bounded() for page in document)


def _trafilatura(path: Path) -> str:
    return trafilatura.extract(path.read_bytes(), include_tables=True) or ""


def _snippets(report: Report, outcomes: list[Outcome]) -> None:
    missing: list[str] = []
    unwanted: list[str] = []
    asked = 0
    for one in outcomes:
        text = _squeezed(one.text)
        if one.item.expect == "error" or one.item.needs_ocr or one.refused_as_it_may:
            continue
        asked += len(one.item.expected_snippets)
        missing += [f"{one.item.path}: {s!r}" for s in one.item.expected_snippets if _squeezed(s) not in text]
        unwanted += [f"{one.item.path}: {s!r}" for s in one.item.absent_snippets if _squeezed(s) in text]
    report.line("snippets missing", len(missing), "", 0, f"of {asked} that must be there")
    report.line("snippets that should have been left out", len(unwanted), "", 0, "menus, scripts, styles")
    for said in [*missing, *unwanted]:
        report.note(said[:200])


def _squeezed(text: str) -> str:
    """White space and the form of a letter are no difference."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _errors(report: Report, outcomes: list[Outcome]) -> None:
    broken = [one for one in outcomes if one.item.expect == "error"]
    silent = [one for one in broken if one.error is None]
    sound = [o for o in outcomes if o.item.expect == "ok" and o.error is not None and not o.refused_as_it_may]
    crashed = [one for one in outcomes if one.crashed]
    unsaid = [one for one in outcomes if one.item.needs_ocr and not one.text.strip() and not one.warnings]
    locked = [one for one in broken if one.item.password is None and isinstance(one.error, EncryptedFile)]
    report.line("broken files without an error", len(silent), "", 0, f"of {len(broken)}, {len(locked)} of them locked")
    report.line("sound files with an error", len(sound), "", 0, f"of {sum(o.item.expect == 'ok' for o in outcomes)}")
    report.line("readers that crashed", len(crashed), "", 0, f"of {len(outcomes)} files")
    report.line("scans that do not say so", len(unsaid), "", 0, "pages without text must be named")
    for what, found in (("silent", silent), ("failed", sound), ("crashed", crashed), ("unsaid", unsaid)):
        for one in found:
            report.note(f"{what}: {one.item.path}: {one.fate}")
