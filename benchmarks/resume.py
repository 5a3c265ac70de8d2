"""An answer whose reader is cut off again and again, and reads on from any process: is it the same, byte for byte?

Reference: what is stored of the answer, and the words that the stub said.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from benchmarks.answers import stub
from benchmarks.report import Report
from tests.support.installation import Installation, assistant, conversation, installation
from tests.support.reader import Reader

CUTS = 100
READERS = 4
"""Of one answer each, so that all cuts fall into the time in which it is written, or shortly after."""
TOKENS = 400
DELAY = 0.02


def run(report: Report, folder: Path) -> None:
    with stub() as url, installation(folder, apis=2, workers=1, OPENAI_API_KEY="stub", OPENAI_BASE_URL=url) as made:
        same, cuts, differs = asyncio.run(measure(made, CUTS, READERS, TOKENS))
        where = f"{cuts} cuts in {READERS} answers, over two processes; {same} answers byte for byte what is stored"
        report.line("answers that were not the same after being resumed", differs, "", 0, where)
        report.at_least("cuts at random points", cuts, "", CUTS, f"{TOKENS} words, one each {DELAY * 1000:.0f} ms")


async def measure(made: Installation, cuts: int, readers: int, tokens: int) -> tuple[int, int, int]:
    """(answers that were the same, cuts, answers that were not)."""
    async with made.clients() as clients:
        helper = await assistant(clients[0])
        asked = f"[[tokens={tokens} delay={DELAY}]]"
        each = -(-cuts // readers)
        several = [
            Reader(await conversation(clients[0], helper), asked, random.Random(number), cuts=each)
            for number in range(readers)
        ]
        await asyncio.gather(*(reader.read(clients) for reader in several))
        same = 0
        for reader in several:
            stored = (await clients[0].get(f"/messages/{reader.message_id}")).json()
            whole = " ".join(f"word{number}" for number in range(tokens))
            same += reader.text == stored["content"] == reader.ending["message"]["content"] == whole
        return same, sum(reader.resumed for reader in several), readers - same
