"""The kit itself: a parser that keeps its promises passes, one that breaks a promise fails exactly there."""

from __future__ import annotations

import random
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from folkmoot_sdk import (
    Block,
    CorruptFile,
    DocumentInfo,
    EncryptedFile,
    Member,
    Parsed,
    ParserSpec,
    Progress,
    Source,
    UnsupportedFile,
)
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample, read

LOCK = b"locked with "


def sniff(head: bytes) -> str | None:
    return "text/x-toy" if head.startswith(b"TOY1\n") else None


def parse(source: Source) -> Iterator[Parsed]:
    """Pages parted by form feeds, blocks by blank lines, headings marked with `#`."""
    data = source.file.read()
    if not data.startswith(b"TOY1\n"):
        raise UnsupportedFile(f"{source.name} does not begin as a toy file does: choose another parser")
    body = data[5:]
    if body.startswith(LOCK):
        password, _, body = body[len(LOCK) :].partition(b"\n")
        if source.password != password.decode(errors="replace"):
            raise EncryptedFile(f"{source.name} is locked: give its password")
    if not body.strip():
        raise CorruptFile(f"{source.name} ends after its first line: upload it again")
    pages = body.decode(errors="replace").replace("\0", "").split("\f")
    yield DocumentInfo(page_count=len(pages))
    for number, page in enumerate(pages, 1):
        for text in filter(None, map(str.strip, page.split("\n\n"))):
            if heading := text.removeprefix("# ").strip() if text.startswith("# ") else "":
                yield Block(heading, "heading", level=1, page=number)
            else:
                yield Block(text, page=number)
        yield Progress(number, len(pages))


TOY = ParserSpec(
    kind="toy",
    title="Toy",
    media_types=("text/x-toy",),
    suffixes=(".toy",),
    parse=parse,
    sniff=sniff,
)
TWO_PAGES = b"TOY1\n# Hens\n\nA hen lays eggs.\n\nShe needs grain.\f# Geese\n\nA goose\nkeeps watch.\n"


class ToyConformance(ParserConformance):
    spec = TOY

    def samples(self) -> list[Sample]:
        return [
            Sample(
                "farm.toy",
                TWO_PAGES,
                "text/x-toy",
                snippets=("Hens", "lays eggs", "A goose keeps watch."),
                pages={"needs grain": 1, "goose keeps": 2},
            ),
            Sample("locked.toy", b"TOY1\n" + LOCK + b"key\nBehind the door.", "text/x-toy", password="key"),
        ]

    def broken(self) -> list[Broken]:
        return [
            Broken("picture.toy", b"\x89PNG\r\n\x1a\n", UnsupportedFile),
            Broken("hollow.toy", b"TOY1\n", CorruptFile),
        ]


class TestGoodToy(ToyConformance):
    """All of the kit, on a parser that keeps its promises."""

    # The toy is no installed module; registering is tried below, on modules made for it.
    test_registering_is_quick_and_does_no_io = None


def failing(kit: ParserConformance) -> set[str]:
    """The names of the promises that `kit` finds broken."""
    found: set[str] = set()
    for name in [name for name in dir(kit) if name.startswith("test_")]:
        try:
            getattr(kit, name)()
        except AssertionError as error:
            assert len(str(error)) > 20, f"{name} fails without saying why"  # noqa: PT017
            found.add(name)
        except unittest.SkipTest:
            pass
    return found


def kit_for(**changes: object) -> ParserConformance:
    kit = ToyConformance()
    kit.spec = msgspec.structs.replace(TOY, **changes)
    return kit


def changing(change: Callable[[Parsed], Iterable[object]]) -> Callable[[Source], Iterator[Parsed]]:
    """The good parser, with each thing that it yields replaced."""

    def changed(source: Source) -> Iterator[Parsed]:
        for event in parse(source):
            yield from change(event)  # type: ignore[misc]

    return changed


def edit_blocks(**fields: Callable[[Block], object]) -> Callable[[Source], Iterator[Parsed]]:
    def edit(event: Parsed) -> list[Parsed]:
        if not isinstance(event, Block):
            return [event]
        return [msgspec.structs.replace(event, **{name: make(event) for name, make in fields.items()})]

    return changing(edit)


def with_members(*members: Parsed) -> Callable[[Source], Iterator[Parsed]]:
    """The good parser, with these at the end."""

    def parse_more(source: Source) -> Iterator[Parsed]:
        yield from parse(source)
        yield from members

    return parse_more


def closes_the_file(source: Source) -> Iterator[Parsed]:
    yield from list(parse(source))
    source.file.close()


def writes_to_the_file(source: Source) -> Iterator[Parsed]:
    events = list(parse(source))
    source.file.seek(0, 2)
    source.file.write(b" ")
    yield from events


def trips_over_damage(source: Source) -> Iterator[Parsed]:
    data = source.file.read()
    if data[5:] and data[:5] == b"TOY1\n" and data not in [sample.data for sample in ToyConformance().samples()]:
        raise IndexError("list index out of range")
    source.file.seek(0)
    yield from parse(source)


def reads_nothing_as_nothing(source: Source) -> Iterator[Parsed]:
    return parse(source) if source.size else iter(())


def says_little(source: Source) -> Iterator[Parsed]:
    try:
        yield from list(parse(source))
    except CorruptFile:
        raise CorruptFile("bad file") from None


def needs_no_password(source: Source) -> Iterator[Parsed]:
    return parse(msgspec.structs.replace(source, password="key"))


def backwards(source: Source) -> Iterator[Parsed]:
    events = list(parse(source))
    first = [e for e in events if isinstance(e, Block) and e.page == 1]
    return iter([e for e in events if e not in first] + first)


def knows_nothing(head: bytes) -> str | None:
    return None


def takes_pictures(head: bytes) -> str | None:
    return "text/x-toy" if b"PNG" in head else sniff(head)


def wants_five_bytes(head: bytes) -> str | None:
    return sniff(head) if len(head) > 4 or not head else str(head[9])


UNCLEAN = {"test_members_come_whole_and_under_clean_names"}
PROMISES: dict[str, tuple[dict[str, object], set[str]]] = {
    "a kind with a capital": ({"kind": "Toy"}, {"test_the_kind_is_lower_case_letters_digits_and_hyphens"}),
    "a suffix without its dot": ({"suffixes": ("toy",)}, {"test_media_types_and_suffixes_are_well_formed"}),
    "sniff that knows nothing": (
        {"sniff": knows_nothing},
        {"test_samples_are_recognised_by_their_first_bytes"},
    ),
    "sniff that takes pictures": (
        {"sniff": takes_pictures},
        {"test_sniff_claims_nothing_that_is_not_its_own"},
    ),
    "sniff that wants five bytes": (
        {"sniff": wants_five_bytes},
        {"test_sniff_answers_for_every_beginning_however_short"},
    ),
    "a string among the blocks": (
        {"parse": changing(lambda event: [event, "done"])},
        {"test_parse_yields_only_blocks_info_members_and_progress"},
    ),
    "a heading without a level": (
        {"parse": edit_blocks(level=lambda block: None)},
        {"test_blocks_are_clean_text_with_level_and_page"},
    ),
    "half a surrogate pair": (
        {"parse": edit_blocks(text=lambda block: block.text + "\ud800")},
        {"test_blocks_are_clean_text_with_level_and_page"},
    ),
    "a page count that is too low": (
        {"parse": changing(lambda event: [DocumentInfo(1) if isinstance(event, DocumentInfo) else event])},
        {"test_pages_are_in_reading_order_and_counted"},
    ),
    "progress beyond its total": (
        {"parse": changing(lambda event: [Progress(9, 2) if isinstance(event, Progress) else event])},
        {"test_progress_goes_forward_to_its_total"},
    ),
    "lost words": (
        {"parse": edit_blocks(text=lambda block: block.text.replace("eggs", "stones"))},
        {"test_expected_text_is_found_in_order"},
    ),
    "no page numbers": (
        {"parse": edit_blocks(page=lambda block: None)},
        {"test_expected_text_is_on_its_page"},
    ),
    "a mood": (
        {"parse": edit_blocks(text=lambda block: f"{block.text} {random.random()}")},
        {"test_the_same_file_reads_the_same_twice"},
    ),
    "a closed file": (
        {"parse": closes_the_file},
        {"test_the_file_is_read_through_source_file_and_left_open"},
    ),
    "a file written to": (
        {"parse": writes_to_the_file},
        {"test_the_file_is_read_through_source_file_and_left_open"},
    ),
    "a crash on damage": (
        {"parse": trips_over_damage},
        {"test_damaged_files_end_in_blocks_or_a_parser_error"},
    ),
    "silence on an empty file": ({"parse": reads_nothing_as_nothing}, {"test_an_empty_file_is_refused"}),
    "an error of two words": (
        {"parse": says_little},
        {"test_broken_files_are_refused_with_a_sentence_that_names_them"},
    ),
    "an open lock": (
        {"parse": needs_no_password},
        {"test_encrypted_files_open_with_their_password_only"},
    ),
    "a member that climbs out": ({"parse": with_members(Member("../a.txt", b"", last=True))}, UNCLEAN),
    "a member without a name": ({"parse": with_members(Member("", b"", last=True))}, UNCLEAN),
    "a member without an end": ({"parse": with_members(Member("a", b"x", last=False))}, UNCLEAN),
    "a member in too large a piece": ({"parse": with_members(Member("a", bytes((1 << 20) + 1), last=True))}, UNCLEAN),
    "a member of no time zone": (
        {"parse": with_members(Member("a", b"", last=True, modified_at=datetime(2024, 1, 1)))},
        UNCLEAN,
    ),
    "two members at once": (
        {"parse": with_members(Member("a", b"", last=False), Member("b", b"", last=True), Member("a", b"", last=True))},
        UNCLEAN,
    ),
    "words inside a member": (
        {"parse": with_members(Member("a", b"", last=False), Block("b"), Member("a", b"", last=True))},
        UNCLEAN,
    ),
    "a problem of nobody": ({"parse": with_members(Member("a1", b"", last=True, problem="It is bad."))}, UNCLEAN),
    "pages from the back": (
        {"parse": backwards},
        {"test_pages_are_in_reading_order_and_counted", "test_expected_text_is_found_in_order"},
    ),
}


@pytest.mark.parametrize("what", PROMISES)
def test_a_parser_that_breaks_a_promise_fails_just_there(what: str) -> None:
    changes, expected = PROMISES[what]
    assert failing(kit_for(**changes)) == expected


def test_a_parser_without_samples_does_not_pass() -> None:
    class NoSamples(ToyConformance):
        def samples(self) -> list[Sample]:
            return []

    assert failing(NoSamples()) == {"test_samples_are_recognised_by_their_first_bytes"}


PLUGIN = """
import folkmoot_sdk
{top}
FOLKMOOT_SDK_API = {api}
@folkmoot_sdk.hookimpl
def register_parsers():
    {hook}
    return [folkmoot_sdk.ParserSpec("toy", "Toy", ("text/x-toy",), (".toy",), list, lambda head: None)]
"""


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({}, None),
        ({"api": "2"}, "FOLKMOOT_SDK_API"),
        ({"hook": "open(__file__).close()"}, "does I/O"),
        ({"hook": "import mailbox"}, "does I/O or imports"),
        ({"top": "print(sum(i * i for i in range(9_000_000)))"}, "processor time"),
    ],
)
def test_registration_is_tried_in_a_fresh_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: dict[str, str], complaint: str | None
) -> None:
    source = PLUGIN.format(**{"top": "", "api": "1", "hook": "pass"} | parts)
    (tmp_path / "toy_for_the_kit.py").write_text(source)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    class WithPlugin(ToyConformance):
        plugin = "toy_for_the_kit"

    if complaint is None:
        WithPlugin().test_registering_is_quick_and_does_no_io()
    else:
        with pytest.raises(AssertionError, match=complaint):
            WithPlugin().test_registering_is_quick_and_does_no_io()


def test_read_gathers_blocks_info_and_text() -> None:
    result = read(TOY, TWO_PAGES, "farm.toy")
    assert [block.kind for block in result.blocks] == [
        "heading",
        "paragraph",
        "paragraph",
        "heading",
        "paragraph",
    ]
    assert result.info.page_count == 2
    assert result.text.startswith("Hens\n\nA hen lays eggs.")


def test_members_are_put_together_from_their_pieces() -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    spec = msgspec.structs.replace(
        TOY,
        parse=with_members(
            Member("a.txt", b"one ", last=False, modified_at=at),
            Progress(1, 2),
            Member("a.txt", b"two", last=True, modified_at=at),
            Member("bad.txt", b"half", last=False),
            Member("bad.txt", b"", last=True, problem="bad.txt is damaged."),
            Member("a.txt", b"", last=True),
        ),
    )
    result = read(spec, TWO_PAGES, "farm.toy")
    assert result.members == [("a.txt", b"one two"), ("a.txt", b"")]
    assert result.problems == ["bad.txt is damaged."]


@pytest.mark.parametrize(
    ("members", "complaint"),
    [({"a.txt": b"x"}, None), ({}, "the files inside are"), ({"a.txt": b"y"}, "the files inside are"), (None, None)],
)
def test_the_files_inside_a_sample_are_compared(members: dict[str, bytes] | None, complaint: str | None) -> None:
    class WithMembers(ToyConformance):
        def samples(self) -> list[Sample]:
            return [Sample("farm.toy", TWO_PAGES, "text/x-toy", members=members)]

    kit = WithMembers()
    kit.spec = msgspec.structs.replace(TOY, parse=with_members(Member("a.txt", b"x", last=True)))
    if complaint is None:
        kit.test_expected_files_are_found_inside()
    else:
        with pytest.raises(AssertionError, match=complaint):
            kit.test_expected_files_are_found_inside()


def test_the_kit_does_not_need_pytest() -> None:
    check = "import sys, folkmoot_sdk.testing.parsers; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
