"""`folkmoot up` as pages start it, and the marked commands of a page run against it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.blocks import blocks

BETWEEN = "@@@ end of block @@@"


def command() -> str:
    return str(Path(sys.executable).parent / "folkmoot")


@dataclass(frozen=True)
class Up:
    address: str
    """Host and port that it listens on."""
    data: Path


@contextmanager
def started(shown: str, folder: Path, **variables: str) -> Iterator[Up]:
    """What a page shows to start with, which ends in `make up`, on a port and in a folder of its own."""
    assert shown.rstrip().endswith("make up")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    process = subprocess.Popen(
        ["bash", "-c", shown.replace("make up", f"exec '{command()}' up --data '{data}' --port {port}")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | variables,
    )
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if "Folkmoot is ready" in line:
            break
    else:
        pytest.fail(f"`up` ended with status {process.wait()}:\n{''.join(said)}")
    try:
        assert "first administrator: ada@example.org\n" in said
        yield Up(f"127.0.0.1:{port}", data)
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=30)
    assert status == 0


def run(page: str, folder: Path, replaced: Mapping[str, str], before: str = "") -> None:
    """Run the blocks of a page as one script in `folder`; fails where one does, or prints something else than shown.

    `replaced` stands instead of what the page says, in its commands and in what it shows. `before` comes first.
    """

    def here(text: str) -> str:
        for shown, real in replaced.items():
            text = text.replace(shown, real)
        return text

    marked = blocks(page)
    runs = [block for block in marked if block.mark == "run"]
    script = before + f"echo '{BETWEEN}'\n".join(here(block.text) for block in runs)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
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
            missing = not_printed(here(block.text), printed[number])
            assert missing is None, f"not printed: {missing}\nby:\n{runs[number].text}\nbut:\n{printed[number]}"
    assert compared > 0, f"{page} shows nothing that could be compared"


def not_printed(shown: str, printed: str) -> str | None:
    """The first line of `shown` that does not stand in `printed`, in this order; `…` stands for anything."""
    lines = iter(printed.splitlines())
    for line in shown.splitlines():
        wanted = ".*".join(re.escape(part) for part in line.split("…"))
        if not any(re.fullmatch(wanted, line) for line in lines):
            return line
    return None
