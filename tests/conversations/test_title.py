"""Titles: written by a cheap model after the first answer, by a person whenever they like, and never by force."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from folkmoot.conversations.title import LONGEST, cleaned


async def titled(talk, seconds: float = 10) -> dict:
    """The conversation once a model has named it."""
    async with asyncio.timeout(seconds):
        while True:
            conversation = (await talk.person.get(f"/conversations/{talk.id}")).json()
            if conversation["titled_by"]:
                return conversation
            await asyncio.sleep(0.05)


def naming(stub) -> list[str]:
    """What models were asked to name."""
    said = [str(request.body["messages"]) for request in stub.asides]
    return [messages for messages in said if "Write a title" in messages]


async def test_a_model_names_a_conversation_after_its_first_answer(talk, stub, count):
    stub.aside = '"Höjden på häckar i trädgården."'
    before = (await talk.person.get(f"/conversations/{talk.id}")).json()
    assert (before["title"], before["titled_by"]) == ("", "")
    await talk.ask("Hur hög får en häck vara?")
    named = await titled(talk)
    assert (named["title"], named["titled_by"]) == ("Höjden på häckar i trädgården", "model")
    (asked,) = naming(stub)
    assert "Hur hög får en häck vara?" in asked
    told = f"action = 'conversation.titled' AND object_id = '{talk.id}' AND user_id = '{talk.person.user.id}'"
    assert await count("events", f"{told} AND data = '{{}}'") == 1
    assert await count("usage_entries", f"purpose = 'title' AND user_id = '{talk.person.user.id}'") == 1


async def test_naming_leaves_a_conversation_in_its_place(talk, stub):
    stub.aside = "Fences"
    await talk.ask("one")
    before = (await talk.person.get(f"/conversations/{talk.id}")).json()["updated_at"]
    assert (await titled(talk))["updated_at"] == before


async def test_later_answers_and_those_beside_the_first_name_nothing(talk, stub):
    stub.aside = "Fences"
    answer = await talk.ask("one")
    await titled(talk)
    await talk.ask("two")
    assert (await talk.person.post(f"/messages/{answer['id']}/regenerate")).status_code == 201
    await asyncio.sleep(2)
    assert len(naming(stub)) == 1


async def test_what_a_person_has_named_no_model_names(talk, stub):
    stub.aside = "Fences"
    path = f"/conversations/{talk.id}"
    assert (await talk.person.patch(path, json={"title": "My own"})).json()["titled_by"] == "person"
    await talk.ask("one")
    await asyncio.sleep(2)
    assert naming(stub) == []
    assert (await talk.person.get(path)).json()["title"] == "My own"


async def test_a_conversation_that_was_begun_with_a_title_keeps_it(talk, stub):
    made = await talk.person.made(f"/assistants/{talk.assistant}/conversations", title="Begun so")
    assert made["titled_by"] == "person"


async def test_without_a_model_the_question_s_beginning_stays(keyless):
    await keyless.ask("How high may a fence along the street be?")
    await asyncio.sleep(1.5)
    conversation = (await keyless.person.get(f"/conversations/{keyless.id}")).json()
    assert (conversation["title"], conversation["titled_by"]) == ("How high may a fence along the street be?", "")


async def test_an_answer_that_failed_names_nothing(talk, stub):
    await talk.ask("[[status=400]]")
    await asyncio.sleep(1.5)
    assert naming(stub) == []


async def test_nothing_is_spent_on_titles_once_a_budget_is_spent(talk, stub, superuser):
    stub.aside = "Fences"
    budget = {"kind": "user", "subject_id": str(talk.person.user.id), "period": "day", "limit_micros": 10**9}
    made = await talk.person.made("/budgets", **budget)
    await talk.ask("one")
    put = await talk.person.patch(f"/budgets/{made['id']}", json={"limit_micros": 1})
    assert put.status_code == 200, put.text
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE budget_counters SET spent = 10 WHERE tenant_id = :t"), {"t": talk.person.tenant_id}
        )
    await asyncio.sleep(2)
    assert naming(stub) == []
    assert (await talk.person.get(f"/conversations/{talk.id}")).json()["title"] == "one"


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Fences along streets", "Fences along streets"),
        ('"Fences along streets."', "Fences along streets"),
        ("„Zäune an Straßen“", "Zäune an Straßen"),
        ("Title: Fences", "Fences"),
        ("**Rubrik:** Staket längs gatan", "Staket längs gatan"),
        ("# Fences\n\nA fence may be high.", "Fences"),
        ("1. Fences", "Fences"),
        ("\n\n  Fences\x00\u202e  along\tstreets \n", "Fences along streets"),
        ("街沿いのフェンスの高さ", "街沿いのフェンスの高さ"),
        ("What is allowed?", "What is allowed?"),
        ("", ""),
        ("...", ""),
        ("I am sorry, but I cannot write a title for a conversation that has nothing in it at all.", ""),
        ("x" * 500, "x" * LONGEST),
        (("Donaudampfschifffahrtsgesellschaft " * 6).strip(), ("Donaudampfschifffahrtsgesellschaft " * 2).strip()),
    ],
)
def test_what_a_model_writes_is_made_a_title(written, title):
    assert cleaned(written) == title
