"""How much the whole way of an answer adds to the model's own time.

Reference: the same stub, asked directly with the same client library, in the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from benchmarks.report import Report
from tests.support.server import Server

ASKED = 200


@dataclass(frozen=True)
class Crowd:
    """So many questions at one moment."""

    together: int
    tokens: int
    delay: float
    goal: float
    """Times what the same client needs when it asks the stub itself."""

    @property
    def question(self) -> str:
        return f"[[tokens={self.tokens} delay={self.delay}]]"


CROWDS = (Crowd(64, 200, 0.01, 1.25), Crowd(500, 100, 0.02, 1.5))


def run(report: Report, folder: Path) -> None:
    with stub() as url:
        server = Server(folder / "data", OPENAI_API_KEY="stub", OPENAI_BASE_URL=url).start()
        try:
            asyncio.run(_measure(report, server, url))
        finally:
            server.stop()


@contextlib.contextmanager
def stub(models: str = "stub-chat,stub-embed") -> Iterator[str]:
    """The stub in a process of its own, as a provider would be."""
    command = [sys.executable, "-m", "tests.support.openai_stub", "--port", "0", "--models", models]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


async def _measure(report: Report, server: Server, url: str) -> None:
    with server.client() as signed:
        headers = {"Authorization": signed.headers["Authorization"]}
        space = signed.post("/spaces", json={"name": "Bench"}).json()["id"]
        assistant = signed.post(f"/spaces/{space}/assistants", json={"name": "Bench"}).json()["id"]
    limits = httpx.Limits(max_connections=600, max_keepalive_connections=600)
    async with (
        httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60, trust_env=False, limits=limits) as ours,
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as theirs,
    ):
        place = await conversation(ours, assistant)
        await _first_byte(ours, place, "hello", 10)
        await _first_byte_directly(theirs, "hello", 10)
        through = await _first_byte(ours, place, "hello", ASKED)
        direct = await _first_byte_directly(theirs, "hello", ASKED)
        report.line(
            f"first text over the model's own, median of {ASKED}",
            (median(through) - median(direct)) * 1000,
            "ms",
            25,
            f"asked directly {median(direct) * 1000:.1f} ms; p95 through us {_p95(through) * 1000:.1f} ms",
        )
        for crowd in CROWDS:
            await _together(report, crowd, ours, theirs, assistant)


async def _together(
    report: Report, crowd: Crowd, ours: httpx.AsyncClient, theirs: httpx.AsyncClient, assistant: str
) -> None:
    many = range(crowd.together)
    conversations = [await conversation(ours, assistant) for _ in many]
    begun = time.perf_counter()
    counts = await asyncio.gather(*(_whole_directly(theirs, crowd.question) for _ in many))
    direct = time.perf_counter() - begun
    begun = time.perf_counter()
    answers = await asyncio.gather(*(_whole(ours, item, crowd) for item in conversations))
    total = time.perf_counter() - begun
    report.line(
        f"{crowd.together} answers at once of {crowd.tokens} tokens, over the stub's time",
        total / direct,
        "×",
        crowd.goal,
        f"directly {direct:.2f} s with {sum(counts)} complete; through us {total:.2f} s",
    )
    report.line("answers of these that did not complete", crowd.together - sum(answers), "", 0, f"of {crowd.together}")


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


async def conversation(client: httpx.AsyncClient, assistant: str) -> str:
    return (await client.post(f"/assistants/{assistant}/conversations")).json()["id"]


async def _first_byte(client: httpx.AsyncClient, place: str, question: str, times: int) -> list[float]:
    found: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        async with asked(client, place, question) as lines:
            async for line in lines:
                if line == "event: text.delta":
                    found.append(time.perf_counter() - begun)
                    break
            async for line in lines:
                if line == "event: message.completed":
                    break
    return found


async def _first_byte_directly(client: httpx.AsyncClient, question: str, times: int) -> list[float]:
    found: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        async with ask_directly(client, question) as lines:
            async for line in lines:
                if '"content"' in line:
                    found.append(time.perf_counter() - begun)
                    break
            async for _line in lines:
                pass
    return found


async def _whole(client: httpx.AsyncClient, place: str, crowd: Crowd) -> bool:
    words = 0
    async with asked(client, place, crowd.question) as lines:
        event = ""
        async for line in lines:
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: ") and event == "message.completed":
                message = json.loads(line[6:])["message"]
                words = len(message["content"].split())
                return message["status"] == "complete" and words == crowd.tokens
    return False


async def _whole_directly(client: httpx.AsyncClient, question: str) -> bool:
    async with ask_directly(client, question) as lines:
        async for line in lines:
            if line == "data: [DONE]":
                return True
    return False


@contextlib.asynccontextmanager
async def asked(client: httpx.AsyncClient, place: str, question: str) -> AsyncIterator[AsyncIterator[str]]:
    async with client.stream(
        "POST",
        f"/conversations/{place}/messages",
        json={"content": question},
        headers={"Accept": "text/event-stream"},
    ) as response:
        assert response.status_code == 201, response.status_code
        yield response.aiter_lines()


@contextlib.asynccontextmanager
async def ask_directly(client: httpx.AsyncClient, question: str) -> AsyncIterator[AsyncIterator[str]]:
    body = {"model": "stub-chat", "stream": True, "messages": [{"role": "user", "content": question}]}
    async with client.stream("POST", f"{client.base_url}chat/completions", json=body) as response:
        assert response.status_code == 200, response.status_code
        yield response.aiter_lines()
