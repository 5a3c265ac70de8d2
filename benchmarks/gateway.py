"""Completions through a gateway, whole ones, in a second: ours beside the litellm proxy's.

Reference: the litellm proxy with one worker process, as it is told to be run in production, in front of the same stub,
under the same load, in the same run.
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

from benchmarks.load import requests_per_second
from tests.support import litellm_proxy

MODEL = "stub-chat"
ROUNDS = 5
SECONDS = 2.0
WARM_UP = 1.0


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
