"""Our own tools: what they find can be cited, and they read nothing that the answer may not read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from folkmoot.conversations.retrieval import retrieve
from folkmoot.conversations.toolcalls import builtin

BOATS = b"# Boats\n\nBoats are moored at the west pier from May to September.\n"


@pytest.fixture
async def able(informed, monkeypatch):
    """A model that can call tools, and a collection that is searched and does not go along whole."""
    monkeypatch.setattr(retrieve, "FEW_TOKENS", 0)
    for model in (await informed.person.get("/models")).json()["items"]:
        if model["name"] == "stub-chat":
            changed = await informed.person.patch(f"/models/{model['id']}", json={"overrides": {"tools": True}})
            assert changed.status_code == 200, changed.text
    return informed


def asked(stub) -> list[dict]:
    return [request.body for request in stub.requests if request.path.endswith("completions")]


def names(body: dict) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


def completed(events) -> list[dict]:
    return [event.data for event in events if event.event == "tool.completed"]


async def call(talk, name: str, question: str = "What is it?", **arguments):
    """The events of an answer whose model calls this tool first."""
    return await talk.stream(f"{question} [[call {name} {json.dumps(arguments)}]]")


async def result(talk, name: str, **arguments) -> dict:
    (data,) = completed(await call(talk, name, **arguments))
    return data


async def remade(talk, **fields) -> None:
    response = await talk.person.patch(f"/assistants/{talk.assistant}", json=fields)
    assert response.status_code == 200, response.text


async def test_a_model_that_can_is_offered_all_of_them(able, stub):
    await able.ask("How high may a fence be?")
    assert names(asked(stub)[-1]) == list(builtin.NAMES)
    for tool in asked(stub)[-1]["tools"]:
        assert len(tool["function"]["description"]) > 40
        assert tool["function"]["parameters"]["type"] == "object"


async def test_a_model_that_cannot_is_offered_none(informed, stub):
    await informed.ask("How high may a fence be?")
    assert "tools" not in asked(stub)[-1]


async def test_an_assistant_says_which_it_may_use(able, stub):
    await remade(able, builtin_tools=["calculate"])
    await able.ask("How high may a fence be?")
    assert names(asked(stub)[-1]) == ["calculate"]
    await remade(able, builtin_tools=[])
    await able.ask("How high may a fence be?")
    assert names(asked(stub)[-1]) == []
    await remade(able, builtin_tools=None, collection_ids=[])
    await able.ask("How high may a fence be?")
    assert names(asked(stub)[-1]) == ["calculate", "current_date"], "there is nothing to read"


async def test_what_a_further_search_finds_is_numbered_on_and_can_be_cited(able, stub):
    await able.person.knows(able.collection, ("boats.md", BOATS))
    await remade(able, retrieval="off")
    stub.answer = "Boats are moored at the west pier [1]."
    events = await call(able, "search_knowledge", query="boats moored pier", limit=1)
    (found,) = [event.data for event in events if event.event == "retrieval.completed"]
    assert [passage["n"] for passage in found["passages"]] == [1]
    assert found["query"] == "boats moored pier"
    (told,) = completed(events)
    assert told["status"] == "done"
    assert "[1] boats.md" in told["result"]
    assert "west pier" in told["result"]
    (cited,) = [event.data for event in events if event.event == "citation"]
    assert cited["document_id"] == found["passages"][0]["document_id"]
    assert "west pier" in cited["quote"]
    message = events[-1].data["message"]
    assert [item["n"] for item in message["citations"]] == [1]


async def test_what_the_question_found_keeps_its_number_and_is_told_once(able, stub):
    events = await call(able, "search_knowledge", question="How high may a fence be?", query="fence height")
    first, *more = [event.data for event in events if event.event == "retrieval.completed"]
    assert [passage["n"] for passage in first["passages"]] == [1]
    assert more == [], "it brought nothing new"
    assert "[1] rules.md" in completed(events)[0]["result"]
    before, after = asked(stub)[-2:]
    place = str(before["messages"]).count("1.2 metres")
    assert str(after["messages"][: len(before["messages"])]).count("1.2 metres") == place, (
        "the beginning stays as it was"
    )


async def test_a_search_that_finds_nothing_says_so(able):
    space = (await able.person.get(f"/assistants/{able.assistant}")).json()["space_id"]
    await remade(able, collection_ids=[await able.person.collection(space, "Empty")])
    told = await result(able, "search_knowledge", query="fence")
    assert told["status"] == "done"
    assert told["result"].startswith("Nothing was found for 'fence'")


async def test_bad_arguments_are_refused(able):
    for arguments in (
        {},
        {"query": ""},
        {"query": " "},
        {"query": 7},
        {"query": "fence", "limit": 0},
        {"query": "x", "more": 1},
    ):
        told = await result(able, "search_knowledge", **arguments)
        assert (told["status"], told["error"]) == ("failed", "arguments-invalid"), arguments
    for arguments in (
        {},
        {"document": ""},
        {"document": "rules.md", "from": -1},
        {"document": "rules.md", "from": "x"},
    ):
        told = await result(able, "read_document", **arguments)
        assert (told["status"], told["error"]) == ("failed", "arguments-invalid"), arguments
    for arguments in ({"document": "%"}, {"document": "a\x00b"}, {"document": "rules.md", "from": 10**30}):
        told = await result(able, "read_document", **arguments)
        assert told["error"] in ("no-such-document", "arguments-invalid"), arguments


async def test_a_document_is_read_in_stretches_that_can_be_cited(able, stub, monkeypatch):
    monkeypatch.setattr(builtin, "MOST_READ", 200)
    sections = [f"# Part {number}\n\n" + f"Sentence of part {number}. " * 60 for number in range(4)]
    await able.person.knows(able.collection, ("long.md", "\n\n".join(sections).encode()))
    await remade(able, retrieval="off")
    stub.answer = "Sentence of part 0. [1]"
    events = await call(able, "read_document", document="LONG.md")
    (told,) = completed(events)
    assert told["result"].startswith("long.md, characters 0 to ")
    assert "[1] long.md" in told["result"]
    assert "Part 0" in told["result"]
    assert [event.data["n"] for event in events if event.event == "citation"] == [1]
    begin = int(told["result"].split("read from ")[1].split()[0])
    document = next(e.data for e in events if e.event == "retrieval.completed")["passages"][0]["document_id"]
    more = await result(able, "read_document", document=document, **{"from": begin})
    assert more["result"].startswith(f"long.md, characters {begin}") or "characters" in more["result"]
    at = int(more["result"].split("characters ")[1].split()[0])
    assert at >= begin
    beyond = await result(able, "read_document", document="long", **{"from": 10_000_000})
    assert "nothing stands at" in beyond["result"]


async def test_a_document_of_another_collection_is_not_there(able):
    elsewhere = await able.person.collection(await able.person.space("Secret"))
    (hidden,) = await able.person.knows(elsewhere, ("secret.md", b"# Secret\n\nThe safe has the number 4711.\n"))
    for name in ("secret.md", "secret", hidden["id"], str(uuid4())):
        told = await result(able, "read_document", document=name)
        assert (told["status"], told["error"]) == ("failed", "no-such-document")
        assert "4711" not in told["result"]
    found = await result(able, "search_knowledge", query="number of the safe")
    assert "4711" not in found["result"]


async def test_a_name_that_fits_several_is_asked_back(able):
    await able.person.knows(able.collection, ("rules-2.md", BOATS))
    told = await result(able, "read_document", document="rul")
    assert told["error"] == "several-documents"
    assert "rules.md" in told["result"]
    assert "rules-2.md" in told["result"]
    assert "1.8 metres" in (await result(able, "read_document", document="rules.md"))["result"]


async def test_files_of_the_conversation_are_read_too_and_no_others(able):
    other = await able.person.conversation(able.assistant)
    sent: dict[str, str] = {}
    for conversation, name in ((able.id, "lease.md"), (other, "diary.md")):
        answered = await able.person.post(
            f"/conversations/{conversation}/files", files=[("file", (name, f"The secret of {name} is kept.".encode()))]
        )
        assert answered.status_code == 202, answered.text
        (item,) = answered.json()["items"]
        await able.person.read_through(item["document_id"])
        sent[name] = item["id"]
    body = {"content": 'What is it? [[call read_document {"document": "lease.md"}]]', "file_ids": [sent["lease.md"]]}
    assert (await able.person.post(f"/conversations/{able.id}/messages", json=body)).status_code == 201
    told = await result(able, "read_document", document="lease.md")
    assert "The secret of lease.md is kept." in told["result"]
    assert (await result(able, "read_document", document="diary.md"))["error"] == "no-such-document"
    searched = await result(able, "search_knowledge", query="the secret is kept", limit=20)
    assert "lease.md" in searched["result"]
    assert "diary.md" not in searched["result"]


async def test_sums_are_calculated(able):
    assert (await result(able, "calculate", expression="19.99 * 3 + 10%"))["result"] == "65.967"
    assert (await result(able, "calculate", expression="1/3"))["result"].startswith("about 0.333")
    told = await result(able, "calculate", expression="__import__('os')")
    assert (told["status"], told["error"]) == ("failed", "arguments-invalid")
    assert "cannot be calculated" in told["result"]


async def test_today_is_told(able):
    before = datetime.now(UTC)
    told = await result(able, "current_date")
    assert any(f"{day:%A}, {day.day} {day:%B %Y}" in told["result"] for day in (before, datetime.now(UTC)))
    assert "UTC" in told["result"]
    assert f"week {before.isocalendar().week}" in told["result"] or before.hour == 23


def test_every_tool_has_a_name_and_is_ours():
    version = SimpleNamespace(builtin_tools=None)
    run = SimpleNamespace(version=version, collections=[UUID(int=1)], attached=[])
    made = builtin.offers(None, run, None)  # type: ignore[arg-type]
    assert tuple(offer.spec.name for offer in made) == builtin.NAMES
    assert all(offer.tool_id is None and not offer.approval for offer in made)
