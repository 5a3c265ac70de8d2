"""From bytes to something that can be found: states, retries, replacement, vectors, and what a crash leaves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from folkmoot_sdk import ParserUnavailable
from sqlalchemy import select, text, update

from folkmoot.ai.connect import connect
from folkmoot.kit.access import Principal
from folkmoot.kit.events import Event
from folkmoot.knowledge import ingest as ingesting
from folkmoot.knowledge import search as searching
from folkmoot.knowledge.ingest import ingest
from folkmoot.knowledge.models import Chunk, ChunkVector, Document
from folkmoot.knowledge.tasks import find_left_documents
from folkmoot.parsing.pool import ParserPool
from folkmoot.plugins.manager import PluginManager
from tests.support import documents
from tests.support.openai_stub import OpenAIStub

RULES = b"""# Fences

A fence along the street may be 1.2 metres high.

# Trees

An oak may not be felled without leave.
"""


@pytest.fixture
async def stub():
    async with OpenAIStub() as server:
        yield server


async def row(app, owner, document_id: str) -> Document:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        return await work.session.get_one(Document, UUID(document_id))


async def change(app, owner, document_id: str, **values) -> None:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(update(Document).where(Document.id == UUID(document_id)).values(**values))


async def chunks(owner, document_id: str) -> list[dict]:
    return (await owner.get(f"/documents/{document_id}/chunks", params={"limit": 200})).json()["items"]


async def events(app, owner, document_id: str) -> list[Event]:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        rows = await work.session.scalars(select(Event).where(Event.object_id == UUID(document_id)).order_by(Event.id))
        return list(rows)


async def connected(app, owner, stub) -> None:
    assert await connect(
        app,
        owner.tenant_id,
        kind="openai",
        name="Stub",
        config={"api_key": "k", "base_url": stub.url},
        rank=0,
    )


async def test_a_document_goes_from_queued_to_ready_and_each_state_is_an_event(owner, app):
    collection = await owner.collection()
    (queued,) = await owner.upload(collection, ("rules.md", RULES))
    assert (queued["status"], queued["progress"], queued["chunk_count"]) == ("queued", 0, 0)
    ready = await owner.read_through(queued["id"])
    assert (ready["status"], ready["progress"], ready["step"], ready["error"]) == ("ready", 1.0, "", None)
    assert ready["media_type"] == "text/markdown"
    assert ready["language"] == "en"
    assert ready["chunk_count"] == len(await chunks(owner, ready["id"])) > 0
    told = [event.action for event in await events(app, owner, ready["id"])]
    assert told[:2] == ["document.queued", "document.processing"]
    assert told[-1] == "document.ready"
    assert set(told[2:-1]) <= {"document.progress"}
    first = (await events(app, owner, ready["id"]))[0]
    assert (first.actor_kind, first.actor_id) == ("user", owner.user.id)


async def test_progress_never_goes_back_while_a_long_document_is_read(owner, app):
    collection = await owner.collection()
    (document,) = await owner.upload(collection, ("long.pdf", documents.long_pdf(120)))
    seen = []
    while (state := (await owner.get(f"/documents/{document['id']}")).json())["status"] not in ("ready", "failed"):
        seen.append((state["status"], state["progress"]))
        await asyncio.sleep(0.02)
    assert state["status"] == "ready"
    assert state["page_count"] == 120
    shares = [share for status, share in seen if status == "processing"]
    assert shares == sorted(shares)
    told = [event.data["progress"] for event in await events(app, owner, document["id"]) if "progress" in event.data]
    assert told == sorted(told)
    assert told[-1] == 1.0


async def test_every_chunk_is_a_stretch_of_the_text_on_its_page(owner):
    collection = await owner.collection()
    pages = [
        f"On page {number} stands the word token{number * 7}. Nothing else is of note there." for number in range(1, 6)
    ]
    (document,) = await owner.knows(collection, ("five.pdf", documents.pdf(*pages)))
    body = (await owner.get(f"/documents/{document['id']}/text")).json()
    assert body["anchors"][0]["start"] == 0
    for piece in await chunks(owner, document["id"]):
        assert body["text"][piece["start"] : piece["end"]] == piece["text"]
    for number in range(1, 6):
        at = body["text"].index(f"token{number * 7}")
        anchor = [item for item in body["anchors"] if item["start"] <= at][-1]
        assert anchor["page"] == number
    assert document["page_count"] == 5


async def test_headings_of_a_word_file_are_the_path_of_its_chunks(owner):
    collection = await owner.collection()
    data = documents.word(
        ("Leave", 1), "Leave is applied for in writing. " * 30, ("Parental leave", 2), "It lasts 480 days. " * 30
    )
    (document,) = await owner.knows(collection, ("leave.docx", data))
    contexts = [piece["context"] for piece in await chunks(owner, document["id"])]
    assert any(context.startswith("Leave > Parental leave") for context in contexts)


async def test_each_document_has_its_own_language(owner):
    collection = await owner.collection()
    found = await owner.knows(
        collection,
        ("sv.txt", "Nämnden beslutade att bevilja bygglov för ett plank vid gatan i enlighet med förslaget.".encode()),
        ("en.txt", b"The committee decided to grant a permit for the fence along the street as proposed."),
        ("de.txt", "Der Ausschuss beschloss, die Genehmigung für den Zaun an der Straße zu erteilen.".encode()),
        ("fi.txt", "Lautakunta päätti myöntää luvan aidalle kadun varrella ehdotuksen mukaisesti.".encode()),
        ("numbers.txt", b"12 44 1921 88 17"),
    )
    assert {item["name"]: item["language"] for item in found} == {
        "sv.txt": "sv",
        "en.txt": "en",
        "de.txt": "de",
        "fi.txt": "fi",
        "numbers.txt": "",
    }


async def test_the_same_bytes_under_the_same_name_are_one_document(owner, count):
    collection = await owner.collection()
    (first,) = await owner.knows(collection, ("rules.md", RULES))
    (again,) = await owner.upload(collection, ("rules.md", RULES))
    (renamed,) = await owner.upload(collection, ("other.md", RULES))
    (elsewhere,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    assert again["id"] == first["id"]
    assert again["status"] == "ready"
    assert len({first["id"], renamed["id"], elsewhere["id"]}) == 3
    assert await count("files", f"tenant_id = '{owner.tenant_id}'") == 3


async def test_reading_again_keeps_the_chunks_that_did_not_change(owner, app):
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("rules.pdf", documents.long_pdf(4)))
    before = await chunks(owner, document["id"])
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        # As if another version of the parser had cut one of them otherwise.
        await work.session.execute(
            update(Chunk).where(Chunk.id == UUID(before[1]["id"])).values(content_hash="of another text")
        )
    response = await owner.post(f"/documents/{document['id']}/retry")
    assert response.status_code == 202
    assert response.json()["status"] == "queued"
    assert (await owner.read_through(document["id"]))["status"] == "ready"
    after = await chunks(owner, document["id"])
    assert [piece["text"] for piece in after] == [piece["text"] for piece in before]
    kept = [old["id"] == new["id"] for old, new in zip(before, after, strict=True)]
    assert kept == [place != 1 for place in range(len(before))]


async def test_a_document_that_is_being_read_is_not_queued_again(owner, app, held):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    await change(app, owner, document["id"], status="processing", lease_until=datetime.now(UTC) + timedelta(minutes=1))
    response = await owner.post(f"/documents/{document['id']}/retry")
    assert (response.status_code, response.json()["code"]) == (409, "already-processing")
    assert await ingest(app, owner.tenant_id, UUID(document["id"])) is None, "another worker has it"
    assert (await row(app, owner, document["id"])).attempts == 0


async def test_deleting_a_document_leaves_no_row_and_no_byte(owner, app, count):
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("rules.md", RULES))
    found = await row(app, owner, document["id"])
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        key = await work.session.scalar(text(f"SELECT storage_key FROM files WHERE id = '{found.file_id}'"))
    assert [part async for part in app.storage.read(owner.tenant_id, key)]
    assert (await owner.delete(f"/documents/{document['id']}")).status_code == 204
    of_tenant = f"tenant_id = '{owner.tenant_id}'"
    for table in ("documents", "document_texts", "chunks", "chunk_vectors", "files"):
        assert await count(table, of_tenant) == 0, table
    with pytest.raises(Exception, match=r".+"):
        [part async for part in app.storage.read(owner.tenant_id, key)]
    for path in ("", "/text", "/chunks", "/content"):
        assert (await owner.get(f"/documents/{document['id']}{path}")).status_code == 404


async def test_a_document_deleted_while_it_is_read_is_gone_and_stays_gone(owner, count):
    collection = await owner.collection()
    (document, other) = await owner.upload(collection, ("long.pdf", documents.long_pdf(250)), ("good.md", RULES))
    async with asyncio.timeout(30):
        while True:
            if (await owner.get(f"/documents/{document['id']}")).json()["status"] != "queued":
                break
            await asyncio.sleep(0.01)
    assert (await owner.delete(f"/documents/{document['id']}")).status_code == 204
    assert (await owner.read_through(other["id"]))["status"] == "ready"
    of_document = f"document_id = '{document['id']}'"
    assert await count("chunks", of_document) == 0
    assert await count("document_texts", of_document) == 0
    assert (await owner.get(f"/documents/{document['id']}")).status_code == 404
    (next_one,) = await owner.knows(collection, ("next.md", RULES))
    assert next_one["status"] == "ready", "the slot is free again"


async def test_the_sweep_finds_what_a_dead_worker_left(owner, app, held):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    now = datetime.now(UTC)
    sent = []

    class Recording:
        async def send(self, task, payload, **_):
            sent.append((task.name, str(payload["document_id"])))

    seen = replace(app, sessions=replace(app.sessions, jobs=Recording()))
    await change(app, owner, document["id"], status="processing", lease_until=now + timedelta(seconds=15))
    await find_left_documents(seen, owner.tenant_id)
    assert sent == [], "its worker is alive"
    await change(app, owner, document["id"], status="processing", lease_until=now - timedelta(seconds=1))
    await find_left_documents(seen, owner.tenant_id)
    assert sent == [("knowledge.ingest_document", document["id"])]
    assert await ingest(app, owner.tenant_id, UUID(document["id"])) is None
    found = await row(app, owner, document["id"])
    assert (found.status, found.attempts, found.lease_until) == ("ready", 1, None)


async def test_the_sweep_finds_a_document_whose_message_was_lost(owner, app, held):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    sent = []

    class Recording:
        async def send(self, task, payload, **_):
            sent.append(str(payload["document_id"]))

    seen = replace(app, sessions=replace(app.sessions, jobs=Recording()))
    await find_left_documents(seen, owner.tenant_id)
    assert sent == [], "it has only just come"
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    await change(app, owner, document["id"], updated_at=long_ago, retry_at=datetime.now(UTC) + timedelta(minutes=1))
    await find_left_documents(seen, owner.tenant_id)
    assert sent == [], "its time to be tried again has not come"
    await change(app, owner, document["id"], updated_at=long_ago, retry_at=long_ago)
    await find_left_documents(seen, owner.tenant_id)
    assert sent == [document["id"]]


async def test_a_document_whose_readers_all_die_is_given_up(owner, app, held):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    await change(
        app,
        owner,
        document["id"],
        status="processing",
        attempts=app.settings.ingest_attempts,
        lease_until=datetime.now(UTC) - timedelta(seconds=1),
    )
    assert await ingest(app, owner.tenant_id, UUID(document["id"])) is None
    shown = (await owner.get(f"/documents/{document['id']}")).json()
    assert shown["status"] == "failed"
    assert shown["error"]["code"] == "reading-interrupted"
    again = await owner.post(f"/documents/{document['id']}/retry")
    assert (again.json()["status"], again.json()["error"]) == ("queued", None)
    await ingest(app, owner.tenant_id, UUID(document["id"]))
    assert (await row(app, owner, document["id"])).status == "ready"


async def test_what_may_pass_is_tried_again_and_says_when(owner, app, held, monkeypatch):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))

    async def unavailable(*_):
        raise ParserUnavailable("the reader of rules.md is not there just now")

    monkeypatch.setattr(ingesting, "_read", unavailable)
    pauses = []
    for attempt in range(1, app.settings.ingest_attempts):
        pauses.append(await ingest(app, owner.tenant_id, UUID(document["id"])))
        shown = (await owner.get(f"/documents/{document['id']}")).json()
        assert shown["status"] == "queued"
        assert shown["error"]["code"] == "parser-unavailable"
        assert datetime.fromisoformat(shown["error"]["retry_at"]) > datetime.now(UTC)
        assert (await row(app, owner, document["id"])).attempts == attempt
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]
    assert await ingest(app, owner.tenant_id, UUID(document["id"])) is None, "not for ever"
    shown = (await owner.get(f"/documents/{document['id']}")).json()
    assert (shown["status"], shown["error"]["retry_at"]) == ("failed", None)


async def test_a_lost_file_is_told_and_does_not_come_back(owner, app, held):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    found = await row(app, owner, document["id"])
    await app.storage.delete(owner.tenant_id, f"files/{found.file_id}")
    assert await ingest(app, owner.tenant_id, UUID(document["id"])) is None
    shown = (await owner.get(f"/documents/{document['id']}")).json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "file-missing")


async def test_a_file_that_needs_too_much_memory_ends_only_itself(owner, app, held):
    collection = await owner.collection()
    # One list is read as a whole, since any line may change what those before it are.
    huge = b"\n".join(b"* [%d](https://example.org/%d) **a** _b_" % (number, number) for number in range(90_000))
    (big, small) = await owner.upload(collection, ("big.md", huge), ("small.md", RULES))
    async with ParserPool(app.part(PluginManager), memory=220 << 20, max_processes=1) as pool:
        tight = replace(app, parts={**app.parts, ParserPool: pool})
        await ingest(tight, owner.tenant_id, UUID(big["id"]))
        await ingest(tight, owner.tenant_id, UUID(small["id"]))
    shown = (await owner.get(f"/documents/{big['id']}")).json()
    assert shown["status"] == "failed"
    assert shown["error"]["code"] == "file-too-large"
    assert "big.md needs more than 220 MiB of memory to read" in shown["error"]["message"]
    assert (await row(app, owner, small["id"])).status == "ready"


async def test_with_an_embedding_model_every_chunk_gets_a_vector(owner, app, stub):
    await connected(app, owner, stub)
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("rules.pdf", documents.long_pdf(6)))
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        vectors = (
            await work.session.scalars(
                select(ChunkVector.chunk_id)
                .join(Chunk, Chunk.id == ChunkVector.chunk_id)
                .where(Chunk.document_id == UUID(document["id"]))
            )
        ).all()
    assert len(vectors) == document["chunk_count"] > 1
    asked = [request.body for request in stub.requests if request.path.endswith("/embeddings")]
    assert sum(len(body["input"]) for body in asked) == document["chunk_count"]
    await owner.post(f"/documents/{document['id']}/retry")
    await owner.read_through(document["id"])
    again = [request.body for request in stub.requests if request.path.endswith("/embeddings")]
    assert again == asked, "what did not change is not embedded again"


async def test_search_uses_words_and_vectors_together(owner, app, stub, monkeypatch):
    await connected(app, owner, stub)
    collection = await owner.collection()
    await owner.knows(
        collection,
        ("a.txt", b"The fence along the street may be 1.2 metres high."),
        ("b.txt", b"Opening hours of the library in July are short."),
    )
    lists = []
    fuse = searching.fuse

    def seen(by_text, near):
        lists.append((len(by_text), [len(one.found) for one in near]))
        return fuse(by_text, near)

    monkeypatch.setattr(searching, "fuse", seen)
    found = await owner.post(f"/collections/{collection}/search", json={"query": "how high may a fence be"})
    assert found.json()["items"][0]["document_name"] == "a.txt"
    assert lists == [(1, [2])]


async def test_an_embedding_model_that_fails_leaves_the_document_to_be_found_by_its_words(owner, app):
    async with OpenAIStub() as stub:
        await connected(app, owner, stub)
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("rules.md", RULES))
    assert document["status"] == "ready"
    assert "words only" in document["warnings"][0]
    found = await owner.post(f"/collections/{collection}/search", json={"query": "fence"})
    assert [item["document_id"] for item in found.json()["items"]] == [document["id"]]


async def test_a_search_goes_on_without_vectors_when_the_model_fails(owner, app):
    collection = await owner.collection()
    async with OpenAIStub() as stub:
        await connected(app, owner, stub)
        await owner.knows(collection, ("rules.md", RULES))
    found = await owner.post(f"/collections/{collection}/search", json={"query": "fence"}, timeout=60)
    assert found.status_code == 200
    assert found.json()["items"]
