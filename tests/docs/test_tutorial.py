"""The commands that README and tutorial show are run as they stand, against a server started as they say."""

from __future__ import annotations

import shutil

import pytest

from tests.docs.blocks import blocks
from tests.docs.running import command, not_printed, run, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages show commands for curl, which is not here"),
]
PAGES = ("README.md", "docs/tutorials/first-answer.md")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the server of the pages listens; they all start it with one and the same command."""
    shown = {block.text for page in PAGES for block in blocks(page) if block.mark == "start"}
    assert len(shown) == 1, "the pages start the server in different ways"
    with started(shown.pop(), tmp_path_factory.mktemp("tutorial")) as up:
        yield up.address


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_page_print_what_it_shows(page, address, tmp_path):
    run(page, tmp_path, {"127.0.0.1:8000": address, ".venv/bin/folkmoot": f"'{command()}'"})


def test_lines_are_compared_whole_and_in_order():
    assert not_printed("a\n…b…\n", "a\nx\nabc\n") is None
    assert not_printed("a\n", "ab\n") == "a"
    assert not_printed("b\na\n", "a\nb\n") == "a"
