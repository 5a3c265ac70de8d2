"""Processes of the API and workers are killed by -9 at random under load: what becomes of the questions?

Two of each on one machine, with a stub for the model in a process of its own. Every question must end complete,
stopped or failed with its text kept; none may be lost or stay open.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.answers import stub
from benchmarks.report import Report
from tests.support.installation import Installation, assistant, conversation, installation
from tests.support.reader import Reader

SECONDS = 60.0
EACH = 2.0
TOGETHER = 32
TOKENS = 80
DELAY = 0.05
AFTER = 30.0
"""Seconds, once the processes that were killed last are up again, by which all have ended: those of dead workers by
their lease and the next sweep."""
PATIENCE = 900.0
"""Of a reader, in seconds: the whole measurement is shorter."""
OPEN = ("pending", "streaming", "waiting_for_approval")


@dataclass
class Outcome:
    readers: list[Reader] = field(default_factory=list[Reader])
    kills: Counter[str] = field(default_factory=Counter[str])
    states: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    """From when all processes were up again until the last answer had ended."""
    wrong: list[str] = field(default_factory=list[str])
    """What was lost, stayed open, or is not what its reader saw."""


def run(report: Report, folder: Path) -> None:
    with stub() as url, installation(folder, OPENAI_API_KEY="stub", OPENAI_BASE_URL=url) as made:
        found = asyncio.run(measure(made, seconds=SECONDS, together=TOGETHER))
    killed = ", ".join(f"{name} {count}" for name, count in sorted(found.kills.items()))
    states = ", ".join(f"{count} {name}" for name, count in sorted(found.states.items()))
    report.note(f"{sum(found.kills.values())} kills in {SECONDS:.0f} s: {killed}")
    report.note(f"the last of {len(found.readers)} answers had ended {found.seconds:.1f} s after all were up again")
    for line in found.wrong[:20]:
        report.note(line)
    report.line("questions lost, open, or with other text than was read", len(found.wrong), "", 0, f"states: {states}")
    report.at_least("questions asked meanwhile", len(found.readers), "", TOGETHER, f"{TOGETHER} at a time")


async def measure(made: Installation, *, seconds: float, together: int, seed: int = 0) -> Outcome:
    """Ask and kill for so long, wait for what is under way, and compare what was read with what is stored."""
    outcome, chance = Outcome(), random.Random(seed)
    async with made.clients() as clients:
        helper = await assistant(clients[0])
        places = [await conversation(clients[0], helper) for _ in range(together)]
        stop = asyncio.Event()
        asking = [asyncio.create_task(_ask(outcome, place, clients, stop)) for place in places]
        begun = time.monotonic()
        for number in range(1, int(seconds / EACH) + 1):
            await asyncio.sleep(begun + number * EACH - time.monotonic())
            await asyncio.to_thread(_kill_one, made, chance, outcome.kills)
        stop.set()
        await asyncio.to_thread(made.wait_until_ready)
        outcome.seconds = await _rest(asking)
        for task in asking:
            if not task.done():
                task.cancel()
        for left in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(left, BaseException) and not isinstance(left, asyncio.CancelledError):
                outcome.wrong.append(f"a reader failed: {left!r}")
        await _compare(outcome, places, clients)
    return outcome


def _kill_one(made: Installation, chance: random.Random, kills: Counter[str]) -> None:
    part = chance.choice(made.parts)
    part.kill()
    kills[part.name] += 1
    part.start()


async def _ask(outcome: Outcome, place: str, clients: list[httpx.AsyncClient], stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        asked = f"question {number} of {place} [[tokens={TOKENS} delay={DELAY}]]"
        reader = Reader(place, asked, random.Random(f"{place} {number}"), pause=1.0)
        outcome.readers.append(reader)
        await reader.read(clients, seconds=PATIENCE)


async def _rest(asking: list[asyncio.Task[None]]) -> float:
    """Wait for what is under way; how long it took."""
    begun = time.monotonic()
    await asyncio.wait(asking, timeout=AFTER)
    return time.monotonic() - begun


async def _compare(outcome: Outcome, places: list[str], clients: list[httpx.AsyncClient]) -> None:
    stored: dict[str, dict] = {}
    asked: set[str] = set()
    for place in places:
        cursor = None
        while True:
            query = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            page = (await _patiently(clients, f"/conversations/{place}/messages", query)).json()
            for message in page["items"]:
                if message["role"] == "assistant":
                    stored[message["id"]] = message
                else:
                    asked.add(message["id"])
            if (cursor := page["next_cursor"]) is None:
                break
    outcome.states.update(message["status"] for message in stored.values())
    answered = {message["parent_id"] for message in stored.values()}
    outcome.wrong += [f"the question {lost} has no answer" for lost in asked - answered]
    outcome.wrong += [
        f"{message['id']} is still {message['status']}" for message in stored.values() if message["status"] in OPEN
    ]
    for reader in outcome.readers:
        message = stored.get(reader.message_id)
        if message is None:
            outcome.wrong.append(f"{reader.content!r} was lost: {reader.refusals[-1:]}")
        elif message["content"] != reader.text:
            outcome.wrong.append(f"{message['id']} ({message['status']}) has {message['content'][-80:]!r} at its end, "
                                 f"and its reader saw {reader.text[-80:]!r} (resumed {reader.resumed})")  # fmt: skip
        elif message["status"] == "complete" and len(message["content"].split()) != TOKENS:
            outcome.wrong.append(f"{message['id']} is complete with {len(message['content'].split())} words")


async def _patiently(clients: list[httpx.AsyncClient], path: str, query: dict) -> httpx.Response:
    """From whichever process is up."""
    async with asyncio.timeout(60):
        while True:
            for client in clients:
                try:
                    answer = await client.get(path, params=query)
                except httpx.TransportError:
                    continue
                if answer.status_code == 200:
                    return answer
            await asyncio.sleep(0.2)
