"""What people do with one document: describe it, find it in a list, cancel it, open it with a password."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update

from folkmoot.kit.access import Principal
from folkmoot.kit.events import Event
from folkmoot.knowledge.models import Document
from folkmoot.knowledge.password import keep_password, password_of
from folkmoot.knowledge.tasks import forget_passwords
from tests.knowledge.stuck import until
from tests.support import documents

RULES = b"# Fences\n\nA fence along the street may be 1.2 metres high.\n"


async def actions(app, owner, document_id):
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        rows = await work.session.scalars(
            select(Event.action).where(Event.object_id == UUID(document_id)).order_by(Event.id)
        )
        return list(rows)


async def send(owner, collection, *parts):
    """An upload of parts in this order; a name with its value, or `file` with name and bytes."""
    files = [(name, value if name == "file" else (None, value)) for name, value in parts]
    return await owner.post(f"/collections/{collection}/documents", files=files)


# Describing


async def test_a_document_is_renamed_dated_and_described(owner, app):
    (document,) = await owner.knows(await owner.collection(), ("rules.md", RULES))
    path = f"/documents/{document['id']}"
    told = {"name": "Laws.md", "modified_at": "2026-01-02T03:04:05Z", "metadata": {"department": "planning", "year": 1}}
    changed = await owner.patch(path, json=told)
    assert changed.status_code == 200, changed.text
    assert {name: changed.json()[name] for name in told} == told
    again = (await owner.patch(path, json={"metadata": {"year": None, "tags": ["a", "b"]}})).json()
    assert again["metadata"] == {"department": "planning", "tags": ["a", "b"]}
    assert (again["name"], again["modified_at"]) == ("Laws.md", "2026-01-02T03:04:05Z")
    assert (await owner.get(path)).json() == again
    assert again["status"] == "ready"
    assert (await actions(app, owner, document["id"])).count("document.updated") == 2
    assert (await owner.patch(path, json={"modified_at": None})).json()["modified_at"] is None


async def test_a_change_of_what_has_changed_since_is_refused(owner):
    (document,) = await owner.knows(await owner.collection(), ("rules.md", RULES))
    path = f"/documents/{document['id']}"
    etag = (await owner.get(path)).headers["etag"]
    first = await owner.patch(path, json={"name": "one.md"}, headers={"If-Match": etag})
    second = await owner.patch(path, json={"name": "two.md"}, headers={"If-Match": etag})
    assert (first.status_code, second.status_code) == (200, 412)
    assert first.headers["etag"] != etag
    same = await owner.patch(path, json={"name": "one.md"}, headers={"If-Match": first.headers["etag"]})
    assert same.headers["etag"] == first.headers["etag"], "nothing was changed"


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "\u200b"},
        {"modified_at": "2026-01-01T00:00:00"},
        {"metadata": {"": 1}},
        {"metadata": {"a": {"b": 1}}},
        {"metadata": {"a": "\x00"}},
        {"metadata": {"\x00": "a"}},
        {"metadata": {"a": "x" * 1001}},
        {"metadata": {"a": 2**60}},
        {"metadata": {str(number): 1 for number in range(51)}},
        {"metadata": {str(number): "x" * 900 for number in range(20)}},
        {"status": "ready"},
    ],
)
async def test_what_a_document_cannot_be_called_or_said_of_it_is_refused(owner, held, body):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    answer = await owner.patch(f"/documents/{document['id']}", json=body)
    assert answer.status_code == 400, answer.text


async def test_what_an_upload_says_holds_for_the_files_after_it(owner, held):
    collection = await owner.collection()
    answer = await send(
        owner,
        collection,
        ("file", ("a.txt", b"a")),
        ("metadata", json.dumps({"department": "planning", "pages": 3})),
        ("modified_at", "2026-01-02T03:04:05+01:00"),
        ("file", ("b.txt", b"b")),
        ("metadata", json.dumps({"department": "schools"})),
        ("modified_at", ""),
        ("file", ("c.txt", b"c")),
    )
    assert answer.status_code == 202, answer.text
    assert [(item["metadata"], item["modified_at"]) for item in answer.json()["items"]] == [
        ({}, None),
        ({"department": "planning", "pages": 3}, "2026-01-02T02:04:05Z"),
        ({"department": "schools"}, None),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metadata", "{"),
        ("metadata", "[1]"),
        ("metadata", '{"a": {"b": 1}}'),
        ("metadata", '{"a": "' + "x" * 70_000 + '"}'),
        ("metadata", b"\xff\xfe"),
        ("modified_at", "yesterday"),
        ("modified_at", "2026-01-01T00:00:00"),
        ("password", "x" * 1025),
    ],
)
async def test_a_field_that_cannot_be_understood_is_named(owner, held, count, name, value):
    answer = await send(owner, await owner.collection(), (name, value), ("file", ("a.txt", b"a")))
    assert (answer.status_code, answer.json()["code"]) == (400, "validation-failed")
    assert name in answer.json()["detail"]
    assert await count("documents", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_a_file_that_is_there_already_takes_what_is_said_of_it_now(owner, held):
    collection = await owner.collection()
    (first,) = await owner.upload(collection, ("a.txt", b"a"))
    answer = await send(owner, collection, ("metadata", '{"year": 2026}'), ("file", ("a.txt", b"a")))
    (again,) = answer.json()["items"]
    assert (again["id"], again["metadata"]) == (first["id"], {"year": 2026})


# Lists


async def test_a_list_is_narrowed_by_state_name_kind_and_language(owner, app, held):
    collection = await owner.collection()
    items = await owner.upload(
        collection, *((name, name.encode()) for name in ("Åre plan.md", "100%.csv", "old_x.pdf"))
    )
    said = [("ready", "text/markdown", "sv"), ("failed", "text/csv", "en"), ("ready", "application/pdf", "en")]
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        for item, (status, media_type, language) in zip(items, said, strict=True):
            values = {"status": status, "media_type": media_type, "language": language}
            await work.session.execute(update(Document).where(Document.id == UUID(item["id"])).values(values))

    async def names(**params):
        answer = await owner.get(f"/collections/{collection}/documents", params=params)
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["items"]]

    assert await names() == ["old_x.pdf", "100%.csv", "Åre plan.md"]
    assert await names(sort="oldest") == ["Åre plan.md", "100%.csv", "old_x.pdf"]
    assert await names(status="failed") == ["100%.csv"]
    assert await names(name="ÅRE") == ["Åre plan.md"]
    assert await names(name="%") == ["100%.csv"], "not everything"
    assert await names(name="_") == ["old_x.pdf"]
    assert await names(media_type="text/*") == ["100%.csv", "Åre plan.md"]
    assert await names(media_type="application/pdf", language="EN") == ["old_x.pdf"]
    assert await names(language="de") == []
    first = (await owner.get(f"/collections/{collection}/documents", params={"sort": "oldest", "limit": 2})).json()
    assert await names(sort="oldest", cursor=first["next_cursor"]) == ["old_x.pdf"]
    for wrong in ({"status": "lost"}, {"sort": "name"}):
        assert (await owner.get(f"/collections/{collection}/documents", params=wrong)).status_code == 400


async def test_a_collection_counts_what_is_in_it(owner, app):
    collection = await owner.collection()
    path = f"/collections/{collection}/status"
    empty = (await owner.get(path)).json()
    assert set(empty.values()) == {0}
    (good,) = await owner.knows(collection, ("rules.md", RULES))
    (bad,) = await owner.upload(collection, ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(50)))
    await owner.read_through(bad["id"])
    counts = (await owner.get(path)).json()
    assert counts == {
        "documents": 2,
        "queued": 0,
        "processing": 0,
        "ready": 1,
        "failed": 1,
        "size": len(RULES) + 58,
        "chunks": good["chunk_count"],
        "words_only": 1,
    }


# Cancelling


async def test_a_document_that_waits_is_cancelled_and_can_be_read_again(owner, app, stuck):
    collection = await owner.collection()
    slow = await owner.upload(
        collection, *((f"slow {number}.md", RULES) for number in range(app.settings.ingest_slots))
    )
    await until(lambda: len(stuck.reading) == len(slow))
    (waiting,) = await owner.upload(collection, ("rules.md", RULES))
    answer = await owner.post(f"/documents/{waiting['id']}/cancel")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["error"]["code"]) == ("failed", "cancelled")
    again = await owner.post(f"/documents/{waiting['id']}/cancel")
    assert again.json()["error"]["code"] == "cancelled", "asked twice is asked once"
    stuck.go.set()
    for item in slow:
        assert (await owner.read_through(item["id"]))["status"] == "ready"
    assert (await owner.get(f"/documents/{waiting['id']}")).json()["status"] == "failed"
    assert (await owner.post(f"/documents/{waiting['id']}/retry")).status_code == 202
    assert (await owner.read_through(waiting["id"]))["status"] == "ready"


async def test_a_document_that_is_read_is_cancelled_and_its_parser_ends(owner, app, stuck):
    (document,) = await owner.upload(await owner.collection(), ("slow.md", RULES))
    await until(lambda: stuck.reading)
    assert (await owner.post(f"/documents/{document['id']}/cancel")).json()["status"] == "failed"
    await until(lambda: not stuck.reading)
    assert not stuck.go.is_set()
    stuck.go.set()
    (next_one,) = await owner.knows(await owner.collection(), ("next.md", RULES))
    assert next_one["status"] == "ready", "the slot is free again"
    shown = (await owner.get(f"/documents/{document['id']}")).json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "cancelled")
    assert (await actions(app, owner, document["id"]))[-1] == "document.cancelled"


async def test_a_worker_that_has_lost_a_document_writes_nothing_of_it(owner, app, stuck, count):
    (document,) = await owner.upload(await owner.collection(), ("slow.md", RULES))
    await until(lambda: stuck.reading)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        # As if it had been cancelled, queued again and claimed by another, all between two looks of this worker.
        row = await work.session.get_one(Document, UUID(document["id"]))
        row.claim, row.lease_until = uuid4(), datetime.now(UTC) + timedelta(minutes=5)
    stuck.go.set()
    await until(lambda: not stuck.reading)
    (next_one,) = await owner.knows(await owner.collection(), ("next.md", RULES))
    assert next_one["status"] == "ready"
    assert (await owner.get(f"/documents/{document['id']}")).json()["status"] == "processing"
    assert await count("chunks", f"document_id = '{document['id']}'") == 0


async def test_what_was_found_before_stays_when_reading_again_is_cancelled(owner, stuck):
    collection = await owner.collection()
    stuck.go.set()
    (document,) = await owner.knows(collection, ("slow.md", RULES))
    stuck.go.clear()
    await owner.post(f"/documents/{document['id']}/retry")
    await until(lambda: stuck.reading)
    await owner.post(f"/documents/{document['id']}/cancel")
    found = await owner.post(f"/collections/{collection}/search", json={"query": "long text"})
    assert [item["document_id"] for item in found.json()["items"]] == [document["id"]]


async def test_what_came_in_a_document_is_cancelled_with_it(owner, app, held):
    collection = await owner.collection()
    box, inner, leaf, done = await owner.upload(collection, *((f"{name}.txt", name.encode()) for name in "abcd"))
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        for child, parent in ((inner, box), (leaf, inner), (done, box)):
            status = "ready" if child is done else "queued"
            values = {"parent_id": UUID(parent["id"]), "status": status}
            await work.session.execute(update(Document).where(Document.id == UUID(child["id"])).values(values))
    await owner.post(f"/documents/{box['id']}/cancel")
    states = [(await owner.get(f"/documents/{item['id']}")).json()["status"] for item in (box, inner, leaf, done)]
    assert states == ["failed", "failed", "failed", "ready"]


async def test_what_is_not_being_read_cannot_be_cancelled(owner):
    (document,) = await owner.knows(await owner.collection(), ("rules.md", RULES))
    answer = await owner.post(f"/documents/{document['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "not-in-work")


# Passwords


async def test_a_protected_file_is_opened_with_the_password_that_is_given_later(owner, app, count):
    collection = await owner.collection()
    data = documents.pdf("The vault opens at noon every day.", password="secret")
    (document,) = await owner.upload(collection, ("locked.pdf", data))
    failed = await owner.read_through(document["id"])
    assert failed["error"]["code"] == "encrypted-file"
    for password, status in (("wrong", "failed"), ("secret", "ready")):
        answer = await owner.post(f"/documents/{document['id']}/retry", json={"password": password})
        assert answer.status_code == 202, answer.text
        assert "secret" not in answer.text
        assert (await owner.read_through(document["id"]))["status"] == status
    assert await count("documents", f"tenant_id = '{owner.tenant_id}' AND password IS NOT NULL") == 0
    found = await owner.post(f"/collections/{collection}/search", json={"query": "vault"})
    assert found.json()["items"]


async def test_a_password_can_come_with_the_file(owner, stuck, count):
    data = documents.pdf("The vault opens at noon every day.", password="secret")
    parts = (("password", "secret"), ("file", ("locked.pdf", data)), ("password", ""), ("file", ("open.md", RULES)))
    answer = await send(owner, await owner.collection(), *parts)
    for item in answer.json()["items"]:
        assert (await owner.read_through(item["id"]))["status"] == "ready"
    assert sorted(stuck.passwords, key=str) == [None, "secret"]
    assert await count("documents", f"tenant_id = '{owner.tenant_id}' AND password IS NOT NULL") == 0


async def test_a_protected_file_that_is_sent_again_with_its_password_is_read(owner):
    collection = await owner.collection()
    data = documents.pdf("The vault opens at noon every day.", password="secret")
    (document,) = await owner.upload(collection, ("locked.pdf", data))
    assert (await owner.read_through(document["id"]))["status"] == "failed"
    (again,) = (await send(owner, collection, ("password", "secret"), ("file", ("locked.pdf", data)))).json()["items"]
    assert again["id"] == document["id"]
    assert (await owner.read_through(document["id"]))["status"] == "ready"


async def test_a_password_lies_sealed_and_is_told_to_nobody(owner, app, superuser, held):
    (document,) = await owner.upload(await owner.collection(), ("rules.md", RULES))
    document_id = UUID(document["id"])
    answer = await owner.post(f"/documents/{document['id']}/retry", json={"password": "blue stone"})
    assert "blue stone" not in answer.text
    assert "blue stone" not in (await owner.get(f"/documents/{document['id']}")).text
    async with superuser.connect() as connection:
        sealed = await connection.scalar(text("SELECT password FROM documents WHERE id = :d"), {"d": document_id})
        told = await connection.scalar(
            text("SELECT string_agg(e::text, '') FROM events e WHERE tenant_id = :t"), {"t": owner.tenant_id}
        )
    assert b"blue stone" not in sealed
    assert "blue stone" not in told
    assert await password_of(app, owner.tenant_id, document_id) == "blue stone"
    for key in await app.redis.keys("folkmoot:*"):
        assert b"blue stone" not in (await app.redis.dump(key) or b"")
    await owner.post(f"/documents/{document['id']}/cancel")
    assert await password_of(app, owner.tenant_id, document_id) is None


async def test_a_password_that_was_left_behind_is_swept_away(owner, app, held):
    (waiting, done) = await owner.upload(await owner.collection(), ("a.txt", b"a"), ("b.txt", b"b"))
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        for item in (waiting, done):
            row = await work.session.get_one(Document, UUID(item["id"]))
            await keep_password(app, work, row, "secret")
        row.status = "ready"
    await forget_passwords(app, owner.tenant_id)
    assert await password_of(app, owner.tenant_id, UUID(waiting["id"])) == "secret"
    assert await password_of(app, owner.tenant_id, UUID(done["id"])) is None


# Quotas


async def test_a_document_with_more_passages_than_there_is_room_for_says_so(owner, app, superuser):
    collection = await owner.collection()
    (first,) = await owner.knows(collection, ("first.md", RULES))
    async with superuser.begin() as connection:
        await connection.execute(text("UPDATE tenants SET max_chunks = 2 WHERE id = :t"), {"t": owner.tenant_id})
    long = "".join(f"# Part {number}\n\n{'Words of this part. ' * 200}\n\n" for number in range(5)).encode()
    (refused,) = await owner.upload(collection, ("long.md", long))
    shown = await owner.read_through(refused["id"])
    assert (shown["status"], shown["error"]["code"], shown["chunk_count"]) == ("failed", "quota-exceeded", 0)
    assert "room for 1 of its 2" in shown["error"]["message"]
    (small,) = await owner.knows(collection, ("small.md", b"Short."))
    assert small["chunk_count"] == 1
    await owner.post(f"/documents/{first['id']}/retry")
    assert (await owner.read_through(first["id"]))["status"] == "ready", "what is there may be read again"
    usage = (await owner.get("/organisation")).json()
    assert (usage["usage"]["chunks"], usage["quotas"]["max_chunks"]) == (2, 2)
