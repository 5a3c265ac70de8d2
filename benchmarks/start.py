"""How long `folkmoot up` takes, and how much memory its processes hold at rest.

References: what the engines alone take to start, and what a Python process holds that only imports the
libraries of the service.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.report import Report
from folkmoot.embedded import Engines
from tests.support.server import Server

MEGABYTE = 1024 * 1024
LIBRARIES = "litestar, sqlalchemy.ext.asyncio, advanced_alchemy.base, asyncpg, redis.asyncio, taskiq_redis, httpx"


def run(report: Report, folder: Path) -> None:
    engines = Engines(folder / "engines")
    first_engines = _timed(engines.start)
    engines.stop()
    second_engines = _timed(engines.start)
    engines.stop()
    server = Server(folder / "data")
    first = _timed(server.start)
    server.stop()
    second = _timed(server.start)
    report.line("first `up` to ready", first, "s", 15, f"engines alone {first_engines:.2f} s")
    report.line("second `up` to ready", second, "s", 5, f"engines alone {second_engines:.2f} s")
    libraries = _imported()
    time.sleep(10)
    for name, most in (("serve", 160), ("worker", 160)):
        used = max(_megabytes(process) for process in _with_children(server.part(name)))
        report.line(
            f"memory at rest, {name}", used, "MB", most, f"a process that imports its libraries {libraries:.0f} MB"
        )
    server.stop()


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _megabytes(process: psutil.Process) -> float:
    return process.memory_info().rss / MEGABYTE


def _timed(call: object) -> float:
    begun = time.monotonic()
    call()  # type: ignore[operator]
    return time.monotonic() - begun


def _imported() -> float:
    code = f"import {LIBRARIES}, psutil; print(psutil.Process().memory_info().rss)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(said.stdout) / MEGABYTE
