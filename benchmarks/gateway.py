"""Completions through `/v1`: whole ones in a second, and how soon the first word of a stream comes.

References, in the same run: the litellm proxy with one worker process, as it is told to be run in production, in front
of the same stub, under the same load; and for streams the stub, asked directly by the same client.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from benchmarks.answers import stub
from benchmarks.load import requests_per_second
from benchmarks.report import Report
from benchmarks.streams import Asked, first_words
from tests.support import litellm_proxy
from tests.support.server import Server

MODEL = "stub-chat"
ROUNDS = 5
SECONDS = 2.0
WARM_UP = 1.0
TOGETHER = 16
TIMES = 6
TOKENS = 100
DELAY = 0.01


def run(report: Report, folder: Path) -> None:
    with stub() as url:
        server = Server(folder / "data", OPENAI_API_KEY="stub", OPENAI_BASE_URL=url).start()
        try:
            with server.client() as client:
                ours = Gateway(server.port, client.post("/api-keys", json={"name": "Bench"}).json()["key"])
            ours.rate(WARM_UP)
            _streams(report, ours, httpx.URL(url).port or 80)
            _whole(report, ours, url)
        finally:
            server.stop()


def _whole(report: Report, ours: Gateway, url: str) -> None:
    mine: list[float] = []
    theirs: list[float] = []
    with litellm(url) as proxy:
        for _ in range(ROUNDS):
            # In turns, so that whatever else the machine does falls on both.
            mine.append(ours.rate())
            theirs.append(proxy.rate())
    report.line(
        "a completion through /v1, of the time of the litellm proxy",
        median(theirs) / median(mine),
        "×",
        1 / 3,
        f"{median(mine):.0f} a second, the proxy {median(theirs):.0f}: {median(mine) / median(theirs):.1f} times",
    )


def _streams(report: Report, ours: Gateway, stub_port: int) -> None:
    through = Asked(ours.port, ours.key, MODEL)
    directly = Asked(stub_port, "stub", MODEL)
    mine: list[float] = []
    alone: list[float] = []
    for _ in range(ROUNDS):
        alone += first_words(directly, together=TOGETHER, times=TIMES, tokens=TOKENS, delay=DELAY)
        mine += first_words(through, together=TOGETHER, times=TIMES, tokens=TOKENS, delay=DELAY)
    for what, figure, goal in (("median", median, 10), ("p95", _p95, 25)):
        report.line(
            f"first word through /v1 over the stub's, {TOGETHER} at once, {what}",
            (figure(mine) - figure(alone)) * 1000,
            "ms",
            goal,
            f"through {figure(mine) * 1000:.1f} ms, directly {figure(alone) * 1000:.1f} ms; {len(mine)} streams of "
            f"{TOKENS} tokens",
        )


def _p95(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.95)]


@dataclass(frozen=True)
class Gateway:
    """Something that answers `POST /v1/chat/completions`."""

    port: int
    key: str
    model: str = MODEL

    def rate(self, seconds: float = SECONDS) -> float:
        """Whole answers in a second, over 16 connections."""
        headers = {"Authorization": f"Bearer {self.key}"}
        body = {"model": self.model, "messages": [{"role": "user", "content": "Say hello."}]}
        return requests_per_second(
            self.port, "/v1/chat/completions", headers, json.dumps(body).encode(), seconds=seconds
        )


@dataclass(frozen=True)
class Rate:
    """Answers in a second."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, rounds: list[float]) -> Rate:
        return cls(median(rounds), min(rounds), max(rounds))


@contextmanager
def litellm(stub_url: str) -> Iterator[Gateway]:
    """The proxy in front of the stub at `stub_url`, warm."""
    with tempfile.TemporaryDirectory(prefix="folkmoot-bench-litellm-") as folder:
        models = [litellm_proxy.passed_on(MODEL, stub_url)]
        with litellm_proxy.running(models, Path(folder), checks_keys=False) as proxy:
            made = Gateway(httpx.URL(proxy.url).port or 80, proxy.key)
            made.rate(WARM_UP)
            yield made


def litellm_rate(stub_url: str) -> Rate:
    """The proxy's rate by itself. Beside another gateway, open `litellm()` and take rounds in turns."""
    with litellm(stub_url) as gateway:
        return Rate.of([gateway.rate() for _ in range(ROUNDS)])
