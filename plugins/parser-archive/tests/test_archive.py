"""What comes out of archives as people and programs make them."""

from __future__ import annotations

import stat
import struct
import zlib
from datetime import UTC, datetime

import folkmoot_parser_archive
import pytest
from folkmoot_sdk import Member
from folkmoot_sdk.testing.parsers import read

SPEC = folkmoot_parser_archive.register_parsers()[0]


def names(data, **more):
    return [name for name, _ in read(SPEC, data, "a.zip", **more).members]


def test_folders_hidden_files_and_what_systems_leave_are_left_out(pack):
    junk = ["mapp/", ".git/config", "__MACOSX/._a.txt", "a/.DS_Store", "Thumbs.db", "b/desktop.ini", "~$a.docx"]
    result = read(SPEC, pack(dict.fromkeys([*junk, "a.txt", "c/b.txt"], b"x")), "a.zip")
    assert [name for name, _ in result.members] == ["a.txt", "c/b.txt"]
    assert result.text == "- a.txt (1 B)\n- c/b.txt (1 B)"
    assert result.info.warnings == ()


def test_an_archive_of_nothing_says_so(pack):
    for data in (pack({}), pack({"mapp/": b"", ".DS_Store": b"x"})):
        result = read(SPEC, data, "a.zip")
        assert result.info.warnings == ("a.zip holds no files",)
        assert result.members == []


def test_links_are_left_out_and_told(raw):
    link = (stat.S_IFLNK | 0o777) << 16
    data = raw.add(b"passwd", b"/etc/passwd", attributes=link).add(b"a.txt", b"x", attributes=0o100644 << 16).done()
    result = read(SPEC, data, "a.zip")
    assert result.members == [("a.txt", b"x")]
    assert result.info.warnings == ("1 link was left out: a link in an archive points to nothing here",)


@pytest.mark.parametrize(
    ("raw_name", "flags", "path"),
    [
        (b"\x8fngstr\x94m.txt", 0, "Ångström.txt"),  # DOS
        ("Ångström.txt".encode(), 0x800, "Ångström.txt"),
        ("A\u030angstro\u0308m.txt".encode(), 0, "Ångström.txt"),  # a Mac
        ("文档.txt".encode(), 0x800, "文档.txt"),
        (b"mapp\\a.txt", 0, "mapp/a.txt"),
    ],
)
def test_names_are_read_in_the_encoding_they_were_written_in(raw, raw_name, flags, path):
    assert names(raw.add(raw_name, b"x", flags=flags).done()) == [path]


def test_a_second_name_in_unicode_wins_if_it_is_of_this_entry(raw):
    extra = b"\x01" + struct.pack("<I", zlib.crc32(b"? a.txt")) + "文 a.txt".encode()
    stale = b"\x01" + struct.pack("<I", zlib.crc32(b"before.txt")) + b"before in unicode.txt"
    data = (
        raw.add(b"? a.txt", b"x", extra=struct.pack("<HH", 0x7075, len(extra)) + extra)
        .add(b"after.txt", b"x", extra=struct.pack("<HH", 0x7075, len(stale)) + stale)
        .done()
    )
    assert names(data) == ["文 a.txt", "after.txt"]


def test_times_are_kept(pack, raw):
    members = [event for event in read(SPEC, pack({"a.txt": b"x"})).events if isinstance(event, Member)]
    assert members[0].modified_at == datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    exact = struct.pack("<HHBI", 0x5455, 5, 1, 1_700_000_000)
    members = [
        event for event in read(SPEC, raw.add(b"a", b"", extra=exact).done()).events if isinstance(event, Member)
    ]
    assert members[0].modified_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_file_comes_in_pieces_of_a_mebibyte(pack):
    pieces = [e for e in read(SPEC, pack({"a": bytes(2_500_000)})).events if isinstance(e, Member)]
    assert [(len(piece.data), piece.last) for piece in pieces] == [(1 << 20, False), (1 << 20, False), (402_848, True)]


def test_two_files_of_one_name_are_both_read(raw):
    data = raw.add(b"a.txt", b"one").add(b"a.txt", b"two").done()
    assert read(SPEC, data).members == [("a.txt", b"one"), ("a.txt", b"two")]


def test_one_protected_file_does_not_end_the_others(raw):
    data = raw.add(b"a.txt", b"open").add(b"b.txt", b"secret", password=b"key").done()
    result = read(SPEC, data, "a.zip")
    assert result.members == [("a.txt", b"open")]
    assert result.problems == ["b.txt was not read: it is protected with a password"]
    result = read(SPEC, data, "a.zip", password="other")
    assert result.members == [("a.txt", b"open")]
    assert result.problems == ["b.txt was not read: its password is another one than the one given"]
    assert read(SPEC, data, "a.zip", password="key").members == [("a.txt", b"open"), ("b.txt", b"secret")]


@pytest.mark.parametrize("encoding", ["utf-8", "cp850", "cp1252"])
def test_a_password_is_tried_in_the_encodings_of_old_programs(raw, encoding):
    data = raw.add(b"b.txt", b"secret", password="åtta öar".encode(encoding)).done()
    assert read(SPEC, data, password="åtta öar").members == [("b.txt", b"secret")]


@pytest.mark.parametrize("method", [9, 12, 14, 93, 98])
def test_a_method_of_packing_that_is_not_read_is_told(raw, method):
    data = raw.add(b"a.txt", b"x", method=method).add(b"b.txt", b"y").done()
    result = read(SPEC, data)
    assert result.members == [("b.txt", b"y")]
    assert result.problems == [
        "a.txt was not read: it is packed by a method that is not read here: pack it anew as usual (deflate)"
    ]


@pytest.mark.parametrize(
    "others",
    [
        {"[Content_Types].xml": b"", "word/document.xml": b""},
        {"xl/worksheets/sheet1.xml": b""},
        {"_rels/.rels": b""},
        {"mimetype": b"application/epub+zip"},
        {"META-INF/container.xml": b""},
        {"META-INF/MANIFEST.MF": b"", "a.class": b""},
        {"a.txt": b"", "META-INF/manifest.xml": b""},
    ],
)
def test_a_document_that_is_a_zip_inside_is_not_claimed(pack, others):
    assert SPEC.sniff(pack(others)) is None


def test_archives_of_any_files_are_claimed(pack):
    for files in ({"a.docx": b"x"}, {"word/a.txt": b"x"}, {"mapp/": b""}, {}, {"content_types.xml": b""}):
        assert SPEC.sniff(pack(files)) == "application/zip"
