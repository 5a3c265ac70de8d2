"""Approvals: the asker decides, whatever was started anew in between, and only what was shown is called."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, update

from folkmoot.conversations.answering import answer as module
from folkmoot.conversations.answering import follow as following
from folkmoot.conversations.answering.answer import answer
from folkmoot.conversations.models import Conversation, Message, ToolCall
from folkmoot.conversations.tasks import end_old_approvals, find_left_answers
from folkmoot.kit.access import Principal
from folkmoot.kit.events import Event
from folkmoot.kit.stream import key_of
from folkmoot.tools.offer import Outcome
from tests.conversations.conftest import parse, said

ASKS = 'Send it, please. [[saying=Wait]] [[call send {"text": "Hej"}]]'
BOTH = 'Send it. [[saying=Wait]] [[call send {"text": "one"}]] [[call send {"text": "two"}]] [[call look {}]]'


@pytest.fixture
async def waiting(talk, tools):
    """An answer that waits for a decision about one call."""
    tools.has("send", "sent", approval=True)
    return await talk.ask(ASKS)


@pytest.fixture
async def unheard(monkeypatch):
    async def nothing(*_):
        return None

    monkeypatch.setattr("folkmoot.conversations.tasks.answer", nothing)


async def decide(talk, message_id: str, call_id: str = "1-1", approved: bool = True, **fields) -> httpx.Response:
    body = {"call_id": call_id, "approved": approved, **fields}
    return await talk.person.post(f"/messages/{message_id}/approvals", json=body)


async def ended(talk, message_id: str) -> dict:
    """The answer once it has ended or waits again."""
    async with asyncio.timeout(20):
        while (message := await talk.message(message_id))["status"] in ("pending", "streaming"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return message


async def calls(talk, message_id: str) -> list[dict]:
    return (await talk.person.get(f"/messages/{message_id}/tool-calls")).json()["items"]


async def change(app, talk, message_id: str, **values) -> None:
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        await work.session.execute(update(Message).where(Message.id == UUID(message_id)).values(**values))


async def actions(app, talk, message_id: str) -> list[Event]:
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        rows = select(Event).where(Event.object_id == UUID(message_id)).order_by(Event.id)
        return list(await work.session.scalars(rows))


async def first_events(talk, message_id: str, count: int, after: int = 0) -> list:
    """The first events of a stream that does not end yet."""
    principal = replace(Principal.system(talk.person.tenant_id), user_id=talk.person.user.id)
    async with talk.app.begin(principal) as work:
        message = await work.session.get_one(Message, UUID(message_id))
    found = []
    async with asyncio.timeout(10):
        events = following.follow(talk.app, principal, message, after=after)
        async for entry in events:
            if entry is not None:
                found += parse(entry.sse().decode())
            if len(found) >= count:
                break
        await events.aclose()
    return found


async def test_a_call_waits_until_its_asker_approves_it(talk, tools, waiting, app):
    assert (waiting["status"], waiting["content"], waiting["finished_at"]) == ("waiting_for_approval", "Wait", None)
    assert tools.calls == []
    (call,) = await calls(talk, waiting["id"])
    assert (call["status"], call["arguments"], call["decided_at"]) == ("waiting", {"text": "Hej"}, None)
    assert (await decide(talk, waiting["id"])).json()["status"] == "pending"
    done = await ended(talk, waiting["id"])
    assert (done["status"], done["content"]) == ("complete", "Wait\n\nSend it, please.")
    assert tools.calls == [("send", {"text": "Hej"})]
    (call,) = await calls(talk, waiting["id"])
    assert (call["status"], call["result"]) == ("done", "sent")
    assert call["decided_at"]
    events = await talk.again(waiting["id"])
    names = [event.event for event in events]
    assert names.count("approval.requested") == names.count("tool.called") == names.count("tool.completed") == 1
    assert names.index("approval.requested") < names.index("tool.called")
    asked = next(event.data for event in events if event.event == "approval.requested")
    assert asked == {"call_id": "1-1", "name": "send", "title": "Send", "arguments": {"text": "Hej"}}
    assert said(events) == done["content"]
    assert [event.id for event in events] == sorted({event.id for event in events})
    rows = await actions(app, talk, waiting["id"])
    assert [row.action for row in rows] == ["message.asked", "message.waiting", "tool.approved", "message.completed"]
    assert {row.user_id for row in rows} == {talk.person.user.id}
    assert "Hej" not in str([row.data for row in rows])


async def test_a_call_that_is_denied_is_not_made_and_the_model_hears_so(talk, tools, waiting, stub, app):
    await decide(talk, waiting["id"], approved=False)
    done = await ended(talk, waiting["id"])
    assert (done["status"], tools.calls) == ("complete", [])
    assert (await calls(talk, waiting["id"]))[0]["status"] == "denied"
    assert "did not allow" in stub.requests[-1].body["messages"][-1]["content"]
    completed = next(event for event in await talk.again(waiting["id"]) if event.event == "tool.completed")
    assert completed.data["status"] == "denied"
    assert "tool.denied" in [row.action for row in await actions(app, talk, waiting["id"])]


async def test_what_was_denied_is_not_asked_again(talk, tools):
    tools.has("send", "sent", approval=True)
    waits = await talk.ask('[[loop send {"text": "Hej"}]]')
    await decide(talk, waits["id"], approved=False)
    done = await ended(talk, waits["id"])
    assert done["status"] == "complete"
    assert {call["status"] for call in await calls(talk, waits["id"])} == {"denied"}
    assert tools.calls == []


async def test_calls_that_need_nobody_are_made_and_the_others_wait_until_all_are_decided(talk, tools):
    tools.has("send", "sent", approval=True)
    tools.has("look", "seen")
    waits = await talk.ask(BOTH)
    assert tools.calls == [("look", {})]
    assert (await decide(talk, waits["id"], "1-2")).json()["status"] == "waiting_for_approval"
    assert tools.calls == [("look", {})], "the other is not decided"
    await decide(talk, waits["id"], "1-1", approved=False)
    assert (await ended(talk, waits["id"]))["status"] == "complete"
    assert tools.calls == [("look", {}), ("send", {"text": "two"})]
    assert [call["status"] for call in await calls(talk, waits["id"])] == ["denied", "done", "done"]


async def test_only_who_asked_decides(talk, tools, waiting, tenancy):
    colleague = await tenancy.colleague(talk.person, role="owner")
    stranger = await tenancy.owner()
    body = {"call_id": "1-1", "approved": True}
    for other in (colleague, stranger):
        assert (await other.post(f"/messages/{waiting['id']}/approvals", json=body)).status_code == 404
    made = await talk.person.made("/api-keys", name="A page", assistant_id=talk.assistant)
    theirs = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(transport=talk.person._transport, base_url=talk.person.base_url) as page:
        answer_ = await page.post(f"/messages/{waiting['id']}/approvals", json=body, headers=theirs)
    assert answer_.status_code == 404
    assert (await calls(talk, waiting["id"]))[0]["status"] == "waiting"
    assert tools.calls == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"call_id": "9-9", "approved": True}, 404, "not-found"),
        ({"call_id": "", "approved": True}, 400, "validation-failed"),
        ({"call_id": "1-1"}, 400, "validation-failed"),
        ({"call_id": "1-1", "approved": "yes"}, 400, "validation-failed"),
        ({"call_id": "1-1", "approved": True, "arguments": {"text": "other"}}, 400, "validation-failed"),
        ({"call_id": "1-1", "approved": False, "remember": True}, 400, "bad-request"),
        ({"call_id": "x" * 41, "approved": True}, 400, "validation-failed"),
        ({"call_id": "1\x00-1", "approved": True}, 400, "validation-failed"),
    ],
)
async def test_a_decision_that_makes_no_sense_changes_nothing(talk, tools, waiting, body, status, code):
    answered = await talk.person.post(f"/messages/{waiting['id']}/approvals", json=body)
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert (await talk.message(waiting["id"]))["status"] == "waiting_for_approval"


async def test_deciding_twice_and_too_late_is_a_conflict(talk, tools, waiting):
    assert (await decide(talk, waiting["id"])).status_code == 200
    again = await decide(talk, waiting["id"], approved=False)
    assert (again.status_code, again.json()["code"]) == (409, "already-decided")
    await ended(talk, waiting["id"])
    assert len(tools.calls) == 1
    other = await talk.ask(ASKS)
    await talk.person.post(f"/messages/{other['id']}/stop")
    await ended(talk, other["id"])
    late = await decide(talk, other["id"])
    assert (late.status_code, late.json()["code"]) == (409, "not-waiting")
    assert len(tools.calls) == 1


async def test_two_decisions_at_the_same_moment_are_one(talk, tools, waiting):
    both = await asyncio.gather(*(decide(talk, waiting["id"], approved=yes) for yes in (True, False, True)))
    assert sorted(one.status_code for one in both) == [200, 409, 409]
    await ended(talk, waiting["id"])
    assert len(tools.calls) <= 1


async def test_stopping_while_it_waits_ends_it_with_its_text(talk, tools, waiting, app):
    await talk.person.post(f"/messages/{waiting['id']}/stop")
    stopped = await ended(talk, waiting["id"])
    assert (stopped["status"], stopped["content"]) == ("stopped", "Wait")
    assert stopped["usage"]["input_tokens"] > 0
    events = await talk.again(waiting["id"])
    assert events[-1].event == "message.completed"
    assert events[-1].data["message"] == stopped
    (call,) = await calls(talk, waiting["id"])
    assert (call["status"], call["error"]) == ("failed", "answer-ended")
    assert tools.calls == []
    assert (await actions(app, talk, waiting["id"]))[-1].data["why"] == "asked"
    assert (await talk.person.get(f"/messages/{waiting['id']}/receipt")).status_code == 200


async def test_the_next_question_is_told_to_decide_first(talk, waiting):
    refused = await talk.person.post(f"/conversations/{talk.id}/messages", json={"content": "And now?"})
    assert (refused.status_code, refused.json()["code"]) == (409, "answer-in-progress")
    assert all(word in refused.json()["detail"] for word in ("approve", "deny", "stop"))


async def test_remembering_approves_the_tool_for_the_rest_of_this_conversation_alone(talk, tools):
    tools.has("send", "sent", approval=True)
    tools.has("drop", "dropped", approval=True)
    waits = await talk.ask(BOTH.replace("[[call look {}]]", "[[call drop {}]]"))
    await decide(talk, waits["id"], remember=True)
    assert [call["status"] for call in await calls(talk, waits["id"])] == ["approved", "approved", "waiting"]
    await decide(talk, waits["id"], "1-3", approved=False)
    assert (await ended(talk, waits["id"]))["status"] == "complete"
    assert len(tools.called("send")) == 2
    again = await talk.ask('[[call send {"text": "three"}]]')
    assert again["status"] == "complete"
    assert tools.called("send")[-1] == {"text": "three"}
    other = await talk.ask("[[call drop {}]]")
    assert other["status"] == "waiting_for_approval", "another tool is another decision"
    talk.id = await talk.person.conversation(talk.assistant)
    elsewhere = await talk.ask('[[call send {"text": "four"}]]')
    assert elsewhere["status"] == "waiting_for_approval", "and another conversation too"


async def test_a_tool_that_was_withdrawn_while_it_waited_is_not_called(talk, tools, waiting):
    tools.offers.clear()
    await decide(talk, waiting["id"])
    done = await ended(talk, waiting["id"])
    assert done["status"] == "complete"
    assert tools.calls == []
    (call,) = await calls(talk, waiting["id"])
    assert (call["status"], call["error"]) == ("failed", "tool-withdrawn")


async def test_another_tool_of_the_same_name_is_not_what_was_approved(talk, tools, waiting):
    (offer,) = tools.offers
    tools.offers[:] = [replace(offer, tool_id=uuid4())]
    await decide(talk, waiting["id"])
    await ended(talk, waiting["id"])
    assert tools.calls == []
    assert (await calls(talk, waiting["id"]))[0]["error"] == "tool-withdrawn"


async def test_what_is_called_is_what_was_shown(talk, tools, app):
    tools.has("send", "sent", approval=True)
    odd = '{"text": "one", "text": "two", "a": 1e0, "more": [null, "\\u202e"]}'.replace("1e0", "1")
    waits = await talk.ask(f"[[call send {odd}]]")
    asked = next(event.data for event in await first_events(_with(talk, app), waits["id"], 2) if event.data.get("name"))
    await decide(talk, waits["id"])
    await ended(talk, waits["id"])
    assert tools.calls == [("send", asked["arguments"])]
    assert asked["arguments"]["text"] == "two"


async def test_nobody_is_asked_about_arguments_that_do_not_fit(talk, tools):
    tools.has("send", "sent", approval=True)
    done = await talk.ask('[[call send {"text": 7}]] [[call@2 send nonsense]]')
    assert done["status"] == "complete"
    assert [call["error"] for call in await calls(talk, done["id"])] == ["arguments-invalid"] * 2
    assert tools.calls == []


# Restarts


def _with(talk, app):
    talk.app = app
    return talk


async def test_a_stream_that_was_lost_is_told_again_from_the_row(talk, tools, waiting, app):
    _with(talk, app)
    before = await first_events(talk, waiting["id"], 3)
    assert [event.event for event in before] == ["message.created", "text.delta", "approval.requested"]
    await app.redis.delete(key_of(waiting["id"]))
    after = await first_events(talk, waiting["id"], 3)
    assert [(event.id, event.event) for event in after] == [(event.id, event.event) for event in before]
    assert [event.data for event in after] == [event.data for event in before]
    resumed = await first_events(talk, waiting["id"], 1, after=before[0].id)
    assert resumed[0].event in ("text.delta", "approval.requested")
    assert resumed[0].id > before[0].id
    reading = asyncio.create_task(talk.again(waiting["id"], after=before[-1].id))
    late = asyncio.create_task(talk.again(waiting["id"]))
    await asyncio.sleep(0.2)
    assert not reading.done(), "who has read it all is told nothing twice"
    await decide(talk, waiting["id"])
    rest, whole = await reading, await late
    done = await ended(talk, waiting["id"])
    assert rest[0].id > before[-1].id
    assert [event.event for event in rest][:2] == ["tool.called", "tool.completed"]
    assert said(before) + said(rest) == done["content"] == said(whole)
    assert [event.id for event in whole] == sorted({event.id for event in whole})
    afresh = await talk.again(waiting["id"])
    assert said(afresh) == done["content"], "also from the stream that goes on where the lost one was"
    assert [event.event for event in afresh][:2] == ["message.created", "text.delta"]


async def test_a_reader_hears_of_it_if_the_worker_died_before_it_could_say_so(talk, tools, app, monkeypatch):
    tools.has("send", "sent", approval=True)
    monkeypatch.setattr("folkmoot.kit.stream.HEARTBEAT_SECONDS", 0.1)
    waits = await talk.ask(ASKS)
    rows = await app.redis.xrange(key_of(waits["id"]))
    await app.redis.xdel(key_of(waits["id"]), rows[-1][0])
    events = await first_events(_with(talk, app), waits["id"], 3)
    assert [event.event for event in events] == ["message.created", "text.delta", "approval.requested"]


async def test_a_decision_that_no_worker_heard_of_is_found_by_the_sweep(talk, tools, app, unheard, monkeypatch):
    tools.has("send", "sent", approval=True)
    asking, pending = await talk.begin(ASKS)
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    assert (await asking).json()["status"] == "waiting_for_approval"
    # It has waited for a day.
    await change(app, talk, pending["id"], created_at=datetime.now(UTC) - timedelta(days=1))
    await decide(talk, pending["id"])
    await find_left_answers(app, talk.person.tenant_id)
    assert (await talk.message(pending["id"]))["status"] == "pending", "it is not given up for its age"
    sent = []

    class Recording:
        async def send(self, task, payload, **_):
            sent.append(str(payload["message_id"]))

    lost = replace(app, sessions=replace(app.sessions, jobs=Recording()))
    await find_left_answers(lost, talk.person.tenant_id)
    assert sent == [], "it has only just been decided"
    await change(app, talk, pending["id"], turned_at=datetime.now(UTC) - timedelta(seconds=30))
    await find_left_answers(lost, talk.person.tenant_id)
    assert sent == [pending["id"]]
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    assert (await talk.message(pending["id"]))["status"] == "complete"
    assert len(tools.calls) == 1


async def test_an_approved_call_is_not_made_again_by_whoever_takes_over(talk, tools, app, unheard):
    hangs = asyncio.Event()

    async def hanging(_):
        await hangs.wait()
        return Outcome("sent")

    tools.has("send", hanging, approval=True)
    asking, pending = await talk.begin(ASKS)
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    await asking
    await decide(talk, pending["id"])
    working = asyncio.create_task(answer(app, talk.person.tenant_id, UUID(pending["id"])))
    await tools.until_called("send")
    await change(app, talk, pending["id"], lease_until=datetime.now(UTC) - timedelta(seconds=1))
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    done = await talk.message(pending["id"])
    assert (done["status"], done["content"]) == ("complete", "Wait\n\nSend it, please.")
    (call,) = await calls(talk, pending["id"])
    assert (call["status"], call["error"]) == ("failed", "interrupted")
    hangs.set()
    await asyncio.gather(working, return_exceptions=True)
    assert len(tools.calls) == 1
    assert (await talk.message(pending["id"])) == done


async def test_an_approval_that_nobody_gives_ends_the_answer(talk, tools, waiting, app):
    await end_old_approvals(app, talk.person.tenant_id)
    assert (await talk.message(waiting["id"]))["status"] == "waiting_for_approval"
    long_ago = datetime.now(UTC) - timedelta(hours=app.settings.approval_hours, minutes=1)
    await change(app, talk, waiting["id"], turned_at=long_ago)
    await end_old_approvals(app, talk.person.tenant_id)
    stopped = await ended(talk, waiting["id"])
    assert (stopped["status"], stopped["content"]) == ("stopped", "Wait")
    assert tools.calls == []
    last = (await actions(app, talk, waiting["id"]))[-1]
    assert (last.action, last.data["why"]) == ("message.stopped", "approval-expired")
    assert (await talk.ask("And now?"))["status"] == "complete"


async def test_a_conversation_may_be_deleted_while_it_waits(talk, tools, waiting, app):
    assert (await talk.person.delete(f"/conversations/{talk.id}")).status_code == 204
    assert (await decide(talk, waiting["id"])).status_code == 404
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        left = select(ToolCall.id).where(ToolCall.message_id == UUID(waiting["id"]))
        assert (await work.session.scalars(left)).all() == []


async def test_a_program_that_cannot_be_asked_gets_an_answer_without_the_call(talk, tools, app, stub):
    tools.has("send", "sent", approval=True)
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        await work.session.execute(update(Conversation).where(Conversation.id == UUID(talk.id)).values(origin="api"))
    done = await talk.ask(ASKS)
    assert done["status"] in ("complete", "failed")
    assert tools.calls == []
    assert "tools" not in stub.requests[-1].body, "it is not even offered"


async def test_an_answer_that_is_stopped_as_it_begins_to_wait_is_stopped(talk, tools, app, unheard, monkeypatch):
    tools.has("send", "sent", approval=True)
    asking, pending = await talk.begin(ASKS)
    real = module._wait

    async def stopped_first(*given):
        await change(app, talk, pending["id"], stop_requested=True)
        await real(*given)

    monkeypatch.setattr(module, "_wait", stopped_first)
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    ended_ = (await asking).json()
    assert (ended_["status"], ended_["content"]) == ("stopped", "Wait")
    assert tools.calls == []
