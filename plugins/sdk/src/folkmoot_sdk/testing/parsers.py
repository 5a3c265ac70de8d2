"""What every parser promises, as tests that a plugin author inherits.

    from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample

    class TestMyParser(ParserConformance):
        plugin = "my_parser"
        spec = my_parser.SPEC

        def samples(self) -> list[Sample]:
            return [Sample("hello.my", make_hello(), "text/x-my", ("Hello", "world"))]

        def broken(self) -> list[Broken]:
            return [Broken("half.my", make_hello()[:20], CorruptFile)]

The methods are plain functions with plain asserts: pytest finds them, and nothing here needs pytest.
"""

from __future__ import annotations

import gzip
import io
import random
import re
import subprocess
import sys
import unittest
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import environ, pathsep
from typing import Any, BinaryIO, ClassVar, cast, get_args

from folkmoot_sdk.errors import EncryptedFile, ParserError
from folkmoot_sdk.parsers import Block, BlockKind, DocumentInfo, Member, Parsed, ParserSpec, Progress, Source
from folkmoot_sdk.testing import members

HEAD = 64 * 1024
"""Bytes that `sniff` is shown."""


@dataclass(frozen=True)
class Sample:
    """A sound file, and what must be read out of it."""

    name: str
    data: bytes
    media_type: str
    """As `sniff` must find it."""
    snippets: tuple[str, ...] = ()
    """Stretches of text that must be found, in this order; runs of white space count as one space."""
    pages: Mapping[str, int] = field(default_factory=dict[str, int])
    """On which page a block holds this text."""
    password: str | None = None
    """Opens the file; without it the file must be refused as encrypted."""
    members: Mapping[str, bytes] | None = None
    """The files inside it, by their names; None where it does not matter."""
    sniffed: bool = True
    """False for a format that nothing in its first bytes gives away (CSV, Markdown)."""


@dataclass(frozen=True)
class Broken:
    """A file that must be refused, and how."""

    name: str
    data: bytes
    error: type[ParserError]
    password: str | None = None
    media_type: str | None = None
    """Where a parser reads several formats and the bytes do not say which one was meant."""


@dataclass(frozen=True)
class Result:
    """All that a parser said about one file."""

    events: tuple[Parsed, ...]

    @property
    def blocks(self) -> list[Block]:
        return [event for event in self.events if isinstance(event, Block)]

    @property
    def info(self) -> DocumentInfo:
        """The last one holds; an empty one if the parser gave none."""
        return next((e for e in reversed(self.events) if isinstance(e, DocumentInfo)), DocumentInfo())

    @property
    def members(self) -> list[tuple[str, bytes]]:
        """The files inside that came whole, in order: name and bytes."""
        return list(members.whole(self.events))

    @property
    def problems(self) -> list[str]:
        """What is said of the files inside that could not be read."""
        return [event.problem for event in self.events if isinstance(event, Member) and event.problem]

    @property
    def text(self) -> str:
        return "\n\n".join(block.text for block in self.blocks)


def read(
    spec: ParserSpec,
    data: bytes,
    name: str = "sample",
    *,
    media_type: str | None = None,
    password: str | None = None,
    options: dict[str, Any] | None = None,
    file: BinaryIO | None = None,
) -> Result:
    """Read `data` as the host would, all of it at once. Raises what the parser raises.

    `file` stands in for the bytes where the way they are read is under test.
    """
    source = Source(
        name=name,
        media_type=media_type or spec.sniff(data[:HEAD]) or spec.media_types[0],
        size=len(data),
        file=file or io.BytesIO(data),
        password=password,
        options=options or {},
    )
    return Result(tuple(spec.parse(source)))


def squeeze(text: str) -> str:
    """Every run of white space as one space."""
    return " ".join(text.split())


def _a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hello.txt", "hello")
    return buffer.getvalue()


FOREIGN: dict[str, bytes] = {
    "image/png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00",
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00",
    "application/gzip": gzip.compress(b"hello", mtime=0),
    "application/zip": _a_zip(),
    "application/x-executable": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01" + bytes(32),
    "text/plain": b"A plain sentence, and another one.\nNothing here is of any format.\n",
}
"""The beginning of files that hardly any parser reads, by media type."""

# Runs in a fresh interpreter: in this one the plugin and its libraries are long since imported.
_REGISTER = """
import importlib, sys, time
import folkmoot_sdk
name, kind, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
start = time.process_time()
module = importlib.import_module(name)
seen = []
watching = False
def watch(event, args):
    if watching and event.split(".")[0] in ("open", "import", "os", "socket", "subprocess"):
        seen.append(f"{event} {args[0] if args else ''}")
sys.addaudithook(watch)
watching = True
specs = module.register_parsers()
watching = False
took = time.process_time() - start
if getattr(module, "FOLKMOOT_SDK_API", None) != folkmoot_sdk.SDK_API:
    sys.exit(f"{name} does not state FOLKMOOT_SDK_API = {folkmoot_sdk.SDK_API}")
if kind not in [spec.kind for spec in specs]:
    sys.exit(f"register_parsers() of {name} does not return the parser {kind!r}")
if seen:
    sys.exit(f"register_parsers() of {name} does I/O or imports: {seen[:5]}; do that in parse()")
if took > seconds:
    sys.exit(f"importing and registering {name} takes {took:.2f} s of processor time, "
             f"{seconds} s are allowed: import heavy libraries inside parse()")
"""


class _Raw(io.RawIOBase):
    """A file as the host opens it: read-only, seekable, and neither a path nor a `BytesIO` behind it."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._inner.readinto(buffer)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()


def complaints(result: Result) -> list[str]:
    """What the host could not store, show or cite, each named once."""
    found: dict[str, None] = {}
    for block in result.blocks:
        for what, wrong in (
            ("a block has no text", not block.text.strip()),
            ("a block begins or ends with white space", block.text != block.text.strip()),
            ("a block holds NUL", "\0" in block.text),
            ("a block holds half a surrogate pair", re.search("[\ud800-\udfff]", block.text) is not None),
            (f"a block is of the unknown kind {block.kind!r}", block.kind not in get_args(BlockKind)),
            ("a heading has no level of 1 or more", block.kind == "heading" and (block.level or 0) < 1),
            ("a page is below 1", block.page is not None and block.page < 1),
        ):
            if wrong:
                found.setdefault(what)
    return list(found)


def _all_complaints(result: Result) -> set[str]:
    return {*complaints(result), *members.complaints(result.events)}


def _damaged(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The file cut at ten places, then with bytes flipped in twenty ways; the same at every run."""
    for tenth in range(10):
        yield f"cut to {len(data) * tenth // 10} bytes", data[: len(data) * tenth // 10]
    for seed in range(20):
        dice = random.Random(f"{name} {seed}")
        flipped = bytearray(data)
        for _ in range(dice.randint(1, max(1, len(data) // 500))):
            flipped[dice.randrange(len(flipped))] ^= dice.randint(1, 255)
        yield f"with bytes flipped (seed {seed})", bytes(flipped)


class ParserConformance:
    """Subclass as `Test...`, give `spec`, `samples()` and `broken()`, and every promise is a test."""

    spec: ParserSpec
    plugin: ClassVar[str | None] = None
    """The module with the hooks; without it the promise about registering is skipped."""
    register_seconds: ClassVar[float] = 0.25
    """Processor time for import and registration in a fresh interpreter; 20 ms is good manners."""
    foreign: ClassVar[Mapping[str, bytes]] = FOREIGN
    """Heads that `sniff` must not claim; those of the parser's own media types are left out."""

    def samples(self) -> list[Sample]:
        """Sound files, at least one of each format."""
        raise NotImplementedError

    def broken(self) -> list[Broken]:
        """Files to be refused: truncated, wrongly named, too large, empty inside."""
        raise NotImplementedError

    def _read(self, sample: Sample, data: bytes | None = None, file: BinaryIO | None = None) -> Result:
        return read(
            self.spec,
            sample.data if data is None else data,
            sample.name,
            media_type=sample.media_type,
            password=sample.password,
            file=file,
        )

    def test_the_kind_is_lower_case_letters_digits_and_hyphens(self) -> None:
        kind = self.spec.kind
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind), f"kind {kind!r}: it is stored, so keep it plain"
        assert self.spec.title.strip(), f"parser {kind!r} has no title to show"

    def test_media_types_and_suffixes_are_well_formed(self) -> None:
        types, suffixes = self.spec.media_types, self.spec.suffixes
        assert types, f"parser {self.spec.kind!r} names no media type"
        assert suffixes, f"parser {self.spec.kind!r} names no suffix"
        for one in types:
            assert re.fullmatch(r"[a-z]+/[a-z0-9][a-z0-9!#$&^_.+-]*", one), f"{one!r} is no media type"
        for one in suffixes:
            assert re.fullmatch(r"\.[a-z0-9][a-z0-9.+-]*", one), f"{one!r} is no lower-case suffix"

    def test_samples_are_recognised_by_their_first_bytes(self) -> None:
        assert self.samples(), "samples() is empty: give at least one sound file"
        for sample in self.samples():
            found = self.spec.sniff(sample.data[:HEAD])
            expected = sample.media_type
            assert expected in self.spec.media_types, f"{sample.name}: {expected} is not in the spec"
            assert found == expected or not sample.sniffed, f"{sample.name}: sniff says {found!r}"

    def test_sniff_claims_nothing_that_is_not_its_own(self) -> None:
        noise = random.Random(1843).randbytes(HEAD)
        heads = {"no bytes at all": b"", "random bytes": noise, "a few random bytes": noise[:5]}
        heads |= {kind: head for kind, head in self.foreign.items() if kind not in self.spec.media_types}
        for what, head in heads.items():
            found = self.spec.sniff(head)
            assert found is None, f"sniff takes {what} for {found!r}: it may only say what is certain"

    def test_sniff_answers_for_every_beginning_however_short(self) -> None:
        for sample in self.samples():
            for length in (1, 2, 3, 4, 5, 8, 16, 64, 512):
                try:
                    found = self.spec.sniff(sample.data[:length])
                except Exception as error:
                    raise AssertionError(f"sniff fails on {length} bytes: {error!r}") from error
                assert found in (None, *self.spec.media_types), f"sniff says {found!r}, which the spec has not"

    def test_parse_yields_only_blocks_info_members_and_progress(self) -> None:
        for sample in self.samples():
            for event in self._read(sample).events:
                assert isinstance(cast("object", event), Block | DocumentInfo | Member | Progress), (
                    f"{sample.name}: parse yields {type(event).__name__}"
                )

    def test_blocks_are_clean_text_with_level_and_page(self) -> None:
        for sample in self.samples():
            found = complaints(self._read(sample))
            assert not found, f"{sample.name}: {'; '.join(found)}"

    def test_pages_are_in_reading_order_and_counted(self) -> None:
        for sample in self.samples():
            result = self._read(sample)
            pages = [block.page for block in result.blocks if block.page is not None]
            assert pages == sorted(pages), f"{sample.name}: pages go back: {pages}"
            count = result.info.page_count
            if count is not None and pages:
                assert pages[-1] <= count, f"{sample.name}: a block is on page {pages[-1]} of {count}"

    def test_progress_goes_forward_to_its_total(self) -> None:
        for sample in self.samples():
            before = 0
            for event in self._read(sample).events:
                if isinstance(event, Progress):
                    assert before <= event.done <= event.total, f"{sample.name}: {event} after {before} done"
                    before = event.done

    def test_expected_text_is_found_in_order(self) -> None:
        for sample in self.samples():
            result = self._read(sample)
            text, at = squeeze(result.text), 0
            for snippet in map(squeeze, sample.snippets):
                found = text.find(snippet, at)
                wrong = "out of order" if snippet in text else f"not in the text {text[at : at + 500]!r}"
                assert found >= 0, f"{sample.name}: {snippet!r} is {wrong}"
                at = found + len(snippet)

    def test_expected_text_is_on_its_page(self) -> None:
        for sample in self.samples():
            blocks = self._read(sample).blocks
            for snippet, page in sample.pages.items():
                pages = {block.page for block in blocks if squeeze(snippet) in squeeze(block.text)}
                assert page in pages, f"{sample.name}: {snippet!r} is on {pages or 'no page'}, not on {page}"

    def test_members_come_whole_and_under_clean_names(self) -> None:
        for sample in self.samples():
            found = members.complaints(self._read(sample).events)
            assert not found, f"{sample.name}: {'; '.join(found)}"

    def test_expected_files_are_found_inside(self) -> None:
        for sample in self.samples():
            found = self._read(sample).members
            wanted = found if sample.members is None else list(sample.members.items())
            assert sorted(found) == sorted(wanted), f"{sample.name}: the files inside are {[name for name, _ in found]}"

    def test_the_same_file_reads_the_same_twice(self) -> None:
        for sample in self.samples():
            first, second = self._read(sample), self._read(sample)
            assert first == second, f"{sample.name}: a second reading differs; anchors would move"

    def test_the_file_is_read_through_source_file_and_left_open(self) -> None:
        for sample in self.samples():
            file = io.BufferedReader(_Raw(sample.data))
            try:
                result = self._read(sample, file=file)
            except io.UnsupportedOperation as error:
                raise AssertionError(f"{sample.name}: source.file is only to be read: {error}") from error
            assert not file.closed, f"{sample.name}: parse closed source.file, which belongs to the host"
            assert len(result.events) == len(self._read(sample).events), f"{sample.name}: a file reads otherwise"

    def test_registering_is_quick_and_does_no_io(self) -> None:
        if self.plugin is None:
            raise unittest.SkipTest("name the module with the hooks in `plugin` to test its registration")
        done = subprocess.run(
            [sys.executable, "-c", _REGISTER, self.plugin, self.spec.kind, str(self.register_seconds)],
            env={**environ, "PYTHONPATH": pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.strip()

    def test_damaged_files_end_in_blocks_or_a_parser_error(self) -> None:
        for sample in self.samples():
            known = _all_complaints(self._read(sample))
            for how, data in _damaged(sample.data, sample.name):
                where = f"{sample.name} {how}"
                try:
                    result = self._read(sample, data)
                except ParserError:
                    continue
                except Exception as error:
                    raise AssertionError(f"{where}: {error!r}, which is no ParserError") from error
                new = _all_complaints(result) - known
                assert not new, f"{where}: {'; '.join(sorted(new))}"

    def test_an_empty_file_is_refused(self) -> None:
        for suffix in self.spec.suffixes:
            self._refused(Broken(f"empty{suffix}", b"", ParserError))

    def test_broken_files_are_refused_with_a_sentence_that_names_them(self) -> None:
        for broken in self.broken():
            message = str(self._refused(broken))
            assert len(message) >= 20, f"{broken.name}: {message!r} does not say what is wrong and what to do"
            assert broken.name in message, f"{broken.name}: the message does not name the file: {message!r}"

    def test_encrypted_files_open_with_their_password_only(self) -> None:
        for sample in self.samples():
            if sample.password is None:
                continue
            for password in (None, f"not {sample.password}"):
                self._refused(Broken(sample.name, sample.data, EncryptedFile, password))
            assert self._read(sample).blocks, f"{sample.name}: no text although the password is right"

    def _refused(self, broken: Broken) -> ParserError:
        try:
            result = read(self.spec, broken.data, broken.name, media_type=broken.media_type, password=broken.password)
        except broken.error as error:
            return error
        except Exception as error:
            raise AssertionError(f"{broken.name}: {error!r} instead of {broken.error.__name__}") from error
        raise AssertionError(f"{broken.name}: {len(result.blocks)} blocks instead of {broken.error.__name__}")
