"""Which models somebody may use, and what administrators settle about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.openai_stub import OpenAIStub


@pytest.fixture
async def stub():
    async with OpenAIStub(models=("stub-chat", "stub-two", "stub-embed")) as stub:
        yield stub


@pytest.fixture
async def models(owner, stub) -> dict[str, dict]:
    made = await owner.made("/connections", kind="openai", name="Ours", config={"base_url": stub.url})
    items = (await owner.get(f"/connections/{made['id']}/models")).json()["items"]
    return {item["name"]: item for item in items}


async def talk(owner, **fields) -> str:
    assistant = await owner.assistant(await owner.space(), **fields)
    return await owner.conversation(assistant)


async def test_a_new_organisation_has_a_model_that_needs_nothing(owner, tenancy):
    items = (await owner.get("/models")).json()["items"]
    assert [(item["kind"], item["provider"], item["default"]) for item in items] == [("chat", "extractive", True)]
    colleague = await tenancy.colleague(owner)
    assert (await colleague.get("/models")).json()["items"] == items


async def test_no_answer_holds_the_configuration_of_a_connection(owner):
    text = (await owner.get("/models")).text
    assert "config" not in text
    assert "api_key" not in text


async def test_another_default_is_used_from_the_next_question_on(owner, models):
    conversation = await talk(owner)
    assert (await owner.ask(conversation, "Hello there"))["model"]["name"] == "stub-chat"
    changed = await owner.patch(f"/models/{models['stub-two']['id']}", json={"default": True})
    assert changed.json()["default"] is True
    assert (await owner.ask(conversation, "Hello again"))["model"]["name"] == "stub-two"


async def test_a_model_that_is_switched_off_is_not_asked_and_says_so(owner, models):
    model = models["stub-two"]
    conversation = await talk(owner, model_id=model["id"])
    assert (await owner.ask(conversation, "Hello there"))["model"]["name"] == "stub-two"
    await owner.patch(f"/models/{model['id']}", json={"enabled": False})
    refused = await owner.post(f"/conversations/{conversation}/messages", json={"content": "And now?"})
    assert (refused.status_code, refused.json()["code"]) == (404, "model-not-found")


async def test_a_deprecated_model_goes_on_but_is_not_chosen_any_more(owner, models):
    model = models["stub-two"]
    conversation = await talk(owner, model_id=model["id"])
    said = {"deprecated": True, "replacement_id": models["stub-chat"]["id"]}
    shown = (await owner.patch(f"/models/{model['id']}", json=said)).json()
    assert shown["deprecated_at"]
    assert shown["replacement_id"] == models["stub-chat"]["id"]
    assert (await owner.ask(conversation, "Still there?"))["status"] == "complete"
    space = await owner.space("Other")
    refused = await owner.post(f"/spaces/{space}/assistants", json={"name": "New", "model_id": model["id"]})
    assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed")


@pytest.mark.parametrize("field", ["fallback_ids", "replacement_id"])
async def test_only_a_model_of_the_same_kind_stands_in(owner, models, field):
    other = models["stub-embed"]["id"]
    value = [other] if field == "fallback_ids" else other
    refused = await owner.patch(f"/models/{models['stub-chat']['id']}", json={field: value})
    assert refused.status_code == 400
    own = models["stub-chat"]["id"]
    refused = await owner.patch(f"/models/{own}", json={field: [own] if field == "fallback_ids" else own})
    assert refused.status_code == 400


async def test_a_price_holds_from_its_moment_and_never_looks_back(owner, models):
    path = f"/models/{models['stub-chat']['id']}"
    assert (await owner.get(path)).json()["price"] is None
    made = await owner.made(f"{path}/prices", input=2_500_000, output=10_000_000)
    assert made["source"] == "manual"
    assert (await owner.get(path)).json()["price"]["output"] == 10_000_000
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await owner.made(f"{path}/prices", input=1_000_000, valid_from=tomorrow)
    assert (await owner.get(path)).json()["price"]["input"] == 2_500_000, "not before tomorrow"
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    refused = await owner.post(f"{path}/prices", json={"input": 1, "valid_from": yesterday})
    assert refused.status_code == 400
    assert len((await owner.get(f"{path}/prices")).json()["items"]) == 2


async def test_what_an_administrator_knows_better_can_be_taken_back(owner, models):
    path = f"/models/{models['stub-chat']['id']}"
    said = await owner.patch(path, json={"overrides": {"context_window": 1234, "vision": True}})
    assert (said.json()["context_window"], said.json()["vision"]) == (1234, True)
    back = await owner.patch(path, json={"overrides": {"vision": None}})
    assert (back.json()["context_window"], back.json()["vision"]) == (1234, False)
    assert back.json()["overrides"] == {"context_window": 1234}


async def test_a_stale_change_is_refused(owner, models):
    path = f"/models/{models['stub-chat']['id']}"
    tag = (await owner.get(path)).headers["etag"]
    assert (await owner.patch(path, json={"country": "SE"}, headers={"If-Match": tag})).status_code == 200
    assert (await owner.patch(path, json={"country": "FI"}, headers={"If-Match": tag})).status_code == 412


async def test_a_model_is_asked_for_a_word(owner, models):
    for name in ("stub-chat", "stub-embed"):
        tried = await owner.post(f"/models/{models[name]['id']}/check")
        assert tried.json()["ok"] is True, tried.text
        assert tried.json()["milliseconds"] is not None


async def test_when_a_provider_is_down_the_next_model_answers_and_the_answer_says_so(owner, models, stub):
    """`stub` is gone: every call to it fails to connect."""
    async with OpenAIStub(models=("second-chat",)) as second:
        await owner.made("/connections", kind="openai", name="Second", config={"base_url": second.url})
        conversation = await talk(owner)
        await stub.__aexit__()
        answer = await owner.ask(conversation, "Is anybody there?")
    assert answer["status"] == "complete"
    assert answer["model"]["name"] == "second-chat"
    assert answer["model"]["instead_of"]["name"] == "stub-chat"
