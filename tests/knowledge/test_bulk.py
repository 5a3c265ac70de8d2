"""Thousands of documents: taken in, read fairly, cancelled, read again and deleted, whatever dies in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update

from folkmoot.feed import service as feed
from folkmoot.kit.access import Principal
from folkmoot.kit.events import Event
from folkmoot.kit.jobs import TASKS, Task
from folkmoot.knowledge import bulk
from folkmoot.knowledge.models import BulkOperation, Document
from folkmoot.knowledge.pick import WAITING, WORKING, announce, next_document, unheard
from folkmoot.knowledge.tasks import BELLS, find_left_documents, find_left_operations
from tests.architecture import tables
from tests.knowledge.stuck import until

RULES = b"# Fences\n\nA fence along the street may be 1.2 metres high.\n"


def files(number: int, prefix: str = "file"):
    return [(f"{prefix} {at}.md", RULES + f"Paragraph {at} stands here.".encode()) for at in range(number)]


async def upload_all(owner, collection, many) -> list[dict]:
    found = []
    for start in range(0, len(many), 100):
        found += await owner.upload(collection, *many[start : start + 100])
    return found


async def finished(owner, collection: str, seconds: float = 60) -> dict:
    """The counts of a collection, once nothing in it waits."""
    async with asyncio.timeout(seconds):
        while True:
            counts = (await owner.get(f"/collections/{collection}/status")).json()
            if counts["queued"] + counts["processing"] == 0:
                return counts
            await asyncio.sleep(0.1)


async def done(owner, answer, seconds: float = 30) -> dict:
    """A bulk operation, once it is finished."""
    assert answer.status_code == 202, answer.text
    asked = answer.json()
    async with asyncio.timeout(seconds):
        while True:
            items = (await owner.get(f"/collections/{asked['collection_id']}/operations")).json()["items"]
            (operation,) = [item for item in items if item["id"] == asked["id"]]
            if operation["finished_at"]:
                return operation
            await asyncio.sleep(0.05)


async def change(app, owner, *document_ids: str, **values) -> None:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        ids = [UUID(document_id) for document_id in document_ids]
        await work.session.execute(update(Document).where(Document.id.in_(ids)).values(**values))


@pytest.fixture
def few(monkeypatch):
    """Batches so small that some are needed."""
    monkeypatch.setattr(bulk, "BATCH", dict.fromkeys(bulk.BATCH, 3))


async def idle(app) -> None:
    """Return once every bell that was rung is heard."""
    async with asyncio.timeout(30):
        lane = "folkmoot:lane:ingest"
        while await unheard(app.redis) or (await app.redis.xpending(lane, "workers"))["pending"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
async def alone(app, superuser, held, monkeypatch):
    """Nothing waits that an earlier test left, nobody sweeps, and no worker reads."""
    monkeypatch.setattr("folkmoot.worker.SWEEPS", [])
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE documents SET status = 'failed' WHERE status = ANY ('{queued,processing}')")
        )
    await idle(app)
    await app.redis.delete(WAITING, WORKING)


class Ringing:
    """In the place of the queue: remembers what was sent."""

    def __init__(self, app):
        self.sent: list[tuple[str, str]] = []
        self.redis = app.redis
        self.app = replace(app, sessions=replace(app.sessions, jobs=self))

    async def send(self, task, payload, **_):
        self.sent.append((task.name, str(payload.get("document_id") or payload.get("operation_id"))))


# Taking in


async def test_many_small_files_are_read_with_few_events(owner, app):
    collection = await owner.collection()
    uploaded = await upload_all(owner, collection, files(120))
    counts = await finished(owner, collection)
    assert (counts["documents"], counts["ready"], counts["failed"]) == (120, 120, 0)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        told = list(await work.session.scalars(select(Event.action).where(Event.object_type == "document")))
    assert told.count("document.ready") == len(uploaded)
    assert told.count("document.progress") <= len(uploaded) / 5, "what is quick tells its states alone"


async def test_one_file_does_not_stand_behind_the_many_of_another_organisation(tenancy, app, stuck):
    many, one = await tenancy.owner(), await tenancy.owner()
    collection = await many.collection()
    await upload_all(many, collection, files(60, "slow"))
    await until(lambda: len(stuck.reading) == app.settings.ingest_slots)
    (document,) = await one.upload(await one.collection(), ("mine.md", RULES))
    before = len(stuck.order)
    stuck.go.set()
    assert (await one.read_through(document["id"]))["status"] == "ready"
    assert stuck.order.index("mine.md") - before < app.settings.ingest_slots
    await many.post(f"/collections/{collection}/cancel")


async def test_who_has_the_fewest_in_work_is_next_and_then_who_has_waited_longest(tenancy, app, alone):
    people = [await tenancy.owner() for _ in range(3)]
    made = [await person.upload(await person.collection(), *files(3)) for person in people]
    await idle(app)
    for person, items in zip(people, made, strict=True):
        await change(app, person, *(item["id"] for item in items), lease_until=None)
        await announce(app.redis, person.tenant_id)
    order = []
    async with next_document(app, people[0].tenant_id) as first, next_document(app, people[0].tenant_id) as second:
        order += [first.tenant_id, second.tenant_id]
        async with next_document(app, people[0].tenant_id) as third:
            order.append(third.tenant_id)
        async with next_document(app, people[0].tenant_id) as fourth:
            assert fourth.tenant_id == third.tenant_id, "the others have one in work"
    assert set(order) == {person.tenant_id for person in people}
    assert len({first, second, third, fourth}) == 4, "none is picked twice"


async def test_what_was_announced_in_vain_is_forgotten(app, owner, alone):
    await announce(app.redis, owner.tenant_id)
    async with next_document(app, owner.tenant_id) as picked:
        assert picked is None
    assert await app.redis.zscore(WAITING, str(owner.tenant_id)) is None


async def test_one_that_waits_for_its_time_or_has_just_been_picked_is_not_picked(app, owner, alone):
    later, picked, lost = await owner.upload(await owner.collection(), *files(3))
    await idle(app)
    now = datetime.now(UTC)
    await change(app, owner, later["id"], lease_until=None, retry_at=now + timedelta(minutes=1))
    await change(app, owner, picked["id"], lease_until=now + timedelta(seconds=5))
    await change(app, owner, lost["id"], status="processing", lease_until=now - timedelta(seconds=1))
    async with next_document(app, owner.tenant_id) as found:
        assert str(found.document_id) == lost["id"]
        async with next_document(app, owner.tenant_id) as none:
            assert none is None


async def test_the_sweep_rings_for_some_of_what_was_lost_and_not_for_all_at_once(app, tenancy, alone):
    ringing = Ringing(app)
    for owner, number in ((await tenancy.owner(), 70), (await tenancy.owner(), 2)):
        items = await upload_all(owner, await owner.collection(), files(number))
        await idle(app)
        long_ago = datetime.now(UTC) - timedelta(minutes=1)
        await change(app, owner, *(item["id"] for item in items), updated_at=long_ago)
        ringing.sent.clear()
        await find_left_documents(ringing.app, owner.tenant_id)
        assert len(ringing.sent) == min(number, BELLS)
        assert {document_id for _, document_id in ringing.sent} <= {item["id"] for item in items}
        assert await app.redis.zscore(WAITING, str(owner.tenant_id)) is not None


async def test_lost_messages_of_many_documents_are_made_up_for(app, owner, alone, monkeypatch):
    collection = await owner.collection()
    items = await upload_all(owner, collection, files(20))
    await idle(app)
    monkeypatch.undo()
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    await change(app, owner, *(item["id"] for item in items), updated_at=long_ago, lease_until=None)
    await find_left_documents(app, owner.tenant_id)
    assert (await finished(owner, collection))["ready"] == 20


# Lanes


async def test_neither_uploads_nor_crawls_delay_a_chat_and_no_crawl_an_upload(owner, app, stuck, monkeypatch):
    space = await owner.space()
    collection = await owner.collection(space)
    await owner.knows(collection, ("rules.md", RULES))
    go, crawling = asyncio.Event(), []

    async def crawl(_app, **payload):
        crawling.append(payload)
        await go.wait()

    broker = app.sessions.jobs.brokers["crawl"]
    name = f"tests.crawl_{uuid4().hex}"
    monkeypatch.setitem(TASKS, name, Task(name, "crawl", crawl))
    broker.register_task(lambda payload, attempt, request_id="": crawl(app, **payload), task_name=name)
    try:
        for number in range(20):
            await app.sessions.jobs.send(TASKS[name], {"number": number})
        await until(lambda: crawling)
        (document,) = await owner.knows(collection, ("second.md", RULES + b"More of it."))
        assert document["status"] == "ready"
        await owner.upload(collection, *files(20, "slow"))
        await until(lambda: len(stuck.reading) == app.settings.ingest_slots)
        answer = await owner.ask(
            await owner.conversation(await owner.assistant(space, collection)), "How high may a fence be?"
        )
        assert answer["status"] == "complete"
        assert len(stuck.reading) == app.settings.ingest_slots
        assert not go.is_set()
    finally:
        go.set()
        await owner.post(f"/collections/{collection}/cancel")


# Cancelling, reading again


async def test_all_that_waits_or_is_read_is_cancelled_and_what_came_later_is_not(owner, app, stuck, few):
    collection = await owner.collection()
    await owner.knows(collection, ("ready.md", RULES))
    slow = await owner.upload(collection, *files(12, "slow"))
    elsewhere = await owner.upload(await owner.collection(), ("slow elsewhere.md", RULES))
    await until(lambda: len(stuck.reading) == app.settings.ingest_slots)
    operation = await done(owner, await owner.post(f"/collections/{collection}/cancel"))
    assert (operation["action"], operation["total"], operation["done"]) == ("cancel", len(slow), len(slow))
    counts = (await owner.get(f"/collections/{collection}/status")).json()
    assert (counts["ready"], counts["failed"], counts["queued"], counts["processing"]) == (1, len(slow), 0, 0)
    await until(lambda: not any(name != "slow elsewhere.md" for name in stuck.reading))
    stuck.go.set()
    assert (await owner.read_through(elsewhere[0]["id"]))["status"] == "ready"


async def test_all_that_failed_is_read_again_or_only_what_failed_for_one_reason(owner, app, few):
    collection = await owner.collection()
    await owner.knows(collection, ("good.md", RULES))
    broken = [(f"picture {at}.png", b"\x89PNG\r\n\x1a\n" + bytes(50 + at)) for at in range(4)]
    items = await owner.upload(collection, *broken)
    assert (await finished(owner, collection))["failed"] == 4
    code = (await owner.read_through(items[0]["id"]))["error"]["code"]
    await change(app, owner, items[0]["id"], error_code="reading-interrupted")

    async def again(**selection):
        return await done(owner, await owner.post(f"/collections/{collection}/retry", json=selection))

    assert (await again(codes=["reading-interrupted"]))["done"] == 1
    await finished(owner, collection)
    assert (await again())["done"] == 4
    assert (await finished(owner, collection))["failed"] == 4
    assert (await again(codes=["cancelled"]))["total"] == 0
    assert (await again(statuses=["ready"]))["done"] == 1
    assert (await again(statuses=["ready", "failed"], codes=[code]))["done"] == 4
    assert (await finished(owner, collection))["ready"] == 1


async def test_reading_all_again_keeps_what_is_found(owner, few):
    collection = await owner.collection()
    await owner.knows(collection, *files(7))

    async def passages():
        items = (await owner.get(f"/collections/{collection}/documents")).json()["items"]
        found = [(await owner.get(f"/documents/{item['id']}/chunks")).json()["items"] for item in items]
        return sorted(piece["id"] for pieces in found for piece in pieces)

    before = await passages()
    operation = await done(owner, await owner.post(f"/collections/{collection}/retry", json={"statuses": ["ready"]}))
    assert operation["done"] == 7
    assert (await finished(owner, collection))["ready"] == 7
    assert await passages() == before


# Deleting


async def test_many_documents_are_deleted_with_all_that_was_made_of_them(owner, app, superuser, count, few):
    collection = await owner.collection()
    others = await owner.knows(collection, *files(3, "other"))
    async with superuser.connect() as connection:
        before = await rows_of(connection, owner.tenant_id)
    items = await owner.knows(collection, *files(8))
    chosen = {"filters": {"document_ids": [item["id"] for item in items]}}
    operation = await done(owner, await owner.post(f"/collections/{collection}/documents/delete", json=chosen))
    assert (operation["total"], operation["done"]) == (8, 8)
    for item in items:
        assert (await owner.get(f"/documents/{item['id']}")).status_code == 404
    async with superuser.connect() as connection:
        after = await rows_of(connection, owner.tenant_id)
    grown = {"events", "audit_seals", "audit_checkpoints", "bulk_operations", "text_segments", "text_blocks"}
    grown |= {"text_deletions"}
    assert {table: number for table, number in after.items() if table not in grown} == {
        table: number for table, number in before.items() if table not in grown
    }
    assert (await app.storage.usage(owner.tenant_id))[0] == 3
    found = await owner.post(f"/collections/{collection}/search", json={"query": "paragraph stands here", "limit": 50})
    assert {hit["document_id"] for hit in found.json()["items"]} <= {item["id"] for item in others}
    assert found.json()["items"]


async def rows_of(connection, tenant_id) -> dict[str, int]:
    """How many rows a tenant has, table by table."""
    found = {}
    for table in await tables.table_names(connection):
        own = "id" if table in tables.PLATFORM_WIDE else "tenant_id"
        query = text(f"SELECT count(*) FROM {table} WHERE {own} = :t")
        found[table] = await connection.scalar(query, {"t": tenant_id})
    return found


async def test_what_lies_in_another_is_deleted_with_it_and_counted(owner, app, held, few, count):
    collection = await owner.collection()
    items = await owner.upload(collection, *files(5))
    await change(app, owner, items[1]["id"], items[4]["id"], parent_id=UUID(items[0]["id"]))
    await change(app, owner, items[3]["id"], parent_id=UUID(items[1]["id"]))
    answer = await owner.post(f"/collections/{collection}/documents/delete", json={"statuses": ["queued"]})
    operation = await done(owner, answer)
    assert (operation["total"], operation["done"]) == (5, 5)
    assert await count("documents", f"tenant_id = '{owner.tenant_id}'") == 0
    assert await count("files", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_deleting_is_for_what_is_selected_and_in_this_collection(owner, held):
    collection = await owner.collection()
    (mine,) = await owner.upload(collection, ("a.txt", b"a"))
    (elsewhere,) = await owner.upload(await owner.collection(), ("b.txt", b"b"))
    path = f"/collections/{collection}/documents/delete"
    for nothing in ({}, {"filters": {}}, {"statuses": []}):
        answer = await owner.post(path, json=nothing)
        assert (answer.status_code, answer.json()["code"]) == (400, "validation-failed")
    answer = await owner.post(path, json={"filters": {"document_ids": [mine["id"], elsewhere["id"]]}})
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    operation = await done(owner, await owner.post(path, json={"filters": {"document_ids": []}}))
    assert operation["total"] == 0
    for item in (mine, elsewhere):
        assert (await owner.get(f"/documents/{item['id']}")).status_code == 200


async def test_the_files_of_a_deleted_collection_go_soon(owner, app, held):
    collection = await owner.collection()
    await owner.upload(collection, *files(5))
    assert (await app.storage.usage(owner.tenant_id))[0] == 5
    assert (await owner.delete(f"/collections/{collection}")).status_code == 204
    async with asyncio.timeout(20):
        while (await app.storage.usage(owner.tenant_id))[0]:  # noqa: ASYNC110 - the worker does it
            await asyncio.sleep(0.05)


# What dies in between


async def test_an_operation_whose_worker_died_goes_on(owner, app, held, few, monkeypatch):
    collection = await owner.collection()
    await owner.upload(collection, *files(8))
    ringing = Ringing(app)
    original = app.sessions.jobs.send

    async def lost(task, payload, **more):
        if task.name != "knowledge.run_operation":
            await original(task, payload, **more)

    monkeypatch.setattr(app.sessions.jobs, "send", lost)
    asked = (await owner.post(f"/collections/{collection}/cancel")).json()
    monkeypatch.setattr(app.sessions.jobs, "send", original)
    operation_id = UUID(asked["id"])
    assert await bulk.advance(app, TASKS["knowledge.ingest_document"], owner.tenant_id, operation_id)
    await find_left_operations(ringing.app, owner.tenant_id)
    assert ringing.sent == [], "it has only just moved"
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        row = await work.session.get_one(BulkOperation, operation_id)
        assert (row.done, row.finished_at) == (3, None)
        row.moved_at = datetime.now(UTC) - timedelta(minutes=1)
    await find_left_operations(ringing.app, owner.tenant_id)
    assert ringing.sent == [("knowledge.run_operation", asked["id"])]
    await asyncio.gather(*(
        TASKS["knowledge.run_operation"].run(app, tenant_id=str(owner.tenant_id), operation_id=asked["id"])
        for _ in range(2)
    ))  # fmt: skip
    (operation,) = (await owner.get(f"/collections/{collection}/operations")).json()["items"]
    assert (operation["done"], operation["total"]) == (8, 8)
    assert (await owner.get(f"/collections/{collection}/status")).json()["failed"] == 8


# Who may, and who hears


async def test_who_hears_of_it_is_in_the_space_and_the_log_has_who_asked(owner, app, tenancy, held, settled):
    space = await owner.space()
    collection = await owner.collection(space)
    items = await owner.upload(collection, *files(3))
    viewer, outsider = await tenancy.colleague(owner), await tenancy.colleague(owner)
    put = await owner.put(f"/spaces/{space}/members/{viewer.user.id}", json={"role": "viewer"})
    assert put.status_code == 200

    def principal(person):
        return Principal(tenant_id=owner.tenant_id, user_id=person.user.id, kind="user")

    await settled()
    begun = await feed.now(app, principal(owner))
    await done(owner, await owner.post(f"/collections/{collection}/cancel"))
    await settled()
    told, middle = await feed.after(app, principal(viewer), begun)
    names = [event["event"] for event in told]
    assert names == ["collection.operation_started", *["document.cancelled"] * 3, "collection.operation_finished"]
    assert {str(event["object_id"]) for event in told[1:4]} == {item["id"] for item in items}
    assert told[1]["data"]["error"] == "cancelled"
    assert {event["actor_id"] for event in told[:4]} == {owner.user.id}
    assert (await feed.after(app, principal(outsider), begun))[0] == []
    assert (await feed.after(app, principal(viewer), middle))[0] == []
    resumed, _ = await feed.after(app, principal(viewer), feed.parse_cursor(told[1]["id"]))
    assert [event["id"] for event in resumed] == [event["id"] for event in told[2:]]


@pytest.mark.parametrize("action", ["cancel", "retry", "documents/delete"])
async def test_who_only_reads_does_nothing_to_many_documents(owner, tenancy, held, count, action):
    space = await owner.space()
    collection = await owner.collection(space)
    await owner.upload(collection, *files(2))
    viewer = await tenancy.colleague(owner)
    await owner.put(f"/spaces/{space}/members/{viewer.user.id}", json={"role": "viewer"})
    answer = await viewer.post(f"/collections/{collection}/{action}", json={"statuses": ["queued"]})
    assert answer.status_code == 403
    assert (await viewer.get(f"/collections/{collection}/operations")).json()["items"] == []
    assert await count("bulk_operations", f"tenant_id = '{owner.tenant_id}'") == 0
