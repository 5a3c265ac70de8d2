"""Calls of tools: made side by side, within bounds, once, and told to the model and the reader as they were."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, update

from folkmoot.conversations.answering.answer import answer
from folkmoot.conversations.answering.run import Running
from folkmoot.conversations.answering.write import MOST_ROUNDS
from folkmoot.conversations.models import Message, ToolCall
from folkmoot.conversations.tasks import find_left_answers
from folkmoot.conversations.toolcalls import calls as module
from folkmoot.conversations.toolcalls.fit import misfit
from folkmoot.kit.access import Principal
from folkmoot.tools.offer import Outcome
from tests.conversations.conftest import eventually, parse, said


async def told(talk, message_id: str) -> list[dict]:
    return (await talk.person.get(f"/messages/{message_id}/tool-calls")).json()["items"]


def rounds(stub) -> int:
    return len([request for request in stub.requests if request.path.endswith("completions")])


def asked_of_model(stub, place: int = -1) -> list[dict]:
    return stub.requests[place].body["messages"]


async def change(app, talk, message_id: str, **values) -> None:
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        await work.session.execute(update(Message).where(Message.id == UUID(message_id)).values(**values))


async def test_a_call_is_made_and_its_result_goes_back_to_the_model(talk, tools, stub):
    tools.has("add", "the sum is 3")
    events = await talk.stream('What is it? [[call add {"a": 1}]] [[results]]')
    final = events[-1].data["message"]
    assert (final["status"], final["finish_reason"]) == ("complete", "stop")
    assert tools.calls == [("add", {"a": 1})]
    assert "the sum is 3" in final["content"]
    called, completed = (next(e.data for e in events if e.event == f"tool.{name}") for name in ("called", "completed"))
    assert called == {"call_id": "1-1", "name": "add", "title": "Add", "arguments": {"a": 1}}
    assert completed == {"call_id": "1-1", "name": "add", "status": "done", "result": "the sum is 3", "error": ""}
    (listed,) = await told(talk, final["id"])
    assert (listed["arguments"], listed["result"], listed["status"]) == ({"a": 1}, "the sum is 3", "done")
    assert listed["decided_at"] is None
    turn, result = asked_of_model(stub)[-2:]
    assert turn["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert result["role"] == "tool"
    assert result["tool_call_id"] == turn["tool_calls"][0]["id"]


async def test_usage_is_counted_over_all_rounds(talk, tools):
    tools.has("add", "3")
    plain = (await talk.ask("What is it?"))["usage"]
    used = (await talk.ask('What is it? [[call add {"a": 1}]]'))["usage"]
    assert used["input_tokens"] > 2 * plain["input_tokens"]


async def test_calls_of_one_round_are_made_at_the_same_time(talk, tools):
    both = asyncio.Barrier(2)

    async def meets(_):
        await both.wait()
        return Outcome("met")

    tools.has("left", meets)
    tools.has("right", meets)
    done = await talk.ask("[[call left {}]] [[call right {}]] [[results]]")
    assert done["content"].count("met") == 2
    assert [call["call_id"] for call in await told(talk, done["id"])] == ["1-1", "1-2"]


async def test_text_before_and_after_tools_is_one_text_and_exactly_what_was_streamed(talk, tools):
    tools.has("add", "3")
    events = await talk.stream('The sum is three. [[saying=Wait]] [[call add {}]] [[call@2 add {"a": 2}]]')
    final = events[-1].data["message"]
    assert final["content"] == "Wait\n\nWait\n\nThe sum is three."
    assert said(events) == final["content"]
    assert said(await talk.again(final["id"])) == final["content"]
    middle = next(event.id for event in events if event.event == "tool.completed")
    resumed = await talk.again(final["id"], after=middle)
    assert said([e for e in events if e.id <= middle]) + said(resumed) == final["content"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("[[call nonsense {}]]", "no-such-tool"),
        ("[[call add not json]]", "arguments-invalid"),
        ("[[call add [1, 2]]]", "arguments-invalid"),
        ('[[call add {"a": "one"}]]', "arguments-invalid"),
        ('[[call add {"a": ]]', "arguments-invalid"),
        ("[[call add " + '{"b":' * 3000 + "]]", "arguments-invalid"),
        ("[[call breaks {}]]", "tool-failed"),
        ("[[call silent {}]]", "tool-timeout"),
        ("[[call cancels {}]]", "tool-failed"),
        ("[[call odd {}]]", "tool-failed"),
        ("[[call refuses {}]]", "quota"),
    ],
)
async def test_a_call_that_fails_is_told_to_the_model_and_the_answer_goes_on(talk, tools, asked, code):
    async def breaks(_):
        raise RuntimeError("the password is 1234")

    async def silent(_):
        await asyncio.sleep(60)

    async def cancels(_):
        raise asyncio.CancelledError

    async def odd(_):
        return None

    async def refuses(_):
        return Outcome("you have none left", "quota")

    tools.has("add", "3")
    tools.has("breaks", breaks)
    tools.has("silent", silent, seconds=0.05)
    tools.has("cancels", cancels)
    tools.has("odd", odd)
    tools.has("refuses", refuses)
    done = await talk.ask(f"And then? {asked} [[results]]")
    assert done["status"] == "complete"
    (call,) = await told(talk, done["id"])
    assert (call["status"], call["error"]) == ("failed", code)
    assert (
        call["result"].strip() in done["content"].replace("‹", "<") or call["result"].split("\n")[0] in done["content"]
    )
    assert "1234" not in json.dumps(call) + done["content"]
    assert tools.called("add") == []


async def test_an_answer_goes_through_so_many_rounds_and_no_more(talk, tools, stub):
    tools.has("add", "3")
    count = iter(range(1000))

    def never_ends(body):
        if body.get("tool_choice") == "none":
            return [{"content": "That is all."}]
        return [asking(0, "c", "add", json.dumps({"a": next(count)})), {"finish": "tool_calls"}]

    stub.act = never_ends
    done = await talk.ask("Go on")
    assert (done["status"], done["content"]) == ("complete", "That is all.")
    assert len(tools.calls) == MOST_ROUNDS - 1
    assert rounds(stub) == MOST_ROUNDS
    assert "tools" in stub.requests[-1].body, "they stay, so that the prompt's beginning stays"


async def test_a_model_that_calls_all_the_same_ends_with_what_it_said_or_fails(talk, tools, stub):
    tools.has("add", "3")
    failed = await talk.ask('[[loop add {"a": 1}]] [[stubborn]]')
    assert (failed["status"], failed["error"]["code"], failed["error"]["retryable"]) == ("failed", "tool-loop", True)
    assert len(tools.calls) == 1, "the same call is made once"
    assert rounds(stub) == 4, "and after two rounds of nothing new it is over"
    kept = await talk.ask('[[loop add {"a": 1}]] [[stubborn]] [[saying=Hm]]')
    assert (kept["status"], kept["finish_reason"]) == ("complete", "tool-loop")
    assert kept["content"] == "Hm\n\nHm\n\nHm\n\nHm"


async def test_the_same_call_again_is_answered_from_the_first(talk, tools, stub):
    tools.has("add", "3")
    question = '[[call add {"a": 1, "text": "x"}]] [[call add {"text":"x","a":1}]] [[call@2 add {"a":1,"text": "x"}]]'
    done = await talk.ask(f"Well? {question}")
    assert len(tools.calls) == 1
    first, second, third = await told(talk, done["id"])
    assert first["result"] == "3"
    assert second["result"] == third["result"] == module.REPEATED + "3"
    assert [turn["role"] for turn in asked_of_model(stub)[-5:]] == ["assistant", "tool", "tool", "assistant", "tool"]


async def test_what_failed_may_be_tried_again(talk, tools):
    answers = iter([Outcome("busy", "tool-unreachable"), Outcome("3")])

    async def second_time(_):
        return next(answers)

    tools.has("add", second_time)
    done = await talk.ask("Well? [[call add {}]] [[call@2 add {}]]")
    assert [call["status"] for call in await told(talk, done["id"])] == ["failed", "done"]


async def test_more_calls_than_fit_into_a_round_are_told_so(talk, tools):
    tools.has("add", "3")
    many = " ".join(f'[[call add {{"a": {number}}}]]' for number in range(module.MOST_CALLS + 2))
    done = await talk.ask(f"Well? {many}")
    assert done["status"] == "complete"
    assert len(tools.calls) == module.MOST_CALLS
    assert [call["error"] for call in (await told(talk, done["id"]))[-2:]] == ["too-many-calls"] * 2


def asking(index: int | None, call_id: str | None, name: str | None, arguments: str) -> dict:
    part = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{key: value for key, value in part.items() if value is not None}]}


@pytest.mark.parametrize(
    "deltas",
    [
        [asking(0, "c", "add", ""), *[asking(0, None, None, "x" * 50_000)] * 3],
        [asking(0, "c", "add", "x" * 10_000_000)],
        [asking(place, f"c{place}", "add", "{}") for place in range(65)],
        [asking(place, f"c{place}", "add", "x" * 60_000) for place in range(8)],
    ],
    ids=["endless", "10 MB", "65 calls", "together"],
)
async def test_calls_without_measure_fail_the_answer(talk, tools, stub, deltas):
    tools.has("add", "3")
    stub.act = lambda _: [*deltas, {"finish": "tool_calls"}]
    failed = await talk.ask("Well?")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "provider-bad-response")
    assert tools.calls == []
    assert await told(talk, failed["id"]) == []


@pytest.mark.parametrize(
    "deltas",
    [
        [asking(0, None, "add", '{"a":1}'), asking(1, None, "add", '{"a":2}')],
        [asking(0, "same", "add", '{"a":1}'), asking(1, "same", "add", '{"a":2}')],
        [asking(0, "", "add", '{"a":1}'), asking(1, "x" * 5000, "add", '{"a":2}')],
        [asking(None, "c1", "add", '{"a":1}'), asking(None, "c2", "add", '{"a":2}')],
    ],
    ids=["none", "twice", "empty and long", "no index"],
)
async def test_calls_without_ids_of_their_own_get_some(talk, tools, stub, deltas):
    tools.has("add", "3")

    def twice(body):
        rounds = sum(1 for turn in body["messages"] if turn.get("tool_calls"))
        return [*deltas, {"finish": "tool_calls"}] if rounds == 0 else [{"content": "Done."}]

    stub.act = twice
    done = await talk.ask("Well?")
    assert done["content"] == "Done."
    assert sorted(arguments["a"] for _, arguments in tools.calls) == [1, 2]
    turn, *results = asked_of_model(stub)[-3:]
    ids = [call["id"] for call in turn["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(0 < len(own) <= 200 for own in ids)
    assert [result["tool_call_id"] for result in results] == ids


async def test_arguments_of_a_call_that_never_began_are_nobodys(talk, tools, stub):
    tools.has("add", "3")
    stub.act = lambda body: [asking(0, "c", None, '{"a": 1}'), {"content": "Hello."}]
    failed = await talk.ask("Well?")
    assert failed["status"] == "failed"
    assert tools.calls == []


async def test_what_no_column_can_hold_is_left_out_of_calls_and_results(talk, tools, stub):
    async def ugly(arguments):
        return Outcome("a\x00b\ud800c" + arguments["text"])

    tools.has("add", ugly)
    first = {
        "tool_calls": [{"index": 0, "id": "c\x00", "function": {"name": "add", "arguments": '{"text": "\\u0000"}'}}]
    }
    stub.act = lambda body: [{"content": "Done.\x00"}] if body["messages"][-1]["role"] == "tool" else [first]
    done = await talk.ask("Well?")
    assert (done["status"], done["content"]) == ("complete", "Done.")
    (call,) = await told(talk, done["id"])
    assert (call["status"], call["result"]) == ("done", "ab?c")


async def test_arguments_that_are_not_json_go_back_to_the_model_as_json(talk, tools, stub):
    tools.has("add", "3")
    await talk.ask("Well? [[call add not json]] [[call we!rd{} {}]]")
    turn = next(turn for turn in asked_of_model(stub) if turn.get("tool_calls"))
    assert [call["function"]["arguments"] for call in turn["tool_calls"]] == ["{}", "{}"]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", call["function"]["name"]) for call in turn["tool_calls"])


async def test_a_long_result_is_cut(talk, tools):
    tools.has("read", "word " * 10_000)
    events = await talk.stream("Well? [[call read {}]]")
    (completed,) = (event.data for event in events if event.event == "tool.completed")
    assert len(completed["result"]) == 2_000
    (call,) = await told(talk, events[-1].data["message"]["id"])
    assert len(call["result"]) < module.MOST_RESULT + 100
    assert call["result"].endswith("more characters]")


async def test_stopping_does_not_wait_for_a_tool_that_does_not_hear_of_it(talk, tools, app):
    deaf = asyncio.Event()

    async def stubborn(_):
        while not deaf.is_set():
            try:
                await deaf.wait()
            except asyncio.CancelledError:
                continue
        return Outcome("too late")

    tools.has("slow", stubborn)
    asking_, pending = await talk.begin("[[saying=Wait]] [[call slow {}]]")
    await tools.until_called("slow")
    await talk.person.post(f"/messages/{pending['id']}/stop")
    stopped = (await asyncio.wait_for(asking_, 10)).json()
    assert (stopped["status"], stopped["content"]) == ("stopped", "Wait")
    (call,) = await told(talk, pending["id"])
    assert (call["status"], call["error"]) == ("failed", "interrupted")
    deaf.set()
    await eventually(lambda: not module._left)
    assert (await told(talk, pending["id"]))[0]["status"] == "failed", "what comes too late changes nothing"


async def test_a_model_that_is_offered_no_tool_makes_no_call(talk, tools, stub):
    stub.act = lambda _: [asking(0, "c", "add", "{}"), {"finish": "tool_calls"}]
    tools.offers.clear()
    failed = await talk.ask("Well?")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "tool-loop")
    assert rounds(stub) == 1
    assert tools.calls == []
    assert await told(talk, failed["id"]) == []


# Workers that die


@pytest.fixture
async def unheard(monkeypatch):
    """Keeps the worker from answering: the test does so itself."""

    async def nothing(*_):
        return None

    monkeypatch.setattr("folkmoot.conversations.tasks.answer", nothing)


async def killed(app, talk, question: str, tools, name: str) -> tuple[asyncio.Task, str]:
    """A question whose worker died, by kill -9 as far as anybody sees, while the tool `name` was called."""
    asking_, pending = await talk.begin(question)
    working = asyncio.create_task(answer(app, talk.person.tenant_id, UUID(pending["id"])))
    await tools.until_called(name)
    return asking_, pending["id"], working


async def test_whoever_takes_over_repeats_no_call(talk, app, tools, unheard, stub, monkeypatch):
    hangs = asyncio.Event()

    async def hanging(_):
        await hangs.wait()

    tools.has("send", hanging)
    tools.has("add", "3")
    asking_, message_id, working = await killed(
        app, talk, "Well? [[saying=Wait]] [[call add {}]] [[call send {}]] [[results]]", tools, "send"
    )
    async with asyncio.timeout(10):
        while (await told(talk, message_id))[0]["status"] != "done":  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.01)
    # It is dead: nothing that it does counts any more.
    await change(app, talk, message_id, lease_until=datetime.now(UTC) - timedelta(seconds=1))
    assert (await talk.message(message_id))["status"] == "pending", "another may take it up"
    await answer(app, talk.person.tenant_id, UUID(message_id))
    done = (await asking_).json()
    assert done["status"] == "complete"
    assert [name for name, _ in tools.calls].count("send") == [name for name, _ in tools.calls].count("add") == 1
    first, second = await told(talk, message_id)
    assert (first["status"], second["status"], second["error"]) == ("done", "failed", "interrupted")
    assert done["content"].startswith("Wait\n\n")
    assert "nobody knows" in done["content"]
    assert said(await talk.again(message_id)) == done["content"]
    hangs.set()
    await asyncio.gather(working, return_exceptions=True)
    assert (await talk.message(message_id)) == done, "the old worker changes nothing"
    assert [call["status"] for call in await told(talk, message_id)] == ["done", "failed"]


async def test_a_worker_that_leaves_during_a_call_gives_the_answer_back(talk, app, tools, unheard):
    async def hanging(_):
        await asyncio.sleep(60)

    tools.has("send", hanging)
    asking_, message_id, working = await killed(app, talk, "Well? [[saying=Wait]] [[call send {}]]", tools, "send")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert UUID(message_id) not in app.part(Running)._tasks
    assert (await talk.message(message_id))["status"] == "pending"
    await answer(app, talk.person.tenant_id, UUID(message_id))
    done = (await asking_).json()
    assert (done["status"], done["content"]) == ("complete", "Wait\n\nWell?")
    assert len(tools.calls) == 1


async def test_the_sweep_ends_calls_that_are_left_with_their_answer(talk, app, tools, unheard):
    async def hanging(_):
        await asyncio.sleep(60)

    tools.has("send", hanging)
    asking_, message_id, working = await killed(app, talk, "Well? [[saying=Wait]] [[call send {}]]", tools, "send")
    long_ago = datetime.now(UTC) - timedelta(minutes=20)
    await change(app, talk, message_id, lease_until=long_ago, created_at=long_ago)
    await find_left_answers(app, talk.person.tenant_id)
    failed = (await asking_).json()
    assert (failed["status"], failed["content"]) == ("failed", "Wait")
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        (row,) = await work.session.scalars(select(ToolCall).where(ToolCall.message_id == UUID(message_id)))
    assert (row.status, row.error) == ("failed", "interrupted")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_two_workers_make_a_call_once(talk, app, tools, unheard):
    tools.has("send", "sent")
    asking_, pending = await talk.begin("Well? [[call send {}]]")
    await asyncio.gather(*(answer(app, talk.person.tenant_id, UUID(pending["id"])) for _ in range(3)))
    assert (await asking_).json()["status"] == "complete"
    assert len(tools.calls) == 1


# Arguments against schemas, without a model


@pytest.mark.parametrize(
    ("schema", "arguments", "fits"),
    [
        ({"type": "object", "required": ["a"]}, {}, False),
        ({"type": "object", "properties": {"a": {"enum": ["x"]}}}, {"a": "y"}, False),
        ({"type": "object", "additionalProperties": False}, {"a": 1}, False),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}, {"a": [1]}, False),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": 1}, True),
        ({}, {"a": 1}, True),
        ({"type": 17}, {"a": 1}, True),
        ({"$ref": "https://elsewhere.example/schema.json"}, {"a": 1}, True),
        ({"$ref": "#"}, {"a": 1}, True),
    ],
)
def test_arguments_fit_their_schema_or_are_told_why_not(schema, arguments, fits):
    why = misfit(arguments, schema)
    assert (why is None) is fits
    assert why is None or 0 < len(why) < 400


async def test_a_key_that_asks_sees_its_calls_and_nobody_else_does(talk, tenancy, tools):
    tools.has("add", "3")
    done = await talk.ask("Well? [[call add {}]]")
    for stranger in (await tenancy.colleague(talk.person, role="owner"), await tenancy.owner()):
        assert (await stranger.get(f"/messages/{done['id']}/tool-calls")).status_code == 404
    question = await talk.person.get(f"/messages/{done['parent_id']}/tool-calls")
    assert question.json()["items"] == []
    assert parse("") == []
