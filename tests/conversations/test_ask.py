"""Asking over the API: the answer as JSON and as a stream, once for each question, private to who asked."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import text

from folkmoot.conversations.events import AnswerEvent, MessageCompleted, MessageCreated
from folkmoot.conversations.schemas import MessageOut
from tests.conversations.conftest import said


async def test_an_answer_comes_whole_as_json(talk):
    answer = await talk.ask("Hej på dig")
    assert (answer["status"], answer["role"], answer["content"]) == ("complete", "assistant", "Hej på dig")
    assert answer["usage"] == {"input_tokens": 3, "output_tokens": 3}
    assert (answer["model"]["name"], answer["model"]["provider"]) == ("stub-chat", "openai")
    assert answer["finished_at"]
    assert set(answer) == set(MessageOut.__struct_fields__)


async def test_an_answer_streams_in_the_order_of_the_contract(informed):
    events = await informed.stream("How high may a fence be? [[cite]]")
    names = [event.event for event in events]
    assert names[:2] == ["message.created", "retrieval.completed"]
    assert names[-1] == "message.completed"
    assert set(names[2:-2]) == {"text.delta", "citation"}
    assert names[-2] == "verification.completed"
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    final = events[-1].data["message"]
    assert said(events) == final["content"]
    assert "[1]" in final["content"]
    assert [event.data for event in events if event.event == "citation"] == final["citations"]
    created = events[0].data
    assert (created["conversation_id"], created["message_id"]) == (informed.id, final["id"])
    assert created["question_id"] == final["parent_id"]
    assert created["model"] == final["model"]
    assert (await informed.message(final["id"])) == final


async def test_a_citation_stands_where_it_says(informed):
    answer = await informed.ask("How high may a fence be? [[cite]]")
    (cited,) = answer["citations"]
    body = (await informed.person.get(f"/documents/{cited['document_id']}/text")).json()["text"]
    assert body[cited["start"] : cited["end"]] == cited["quote"] != ""
    assert cited["document_name"] == "rules.md"
    assert cited["n"] == 1


async def test_without_a_model_the_passages_answer(keyless):
    answer = await keyless.ask("How high may a fence along the street be?")
    assert answer["status"] == "complete"
    assert "1.2 metres" in answer["content"]
    assert answer["citations"][0]["quote"] in "A fence along the street may be 1.2 metres high."
    assert answer["model"]["provider"] == "extractive"


async def test_what_the_documents_do_not_say_is_said(keyless):
    answer = await keyless.ask("quantum mechanics")
    assert answer["status"] == "complete"
    assert answer["citations"] == []
    assert answer["content"]


async def test_markers_that_cite_nothing_are_not_shown(informed, stub):
    stub.answer = "Fences may be high [1]. Houses too [44]."
    answer = await informed.ask("How high may a fence be?")
    assert answer["content"] == "Fences may be high [1]. Houses too."
    assert [cited["n"] for cited in answer["citations"]] == [1]


async def test_the_model_is_told_the_passages_and_the_turns_before(informed, stub):
    await informed.ask("How high may a fence be?")
    await informed.ask("And a fence elsewhere?")
    messages = stub.requests[-1].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert "1.2 metres" not in messages[0]["content"]
    assert messages[1]["content"] == "How high may a fence be?"
    assert "1.2 metres" in messages[-1]["content"]
    assert messages[-1]["content"].endswith("And a fence elsewhere?")


async def test_the_same_key_asks_once(talk, stub):
    key = uuid4().hex
    first = await talk.ask("Hej", **{"Idempotency-Key": key})
    second = await talk.ask("Hej", **{"Idempotency-Key": key})
    streamed = await talk.stream("Hej", **{"Idempotency-Key": key})
    assert second == first
    assert streamed[-1].data["message"] == first
    assert len([request for request in stub.requests if request.path.endswith("completions")]) == 1
    assert len(await talk.messages()) == 2


async def test_the_same_key_at_the_same_time_asks_once(talk, stub):
    key = uuid4().hex
    answers = await asyncio.gather(
        *(talk.ask("Hej [[tokens=20 delay=0.01]]", **{"Idempotency-Key": key}) for _ in range(4))
    )
    assert len({answer["id"] for answer in answers}) == 1
    assert len(await talk.messages()) == 2


async def test_a_question_goes_on_from_the_answer_it_names(talk, stub):
    first = await talk.ask("one")
    await talk.ask("two")
    response = await talk.person.post(
        f"/conversations/{talk.id}/messages", json={"content": "other two", "parent_id": first["id"]}
    )
    branch = response.json()
    assert branch["status"] == "complete"
    told = [str(message["content"]) for message in stub.requests[-1].body["messages"]]
    assert ("one" in told[0], "two" in told) == (True, False)
    messages = {message["id"]: message for message in await talk.messages()}
    assert messages[branch["parent_id"]]["parent_id"] == first["id"]
    assert len(messages) == 6


@pytest.mark.parametrize("kind", ["unknown", "question", "elsewhere"])
async def test_a_question_can_only_follow_an_answer_of_its_conversation(talk, kind):
    first = await talk.ask("one")
    parent = {"unknown": str(uuid4()), "question": first["parent_id"]}.get(kind)
    if parent is None:
        elsewhere = await talk.person.conversation(talk.assistant)
        parent = (await talk.person.ask(elsewhere, "there"))["id"]
    response = await talk.person.post(
        f"/conversations/{talk.id}/messages", json={"content": "two", "parent_id": parent}
    )
    assert response.status_code == 404


async def test_a_second_question_waits_for_the_first_answer(talk):
    asking, pending = await talk.begin("[[tokens=500 delay=0.02]]")
    refused = await talk.person.post(f"/conversations/{talk.id}/messages", json={"content": "and?"})
    assert (refused.status_code, refused.json()["code"]) == (409, "answer-in-progress")
    await talk.person.post(f"/messages/{pending['id']}/stop")
    assert (await asking).json()["status"] == "stopped"
    assert (await talk.ask("and now?"))["status"] == "complete"


async def test_messages_are_listed_oldest_first_page_by_page(talk):
    for content in ("one", "two", "three"):
        await talk.ask(content)
    first = (await talk.person.get(f"/conversations/{talk.id}/messages", params={"limit": 4})).json()
    rest = (
        await talk.person.get(f"/conversations/{talk.id}/messages", params={"limit": 4, "cursor": first["next_cursor"]})
    ).json()
    contents = [message["content"] for message in (*first["items"], *rest["items"])]
    assert contents == ["one", "one", "two", "two", "three", "three"]
    assert rest["next_cursor"] is None


async def test_a_conversation_takes_its_title_from_the_first_question(talk):
    await talk.ask("How high\nmay a fence be?")
    assert (await talk.person.get(f"/conversations/{talk.id}")).json()["title"] == "How high may a fence be?"
    assert [item["id"] for item in (await talk.person.get("/conversations")).json()["items"]] == [talk.id]


async def test_deleting_a_conversation_takes_its_messages(talk, count):
    answer = await talk.ask("Hej")
    assert (await talk.person.delete(f"/conversations/{talk.id}")).status_code == 204
    assert (await talk.person.get(f"/messages/{answer['id']}")).status_code == 404
    assert await count("messages", f"conversation_id = '{talk.id}'") == 0


@pytest.mark.parametrize("role", ["user", "owner"])
async def test_nobody_else_reads_a_conversation_administrators_included(talk, tenancy, role):
    answer = await talk.ask("Something private")
    other = await tenancy.colleague(talk.person, role=role)
    assert (await other.get("/conversations")).json()["items"] == []
    for method, path in [
        ("GET", f"/conversations/{talk.id}"),
        ("GET", f"/conversations/{talk.id}/messages"),
        ("GET", f"/messages/{answer['id']}"),
        ("GET", f"/messages/{answer['id']}/events"),
        ("POST", f"/messages/{answer['id']}/stop"),
        ("DELETE", f"/conversations/{talk.id}"),
    ]:
        assert (await other.request(method, path)).status_code == 404, path
    asked = await other.post(f"/conversations/{talk.id}/messages", json={"content": "Hello?"})
    assert asked.status_code == 404


async def test_a_question_to_a_deleted_assistant_is_refused(talk):
    await talk.ask("Hej")
    assert (await talk.person.delete(f"/assistants/{talk.assistant}")).status_code == 204
    refused = await talk.person.post(f"/conversations/{talk.id}/messages", json={"content": "Still there?"})
    assert (refused.status_code, refused.json()["code"]) == (409, "assistant-gone")
    assert len(await talk.messages()) == 2


@pytest.mark.parametrize(
    "body", [{}, {"content": ""}, {"content": " \n"}, {"content": "a\x00b"}, {"content": 5}, {"content": "a", "x": 1}]
)
async def test_what_is_no_question_is_refused(talk, body):
    response = await talk.person.post(f"/conversations/{talk.id}/messages", json=body)
    assert response.status_code == 400, response.text
    assert await talk.messages() == []


async def test_an_answer_names_the_version_it_came_from(talk):
    before = await talk.ask("one")
    await talk.person.patch(f"/assistants/{talk.assistant}", json={"instructions": "Answer in verse."})
    after = await talk.ask("two")
    assert before["assistant_version_id"] != after["assistant_version_id"]


async def test_an_answer_is_read_again_from_the_beginning_or_from_where_one_left(informed):
    events = await informed.stream("How high may a fence be? [[cite]]")
    message_id = events[0].data["message_id"]
    assert await informed.again(message_id) == events
    for place in range(1, len(events)):
        assert await informed.again(message_id, after=place) == events[place:]


async def test_two_readers_at_once_read_the_same(talk):
    asking, pending = await talk.begin("[[tokens=40 delay=0.01]]")
    one, two = await asyncio.gather(talk.again(pending["id"]), talk.again(pending["id"]))
    assert one == two
    assert said(one) == (await asking).json()["content"]


async def test_an_answer_whose_stream_is_no_longer_kept_is_told_from_its_row(informed, app):
    events = await informed.stream("How high may a fence be? [[cite]]")
    message_id = events[0].data["message_id"]
    assert await app.redis.delete(f"folkmoot:stream:{message_id}") == 1
    again = await informed.again(message_id)
    assert said(again) == said(events)
    assert again[0].data == events[0].data
    assert again[-1].data == events[-1].data
    passages = [[e.data for e in read if e.event == "retrieval.completed"] for read in (again, events)]
    assert passages[0] == passages[1]
    cited = [[e.data for e in read if e.event == "citation"] for read in (again, events)]
    assert cited[0] == cited[1] != []
    resumed = await informed.again(message_id, after=3)
    assert [event.event for event in resumed] == ["message.completed"]
    assert resumed[0].id > 3


@pytest.mark.parametrize("value", ["x", "-1", "1-0", "٣"])
async def test_a_last_event_id_that_is_none_of_ours_is_refused(talk, value):
    answer = await talk.ask("Hej")
    response = await talk.person.get(f"/messages/{answer['id']}/events", headers=[(b"Last-Event-ID", value.encode())])
    assert response.status_code == 400


async def test_a_question_has_no_stream(talk):
    answer = await talk.ask("Hej")
    response = await talk.person.get(f"/messages/{answer['parent_id']}/events")
    assert response.status_code == 400


async def test_every_event_fits_its_schema(informed):
    events = await informed.stream("How high may a fence be? [[cite]]")
    read = [msgspec.convert({"event": event.event, **event.data}, AnswerEvent) for event in events]
    assert isinstance(read[0], MessageCreated)
    assert isinstance(read[-1], MessageCompleted)


async def test_what_the_worker_does_for_a_question_carries_the_id_of_the_request(talk, superuser):
    answer = await talk.ask("Hej", **{"X-Request-ID": "asked-by-a-test"})
    async with superuser.connect() as connection:
        said = await connection.scalar(
            text("SELECT request_id FROM events WHERE object_id = :id AND action = 'message.completed'"),
            {"id": answer["id"]},
        )
    assert said == "asked-by-a-test"
