"""`folkmoot eval`: a set of known answers through ingestion and search, and what it says of files that are wrong."""

from __future__ import annotations

import json

import pytest

from folkmoot.commands.known import SetError, read_set
from tests.support.openai_stub import stub_process
from tests.support.server import command

CORPUS = [
    {"id": "fence", "title": "Fences", "text": "A fence along the street may be at most 1.2 metres high."},
    {"id": "oak", "title": "Trees", "text": "An oak may not be felled without leave of the park office."},
    {"id": "dog", "text": "Dogs are kept on a leash in the park from April to October."},
    {
        "id": "long",
        "title": "Parking",
        "text": "Parking costs money.\n\n" + "The fee for parking is paid there. " * 300,
    },
]
QUERIES = [
    {"id": "q1", "text": "How high may a fence be?"},
    {"id": "q2", "text": "Who lets me fell an oak?"},
    {"id": "q3", "text": "What does the harbour cost the council?"},
    {"id": "q4", "text": "fee for parking"},
]
QRELS = "query_id\tdoc_id\tgrade\nq1\tfence\t1\nq2\toak\t2\nq2\tdog\t1\nq4\tlong\t1\n"


def lines(rows: list) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def files(tmp_path):
    """Writes a set; what is not given is as it should be. Returns the three paths."""

    def write(corpus: str = lines(CORPUS), queries: str = lines(QUERIES), qrels: str = QRELS):
        paths = [tmp_path / name for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv")]
        for path, text in zip(paths, (corpus, queries, qrels), strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return paths

    return write


def arguments(paths) -> list:
    corpus, queries, qrels = paths
    return ["--corpus", corpus, "--queries", queries, "--qrels", qrels]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_set_is_read_asked_and_measured(files):
    done = command("eval", *arguments(files()), "--language", "en", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) == {"ndcg@10", "recall@10", "queries", "median_ms"}
    assert figures["queries"] == 3, "q3 has no answer"
    # Of q2, whose answers are the oak and the dog, words find the oak alone.
    assert 0.8 < figures["ndcg@10"] <= 1
    assert 0.8 < figures["recall@10"] <= 1
    assert figures["median_ms"] > 0
    assert "1 of 4 queries have no relevant document" in done.stderr
    assert "by words alone" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_with_an_embedding_model_vectors_are_searched_too_and_what_was_read_can_stay(files, tmp_path):
    with stub_process() as url:
        more = ("--embedding-url", url, "--embedding-model", "stub-embed", "--data", tmp_path / "kept")
        done = command("eval", *arguments(files()), *more)
    assert done.returncode == 0, done.stderr
    assert "vectors of stub-embed" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ndcg@10", "recall@10", "queries", "median_ms"]
    assert (tmp_path / "kept" / "postgres").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_service_that_is_not_there_is_an_error_and_not_figures_of_words(files):
    more = ("--embedding-url", "http://127.0.0.1:9/v1", "--embedding-model", "nothing")
    done = command("eval", *arguments(files()), *more)
    assert done.returncode == 1
    assert "is it running?" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("corpus", '{"id": "a", "text": "A"}\n{"id": "b"\n', "corpus.jsonl, line 2: not JSON"),
        ("corpus", '{"id": "a", "text": "A"}\n\n["b"]\n', "corpus.jsonl, line 3: not an object"),
        ("corpus", '{"text": "A"}\n', "corpus.jsonl, line 1: no id"),
        ("corpus", '{"id": true, "text": "A"}\n', "corpus.jsonl, line 1: no id"),
        ("corpus", '{"id": "a", "title": "A"}\n', "corpus.jsonl, line 1: no text"),
        ("corpus", '{"id": "a", "title": 7, "text": ""}\n', "corpus.jsonl, line 1: no title"),
        (
            "corpus",
            '{"id": "a", "text": "A"}\n{"id": "b", "text": "B"}\n{"id": "a", "text": "C"}\n',
            "corpus.jsonl, line 3: the id 'a' is on line 1 already",
        ),
        ("corpus", b'{"id": "a", "text": "\xff"}\n', "corpus.jsonl, line 1: not JSON"),
        ("corpus", "", "corpus.jsonl has no documents"),
        ("queries", '{"id": "q1"}\n', "queries.jsonl, line 1: no text"),
        ("queries", "", "gives no query of queries.jsonl a grade"),
        ("qrels", "query_id\tdoc_id\tgrade\nq1\tfence\n", "qrels.tsv, line 2: 2 columns"),
        ("qrels", "query_id\tdoc_id\tgrade\nq1\tfence\tgood\n", "qrels.tsv, line 2: the grade is 'good'"),
        ("qrels", "query_id\tdoc_id\tgrade\nq1\tfence\tnan\n", "qrels.tsv, line 2: the grade is 'nan'"),
        ("qrels", "query_id\tdoc_id\tgrade\nq1\tfence\t0\n", "gives no query"),
        ("qrels", "query_id\tdoc_id\tgrade\nother\tfence\t1\n", "Are the ids"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_line_and_fact(files, name, content, said):
    with pytest.raises(SetError) as error:
        read_set(*files(**{name: content}))
    assert said in str(error.value)


def test_a_grade_without_a_header_counts_and_numbers_are_ids(files):
    known = read_set(
        *files(
            corpus='\ufeff{"id": 7, "text": "Seven."}\r\n',
            queries='{"id": 1, "text": "What is seven?"}\r\n',
            qrels="1\t7\t1\n",
        )
    )
    assert [row.id for row in known.rows] == ["7"]
    assert known.grades == {"1": {"7": 1.0}}


def test_what_is_odd_and_harmless_is_said(files):
    known = read_set(*files(qrels=QRELS + "q1\tgone\t1\nq3\tfence\t0\nq2\tfence\t-1\n"))
    assert list(known.queries) == ["q1", "q2", "q4"]
    assert known.grades["q2"] == {"oak": 2.0, "dog": 1.0}
    assert known.remarks == [
        "1 of 4 queries have no relevant document and are left out",
        "1 relevant documents are not in corpus.jsonl and count as not found",
    ]


def test_an_address_without_a_model_is_refused_before_anything_starts(files):
    done = command("eval", *arguments(files()), "--embedding-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 2
    assert "--embedding-model" in done.stderr


def test_a_wrong_file_ends_with_1_and_one_sentence(files):
    done = command("eval", *arguments(files(corpus="{\n")))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: corpus.jsonl, line 1: not JSON")
    assert "Traceback" not in done.stderr
