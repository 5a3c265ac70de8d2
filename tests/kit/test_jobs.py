"""Tasks: their lanes, their retries, and what finds them when their message is lost."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import structlog
from redis.asyncio import Redis
from sqlalchemy import text

from folkmoot.assemble import assemble
from folkmoot.conversations.tasks import find_left_answers
from folkmoot.feed.service import ACTIVE
from folkmoot.kit import jobs as module
from folkmoot.kit.jobs import DELAYED, Jobs, Task, task
from folkmoot.knowledge.tasks import find_left_documents
from folkmoot.worker import ACTIVE_WITHIN, sweep, sweep_active, working

SECONDS = 30


@pytest.fixture
async def elsewhere(settings, database):
    """Another installation's worth of Redis, so that nobody else works on what these tests queue."""
    base, _, number = settings.redis_url.rpartition("db=")
    separate = replace(settings, redis_url=f"{base}db={15 - int(number)}")
    redis = Redis.from_url(separate.redis_url)
    await redis.flushdb()
    yield separate
    await redis.flushdb()
    await redis.aclose()


@pytest.fixture
def registered():
    """Registers tasks for one test."""
    before = dict(module.TASKS)
    yield
    module.TASKS.clear()
    module.TASKS.update(before)


@asynccontextmanager
async def worker(settings, **fields):
    async with assemble(replace(settings, **fields)) as app, working(app):
        yield app


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not (found := await condition()):  # noqa: ASYNC110 - the condition lies in a database
            await asyncio.sleep(0.02)
        return found


def test_pauses_grow_and_end_at_five_minutes():
    made = Task("t", "chat", None)
    for attempt, least in ((1, 1), (2, 2), (3, 4), (4, 8), (9, 256), (10, 300), (30, 300)):
        pauses = [made.pause(attempt) for _ in range(50)]
        assert all(least <= pause <= least * 1.25 for pause in pauses)
        assert len(set(pauses)) > 1, "without jitter all come back at once"


def test_a_task_of_an_unknown_lane_is_refused():
    with pytest.raises(ValueError, match="lanes are chat, ingest, crawl, maintenance"):
        task("t", lane="other")


async def test_a_failing_task_comes_back_until_it_works(elsewhere, registered):
    tries, done = [], asyncio.Event()

    @task("tests.flaky", lane="maintenance")
    async def flaky(app, *, number):
        tries.append(number)
        if len(tries) < 3:
            raise RuntimeError("not yet")
        done.set()

    quick = replace(flaky, first_pause=0.01)
    module.TASKS["tests.flaky"] = quick
    async with worker(elsewhere) as app, asyncio.timeout(SECONDS):
        await app.sessions.jobs.send(quick, {"number": 7})
        await done.wait()
    assert tries == [7, 7, 7]


async def test_a_task_that_never_works_is_left_to_the_sweep(elsewhere, registered):
    tries = []

    @task("tests.hopeless", lane="maintenance", attempts=2)
    async def hopeless(app):
        tries.append(app)
        raise RuntimeError("never")

    quick = replace(hopeless, first_pause=0.01)
    module.TASKS["tests.hopeless"] = quick
    async with worker(elsewhere) as app:
        await app.sessions.jobs.send(quick, {})

        async def given_up():
            return len(tries) == 2 and not module.RUNNING

        await until(given_up)
        waiting = await app.redis.zrange(DELAYED, 0, -1)
        assert [entry for entry in waiting if b"tests.hopeless" in entry] == []


async def test_what_is_delayed_moves_once_with_two_movers(elsewhere, registered):
    ran = []

    @task("tests.later", lane="maintenance")
    async def later(app, *, number):
        ran.append(number)

    redis = Redis.from_url(elsewhere.redis_url, protocol=2)
    one, two = Jobs(elsewhere.redis_url, redis), Jobs(elsewhere.redis_url, redis)
    await one.start()
    await two.start()
    for number in range(50):
        await one.send(later, {"number": number}, delay=60)
    assert await one.send_due() == 0
    moved = await asyncio.gather(*(mover.send_due(time.time() + 61) for mover in (one, two, one, two)))
    assert sum(moved) == 50
    assert await redis.xlen("folkmoot:lane:maintenance") == 50
    await one.close()
    await two.close()
    async with worker(elsewhere):

        async def all_ran():
            return len(ran) >= 50

        await until(all_ran)
    assert sorted(ran) == list(range(50))
    await redis.aclose()


async def test_the_same_task_delayed_twice_is_two(app, registered):
    @task("tests.twice", lane="maintenance")
    async def twice(app): ...

    redis = app.redis
    before = await redis.zcard(DELAYED)
    for _ in range(2):
        await app.sessions.jobs.send(twice, {}, delay=3600)
    entries = await redis.zrange(DELAYED, 0, -1)
    ours = [entry for entry in entries if b"tests.twice" in entry]
    await redis.zrem(DELAYED, *ours)
    assert len(ours) == 2
    assert await redis.zcard(DELAYED) == before


async def test_a_queue_that_is_gone_does_not_fail_what_is_committed(app):
    dead = Jobs("redis://127.0.0.1:1/0", Redis.from_url("redis://127.0.0.1:1/0"))
    with structlog.testing.capture_logs() as said:
        await dead.send(Task("tests.unsent", "chat", None), {})
        await dead.send(Task("tests.unsent", "chat", None), {}, delay=5)
    assert [(line["event"], line["task"]) for line in said] == [("job.not_queued", "tests.unsent")] * 2


async def test_a_document_whose_message_was_lost_is_found(app, owner, superuser, monkeypatch):
    collection = await owner.collection()
    lost = []

    async def lose(self, task, payload, *, delay=0, attempt=1):
        lost.append(task.name)

    with monkeypatch.context() as patched:
        patched.setattr(Jobs, "send", lose)
        (document,) = await owner.upload(collection, ("a.txt", b"Found after all."))
    assert lost == ["knowledge.ingest_document"]
    await find_left_documents(app, owner.tenant_id)
    assert (await owner.get(f"/documents/{document['id']}")).json()["status"] == "queued", "too early: patience"
    await set_back(superuser, "documents", "updated_at", document["id"])
    await find_left_documents(app, owner.tenant_id)
    assert (await owner.read_through(document["id"]))["status"] == "ready"


async def test_a_document_whose_worker_died_is_read_again(app, owner, superuser):
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("a.txt", b"Read twice."))
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE documents SET status = 'processing', lease_until = now() - interval '1 s' WHERE id = :id"),
            {"id": document["id"]},
        )
    await find_left_documents(app, owner.tenant_id)
    assert (await owner.read_through(document["id"]))["status"] == "ready"


async def test_a_question_whose_message_was_lost_is_answered(app, owner, superuser, monkeypatch):
    conversation = await owner.conversation(await owner.assistant(await owner.space()))
    send = Jobs.send

    async def lose(self, task, payload, *, delay=0, attempt=1):
        if task.name != "conversations.answer":
            await send(self, task, payload, delay=delay, attempt=attempt)

    with monkeypatch.context() as patched:
        patched.setattr(Jobs, "send", lose)
        asking = asyncio.create_task(owner.ask(conversation, "Is anybody there?"))

        async def waiting():
            rows = (await owner.get(f"/conversations/{conversation}/messages")).json()["items"]
            return rows[1]["id"] if len(rows) == 2 else None

        message = await until(waiting)
    await find_left_answers(app, owner.tenant_id)
    assert not asking.done(), "too early: patience"
    await set_back(superuser, "messages", "created_at", message)
    await find_left_answers(app, owner.tenant_id)
    assert (await asking)["status"] == "complete"


async def test_an_answer_whose_worker_died_ends_with_its_text(app, owner, superuser):
    conversation = await owner.conversation(await owner.assistant(await owner.space()))
    answer = await owner.ask(conversation, "Is anybody there?")
    async with superuser.begin() as connection:
        await connection.execute(text("DELETE FROM receipts WHERE message_id = :id"), {"id": answer["id"]})
        await connection.execute(
            text(
                "UPDATE messages SET status = 'streaming', content = 'So far', finished_at = NULL,"
                " lease_until = now() - interval '1 s' WHERE id = :id"
            ),
            {"id": answer["id"]},
        )
    await find_left_answers(app, owner.tenant_id)
    left = (await owner.get(f"/messages/{answer['id']}")).json()
    assert (left["status"], left["error"]["code"], left["error"]["retryable"]) == ("failed", "interrupted", True)
    assert left["finished_at"] is not None


async def test_the_sweep_goes_through_every_tenant_and_one_worker_does_it(app, owner, tenancy, monkeypatch):
    other = await tenancy.owner()
    seen = []

    async def look(app, tenant_id):
        seen.append(tenant_id)

    monkeypatch.setattr("folkmoot.worker.SWEEPS", [look])
    await app.redis.delete("folkmoot:sweep")
    await asyncio.gather(sweep(app), sweep(app), sweep(app))
    assert {owner.tenant_id, other.tenant_id} <= set(seen)
    assert len(seen) == len(set(seen))


async def test_who_had_events_just_now_is_looked_after_first(app, tenancy, monkeypatch):
    silent, busy = await tenancy.owner(), await tenancy.owner()
    seen = []

    async def look(app, tenant_id):
        seen.append(tenant_id)

    monkeypatch.setattr("folkmoot.worker.SWEEPS", [look])
    await app.redis.set("folkmoot:sweep", "held", ex=60)
    await app.redis.zrem(ACTIVE, str(silent.tenant_id))
    await busy.space()
    await app.redis.delete("folkmoot:sweep:active")
    await sweep_active(app)
    assert busy.tenant_id in seen
    assert silent.tenant_id not in seen
    await app.redis.zadd(ACTIVE, {str(busy.tenant_id): time.time() - ACTIVE_WITHIN - 1})
    await app.redis.delete("folkmoot:sweep:active")
    seen.clear()
    await sweep_active(app)
    assert busy.tenant_id not in seen
    await app.redis.delete("folkmoot:sweep")


async def test_chat_does_not_wait_behind_a_full_ingest_lane(elsewhere, registered):
    release, full, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()
    begun = []

    @task("tests.slow", lane="ingest")
    async def slow(app, *, number):
        begun.append(number)
        if len(begun) == elsewhere.ingest_slots:
            full.set()
        await release.wait()

    @task("tests.quick", lane="chat")
    async def quick(app):
        answered.set()

    async with worker(elsewhere) as app, asyncio.timeout(SECONDS):
        for number in range(20):
            await app.sessions.jobs.send(slow, {"number": number})
        await full.wait()
        await app.sessions.jobs.send(quick, {})
        await answered.wait()
        assert len(begun) == elsewhere.ingest_slots, "more at once than there are slots"
        release.set()

        async def all_begun():
            return len(begun) == 20

        await until(all_begun)


async def test_a_worker_serves_only_the_lanes_it_is_told_to(elsewhere, registered):
    ran = []

    @task("tests.chat", lane="chat")
    async def chat(app):
        ran.append("chat")

    @task("tests.ingest", lane="ingest")
    async def ingest(app):
        ran.append("ingest")

    async with worker(elsewhere, lanes=("chat",)) as app:
        await app.sessions.jobs.send(ingest, {})
        await app.sessions.jobs.send(chat, {})

        async def one_ran():
            return ran

        assert await until(one_ran) == ["chat"]
    async with worker(elsewhere, lanes=("ingest",)):

        async def both_ran():
            return len(ran) == 2

        await until(both_ran)
    assert ran == ["chat", "ingest"]


async def set_back(superuser, table: str, column: str, row_id: str) -> None:
    """As if a minute had gone by."""
    then = datetime.now(UTC) - timedelta(minutes=1)
    async with superuser.begin() as connection:
        await connection.execute(
            text(f"UPDATE {table} SET {column} = :then WHERE id = :id"), {"then": then, "id": UUID(row_id)}
        )
