"""Archives that were made to do harm."""

from __future__ import annotations

import random
import struct
import zlib

import folkmoot_parser_archive
import pytest
from folkmoot_sdk import CorruptFile, Member, TooLarge
from folkmoot_sdk.testing.parsers import read

SPEC = folkmoot_parser_archive.register_parsers()[0]


def deflated(data: bytes) -> bytes:
    return zlib.compress(data, 9)[2:-4]


def test_a_bomb_is_refused_before_anything_of_it_is_unpacked(raw):
    zeros = deflated(bytes(30 << 20))
    for number in range(4):
        raw.add(f"{number}.bin".encode(), b"", method=8, packed=zeros, size=30 << 20)
    with pytest.raises(TooLarge, match=r"bomb\.zip unpacks to 120 MB, and 100 MB are the most"):
        read(SPEC, raw.done(), "bomb.zip")


def test_an_archive_that_is_larger_may_unpack_to_more(pack, monkeypatch):
    monkeypatch.setattr("folkmoot_parser_archive.directory.ANY_RATIO_BYTES", 1000)
    zeros, noise = bytes(2_000_000), random.Random(1).randbytes(10_000)
    with pytest.raises(TooLarge, match="unpacks to 2 MB"):
        read(SPEC, pack({"zeros": zeros}), "small.zip")
    assert len(read(SPEC, pack({"zeros": zeros, "noise": noise}), "larger.zip").members) == 2


@pytest.mark.parametrize("lie", [10, 0])
def test_a_size_that_lies_costs_no_more_than_it_says(raw, lie):
    data = raw.add(b"liar", b"x", method=8, packed=deflated(bytes(50 << 20)), size=lie).add(b"b", b"y").done()
    result = read(SPEC, data)
    assert sum(len(event.data) for event in result.events if isinstance(event, Member)) <= lie + 1
    assert result.members == [("b", b"y")]
    assert result.problems == ["liar was not read: it is damaged"]


def test_files_that_lie_over_each_other_are_refused(raw):
    kernel = deflated(bytes(1 << 20))
    raw.add(b"a", b"", method=8, packed=kernel, size=1 << 20)
    for number in range(50):
        raw.add(b"a", b"", method=8, packed=kernel, size=1 << 20, offset=0 if number % 2 else 10)
    with pytest.raises(TooLarge, match="lie over each other"):
        read(SPEC, raw.done(), "fifield.zip")


def test_a_file_that_lies_over_the_directory_is_refused(raw):
    data = bytearray(raw.add(b"a", b"x" * 100).done())
    at = data.find(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 20, 140)
    with pytest.raises(TooLarge, match="lie over each other"):
        read(SPEC, bytes(data), "a.zip")


@pytest.mark.parametrize("told", [None, 1])
def test_sixty_five_thousand_entries_are_refused_whatever_is_said_of_their_number(raw, told):
    for number in range(65_000):
        raw.add(b"%d" % number, b"")
    with pytest.raises(TooLarge, match="more than 2,000 files"):
        read(SPEC, raw.done(entries=told), "many.zip")


def test_many_folders_and_hidden_files_do_not_count(raw):
    for number in range(1500):
        raw.add(b"a/%d.txt" % number, b"").add(b"__MACOSX/a/._%d.txt" % number, b"x").add(b"a/%d/" % number, b"")
    assert len(read(SPEC, raw.done()).members) == 1500


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"../../etc/passwd", "etc/passwd"),
        (b"/etc/passwd", "etc/passwd"),
        (b"C:\\Windows\\win.ini", "Windows/win.ini"),
        (b"..\\..\\a.txt", "a.txt"),
        (b"a/b\x01\x1b[2J.txt", "a/b[2J.txt"),
    ],
)
def test_a_path_stays_inside(raw, name, path):
    assert read(SPEC, raw.add(name, b"x").done()).members == [(path, b"x")]


def test_a_name_of_nothing_is_left_out(raw):
    data = raw.add(b"..", b"x").add(b"", b"y").add(b"a", b"z").done()
    assert read(SPEC, data).members == [("a", b"z")]


def test_an_archive_in_an_archive_is_one_file_and_not_opened(pack):
    inner = pack({"a.txt": b"x"})
    assert read(SPEC, pack({"b.zip": inner})).members == [("b.zip", inner)]


def test_one_damaged_file_does_not_end_the_others(raw):
    raw.add(b"a.txt", b"one").add(b"b.txt", b"", method=8, packed=b"\xff\xff\xff", size=10).add(b"c.txt", b"three")
    result = read(SPEC, raw.done(), "a.zip")
    assert result.members == [("a.txt", b"one"), ("c.txt", b"three")]
    assert result.problems == ["b.txt was not read: it is damaged"]


def test_a_name_that_differs_between_header_and_directory_is_a_damaged_file(raw):
    data = raw.add(b"a.txt", b"one").add(b"b.txt", b"two").done()
    result = read(SPEC, data.replace(b"a.txt", b"x.exe", 1))
    assert result.members == [("b.txt", b"two")]
    assert result.problems == ["a.txt was not read: it is damaged"]


def test_a_directory_of_nonsense_is_damaged(raw):
    data = raw.add(b"a.txt", b"one").done()
    with pytest.raises(CorruptFile, match=r"a\.zip is damaged"):
        read(SPEC, data.replace(b"PK\x01\x02", b"PK\x01\x03"), "a.zip")
