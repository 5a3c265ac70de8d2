"""`folkmoot eval`: how good searching is, on questions whose answers are known."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from folkmoot.kit.log import configure
from folkmoot.settings import Settings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("eval")
@click.option("--corpus", type=_FILE, required=True, help="Lines of JSON: id, title, text.")
@click.option("--queries", type=_FILE, required=True, help="Lines of JSON: id, text.")
@click.option("--qrels", type=_FILE, required=True, help="Tab-separated, with a header: query_id, doc_id, grade.")
@click.option("--language", default=None, help="ISO 639-1 code of the corpus; without it, found document by document.")
@click.option("--embedding-url", default=None, help="Service that embeds, in OpenAI's dialect, up to its version.")
@click.option("--embedding-model", default=None, help="What that service is asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=None,
              help="Keep what was read in this folder; without it, nothing stays.")  # fmt: skip
def evaluate(
    corpus: Path,
    queries: Path,
    qrels: Path,
    language: str | None,
    embedding_url: str | None,
    embedding_model: str | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Measure how well searching finds what it should, and how quickly.

    Puts a set of documents and questions through the ordinary ingestion and search, on engines of its own, and
    prints nDCG@10, recall@10 and the median latency of a question. With an embedding model, by words and vectors; that
    is the service of FOLKMOOT_OPENAI_API_KEY and FOLKMOOT_OPENAI_BASE_URL, or the one named here.

    \b
    Example: folkmoot eval --corpus corpus.jsonl --queries queries.jsonl --qrels qrels.tsv --language sv
    """
    if embedding_url and not embedding_model:
        raise click.UsageError("--embedding-url needs --embedding-model: say what the service is to be asked for")
    from folkmoot.commands.evaluation import Embedding, run
    from folkmoot.commands.known import SetError, read_set

    configure("error", "text")
    settings = Settings.from_environment()
    embedding = None
    if embedding_model:
        embedding = Embedding(embedding_url or settings.openai_base_url, embedding_model)
    try:
        known = read_set(corpus, queries, qrels)
        sys.exit(run(known, language, embedding, data, settings, as_json=as_json))
    except SetError as error:
        raise click.ClickException(str(error)) from error
