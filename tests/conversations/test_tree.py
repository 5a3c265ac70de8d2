"""The tree of messages: questions worded anew, answers made anew and gone on with, branches that never mix."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.conversations.answering.go_on import TOLD, without
from folkmoot.conversations.schemas import MessageOut
from folkmoot.conversations.shown import Shown
from tests.conversations.conftest import eventually, parse, said


async def edited(talk, question_id: str, content: str, **headers):
    body = {"content": content, "edits": question_id}
    return await talk.person.post(f"/conversations/{talk.id}/messages", json=body, headers=headers)


async def anew(talk, message_id: str, verb: str = "regenerate", headers=None, **fields):
    return await talk.person.post(f"/messages/{message_id}/{verb}", json=fields or None, headers=headers)


@pytest.fixture
def stopped(talk, app):
    """Makes an answer that was stopped after it had said something."""

    async def make(question: str = "[[tokens=100 delay=0.03]]") -> dict:
        asking, pending = await talk.begin(question)
        async with asyncio.timeout(15):
            while True:
                if any(b"word2" in entry.data for entry in await app.streams.so_far(pending["id"])):
                    break
                await asyncio.sleep(0.01)
        assert (await talk.person.post(f"/messages/{pending['id']}/stop")).status_code == 202
        answer = (await asking).json()
        assert answer["status"] == "stopped"
        assert "word2" in answer["content"]
        return answer

    return make


def told(stub) -> list[tuple[str, str]]:
    """The last prompt: (role, text)."""
    messages = stub.requests[-1].body["messages"]
    return [
        (
            message["role"],
            message["content"]
            if isinstance(message["content"], str)
            else "".join(part.get("text", "") for part in message["content"]),
        )
        for message in messages
    ]


# Questions worded anew


async def test_an_edited_question_stands_beside_the_first_and_the_old_branch_stays(talk, stub):
    first = await talk.ask("one")
    second = await talk.ask("two")
    response = await edited(talk, second["parent_id"], "other two")
    assert response.status_code == 201, response.text
    other = response.json()
    messages = {message["id"]: message for message in await talk.messages()}
    assert len(messages) == 6
    asked, before = messages[other["parent_id"]], messages[second["parent_id"]]
    assert asked["parent_id"] == before["parent_id"] == first["id"]
    assert (asked["content"], before["content"]) == ("other two", "two")
    prompt = [content for _, content in told(stub)]
    assert "two" not in prompt
    assert prompt[-1] == "other two"
    assert "one" in prompt


async def test_the_very_first_question_can_be_edited(talk, stub):
    first = await talk.ask("one")
    other = (await edited(talk, first["parent_id"], "another one")).json()
    messages = {message["id"]: message for message in await talk.messages()}
    assert messages[other["parent_id"]]["parent_id"] is None
    assert [content for _, content in told(stub)] == ["another one"]
    # The next question goes on from the newest answer, which is the edited one's.
    after = await talk.ask("and then?")
    assert [content for _, content in told(stub)] == ["another one", "another one", "and then?"]
    messages = {message["id"]: message for message in await talk.messages()}
    assert messages[after["parent_id"]]["parent_id"] == other["id"]


@pytest.mark.parametrize("kind", ["unknown", "an answer", "elsewhere"])
async def test_what_is_edited_must_be_a_question_of_the_conversation(talk, kind):
    answer = await talk.ask("one")
    elsewhere = await talk.person.ask(await talk.person.conversation(talk.assistant), "there")
    named = {"unknown": str(uuid4()), "an answer": answer["id"], "elsewhere": elsewhere["parent_id"]}[kind]
    response = await edited(talk, named, "other")
    assert (response.status_code, response.json()["code"]) == (404, "not-found")
    assert len(await talk.messages()) == 2


async def test_a_question_cannot_be_edited_and_stand_elsewhere(talk):
    answer = await talk.ask("one")
    body = {"content": "x", "edits": answer["parent_id"], "parent_id": answer["id"]}
    response = await talk.person.post(f"/conversations/{talk.id}/messages", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "validation-failed")


async def test_an_edit_sent_twice_is_asked_once(talk):
    answer = await talk.ask("one")
    key = {"Idempotency-Key": uuid4().hex}
    first, second = [await edited(talk, answer["parent_id"], "other", **key) for _ in range(2)]
    assert first.json() == second.json()
    assert len(await talk.messages()) == 4


# Answers made anew


async def test_an_answer_made_anew_stands_beside_the_old_one(talk, stub):
    first = await talk.ask("one")
    response = await anew(talk, first["id"])
    assert response.status_code == 201, response.text
    other = response.json()
    assert other["id"] != first["id"]
    assert (other["parent_id"], other["status"], other["content"]) == (first["parent_id"], "complete", "one")
    assert other["continues_id"] is None
    assert await talk.message(first["id"]) == first
    assert [content for _, content in told(stub)] == ["one"]
    assert [message["role"] for message in await talk.messages()] == ["user", "assistant", "assistant"]


async def test_a_question_is_answered_anew_by_its_own_id_after_a_failure(talk):
    failed = await talk.ask("[[status=400]]")
    assert failed["status"] == "failed"
    again = (await anew(talk, failed["parent_id"])).json()
    assert (again["status"], again["parent_id"]) == ("failed", failed["parent_id"])
    assert again["id"] != failed["id"]


async def test_an_answer_made_anew_streams_when_asked_to(talk):
    first = await talk.ask("one")
    response = await anew(talk, first["id"], headers={"Accept": "text/event-stream"})
    events = parse(response.text)
    assert [event.event for event in events] == ["message.created", "text.delta", "message.completed"]
    assert events[0].data["question_id"] == first["parent_id"]
    assert events[-1].data["message"]["id"] != first["id"]


async def test_another_model_may_answer(talk, stub, app):
    models = (await talk.person.get("/models", params={"kind": "chat"})).json()["items"]
    other = next(model for model in models if model["provider"] == "extractive")
    first = await talk.ask("one")
    again = (await anew(talk, first["id"], model_id=other["id"])).json()
    assert again["status"] == "complete", again
    assert (first["model"]["provider"], again["model"]["provider"]) == ("openai", "extractive")
    # The next question is for the assistant's own model again.
    assert (await talk.ask("two"))["model"]["provider"] == "openai"


async def test_a_model_that_is_not_there_is_refused(talk):
    first = await talk.ask("one")
    response = await anew(talk, first["id"], model_id=str(uuid4()))
    assert (response.status_code, response.json()["code"]) == (404, "model-not-found")
    models = (await talk.person.get("/models")).json()["items"]
    embedding = next((model["id"] for model in models if model["kind"] == "embedding"), None)
    if embedding is not None:
        response = await anew(talk, first["id"], model_id=embedding)
        assert response.status_code == 400
    assert len(await talk.messages()) == 2


async def test_a_model_that_may_not_see_the_text_is_refused(talk):
    owner = talk.person
    first = await talk.ask("one")
    secret = (await owner.made("/data-classes", name="Secret", level=9))["id"]
    space = (await owner.get(f"/assistants/{talk.assistant}")).json()["space_id"]
    put = await owner.patch(f"/spaces/{space}", json={"data_class_id": secret})
    assert put.status_code == 200, put.text
    # Though the class was made a moment ago.
    response = await anew(talk, first["id"], model_id=first["model"]["id"])
    assert (response.status_code, response.json()["code"]) == (409, "model-not-cleared")
    assert len(await talk.messages()) == 2


@pytest.mark.parametrize("verb", ["regenerate", "continue"])
async def test_two_answers_at_once_are_refused(talk, verb, stopped):
    broken = await stopped()
    asking, pending = await talk.begin("[[tokens=400 delay=0.05]]")
    response = await anew(talk, broken["id"], verb)
    assert (response.status_code, response.json()["code"]) == (409, "answer-in-progress")
    assert (await talk.person.post(f"/messages/{pending['id']}/stop")).status_code == 202
    await asking


async def test_of_two_made_anew_at_the_same_time_one_is_made(talk):
    first = await talk.ask("one")
    answers = await asyncio.gather(*(anew(talk, first["id"]) for _ in range(4)))
    made = [answer for answer in answers if answer.status_code == 201]
    refused = {(answer.status_code, answer.json()["code"]) for answer in answers if answer.status_code != 201}
    assert made
    assert refused <= {(409, "answer-in-progress")}
    assert len(await talk.messages()) == 2 + len(made)


async def test_the_same_key_makes_one_anew_once_and_is_good_for_nothing_else(talk):
    first, key = await talk.ask("one"), {"Idempotency-Key": uuid4().hex}
    made = [(await anew(talk, first["id"], headers=key)).json() for _ in range(2)]
    assert made[0] == made[1]
    assert len(await talk.messages()) == 3
    used = await talk.person.post(f"/conversations/{talk.id}/messages", json={"content": "two"}, headers=key)
    assert (used.status_code, used.json()["code"]) == (409, "idempotency-key-reused")
    second = await talk.ask("two")
    used = await anew(talk, second["id"], headers=key)
    assert (used.status_code, used.json()["code"]) == (409, "idempotency-key-reused")


async def test_an_assistant_that_is_gone_answers_nothing_anew(talk):
    first = await talk.ask("one")
    assert (await talk.person.delete(f"/assistants/{talk.assistant}")).status_code == 204
    response = await anew(talk, first["id"])
    assert (response.status_code, response.json()["code"]) == (409, "assistant-gone")


# Going on


async def test_a_stopped_answer_goes_on_from_its_text(talk, stub, stopped):
    broken = await stopped()
    stub.tokens = None
    # The question holds the directive, so the model says its words again: what counts is what it was told.
    response = await anew(talk, broken["id"], "continue", headers={"Accept": "text/event-stream"})
    assert response.status_code == 201, response.text
    events = parse(response.text)
    assert [event.event for event in events[:2]] == ["message.created", "text.delta"]
    assert events[1].data["text"] == broken["content"]
    final = events[-1].data["message"]
    assert said(events) == final["content"]
    assert final["content"].startswith(broken["content"])
    assert len(final["content"]) > len(broken["content"])
    assert (final["status"], final["continues_id"], final["parent_id"]) == (
        "complete",
        broken["id"],
        broken["parent_id"],
    )
    assert told(stub)[-2:] == [("assistant", broken["content"]), ("user", TOLD)]
    assert await talk.message(broken["id"]) == broken
    assert [event.data for event in await talk.again(final["id"])][-1]["message"] == final


async def test_the_turns_after_it_know_the_whole_answer(talk, stub, stopped):
    broken = await stopped()
    whole = (await anew(talk, broken["id"], "continue")).json()
    await talk.ask("and then?")
    turns = told(stub)
    assert turns[-2] == ("assistant", whole["content"])
    assert turns[-1] == ("user", "and then?")
    assert TOLD not in [content for _, content in turns]


async def test_an_answer_goes_on_even_if_redis_lost_its_stream(talk, app, stopped):
    broken = await stopped()
    whole = (await anew(talk, broken["id"], "continue")).json()
    await app.redis.delete(f"folkmoot:stream:{whole['id']}")
    events = await talk.again(whole["id"])
    assert said(events) == whole["content"]


async def test_a_citation_is_kept_while_its_passage_is_there(informed, stub, superuser):
    stub.answer = "A fence along the street may be 1.2 metres high. [1] And more"
    answer = await informed.ask("How high may a fence be?")
    await broken_off(superuser, answer["id"])
    stub.answer = "over here."
    response = await anew(informed, answer["id"], "continue", headers={"Accept": "text/event-stream"})
    events = parse(response.text)
    names = [event.event for event in events]
    assert names[:4] == ["message.created", "retrieval.completed", "text.delta", "citation"]
    assert names.count("retrieval.completed") == 1
    final = events[-1].data["message"]
    assert final["content"] == answer["content"] + "over here."
    assert final["citations"][0]["quote"] == answer["citations"][0]["quote"]
    assert "1.2 metres" in str(stub.requests[-1].body["messages"])


async def test_the_marker_of_a_passage_that_is_gone_goes_too(informed, stub, superuser):
    stub.answer = "A fence along the street may be 1.2 metres high [1]. And more"
    answer = await informed.ask("How high may a fence be?")
    assert "[1]" in answer["content"]
    await broken_off(superuser, answer["id"])
    documents = (await informed.person.get(f"/collections/{informed.collection}/documents")).json()["items"]
    for document in documents:
        assert (await informed.person.delete(f"/documents/{document['id']}")).status_code == 204
    stub.answer = " here."
    final = (await anew(informed, answer["id"], "continue")).json()
    assert final["status"] == "complete", final
    assert final["content"].startswith("A fence along the street may be 1.2 metres high. And more")
    assert final["citations"] == []


async def broken_off(superuser, message_id: str) -> None:
    """As if its worker had died midway."""
    error = '{"code": "interrupted", "title": "x", "detail": "x", "retryable": true}'
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE messages SET status = 'failed', error = CAST(:e AS jsonb) WHERE id = :m"),
            {"e": error, "m": message_id},
        )


async def test_an_answer_that_was_cut_off_by_its_length_goes_on(talk, superuser):
    answer = await talk.ask("one two")
    async with superuser.begin() as connection:
        await connection.execute(
            text("""UPDATE messages SET trace = trace || '{"finish": "length"}' WHERE id = :m"""), {"m": answer["id"]}
        )
    whole = (await anew(talk, answer["id"], "continue")).json()
    assert whole["continues_id"] == answer["id"]
    assert whole["content"].startswith("one two")


async def test_an_answer_that_is_complete_has_nothing_to_go_on_with(talk):
    answer = await talk.ask("one")
    response = await anew(talk, answer["id"], "continue")
    assert (response.status_code, response.json()["code"]) == (409, "answer-complete")
    response = await anew(talk, answer["parent_id"], "continue")
    assert response.status_code == 400


async def test_one_that_said_nothing_is_made_anew(talk):
    failed = await talk.ask("[[status=400]]")
    again = (await anew(talk, failed["id"], "continue")).json()
    assert (again["continues_id"], again["content"]) == (None, "")


async def test_the_same_key_goes_on_once(talk, stopped):
    broken, key = await stopped(), {"Idempotency-Key": uuid4().hex}
    made = [(await anew(talk, broken["id"], "continue", headers=key)).json() for _ in range(2)]
    assert made[0] == made[1]
    assert len(await talk.messages()) == 3


def test_only_the_markers_of_passages_that_are_gone_are_taken():
    assert without({2}, "High [1], low [2]. Both [1][2]") == "High [1], low. Both [1]"


# Branches


async def test_a_branch_is_the_way_from_the_beginning_to_a_message(talk):
    first = await talk.ask("one")
    second = await talk.ask("two")
    other = (await edited(talk, second["parent_id"], "other two")).json()
    path = f"/conversations/{talk.id}/messages"

    async def branch(message_id, **params):
        return (await talk.person.get(path, params={"branch": message_id, **params})).json()

    old, new = await branch(second["id"]), await branch(other["id"])
    assert [item["content"] for item in old["items"]] == ["one", "one", "two", "two"]
    assert [item["content"] for item in new["items"]] == ["one", "one", "other two", "other two"]
    assert [item["id"] for item in (await branch(first["id"]))["items"]] == [first["parent_id"], first["id"]]
    page = await branch(other["id"], limit=3)
    rest = await branch(other["id"], limit=3, cursor=page["next_cursor"])
    assert page["items"] + rest["items"] == new["items"]
    assert rest["next_cursor"] is None


async def test_a_branch_of_another_conversation_is_not_found(talk):
    elsewhere = await talk.person.ask(await talk.person.conversation(talk.assistant), "there")
    await talk.ask("here")
    path = f"/conversations/{talk.id}/messages"
    for leaf in (elsewhere["id"], str(uuid4())):
        assert (await talk.person.get(path, params={"branch": leaf})).status_code == 404
    assert (await talk.person.get(path, params={"branch": "x"})).status_code == 400


async def test_a_list_has_a_thousand_messages_at_most(talk):
    path = f"/conversations/{talk.id}/messages"
    assert (await talk.person.get(path, params={"limit": 1000})).status_code == 200
    assert (await talk.person.get(path, params={"limit": 1001})).status_code == 400


async def test_the_list_shows_each_message_as_it_is_read_alone(informed, superuser):
    answer = await informed.ask("How high may a fence be? [[cite]]")
    await informed.ask("[[status=400]]")
    await informed.person.put(f"/messages/{answer['id']}/feedback", json={"rating": "up", "reason": "other"})
    edit = await informed.person.patch(f"/messages/{answer['id']}", json={"content": f"{answer['content']} So it is."})
    assert edit.status_code == 200, edit.text
    async with superuser.begin() as connection:
        left = """{"left_out": [{"what": "turns", "count": 2, "why": "no room"}], "finish": "length"}"""
        await connection.execute(
            text("UPDATE messages SET trace = trace || CAST(:l AS jsonb) WHERE id = :m"), {"l": left, "m": answer["id"]}
        )
    messages = await informed.messages()
    assert len(messages) == 4
    for message in messages:
        assert await informed.message(message["id"]) == message
    assert messages[1]["left_out"] != []
    assert messages[1]["original"] == answer["content"]
    assert set(Shown.__struct_fields__) == set(MessageOut.__struct_fields__)


async def test_a_deep_branch_is_read_whole(talk, superuser):
    """1,500 messages one below the other."""
    answer = await talk.ask("one")
    grow = text(
        "WITH RECURSIVE n AS (SELECT 1 AS i, uuidv7() AS id, CAST(:top AS uuid) AS parent UNION ALL"
        " SELECT i + 1, uuidv7(), n.id FROM n WHERE i < 1498)"
        " INSERT INTO messages (id, tenant_id, conversation_id, parent_id, role, content, reasoning, status,"
        " stop_requested, collection_ids, passages, citations)"
        " SELECT n.id, m.tenant_id, m.conversation_id, n.parent, CASE i % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,"
        " 'm' || i, '', 'complete', false, '[]', '[]', '[]' FROM n, messages m WHERE m.id = CAST(:top AS uuid)"
        " RETURNING id"
    )
    async with superuser.begin() as connection:
        leaf = str(max((await connection.scalars(grow, {"top": answer["id"]})).all()))
    path = f"/conversations/{talk.id}/messages"
    page = (await talk.person.get(path, params={"branch": leaf, "limit": 1000})).json()
    rest = (await talk.person.get(path, params={"branch": leaf, "limit": 1000, "cursor": page["next_cursor"]})).json()
    assert len(page["items"]) + len(rest["items"]) == 1500
    assert rest["items"][-1]["id"] == leaf


# Deleting


async def test_deleting_a_conversation_ends_its_answers_and_their_streams_at_once(talk, stub, app):
    asking, pending = await talk.begin("[[tokens=400 delay=0.05]]")
    reading = asyncio.create_task(talk.again(pending["id"]))
    await eventually(lambda: stub.streaming)
    await asyncio.sleep(0.2)
    assert (await talk.person.delete(f"/conversations/{talk.id}")).status_code == 204
    events = await asyncio.wait_for(reading, 10)
    assert (events[-1].event, events[-1].data["code"]) == ("message.failed", "message-deleted")
    await eventually(lambda: not stub.streaming)
    left = await app.streams.so_far(pending["id"])
    assert [entry.event for entry in left] == [b"message.failed"]
    assert (await asking).status_code == 404


async def test_the_stream_of_an_ended_answer_goes_with_its_conversation(talk, app):
    answer = await talk.ask("one")
    assert await app.streams.exists(answer["id"])
    assert (await talk.person.delete(f"/conversations/{talk.id}")).status_code == 204
    assert not await app.streams.exists(answer["id"])
