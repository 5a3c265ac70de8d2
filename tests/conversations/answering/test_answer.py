"""How an answer ends: stopped, failed, interrupted, or found by the sweep, and always with what was said."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from sqlalchemy import select, update

from folkmoot.conversations.answering import answer as module
from folkmoot.conversations.answering.answer import answer
from folkmoot.conversations.answering.run import Run, Running
from folkmoot.conversations.models import Message
from folkmoot.conversations.tasks import find_left_answers
from folkmoot.kit.access import Principal
from folkmoot.kit.events import Event
from tests.conversations.conftest import eventually, said


@pytest.fixture
async def unheard(monkeypatch):
    """Keeps the worker from answering: the test does so itself."""

    async def nothing(*_):
        return None

    monkeypatch.setattr("folkmoot.conversations.tasks.answer", nothing)


async def change(app, talk, message_id: str, **values) -> None:
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        await work.session.execute(update(Message).where(Message.id == UUID(message_id)).values(**values))


async def until_said(talk, message_id: str, app) -> None:
    """Until the first words of an answer can be read."""
    async with asyncio.timeout(20):
        async for entry in app.streams.read(message_id):
            if entry is not None and entry.event == b"text.delta":
                return


async def test_stopping_keeps_what_was_said(talk, app, stub):
    asking, pending = await talk.begin("[[tokens=2000 delay=0.01]]")
    await until_said(talk, pending["id"], app)
    stopping = await talk.person.post(f"/messages/{pending['id']}/stop")
    assert stopping.status_code == 202
    stopped = (await asking).json()
    assert stopped["status"] == "stopped"
    assert stopped["content"].startswith("word0")
    assert len(stopped["content"].split()) < 2000
    events = await talk.again(pending["id"])
    assert said(events) == stopped["content"]
    assert events[-1].event == "message.completed"
    assert events[-1].data["message"] == stopped
    await eventually(lambda: not stub.streaming)
    assert stub.disconnects == 1, "the model is not kept talking"
    again = await talk.person.post(f"/messages/{pending['id']}/stop")
    assert (again.status_code, again.json()["status"]) == (202, "stopped")


async def test_an_answer_stopped_before_anybody_began_it_is_stopped(talk, app, unheard, stub):
    asking, pending = await talk.begin("Hej")
    await talk.person.post(f"/messages/{pending['id']}/stop")
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    stopped = (await asking).json()
    assert (stopped["status"], stopped["content"]) == ("stopped", "")
    assert not [request for request in stub.requests if request.path.endswith("completions")]


@pytest.mark.parametrize(
    ("told", "code", "retryable"),
    [
        ("status=401 code=invalid_api_key", "provider-authentication-failed", False),
        ("status=429 code=insufficient_quota", "provider-quota-exhausted", False),
        ("status=400 code=context_length_exceeded", "context-too-long", False),
        ("status=500", "provider-unavailable", True),
        ("html", "provider-bad-response", True),
    ],
)
async def test_a_model_that_refuses_fails_the_answer_with_its_reason(talk, told, code, retryable):
    failed = await talk.ask(f"Hej [[{told}]]")
    assert failed["status"] == "failed"
    assert (failed["error"]["code"], failed["error"]["retryable"]) == (code, retryable)
    assert len(failed["error"]["detail"].split()) > 3
    events = await talk.again(failed["id"])
    assert events[-1].event == "message.failed"
    assert events[-1].data == failed["error"]
    assert (await talk.ask("And now?"))["status"] == "complete", "the conversation goes on"


async def test_a_line_that_breaks_keeps_what_was_said(talk):
    failed = await talk.ask("one two three four five six [[cut=4]]")
    assert failed["status"] == "failed"
    assert failed["content"].split() == ["one", "two", "three", "four"]
    assert failed["error"]["retryable"]
    events = await talk.again(failed["id"])
    assert said(events) == failed["content"]
    assert events[-1].event == "message.failed"


async def test_a_failure_that_passes_before_the_first_word_is_not_seen(talk, stub):
    real, failures = stub._respond, []

    async def fails_once(request, reader, writer):
        if request.path.endswith("completions") and not failures:
            failures.append(request)
            request.body["messages"][-1]["content"] = "[[status=503]]"
        return await real(request, reader, writer)

    stub._respond = fails_once
    done = await talk.ask("Hej igen")
    assert (done["status"], done["content"]) == ("complete", "Hej igen")
    assert len(failures) == 1


async def test_an_answer_that_takes_too_long_ends(talk, app, unheard):
    asking, pending = await talk.begin("[[tokens=500 delay=0.05]]")
    short = replace(app, settings=replace(app.settings, answer_seconds=1))
    await answer(short, talk.person.tenant_id, UUID(pending["id"]))
    failed = (await asking).json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "answer-too-long")
    assert failed["content"].startswith("word0")


async def test_a_worker_that_leaves_gives_back_what_it_has_not_begun(talk, app, unheard):
    asking, pending = await talk.begin("Hej [[wait=30]]")
    working = asyncio.create_task(answer(app, talk.person.tenant_id, UUID(pending["id"])))
    await eventually(lambda: UUID(pending["id"]) in app.part(Running)._tasks)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert working.cancelled()
    assert (await talk.message(pending["id"]))["status"] == "pending"
    await change(app, talk, (await talk.message(pending["id"]))["parent_id"], content="Hej")
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    done = (await asking).json()
    assert (done["status"], done["content"]) == ("complete", "Hej")


async def test_a_worker_that_leaves_in_the_middle_keeps_what_was_said(talk, app, unheard):
    asking, pending = await talk.begin("[[tokens=2000 delay=0.02]]")
    working = asyncio.create_task(answer(app, talk.person.tenant_id, UUID(pending["id"])))
    await until_said(talk, pending["id"], app)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    failed = (await asking).json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "interrupted")
    assert failed["content"].startswith("word0")
    assert said(await talk.again(pending["id"])) == failed["content"]


async def test_one_answer_is_written_by_one_worker(talk, app, unheard, stub):
    asking, pending = await talk.begin("Hej [[tokens=20 delay=0.01]]")
    both = [answer(app, talk.person.tenant_id, UUID(pending["id"])) for _ in range(2)]
    await asyncio.gather(*both)
    assert (await asking).json()["status"] == "complete"
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    assert len([request for request in stub.requests if request.path.endswith("completions")]) == 1


class Recording:
    """Takes down what the sweep would queue."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, task, payload, **_):
        self.sent.append(str(payload["message_id"]))


@pytest.fixture
def seen(app):
    return replace(app, sessions=replace(app.sessions, jobs=Recording()))


async def test_the_sweep_asks_again_what_a_dead_worker_had_not_begun(talk, app, seen, unheard):
    asking, pending = await talk.begin("Hej")
    sent = seen.sessions.jobs.sent
    now = datetime.now(UTC)
    await find_left_answers(seen, talk.person.tenant_id)
    assert sent == [], "it has only just come"
    await change(app, talk, pending["id"], lease_until=now + timedelta(seconds=10))
    await find_left_answers(seen, talk.person.tenant_id)
    assert sent == [], "its worker is alive"
    await change(app, talk, pending["id"], lease_until=now - timedelta(seconds=1))
    await find_left_answers(seen, talk.person.tenant_id)
    assert sent == [pending["id"]]
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    assert (await asking).json()["status"] == "complete"


async def test_the_sweep_asks_again_what_nobody_heard(talk, app, seen, unheard):
    asking, pending = await talk.begin("Hej")
    await change(app, talk, pending["id"], created_at=datetime.now(UTC) - timedelta(seconds=30))
    await find_left_answers(seen, talk.person.tenant_id)
    assert seen.sessions.jobs.sent == [pending["id"]]
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    assert (await asking).json()["status"] == "complete"


async def test_the_sweep_ends_what_a_dead_worker_had_begun(talk, app, seen, unheard):
    asking, pending = await talk.begin("Hej")
    await change(
        app,
        talk,
        pending["id"],
        status="streaming",
        content="The first half",
        lease_until=datetime.now(UTC) - timedelta(seconds=1),
    )
    await find_left_answers(seen, talk.person.tenant_id)
    failed = (await asking).json()
    assert (failed["status"], failed["content"]) == ("failed", "The first half")
    assert (failed["error"]["code"], failed["error"]["retryable"]) == ("interrupted", True)
    assert seen.sessions.jobs.sent == []


async def test_the_sweep_gives_up_what_waited_too_long(talk, app, seen, unheard):
    asking, pending = await talk.begin("Hej")
    long_ago = datetime.now(UTC) - timedelta(minutes=11)
    await change(app, talk, pending["id"], created_at=long_ago)
    await find_left_answers(seen, talk.person.tenant_id)
    assert (await asking).json()["status"] == "failed"


async def test_an_assistant_deleted_before_it_answered_ends_the_answer(talk, app, unheard):
    asking, pending = await talk.begin("Hej")
    await talk.person.delete(f"/assistants/{talk.assistant}")
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    failed = (await asking).json()
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "assistant-gone"


async def test_a_conversation_deleted_while_it_is_answered_ends_its_answer(talk, app, stub):
    asking, pending = await talk.begin("[[tokens=5000 delay=0.02]]")
    await until_said(talk, pending["id"], app)
    assert (await talk.person.delete(f"/conversations/{talk.id}")).status_code == 204
    assert (await asyncio.wait_for(asking, 20)).status_code == 404
    await eventually(lambda: UUID(pending["id"]) not in app.part(Running)._tasks and not stub.streaming)


async def test_what_happened_to_an_answer_is_an_event_for_its_owner_alone(talk, app):
    done = await talk.ask("Hej")
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        rows = list(
            await work.session.scalars(select(Event).where(Event.object_id == UUID(done["id"])).order_by(Event.id))
        )
    assert [row.action for row in rows] == ["message.asked", "message.completed"]
    assert {row.user_id for row in rows} == {talk.person.user.id}
    assert "Hej" not in str([row.data for row in rows]), "the audit trail tells that, and not what"


async def test_an_answer_that_was_ended_is_not_opened_again_by_its_old_worker(talk, app, monkeypatch):
    ended = await talk.ask("Hej")
    tenant = Principal.system(talk.person.tenant_id)
    async with app.begin(tenant) as work:
        message = await work.session.get_one(Message, UUID(ended["id"]))
    run = Run(message, message, [], SimpleNamespace(), message.id, [], message.id)
    run.says("more")
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)
    stopped = asyncio.Event()
    monkeypatch.setattr(app.part(Running), "stop", lambda _: stopped.set())
    renewing = asyncio.create_task(module._renew(app, run))
    async with asyncio.timeout(10):
        await stopped.wait()
    renewing.cancel()
    again = (await talk.person.get(f"/messages/{ended['id']}")).json()
    assert (again["status"], again["content"]) == ("complete", ended["content"])
