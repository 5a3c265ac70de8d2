"""nDCG@10 and recall@10 of bm25s, a well-known BM25 in memory, on sets of the same format: the benchmark's reference.

Prints one JSON object, by set. Whole documents, title before text; Snowball's stemmer and stop words of the language.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import bm25s
import Stemmer

STEMMERS = {"sv": "swedish", "en": "english", "de": "german", "no": "norwegian", "es": "spanish", "fr": "french"}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def measure(folder: Path, language: str) -> dict[str, float]:
    rows, queries = lines(folder / "corpus.jsonl"), lines(folder / "queries.jsonl")
    grades: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")[:3]
        if float(grade) > 0:
            grades.setdefault(query, {})[document] = float(grade)
    stemmer = Stemmer.Stemmer(STEMMERS[language])
    options = {"stopwords": language, "stemmer": stemmer, "show_progress": False}
    index = bm25s.BM25()
    texts = [f"{row.get('title') or ''} {row['text']}".strip() for row in rows]
    index.index(bm25s.tokenize(texts, **options), show_progress=False)
    asked = [query for query in queries if query["id"] in grades]
    tokens = bm25s.tokenize([query["text"] for query in asked], **options)
    places, _ = index.retrieve(tokens, k=min(10, len(rows)), show_progress=False)
    ndcg = recall = 0.0
    for query, found in zip(asked, places, strict=True):
        wanted = grades[query["id"]]
        gains = [wanted.get(rows[place]["id"], 0.0) for place in found]
        ideal = sorted(wanted.values(), reverse=True)[:10]
        ndcg += discounted(gains) / discounted(ideal)
        recall += sum(gain > 0 for gain in gains) / len(wanted)
    return {"ndcg": ndcg / len(asked), "recall": recall / len(asked)}


def discounted(gains: list[float]) -> float:
    return sum(gain / math.log2(at + 2) for at, gain in enumerate(gains))


if __name__ == "__main__":
    sets = [argument.rsplit(":", 1) for argument in sys.argv[1:]]
    print(json.dumps({Path(folder).name: measure(Path(folder), language) for folder, language in sets}))
