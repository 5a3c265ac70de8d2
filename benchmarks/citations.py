"""How well the check of answers finds what the passages do not bear out.

`citations/development.jsonl` was used to write and to tune the check. `citations/held_out.jsonl` was written before it,
and none of its sentences was looked at for tuning: its totals alone were printed. Both are by one author, who also
wrote the check, and passages and sentences are made up: figures from other people's answers may be lower.

A line is a topic: its passages, and sentences as an answer might say them, with `kind`, `truth`, the passage that
bears it out (`by`) and the one that its marker names (`cites`). To these come the passages of the next topic in the
same language. `truth` is `supported` if one passage says it, `weak` if it says less or only part of it, and
`not_found` if none says it or one says otherwise. A sentence is found if it is marked `weak` or `not_found`. One in
another language than the passages can be borne out by its figures and names at most, and is `weak` by design: such
are counted by themselves.

Reference, in the same run: the share of a sentence's words that stand in one passage, with the threshold that is best
on the development half.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import UUID

import msgspec

from benchmarks.report import Report
from folkmoot.conversations.citations.cite import CitedPassage
from folkmoot.conversations.citations.sources import Sources
from folkmoot.conversations.citations.support import check
from folkmoot.conversations.citations.verify import checked

PRECISION, RECALL = 0.85, 0.80
MILLISECONDS = 5.0
VERDICTS = ("supported", "weak", "not_found")
ANSWER = 6
"""Sentences of an answer as it is timed."""
_WORD = re.compile(r"\w+")


class Item(msgspec.Struct, frozen=True):
    kind: str
    truth: str
    by: int | None
    cites: int
    said: str

    @property
    def foreign(self) -> bool:
        return self.kind.startswith("cross-lingual")


class Topic(msgspec.Struct, frozen=True):
    language: str
    passages: list[str]
    items: list[Item]


@dataclass(frozen=True)
class Judged:
    item: Item
    verdict: str
    right_place: bool
    """The passage that bears it out is the one that is shown."""
    overlap: float


def run(report: Report, _folder: Path) -> None:
    halves = {name: _read(name) for name in ("development", "held_out")}
    judged = {name: _judge(topics) for name, topics in halves.items()}
    threshold = _best_threshold(judged["development"])
    for name, found in judged.items():
        _print(report, name, found, threshold, goal=name == "held_out")
    _time(report, halves["held_out"])


def _read(name: str) -> list[Topic]:
    path = Path(__file__).with_name("citations") / f"{name}.jsonl"
    return [msgspec.json.decode(line, type=Topic) for line in path.read_bytes().splitlines()]


def _passages(topics: Sequence[Topic], place: int) -> list[CitedPassage]:
    topic = topics[place]
    others = [other for other in (*topics[place + 1 :], *topics[:place]) if other.language == topic.language]
    texts = topic.passages + (others[0].passages if others else [])
    nothing = UUID(int=0)
    return [CitedPassage(n, nothing, "", nothing, text, 0, None, 1.0) for n, text in enumerate(texts, start=1)]


def _judge(topics: Sequence[Topic]) -> list[Judged]:
    judged: list[Judged] = []
    for place, topic in enumerate(topics):
        passages = _passages(topics, place)
        sources = Sources.of(passages)
        words = [_words(passage.text) for passage in passages]
        for item in topic.items:
            found = check(sources, item.said, prefer={item.cites + 1})
            verdict = found.support if found is not None else "supported"
            right = found is not None and item.by is not None and found.n == item.by + 1
            said = _words(item.said)
            overlap = max(len(said & theirs) / len(said) for theirs in words)
            judged.append(Judged(item, verdict, right, overlap))
    return judged


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _rates(judged: Sequence[Judged], threshold: float | None = None) -> tuple[float, float, float]:
    """(precision, recall, their harmonic mean) of what is found; by overlap alone with a `threshold`."""
    marked = [j.verdict != "supported" if threshold is None else j.overlap < threshold for j in judged]
    wrong = [j.item.truth != "supported" for j in judged]
    both = sum(m and w for m, w in zip(marked, wrong, strict=True))
    precision, recall = both / max(1, sum(marked)), both / max(1, sum(wrong))
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def _best_threshold(judged: Sequence[Judged]) -> float:
    own = [j for j in judged if not j.item.foreign]
    return max((step / 100 for step in range(101)), key=lambda threshold: _rates(own, threshold)[2])


def _print(report: Report, name: str, judged: Sequence[Judged], threshold: float, *, goal: bool) -> None:
    own = [j for j in judged if not j.item.foreign]
    report.note(f"{name.replace('_', '-')} half: {len(judged)} sentences, {len(judged) - len(own)} across languages")
    for kind in dict.fromkeys(j.item.kind for j in judged):
        verdicts = Counter(j.verdict for j in judged if j.item.kind == kind)
        told = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdicts[verdict])
        truth = "/".join(dict.fromkeys(j.item.truth for j in judged if j.item.kind == kind))
        report.note(f"  {kind:24} {sum(verdicts.values()):3} that are {truth}: {told}")
    scores = [_score(judged, verdict) for verdict in VERDICTS]
    for verdict, (precision, recall) in zip(VERDICTS, scores, strict=True):
        report.note(f"  {verdict:24} precision {precision:.2f}, recall {recall:.2f}")
    macro = [sum(each) / len(each) for each in zip(*scores, strict=True)]
    report.note(f"  macro                    precision {macro[0]:.2f}, recall {macro[1]:.2f}")
    precision, recall, _ = _rates(own)
    plain = _rates(own, threshold)
    if not goal:
        report.note(f"  what is not borne out is found with precision {precision:.2f}, recall {recall:.2f}")
        return
    reference = f"plain overlap below {threshold:.2f}"
    report.at_least("what is not borne out, precision", precision, "", PRECISION, f"{reference} {plain[0]:.2f}")
    report.at_least("what is not borne out, recall", recall, "", RECALL, f"{reference} {plain[1]:.2f}")
    every = _rates(judged)
    report.note(f"across languages too: precision {every[0]:.2f}, recall {every[1]:.2f}")
    shown = [j for j in judged if j.item.truth == "supported" and j.verdict != "not_found"]
    report.at_least("the right passage is shown", sum(j.right_place for j in shown) / len(shown), "", 0.95,
                    f"of {len(shown)} sentences that one bears out")  # fmt: skip


def _score(judged: Sequence[Judged], verdict: str) -> tuple[float, float]:
    said = sum(j.verdict == verdict for j in judged)
    true = sum(j.item.truth == verdict for j in judged)
    both = sum(j.verdict == verdict == j.item.truth for j in judged)
    return both / max(1, said), both / max(1, true)


def _time(report: Report, topics: Sequence[Topic]) -> None:
    """Of one processor, since others may be at work on the machine; each answer against passages it sees first."""
    times: list[float] = []
    for place, topic in enumerate(topics):
        passages = _passages(topics, place)
        said = [f"{item.said} [{item.cites + 1}]" for item in topic.items]
        for start in range(0, len(said) - ANSWER, ANSWER):
            begun = time.thread_time()
            checked(" ".join(said[start : start + ANSWER]), passages)
            times.append(1000 * (time.thread_time() - begun))
    report.line("checking an answer, median", median(times), "ms", MILLISECONDS,
                f"{ANSWER} sentences, 8 passages; the slowest {max(times):.1f}")  # fmt: skip
