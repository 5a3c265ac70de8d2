"""`folkmoot ask`: from files to a cited answer in the terminal, and what it says of files it cannot read."""

from __future__ import annotations

import pytest

from tests.support import documents
from tests.support.server import command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.pdf"
    path.write_bytes(
        documents.pdf("An introduction to the rules.", "A fence along the street may be at most 1.2 metres high.")
    )
    return path


def test_it_answers_with_sources_and_tells_of_the_file_it_could_not_read(tmp_path, rules):
    (tmp_path / "locked.pdf").write_bytes(documents.pdf("Secret.", password="secret"))
    (tmp_path / "notes [1].md").write_bytes(b"# Dogs\n\nDogs must be on a leash in the park.\n")
    done = command(
        "ask", rules, tmp_path / "locked.pdf", tmp_path / "notes [1].md", "How high may a fence along the street be?"
    )
    assert done.returncode == 0, done.stderr
    answer, _, sources = done.stdout.partition("\nSources\n")
    assert "1.2 metres" in answer
    assert "[1]" in answer
    first = sources.splitlines()[0]
    assert first.startswith("[1] rules.pdf, page 2: “A fence along the street")
    assert "locked.pdf" in done.stderr
    assert "password" in done.stderr
    assert "Traceback" not in done.stderr
    assert "notes [1].md:" not in done.stderr


def test_with_no_file_that_can_be_read_it_says_why_and_ends_with_1(tmp_path):
    (tmp_path / "picture.png").write_bytes(documents.png())
    kept = tmp_path / "kept"
    done = command("ask", tmp_path / "picture.png", "What is in it?", "--data", kept)
    assert done.returncode == 1
    assert "picture.png" in done.stderr
    assert "picture" in done.stderr
    assert done.stdout == ""
    assert (kept / "postgres").is_dir(), "`--data` keeps what was read"


@pytest.mark.parametrize("arguments", [["nowhere.pdf", "What?"], ["What?"], []])
def test_what_is_missing_is_said_before_anything_starts(arguments):
    done = command("ask", *arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
