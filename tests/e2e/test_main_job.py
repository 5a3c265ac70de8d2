"""The main job against a real `folkmoot up`: documents in, cited answers out, through kills and restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from httpx_sse import EventSource

from tests.support import documents
from tests.support.server import EMAIL, Server, command, gone, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("e2e")]

PDF = documents.pdf(
    "The municipality of Riverside has rules for buildings. This first page is an introduction to them.",
    "Fences\n\nA fence along the street may be at most 1.2 metres high. Everywhere else it may be 1.8 metres.",
    "Trees\n\nAn oak thicker than 80 centimetres may only be felled with leave from the committee.",
)
WORD = documents.word(
    ("Minutes of the committee", 1),
    "The committee met on 4 March.",
    ("Dogs", 2),
    "Dogs must be kept on a leash in the park from April to October.",
)
MARKDOWN = b"# Library\n\n## Opening hours\n\nIn July the library opens at ten and closes at three.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def server(folder):
    """One server for the whole module; tests that kill it start it again."""
    running = Server(folder / "data").start()
    yield running
    assert gone(running.stop())


@pytest.fixture
def client(server):
    with server.client() as signed_in:
        yield signed_in


@pytest.fixture(scope="module")
def place(server):
    """Space, collection and assistant, with the three documents in it."""
    with server.client() as signed_in:
        space = made(signed_in, "/spaces", name="Permits")
        collection = made(signed_in, f"/spaces/{space}/collections", name="Rules")
        files = [("rules.pdf", PDF), ("minutes.docx", WORD), ("library.md", MARKDOWN)]
        ids = upload(signed_in, collection, *files)
        assert [read(signed_in, one)["status"] for one in ids] == ["ready"] * 3
        assistant = made(signed_in, f"/spaces/{space}/assistants", name="Helper", collection_ids=[collection])
    return {"space": space, "collection": collection, "assistant": assistant, "documents": ids}


def made(client: httpx.Client, path: str, **fields) -> str:
    response = client.post(path, json=fields)
    assert response.status_code == 201, response.text
    return response.json()["id"]


def upload(client: httpx.Client, collection: str, *files: tuple[str, bytes]) -> list[str]:
    response = client.post(f"/collections/{collection}/documents", files=[("file", file) for file in files])
    assert response.status_code == 202, response.text
    assert [item["status"] for item in response.json()["items"]] == ["queued"] * len(files)
    return [item["id"] for item in response.json()["items"]]


def read(client: httpx.Client, document: str, seconds: float = 60) -> dict:
    """The document once it is ready or failed."""

    def finished() -> dict | None:
        found = client.get(f"/documents/{document}").json()
        return found if found["status"] in ("ready", "failed") else None

    return until(finished, seconds, f"document {document} read")


def talk(client: httpx.Client, place: dict) -> str:
    return made(client, f"/assistants/{place['assistant']}/conversations")


def events(client: httpx.Client, method: str, path: str, most: int | None = None, **more) -> list:
    """The events of a stream; after `most` of them the line is cut."""
    headers = {"Accept": "text/event-stream", **more.pop("headers", {})}
    found = []
    with client.stream(method, path, headers=headers, **more) as response:
        assert response.status_code in (200, 201), response.read()
        for event in EventSource(response).iter_sse():
            found.append((int(event.id), event.event, json.loads(event.data)))
            if len(found) == most:
                break
    return found


def ask(client: httpx.Client, conversation: str, question: str, most: int | None = None) -> list:
    return events(client, "POST", f"/conversations/{conversation}/messages", most, json={"content": question})


def text_of(found: list) -> str:
    return "".join(data["text"] for _, name, data in found if name == "text.delta")


@pytest.mark.parametrize(
    ("question", "document", "page", "words"),
    [
        ("How high may a fence along the street be?", "rules.pdf", 2, "1.2 metres"),
        ("When may an oak be felled?", "rules.pdf", 3, "leave from the committee"),
        ("Must dogs be on a leash in the park?", "minutes.docx", None, "leash"),
        ("When does the library open in July?", "library.md", None, "opens at ten"),
    ],
)
def test_an_answer_streams_and_cites_the_right_place(client, place, question, document, page, words):
    found = ask(client, talk(client, place), question)
    assert [name for _, name, _ in found][:2] == ["message.created", "retrieval.completed"]
    assert found[-1][1] == "message.completed"
    message = found[-1][2]["message"]
    assert text_of(found) == message["content"]
    assert words in message["content"]
    cited = [data for _, name, data in found if name == "citation"]
    assert cited == message["citations"]
    first = cited[0]
    assert (first["document_name"], first["page"]) == (document, page)
    assert f"[{first['n']}]" in message["content"]
    body = client.get(f"/documents/{first['document_id']}/text").json()["text"]
    for one in cited:
        if one["document_id"] == first["document_id"]:
            assert body[one["start"] : one["end"]] == one["quote"] != ""
    assert any(words in one["quote"] for one in cited)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_a_client_that_was_cut_off_resumes_to_the_same_text(server, client, place, most):
    first = ask(client, talk(client, place), "How high may a fence along the street be?", most)
    assert len(first) == most
    message = first[0][2]["message_id"]
    with server.client() as another:
        rest = events(another, "GET", f"/messages/{message}/events", headers={"Last-Event-ID": str(first[-1][0])})
        stored = another.get(f"/messages/{message}").json()
        whole = events(another, "GET", f"/messages/{message}/events")
    assert [number for number, _, _ in first + rest] == list(range(1, len(first + rest) + 1))
    assert text_of(first + rest).encode() == stored["content"].encode()
    assert rest[-1][2]["message"] == stored
    assert whole == first + rest, "read again after the end, from the beginning"


def test_another_process_reads_a_finished_answer(server, client, place):
    found = ask(client, talk(client, place), "Must dogs be on a leash?")
    token = client.headers["Authorization"]
    script = (
        "import httpx, sys; r = httpx.get(sys.argv[1], headers={'Authorization': sys.argv[2], 'Last-Event-ID': '1'},"
        " trust_env=False, timeout=30); sys.stdout.buffer.write(r.content)"
    )
    url = f"{server.url}/messages/{found[0][2]['message_id']}/events"
    done = subprocess.run([sys.executable, "-c", script, url, token], capture_output=True, timeout=60, check=True)
    told = [json.loads(line[6:]) for line in done.stdout.decode().split("\n") if line.startswith("data: ")]
    assert told == [data for _, _, data in found[1:]]


def test_a_second_organisation_sees_nothing_of_the_first(server, client, place):
    name = f"Brookside {uuid4().hex[:6]}"
    done = command("tenant", "create", name, "--admin", "bo@brookside.example", "--data", server.data)
    assert done.returncode == 0, done.stderr
    conversation = talk(client, place)
    message = ask(client, conversation, "Must dogs be on a leash?")[0][2]["message_id"]
    with server.client("bo@brookside.example") as other:
        for path in ("/spaces", "/conversations"):
            assert other.get(path).json() == {"items": [], "next_cursor": None}
        document = place["documents"][0]
        for path in (
            f"/spaces/{place['space']}",
            f"/spaces/{place['space']}/collections",
            f"/spaces/{place['space']}/assistants",
            f"/collections/{place['collection']}",
            f"/collections/{place['collection']}/documents",
            f"/assistants/{place['assistant']}",
            f"/documents/{document}",
            f"/documents/{document}/text",
            f"/documents/{document}/chunks",
            f"/documents/{document}/content",
            f"/conversations/{conversation}",
            f"/conversations/{conversation}/messages",
            f"/messages/{message}",
            f"/messages/{message}/events",
        ):
            assert other.get(path).status_code == 404, path
        for path, body in (
            (f"/collections/{place['collection']}/search", {"query": "fence"}),
            (f"/assistants/{place['assistant']}/conversations", {}),
            (f"/conversations/{conversation}/messages", {"content": "Hello?"}),
            (f"/documents/{document}/retry", None),
        ):
            assert other.post(path, json=body).status_code == 404, path
        assert other.delete(f"/documents/{document}").status_code == 404
    assert client.get(f"/documents/{document}").status_code == 200


def test_a_second_up_on_the_folder_says_so_and_ends_with_2(server, place):
    done = command("up", "--data", server.data, "--port", str(Server(server.data).port))
    assert done.returncode == 2
    assert str(server.data) in done.stderr
    assert "in use" in done.stderr or "another process" in done.stderr.lower(), done.stderr
    assert "Traceback" not in done.stderr
    assert psutil.pid_exists(server.process.pid)


def test_a_worker_that_is_killed_is_started_again_and_every_document_is_read(server, client, place):
    collection = made(client, f"/spaces/{place['space']}/collections", name="Big")
    ids = upload(
        client,
        collection,
        ("big.pdf", documents.long_pdf(250)),
        ("other.pdf", documents.long_pdf(30)),
        ("a.md", MARKDOWN),
    )
    until(lambda: client.get(f"/documents/{ids[0]}").json()["status"] == "processing", 20, "big.pdf begun")
    worker = server.part("worker")
    parsers = worker.children(recursive=True)
    worker.kill()
    assert gone(parsers, 10), "a parser outlives its worker"
    assert client.get(f"/documents/{ids[0]}").json()["status"] == "processing", "it was killed too late"
    assert [read(client, one, 90)["status"] for one in ids] == ["ready"] * 3
    assert client.get(f"/documents/{ids[0]}").json()["page_count"] == 250
    assert server.part("worker").pid != worker.pid
    assert "worker ended" in server.said()


def test_after_a_power_cut_all_is_there_and_what_was_begun_is_finished(server, client, place):
    conversation = talk(client, place)
    before = ask(client, conversation, "How high may a fence be?")[-1][2]["message"]
    collection = made(client, f"/spaces/{place['space']}/collections", name="Bigger")
    ids = upload(client, collection, ("big.pdf", documents.long_pdf(250, "section")), ("b.md", MARKDOWN))
    until(lambda: client.get(f"/documents/{ids[0]}").json()["status"] == "processing", 20, "big.pdf begun")
    server.kill_all()
    server.start()
    with server.client() as again:
        assert [read(again, one, 90)["status"] for one in ids] == ["ready"] * 2
        assert again.get(f"/messages/{before['id']}").json() == before
        assert text_of(events(again, "GET", f"/messages/{before['id']}/events")) == before["content"]
        assert again.get(f"/documents/{place['documents'][0]}/content").content == PDF
        assert ask(again, conversation, "Must dogs be on a leash?")[-1][1] == "message.completed"


def test_up_alone_killed_takes_everything_with_it(server, client, place):
    """`kill -9` of the supervisor: engines, worker and API end by themselves, and the next start is clean."""
    family = server.family()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(10)
    assert gone(family, 20), [found for found in family if found.is_running()]
    server.start()
    with server.client() as again:
        assert len(again.get(f"/collections/{place['collection']}/documents").json()["items"]) == 3


def test_ctrl_c_stops_everything_within_ten_seconds_and_leaves_no_process(server, place):
    with (
        server.client() as client,
        client.stream(
            "POST",
            f"/conversations/{talk(client, place)}/messages",
            json={"content": "How high may a fence be?"},
            headers={"Accept": "text/event-stream"},
        ),
    ):
        family = server.stop(signal.SIGINT, seconds=10)
    assert server.process.returncode == 0, server.said()
    assert len(family) >= 5
    assert gone(family)
    assert not Path(server.data, "runtime.json").exists()
    server.start()
    with server.client() as again:
        assert again.get("/me").json()["user"]["email"] == EMAIL
