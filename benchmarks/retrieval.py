"""How good searching is on public sets, by words alone and with a small English embedding model.

Each set goes through the product's own ingestion and search, in `folkmoot eval`'s way. The folder holds
`retrieval/<set>/` with corpus.jsonl, queries.jsonl and qrels.tsv. all-MiniLM-L6-v2 runs in an environment of its own
(`benchmarks/minilm/requirements.txt`), whose path is given or stands in FOLKMOOT_BENCH_MINILM; without it only words
are measured. The questions are embedded beforehand, so that the latency is the product's and not the model's.

Reference, in the same run: bm25s in that environment; with vectors, the words alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from benchmarks.report import Report
from folkmoot import migrate
from folkmoot.assemble import assemble
from folkmoot.commands.evaluation import (
    Embedding,
    Figures,
    Loaded,
    ask,
    connect_embedding,
    embed,
    figures_of,
    load,
    with_service,
)
from folkmoot.commands.known import Known, read_set
from folkmoot.embedded import Engines
from folkmoot.kit.app import App
from folkmoot.kit.log import configure
from folkmoot.knowledge.fuse import NOTHING
from folkmoot.knowledge.golden.metrics import auc
from folkmoot.platform.service import ensure_first
from folkmoot.settings import LANES, Settings
from folkmoot.up import settings_for

HERE = Path(__file__).parent / "minilm"
MODEL = "all-MiniLM-L6-v2"
SLACK = 0.005
"""What may be lost against BM25, and with vectors against words alone."""
SETS = {
    "squad1_dev_en": ("en", 0.871),
    "squad2_dev_sv": ("sv", 0.822),
    "scifact_en": ("en", 0.686),
    "xquad_en": ("en", 0.965),
    "xquad_de": ("de", 0.938),
}
"""Language, and BM25's nDCG@10."""
WITH_VECTORS = {"squad1_dev_en": 0.895, "scifact_en": 0.728}
"""The least with vectors."""
UNANSWERABLE = "squad2_dev_sv"
STRANGERS = ("scifact_en", "xquad_en")
"""A set, and another whose questions nothing in it answers."""


def run(report: Report, folder: Path, corpora: Path, minilm: Path | None = None) -> None:
    sets = {name: corpora / "retrieval" / name for name in SETS if (corpora / "retrieval" / name).is_dir()}
    if missing := sorted(set(SETS) - set(sets)):
        report.note(f"not there: {', '.join(missing)}")
    reference = _reference(sets, minilm) if minilm else {}
    if minilm is None:
        report.note("no environment with MiniLM: vectors and bm25s are left out")
    configure("error", "text")
    engines = Engines(folder / "data")
    try:
        points = engines.start()
        migrate.upgrade(points.owner_url)
        settings = settings_for(folder / "data", points, Settings())
        settings = replace(settings, lanes=LANES, database_pool=10, max_upload_bytes=1 << 40, openai_api_key="")
        with _serving(minilm) as url:
            embedding = Embedding(url, MODEL) if url else None
            asyncio.run(_measure(report, with_service(settings, embedding), sets, reference, embedding))
    finally:
        engines.stop()


async def _measure(
    report: Report,
    settings: Settings,
    sets: dict[str, Path],
    reference: dict[str, dict[str, float]],
    embedding: Embedding | None,
) -> None:
    async with assemble(settings) as app:
        await ensure_first(app)
        loaded: dict[str, tuple[Known, Loaded]] = {}
        offline: dict[str, float] = {}
        scores: dict[str, list[float]] = {}
        for name, path in sets.items():
            known = read_set(path / "corpus.jsonl", path / "queries.jsonl", path / "qrels.tsv")
            loaded[name] = known, await load(app, known, SETS[name][0], _quietly)
            figures, scores[name] = await _figures(app, *loaded[name])
            offline[name] = figures.ndcg
            beside = reference.get(name)
            told = f"bm25s {100 * beside['ndcg']:.2f}" if beside else f"BM25 {100 * SETS[name][1]:.1f}"
            goal = 100 * (SETS[name][1] - SLACK)
            report.at_least(f"{name}, by words: nDCG@10", 100 * figures.ndcg, "%", goal, _told(figures, told))
        await _nothing(report, app, loaded, scores, sets, "by words")
        if embedding is None:
            return
        for name, (known, there) in loaded.items():
            await _embed_ahead(embedding, list(known.queries.values()))
            if name == next(iter(loaded)):
                await connect_embedding(app, there.tenant_id, embedding)
            await embed(app, there, _quietly)
            figures, scores[name] = await _figures(app, known, there)
            goal = 100 * max(offline[name] - SLACK, WITH_VECTORS.get(name, 0.0))
            told = _told(figures, f"words {100 * offline[name]:.2f}")
            report.at_least(f"{name}, with vectors: nDCG@10", 100 * figures.ndcg, "%", goal, told)
        for name in {UNANSWERABLE, STRANGERS[1]} & set(sets):
            await _embed_ahead(embedding, _strangers(sets[name]))
        await _nothing(report, app, loaded, scores, sets, "with vectors")


async def _nothing(
    report: Report,
    app: App,
    loaded: dict[str, tuple[Known, Loaded]],
    scores: dict[str, list[float]],
    sets: dict[str, Path],
    how: str,
) -> None:
    """How well the score tells that nothing was found."""
    if UNANSWERABLE in loaded:
        _, there = loaded[UNANSWERABLE]
        answerable = scores[UNANSWERABLE]
        unanswerable = await _scores(app, there, _strangers(sets[UNANSWERABLE]))
        report.note(
            f"{UNANSWERABLE}, {how}: AUC {auc(answerable, unanswerable):.3f} of answerable against unanswerable "
            f"questions (of the same articles); below {NOTHING}, which says nothing was found: {_below(answerable)} of "
            f"the answerable, {_below(unanswerable)} of the others"
        )
    name, others = STRANGERS
    if name in loaded and others in loaded:
        _, there = loaded[name]
        answerable = scores[name]
        elsewhere = await _scores(app, there, list(loaded[others][0].queries.values())[:300])
        report.note(
            f"{name}, {how}: AUC {auc(answerable, elsewhere):.3f} against questions of {others}; below {NOTHING}: "
            f"{_below(answerable)} of its own, {_below(elsewhere)} of the others"
        )


def _below(scores: Sequence[float]) -> str:
    return f"{100 * sum(score < NOTHING for score in scores) / max(len(scores), 1):.1f} %"


async def _scores(app: App, there: Loaded, queries: Sequence[str]) -> list[float]:
    return [item.score for item in await ask(app, there, queries, _quietly, timed=0)]


async def _figures(app: App, known: Known, there: Loaded) -> tuple[Figures, list[float]]:
    """The figures, and the score of each question's best passage."""
    asked = await ask(app, there, list(known.queries.values()), _quietly)
    return figures_of(known, asked), [item.score for item in asked]


def _told(figures: Figures, beside: str) -> str:
    recall, asked, took = 100 * figures.recall, figures.queries, figures.median_ms
    return f"{beside}; recall@10 {recall:.1f}, {asked} questions, median {took:.1f} ms"


def _strangers(path: Path) -> list[str]:
    file = path / "unanswerable_queries.jsonl"
    if not file.exists():
        return [json.loads(line)["text"] for line in (path / "queries.jsonl").read_text().splitlines()[:300]]
    return [json.loads(line)["text"] for line in file.read_text().splitlines()]


def _quietly(what: str, done: int, total: int) -> None:
    """Nobody watches a benchmark."""


async def _embed_ahead(embedding: Embedding, texts: Sequence[str]) -> None:
    async with httpx.AsyncClient(timeout=300) as client:
        for start in range(0, len(texts), 256):
            body = {"model": embedding.model, "input": list(texts[start : start + 256])}
            (await client.post(f"{embedding.url}/embeddings", json=body)).raise_for_status()


def _reference(sets: dict[str, Path], minilm: Path) -> dict[str, dict[str, float]]:
    done = subprocess.run(
        [minilm / "bin" / "python", HERE / "reference.py", *(f"{path}:{SETS[name][0]}" for name, path in sets.items())],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


@contextmanager
def _serving(minilm: Path | None) -> Generator[str]:
    """The address of the model's server while the body runs; empty without an environment for it."""
    if minilm is None:
        yield ""
        return
    kept = minilm / "vectors.bin"
    server = subprocess.Popen(
        [minilm / "bin" / "python", HERE / "server.py", "--kept", kept], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(timeout=10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--minilm", type=Path, default=os.environ.get("FOLKMOOT_BENCH_MINILM"))
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="folkmoot-bench-") as folder:
        run(report, Path(folder), arguments.corpora, Path(arguments.minilm) if arguments.minilm else None)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
