"""`folkmoot up` as people run it: a process of its own, on a free port, to be stopped and killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

EMAIL = "ada@municipality.example"
PASSWORD = "correct horse battery staple"
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    """Ours, without what an earlier set-up may have left in it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("FOLKMOOT_", "OPENAI_"))}
    return clean | {
        "FOLKMOOT_ADMIN_EMAIL": EMAIL,
        "FOLKMOOT_ADMIN_PASSWORD": PASSWORD,
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def command(*arguments: str | Path, seconds: float = 90, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `folkmoot` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "folkmoot", *map(str, arguments)],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def until(found: Callable[[], T], seconds: float = 30, what: str = "") -> T:
    """What `found` gives, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or found}"
        time.sleep(0.05)
    return value


class Server:
    """One `folkmoot up` on one data folder; it may be started again after it ended."""

    def __init__(self, data: Path, **variables: str) -> None:
        self.data, self.variables = data, variables
        self.port = free_port()
        self.log = data.with_name(f"{data.name}.log")
        self.process: subprocess.Popen[bytes] | None = None
        self.before = 0
        """Length of the log when it was started last."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def start(self) -> Server:
        self.before = len(self.said()) if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "folkmoot", "up", "--data", str(self.data), "--port", str(self.port)],
                env=environment(**self.variables),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
            )
        until(self._ready, 90, f"{self.url} ready")
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        if "Folkmoot is ready" not in self.said()[self.before :]:
            return False
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """The process and everything below it."""
        assert self.process is not None
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def part(self, word: str) -> psutil.Process:
        """The process of ours whose command line ends in this word: `worker`, or `serve`."""
        for found in self.family():
            try:
                if found.cmdline()[-1:] == [word]:
                    return found
            except psutil.Error:
                continue
        raise AssertionError(f"no {word} runs")

    def kill_all(self) -> None:
        """`kill -9` of everything at once, as a power cut would."""
        family = self.family()
        for found in family:
            try:
                found.kill()
            except psutil.NoSuchProcess:
                continue
        assert self.process is not None
        self.process.wait(20)
        assert gone(family, 20), "something survives kill -9"

    def stop(self, number: signal.Signals = signal.SIGINT, seconds: float = 10) -> list[psutil.Process]:
        """Ctrl-C; returns the processes that it had. Fails if it takes longer than promised."""
        family = self.family()
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(seconds)
        return family

    @contextmanager
    def client(self, email: str = EMAIL, password: str = PASSWORD) -> Iterator[httpx.Client]:
        """Signed in."""
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            signed = client.post("/auth/login", json={"email": email, "password": password})
            assert signed.status_code in (200, 201), signed.text
            client.headers["Authorization"] = f"Bearer {signed.json()['access_token']}"
            yield client


def gone(processes: list[psutil.Process], seconds: float = 5) -> bool:
    """Whether all of these end within so many seconds; those that a parent has not buried yet count as ended."""
    deadline = time.monotonic() + seconds
    while True:
        left = [found for found in processes if _runs(found)]
        if not left or time.monotonic() > deadline:
            return not left
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
