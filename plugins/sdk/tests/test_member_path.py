"""Names of files inside files: whatever an archive says, the path stays inside."""

from __future__ import annotations

import random

import pytest
from folkmoot_sdk import member_path


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a/b.txt", "a/b.txt"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\Users\\..\\a.txt", "Users/a.txt"),
        ("c:D:x.txt", "x.txt"),
        ("\\\\server\\share\\a.txt", "server/share/a.txt"),
        ("a//./b/ .. /c.txt ", "a/b/c.txt"),
        ("a\nb\x00\x1b[31m.txt", "a b[31m.txt"),
        ("\u202egpj.exe", "gpj.exe"),
        ("Mo\u0308te/a\u030angstro\u0308m.txt", "Möte/ångström.txt"),
        ("..", ""),
        ("C:", ""),
        ("\ud800", ""),
        ("", ""),
    ],
)
def test_a_path_stays_inside(raw: str, clean: str) -> None:
    assert member_path(raw) == clean


def test_a_long_name_keeps_its_suffix_and_a_long_path_its_end() -> None:
    assert member_path("x" * 1000 + ".pdf") == "x" * 251 + ".pdf"
    assert member_path("x" * 1000) == "x" * 255
    path = member_path("/".join(f"{number:03}" for number in range(500)) + "/a.pdf")
    assert path.endswith("/498/499/a.pdf")
    assert 990 < len(path) <= 1000


def test_what_has_been_cleaned_once_stays_as_it_is() -> None:
    dice = random.Random(1843)
    signs = ["a", "C", ":", "/", "\\", ".", "..", " ", "\n", "\u0308", "\u200d", "\ud800", "x" * 130, "ö", "🙂", ".pdf"]
    for _ in range(3000):
        name = member_path("".join(dice.choices(signs, k=dice.randint(0, 30))))
        assert member_path(name) == name
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert len(name) <= 1000
