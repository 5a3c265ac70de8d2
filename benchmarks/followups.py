"""Whether a message is searched for, and whether a follow-up finds what it needs.

The set (`followups.jsonl`) is our own: short conversations in English, Swedish and German about rules of a town, each
with a message that is small talk, stands alone, or goes on from what was said. Passages of one subject are alike those
of the others, so that a question without its subject finds the wrong ones. Every second message is held out: the words
in `conversations/retrieval/reference.py` and `small_talk.py` were chosen looking at the others only.

No model is asked: a follow-up is rewritten as it is where there is none. Reference, in the same run: the same search
with the message as it was written.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from folkmoot import migrate
from folkmoot.assemble import assemble
from folkmoot.commands.evaluation import Loaded, load
from folkmoot.commands.known import Known, Row
from folkmoot.conversations.prompting.prompt import Turn
from folkmoot.conversations.retrieval.decide import decide
from folkmoot.conversations.retrieval.retrieve import LOOKED_AT, PASSAGES, own_first
from folkmoot.conversations.retrieval.rewrite import joined
from folkmoot.embedded import Engines
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.log import configure
from folkmoot.knowledge.search import find
from folkmoot.platform.service import ensure_first
from folkmoot.settings import LANES, Settings
from folkmoot.up import settings_for
from folkmoot.usage.ledger import Account

SET = Path(__file__).parent / "followups.jsonl"
DEPTH = 5
DECIDED = 90.0
"""Per cent of the held-out messages that are rightly decided, at least."""
FOUND = 85.0
"""Per cent of the held-out follow-ups whose passage is among the first five, at least."""
HELD_OUT = "held-out"


@dataclass(frozen=True)
class Item:
    """One message with what was said before it."""

    language: str
    history: list[Turn]
    question: str
    truth: str
    """`small-talk`, `stands-alone` or `follow-up`."""
    needs: str
    """The passage that answers it."""
    part: str

    def decided(self) -> str:
        """As `truth`, by the product."""
        decision = decide(self.question, self.history)
        if not decision.search:
            return "small-talk"
        return "follow-up" if decision.refers_back else "stands-alone"


def read() -> tuple[list[dict[str, str]], list[Item]]:
    """The passages, and the messages."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in SET.read_text().splitlines()]
    passages = {line["passage"]: line for line in lines if "passage" in line}
    items: list[Item] = []
    for line in lines:
        if "passage" in line:
            continue
        history: list[Turn] = []
        for question, answered_by in line["before"]:
            history += [Turn("user", question), Turn("assistant", f"{passages[answered_by]['text']} [1]")]
        items.append(Item(line["language"], history, line["question"], line["truth"], line["needs"], line["part"]))
    return list(passages.values()), items


def run(report: Report, folder: Path) -> None:
    passages, items = read()
    _decided(report, items)
    configure("error", "text")
    engines = Engines(folder / "data")
    try:
        points = engines.start()
        migrate.upgrade(points.owner_url)
        settings = settings_for(folder / "data", points, Settings())
        settings = replace(settings, lanes=LANES, database_pool=10, openai_api_key="")
        asyncio.run(_found(report, settings, passages, items))
    finally:
        engines.stop()


def _decided(report: Report, items: Sequence[Item]) -> None:
    for part in ("development", HELD_OUT):
        of_part = [item for item in items if item.part == part]
        right = sum(item.decided() == item.truth for item in of_part)
        skipped = [item.question for item in of_part if item.truth != "small-talk" and item.decided() == "small-talk"]
        by_kind = ", ".join(
            f"{kind} {sum(item.decided() == kind for item in of_kind)} of {len(of_kind)}"
            for kind in ("small-talk", "stands-alone", "follow-up")
            for of_kind in [[item for item in of_part if item.truth == kind]]
        )
        if part == HELD_OUT:
            share = 100 * right / len(of_part)
            report.at_least("held-out messages rightly decided", share, "%", DECIDED, by_kind)
        else:
            report.note(f"{part}: {100 * right / len(of_part):.1f} % rightly decided; {by_kind}")
        report.line(f"real questions passed over, {part}", len(skipped), "", 0, "; ".join(skipped) or "none")


async def _found(report: Report, settings: Settings, passages: Sequence[dict[str, str]], items: Sequence[Item]) -> None:
    async with assemble(settings) as app:
        await ensure_first(app)
        asked = [item for item in items if item.truth == "follow-up"]
        raw: dict[int, int] = {}
        rewritten: dict[int, int] = {}
        for language in sorted({item.language for item in asked}):
            rows = [Row(line["passage"], "", line["text"]) for line in passages if line["language"] == language]
            there = await load(app, Known(f"followups {language}", rows, {}, {}), language, _quietly)
            of_language = [item for item in asked if item.language == language]
            await _each(app, there, of_language, [item.question for item in of_language], raw)
            queries = [joined(item.question, item.history) for item in of_language]
            await _each(app, there, of_language, queries, rewritten)
        for part in ("development", HELD_OUT):
            of_part = [item for item in asked if item.part == part]
            before, after, first_before, first_after = (
                100 * sum(places[id(item)] <= depth for item in of_part) / len(of_part)
                for depth in (DEPTH, 1)
                for places in (raw, rewritten)
            )
            told = f"as written {before:.1f} %; first of all {first_after:.1f} %, as written {first_before:.1f} %"
            if part == HELD_OUT:
                report.at_least(f"held-out follow-ups: recall@{DEPTH}", after, "%", FOUND, told)
            else:
                report.note(f"{part}: recall@{DEPTH} {after:.1f} %, {told}")


async def _each(app: App, there: Loaded, items: Sequence[Item], queries: Sequence[str], places: dict[int, int]) -> None:
    """At which place each of the items finds what it needs with its query."""
    principal = Principal.system(there.tenant_id)
    account = Account(tenant_id=there.tenant_id, purpose="search", space_id=there.space_id)
    for item, query in zip(items, queries, strict=True):
        came = await find(app, principal, account, [there.collection_id], query, LOOKED_AT)
        hits = own_first(came.hits, item.question) if query != item.question else came.hits
        found = list(dict.fromkeys(there.names[hit.chunk.document_id] for hit in hits[:PASSAGES]))
        places[id(item)] = found.index(item.needs) + 1 if item.needs in found else 1_000


def _quietly(what: str, done: int, total: int) -> None:
    """Nobody watches a benchmark."""
