"""Thumbs: a rating and its reason for the organisation, a comment for nobody."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text


async def rated(talk, message_id, **fields):
    return await talk.person.put(f"/messages/{message_id}/feedback", json=fields)


async def test_an_answer_is_rated_with_a_reason_and_a_comment(talk, superuser):
    answer = await talk.ask("one")
    response = await rated(talk, answer["id"], rating="down", reason="no-sources", comment=" Which law? ")
    assert response.status_code == 200, response.text
    given = response.json()["feedback"]
    assert (given["rating"], given["reason"], given["comment"]) == ("down", "no-sources", "Which law?")
    assert (await talk.message(answer["id"]))["feedback"] == given
    assert (await talk.messages())[1]["feedback"] == given
    async with superuser.connect() as connection:
        found = text("SELECT data, user_id FROM events WHERE action = 'message.rated' AND object_id = :m")
        (event,) = (await connection.execute(found, {"m": answer["id"]})).all()
    assert event.data == {"rating": "down", "reason": "no-sources"}
    assert event.user_id == talk.person.user.id


async def test_a_rating_can_be_changed_and_taken_back(talk, count):
    answer = await talk.ask("one")
    await rated(talk, answer["id"], rating="down", reason="wrong", comment="No")
    assert (await rated(talk, answer["id"], rating="up")).json()["feedback"]["reason"] == ""
    for _ in range(2):
        assert (await talk.person.delete(f"/messages/{answer['id']}/feedback")).status_code == 204
    assert (await talk.message(answer["id"]))["feedback"] is None
    assert await count("messages", f"id = '{answer['id']}' AND feedback IS NULL") == 1
    assert await count("events", f"action = 'message.unrated' AND object_id = '{answer['id']}'") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rating": "sideways"},
        {"rating": "up", "reason": "because"},
        {"rating": "up", "comment": "x" * 2001},
        {"rating": "up", "comment": "\x00"},
        {"rating": "up", "stars": 5},
    ],
)
async def test_what_is_no_rating_is_refused(talk, fields):
    answer = await talk.ask("one")
    response = await rated(talk, answer["id"], **fields)
    assert (response.status_code, response.json()["code"]) == (400, "validation-failed")
    assert (await talk.message(answer["id"]))["feedback"] is None


async def test_questions_and_unfinished_answers_are_not_rated(talk):
    answer = await talk.ask("one")
    assert (await rated(talk, answer["parent_id"], rating="up")).status_code == 400
    asking, pending = await talk.begin("[[tokens=100 delay=0.05]]")
    response = await rated(talk, pending["id"], rating="up")
    assert (response.status_code, response.json()["code"]) == (409, "answer-in-progress")
    await talk.person.post(f"/messages/{pending['id']}/stop")
    await asking
    assert (await rated(talk, str(uuid4()), rating="up")).status_code == 404
