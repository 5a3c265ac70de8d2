"""Confidential text goes only to models that are cleared for it, on every way out, and that can be seen before."""

from __future__ import annotations

import pytest

from tests.support.openai_stub import OpenAIStub

RULES = ("rules.md", b"# Fences\n\nA fence may be 1.8 metres high.\n")


@pytest.fixture
async def foreign():
    async with OpenAIStub(models=("foreign-chat", "foreign-embed")) as stub:
        yield stub


@pytest.fixture
async def ours():
    async with OpenAIStub(models=("our-chat", "our-embed")) as stub:
        yield stub


@pytest.fixture
async def secret(owner, foreign, ours) -> dict:
    """A class that only `ours` is cleared for; `foreign` is the default of everything else."""
    made = await owner.made("/data-classes", name="Secret", level=2, countries=["SE"])
    await owner.made("/connections", kind="openai", name="Foreign", config={"base_url": foreign.url}, country="US")
    await owner.made(
        "/connections", kind="openai", name="Ours", config={"base_url": ours.url}, country="SE", clearance_id=made["id"]
    )
    foreign.requests.clear()
    ours.requests.clear()
    return made


async def classified(owner, class_id: str) -> str:
    return (await owner.made("/spaces", name="Case files", data_class_id=class_id))["id"]


def said_to(stub: OpenAIStub) -> str:
    return str([request.body for request in stub.requests])


async def test_question_answer_documents_and_search_go_to_the_cleared_model_alone(owner, secret, foreign, ours):
    space = await classified(owner, secret["id"])
    collection = await owner.collection(space)
    await owner.knows(collection, RULES)
    assert (await owner.post(f"/collections/{collection}/search", json={"query": "How high?"})).json()["items"]
    conversation = await owner.conversation(await owner.assistant(space, collection))
    answer = await owner.ask(conversation, "How high may a fence be?")
    assert answer["model"]["name"] == "our-chat"
    assert "fence" in said_to(ours)
    assert foreign.requests == [], "nothing at all went abroad"


async def test_an_assistant_with_a_model_that_is_not_cleared_answers_nothing(owner, secret, foreign):
    models = {item["name"]: item["id"] for item in (await owner.get("/models")).json()["items"]}
    space = await owner.space()
    conversation = await owner.conversation(await owner.assistant(space, model_id=models["foreign-chat"]))
    assert (await owner.ask(conversation, "Hello there"))["status"] == "complete"
    foreign.requests.clear()
    assert (await owner.patch(f"/spaces/{space}", json={"data_class_id": secret["id"]})).status_code == 200
    refused = await owner.post(f"/conversations/{conversation}/messages", json={"content": "And this secret?"})
    assert (refused.status_code, refused.json()["code"]) == (409, "model-not-cleared")
    assert "our-chat" in refused.json()["detail"]
    assert foreign.requests == []


async def test_when_the_cleared_provider_fails_no_fallback_widens_the_circle(owner, secret, foreign, ours):
    space = await classified(owner, secret["id"])
    models = {item["name"]: item["id"] for item in (await owner.get("/models")).json()["items"]}
    fallback = {"fallback_ids": [models["foreign-chat"]]}
    assert (await owner.patch(f"/models/{models['our-chat']}", json=fallback)).status_code == 200
    conversation = await owner.conversation(await owner.assistant(space))
    await ours.__aexit__()
    answer = await owner.ask(conversation, "A secret question")
    assert answer["status"] == "failed"
    assert foreign.requests == []


async def test_a_class_that_is_raised_binds_the_conversation_that_goes_on(owner, secret, foreign):
    space = await owner.space()
    conversation = await owner.conversation(await owner.assistant(space))
    assert (await owner.ask(conversation, "Hello"))["model"]["name"] == "foreign-chat"
    await owner.patch(f"/spaces/{space}", json={"data_class_id": secret["id"]})
    foreign.requests.clear()
    answer = await owner.ask(conversation, "And now?")
    assert answer["model"]["name"] == "our-chat"
    assert foreign.requests == [], "the history of the conversation stays here as well"


async def test_collections_of_the_organisation_bind_whoever_uses_them(owner, secret, foreign):
    organisation = (await owner.get("/spaces/organisation")).json()["id"]
    collection = await owner.collection(organisation)
    await owner.patch(f"/spaces/{organisation}", json={"data_class_id": secret["id"]})
    assistant = await owner.assistant(await owner.space(), collection)
    answer = await owner.ask(await owner.conversation(assistant), "How high?")
    assert answer["model"]["name"] == "our-chat"
    assert foreign.requests == []


async def test_the_default_class_guards_spaces_that_name_none(owner, secret, foreign):
    assert (await owner.patch(f"/data-classes/{secret['id']}", json={"default": True})).status_code == 200
    conversation = await owner.conversation(await owner.assistant(await owner.space()))
    assert (await owner.ask(conversation, "Hello"))["model"]["name"] == "our-chat"
    assert foreign.requests == []


async def test_where_text_could_go_is_told_before_anything_is_sent(owner, secret, foreign, ours):
    space = await classified(owner, secret["id"])
    told = (await owner.get(f"/spaces/{space}/egress")).json()
    assert told["data_class"] == "Secret"
    ways = {way["purpose"]: way for way in told["ways"]}
    answers = {model["name"]: model for model in ways["answers"]["models"]}
    assert answers["our-chat"]["allowed"] is True
    assert answers["foreign-chat"]["allowed"] is False
    assert "not cleared" in answers["foreign-chat"]["reason"]
    assert answers["extractive"]["allowed"] is True, "it answers in this process"
    assert ways["answers"]["note"].startswith("goes to our-chat")
    assert "foreign" not in ways["answers"]["note"]
    assert {purpose for purpose, way in ways.items() if way["first"] is None} == {
        "reranking",
        "transcription",
        "titles",
        "web search",
        "tools",
    }
    assert ways.pop("tools")["note"].startswith("what a model writes into a call goes to tool servers")
    assert all(way["note"].startswith("nothing is sent") for way in ways.values() if way["first"] is None)
    assert foreign.requests == ours.requests == []
    other = await owner.space()
    assert (await owner.get(f"/spaces/{other}/egress")).json()["data_class"] is None
    as_if = await owner.get(f"/spaces/{other}/egress", params={"data_class_id": secret["id"]})
    assert as_if.json() == told
    assert (await owner.get("/egress", params={"data_class_id": secret["id"]})).json() == told


async def test_who_manages_a_space_may_guard_it_better_and_not_less(owner, tenancy, secret):
    low = await owner.made("/data-classes", name="Internal", level=1)
    colleague = await tenancy.colleague(owner)
    space = (await colleague.made("/spaces", name="Theirs"))["id"]
    for class_id in (low["id"], secret["id"]):
        assert (await colleague.patch(f"/spaces/{space}", json={"data_class_id": class_id})).status_code == 200
    for less in (low["id"], None):
        refused = await colleague.patch(f"/spaces/{space}", json={"data_class_id": less})
        assert (refused.status_code, refused.json()["code"]) == (403, "class-lowered")


async def test_a_class_in_use_is_not_deleted(owner, secret):
    refused = await owner.delete(f"/data-classes/{secret['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "class-in-use")
    unused = await owner.made("/data-classes", name="Unused", level=9)
    assert (await owner.delete(f"/data-classes/{unused['id']}")).status_code == 204


async def test_two_classes_have_neither_one_name_nor_one_level(owner, secret):
    for fields in ({"name": "Secret", "level": 3}, {"name": "Other", "level": 2}):
        refused = await owner.post("/data-classes", json=fields)
        assert (refused.status_code, refused.json()["code"]) == (409, "already-exists")


async def test_only_administrators_name_classes_and_everybody_may_read_them(owner, tenancy, secret):
    colleague = await tenancy.colleague(owner)
    assert [item["name"] for item in (await colleague.get("/data-classes")).json()["items"]] == ["Secret"]
    assert (await colleague.post("/data-classes", json={"name": "Mine", "level": 5})).status_code == 403
    stranger = await tenancy.owner()
    assert (await stranger.get(f"/data-classes/{secret['id']}")).status_code == 404
    refused = await stranger.post("/spaces", json={"name": "Theirs", "data_class_id": secret["id"]})
    assert refused.status_code == 404


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_an_assistant_once_found_stays_guarded_when_it_looks_elsewhere(owner, secret, foreign, deleted):
    organisation = (await owner.get("/spaces/organisation")).json()["id"]
    collection = await owner.collection(organisation)
    await owner.patch(f"/spaces/{organisation}", json={"data_class_id": secret["id"]})
    await owner.knows(collection, RULES)
    assistant = await owner.assistant(await owner.space(), collection)
    conversation = await owner.conversation(assistant)
    assert (await owner.ask(conversation, "How high may a fence be?"))["model"]["name"] == "our-chat"
    assert (await owner.patch(f"/assistants/{assistant}", json={"collection_ids": []})).status_code == 200
    if deleted:
        assert (await owner.delete(f"/collections/{collection}")).status_code == 204
    assert (await owner.ask(conversation, "And what did you say?"))["model"]["name"] == "our-chat"
    assert foreign.requests == [], "the answer that was given goes along with the question"
    fresh = await owner.conversation(assistant)
    assert (await owner.ask(fresh, "Hello"))["model"]["name"] == "foreign-chat", "a new conversation has none of it"


async def test_the_default_class_is_not_deleted_under_the_spaces_that_have_it(owner):
    made = await owner.made("/data-classes", name="Internal", level=1, default=True)
    refused = await owner.delete(f"/data-classes/{made['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "class-in-use")
    assert (await owner.patch(f"/data-classes/{made['id']}", json={"default": False})).status_code == 200
    assert (await owner.delete(f"/data-classes/{made['id']}")).status_code == 204
