"""How much an answer from 10,000 passages adds to the model's own time to its first word, found by full text.

`folkmoot up` reads the documents as anybody's, and no embedding model is there. Each question asks for words of some
document. Reference, in the same run: the same stub, asked directly with the same client library.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx

from benchmarks.answers import ask_directly, asked, conversation, stub
from benchmarks.report import Report
from tests.support.server import Server

DOCUMENTS = 250
SECTIONS = 42
ASKED = 200
STARTS = ("re", "an", "for", "un", "be", "over", "ut", "in", "av", "till")
MIDDLES = ("tal", "gar", "mel", "sten", "krav", "byg", "lag", "skog", "vatt", "hus")
ENDS = ("ing", "en", "a", "arna", "et", "ningar", "erna", "ets")


def run(report: Report, folder: Path) -> None:
    with stub("stub-chat") as url:
        server = Server(folder / "data", OPENAI_API_KEY="stub", OPENAI_BASE_URL=url).start()
        try:
            assistant, chunks, authorization = _knowing(server)
            asyncio.run(_measure(report, server, url, assistant, chunks, authorization))
        finally:
            server.stop()


def _knowing(server: Server) -> tuple[str, int, str]:
    """An assistant with the documents: (its id, how many passages it has, who asks)."""
    with server.client() as signed:
        space = signed.post("/spaces", json={"name": "Bench"}).json()["id"]
        collection = signed.post(f"/spaces/{space}/collections", json={"name": "Texts"}).json()["id"]
        documents = list(_documents())
        for start in range(0, len(documents), 25):
            files = [("file", each) for each in documents[start : start + 25]]
            signed.post(f"/collections/{collection}/documents", files=files).raise_for_status()
        deadline = time.monotonic() + 120
        while True:
            state = signed.get(f"/collections/{collection}/status").json()
            if state["ready"] == DOCUMENTS:
                break
            assert time.monotonic() < deadline, f"not read within two minutes: {state}"
            time.sleep(0.5)
        given = {"name": "Bench", "collection_ids": [collection], "retrieval": "search"}
        assistant = signed.post(f"/spaces/{space}/assistants", json=given).json()["id"]
        return assistant, state["chunks"], signed.headers["Authorization"]


def _documents() -> Iterator[tuple[str, bytes, str]]:
    dice = random.Random(7)
    words = [f"{a}{b}{c}" for a in STARTS for b in MIDDLES for c in ENDS]
    for number in range(DOCUMENTS):
        sections: list[str] = []
        for section in range(SECTIONS):
            sentences = [" ".join(dice.choices(words, k=12)).capitalize() + "." for _ in range(13)]
            sections.append(f"Rule {number}x{section}. " + " ".join(sentences))
        yield f"text{number}.txt", "\n\n".join(sections).encode(), "text/plain"


def _question(dice: random.Random) -> str:
    words = " ".join(f"{dice.choice(STARTS)}{dice.choice(MIDDLES)}{dice.choice(ENDS)}" for _ in range(5))
    return f"What does rule {dice.randrange(DOCUMENTS)}x{dice.randrange(SECTIONS)} say of {words}?"


async def _measure(report: Report, server: Server, url: str, assistant: str, chunks: int, authorization: str) -> None:
    headers = {"Authorization": authorization}
    async with (
        httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60, trust_env=False) as ours,
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as theirs,
    ):
        dice = random.Random(11)
        questions = [_question(dice) for _ in range(ASKED + 10)]
        through = [await _first(ours, assistant, question) for question in questions][10:]
        direct = [await _first_directly(theirs, question) for question in questions][10:]
    found = sum(1 for _, passages in through if passages)
    slow = sorted(seconds for seconds, _ in through)[int(ASKED * 0.95)] * 1000
    report.line(
        f"first text with retrieval from {chunks:,} passages by full text, median of {ASKED}",
        (median(seconds for seconds, _ in through) - median(direct)) * 1000,
        "ms",
        60,
        f"asked directly {median(direct) * 1000:.1f} ms; p95 through us {slow:.1f} ms; passages for {found} of {ASKED}",
    )


async def _first(client: httpx.AsyncClient, assistant: str, question: str) -> tuple[float, bool]:
    """(seconds to the first word, whether anything was found) in a conversation of its own."""
    place = await conversation(client, assistant)
    first, found, event = 0.0, False, ""
    begun = time.perf_counter()
    async with asked(client, place, question) as lines:
        async for line in lines:
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: ") and event == "retrieval.completed":
                found = '"passages":[{' in line
            if line == "event: text.delta" and not first:
                first = time.perf_counter() - begun
            if event == "message.completed" and line.startswith("data: "):
                break
    return first, found


async def _first_directly(client: httpx.AsyncClient, question: str) -> float:
    begun, first = time.perf_counter(), 0.0
    async with ask_directly(client, question) as lines:
        async for line in lines:
            if '"content"' in line and not first:
                first = time.perf_counter() - begun
    return first
