"""The commands that README and tutorial show are run as they stand, against a server started as they say."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages show commands for curl, which is not here"),
]
PAGES = ("README.md", "docs/tutorials/first-answer.md")
BETWEEN = "@@@ end of block @@@"


def command() -> str:
    return str(Path(sys.executable).parent / "folkmoot")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the server of the pages listens; they all start it with one and the same command."""
    started = {block.text for page in PAGES for block in blocks(page) if block.mark == "start"}
    assert len(started) == 1, "the pages start the server in different ways"
    shown = started.pop()
    assert shown.rstrip().endswith("make up")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = tmp_path_factory.mktemp("tutorial") / "data"
    process = subprocess.Popen(
        ["bash", "-c", shown.replace("make up", f"exec '{command()}' up --data '{data}' --port {port}")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if "Folkmoot is ready" in line:
            break
    else:
        pytest.fail(f"`up` ended with status {process.wait()}:\n{''.join(said)}")
    assert "first administrator: ada@example.org\n" in said
    yield f"127.0.0.1:{port}"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_page_print_what_it_shows(page, address, tmp_path):
    marked = blocks(page)
    runs = [block for block in marked if block.mark == "run"]
    script = f"echo '{BETWEEN}'\n".join(block.text for block in runs)
    script = script.replace("127.0.0.1:8000", address).replace(".venv/bin/folkmoot", f"'{command()}'")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    printed = done.stdout.split(f"{BETWEEN}\n")
    where = runs[len(printed) - 1].text
    assert done.returncode == 0, f"this block failed:\n{where}\n{printed[-1]}\n{done.stderr}"

    compared, number = 0, -1
    for block in marked:
        if block.mark == "run":
            number += 1
        elif block.mark == "shows":
            compared += 1
            missing = not_printed(block.text, printed[number])
            assert missing is None, f"not printed: {missing}\nby:\n{runs[number].text}\nbut:\n{printed[number]}"
    assert compared == sum(block.mark == "shows" for block in marked) > 0


def not_printed(shown: str, printed: str) -> str | None:
    """The first line of `shown` that does not stand in `printed`, in this order; `…` stands for anything."""
    lines = iter(printed.splitlines())
    for line in shown.splitlines():
        wanted = ".*".join(re.escape(part) for part in line.split("…"))
        if not any(re.fullmatch(wanted, line) for line in lines):
            return line
    return None


def test_lines_are_compared_whole_and_in_order():
    assert not_printed("a\n…b…\n", "a\nx\nabc\n") is None
    assert not_printed("a\n", "ab\n") == "a"
    assert not_printed("b\na\n", "a\nb\n") == "a"
