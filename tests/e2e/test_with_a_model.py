"""`folkmoot up` with a key in the environment: the named service is connected, answers and embeds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e import test_main_job as job
from tests.support.server import Server, gone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("e2e")]


@pytest.fixture(scope="module")
def stub():
    """The model service, in a process of its own; gives its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.openai_stub", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory, stub):
    running = Server(tmp_path_factory.mktemp("model") / "data", OPENAI_API_KEY="k", OPENAI_BASE_URL=stub).start()
    yield running
    assert gone(running.stop())


@pytest.fixture(scope="module")
def client(server):
    with server.client() as signed_in:
        yield signed_in


@pytest.fixture(scope="module")
def place(client):
    space = job.made(client, "/spaces", name="Permits")
    collection = job.made(client, f"/spaces/{space}/collections", name="Rules")
    ids = job.upload(client, collection, ("rules.pdf", job.PDF), ("library.md", job.MARKDOWN))
    for one in ids:
        read = job.read(client, one)
        assert (read["status"], read["warnings"]) == ("ready", []), "embedded without complaint"
    assistant = job.made(client, f"/spaces/{space}/assistants", name="Helper", collection_ids=[collection])
    return {"space": space, "collection": collection, "assistant": assistant, "documents": ids}


def test_the_named_service_is_the_default(client):
    models = client.get("/models").json()["items"]
    chat = [model for model in models if model["kind"] == "chat"]
    assert (chat[0]["name"], chat[0]["provider"]) == ("stub-chat", "openai")
    assert {model["kind"] for model in models} == {"chat", "embedding"}


def test_its_answer_streams_and_cites(client, place):
    found = job.ask(client, job.talk(client, place), "How high may a fence along the street be? [[cite]]")
    assert found[-1][1] == "message.completed"
    message = found[-1][2]["message"]
    assert message["model"]["name"] == "stub-chat"
    assert job.text_of(found) == message["content"]
    (cited,) = message["citations"]
    body = client.get(f"/documents/{cited['document_id']}/text").json()["text"]
    assert body[cited["start"] : cited["end"]] == cited["quote"]
    assert cited["quote"].split()[0] in message["content"]


def test_words_come_as_they_are_said_and_can_be_resumed(client, place):
    found = job.ask(client, job.talk(client, place), "[[tokens=60 delay=0.02]]", most=5)
    assert [name for _, name, _ in found].count("text.delta") >= 2, "the first words came before the last"
    message = found[0][2]["message_id"]
    rest = job.events(client, "GET", f"/messages/{message}/events", headers={"Last-Event-ID": str(found[-1][0])})
    assert job.text_of(found + rest) == rest[-1][2]["message"]["content"]
    assert len(rest[-1][2]["message"]["content"].split()) == 60


def test_search_finds_by_vectors_what_no_word_says(client, place):
    """The stub's vectors know the beginnings of words, which the full text does not."""
    found = client.post(f"/collections/{place['collection']}/search", json={"query": "librarianship"}).json()["items"]
    assert found
    assert found[0]["document_name"] == "library.md"
