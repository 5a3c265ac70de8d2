"""Connecting a provider: tried first, told in words, and never shown its secrets again."""

from __future__ import annotations

import json

import pytest

from tests.support.openai_stub import OpenAIStub

KEY = "sk-made-up-and-quite-secret-0123456789"


@pytest.fixture
async def stub():
    async with OpenAIStub(api_key=KEY) as stub:
        yield stub


@pytest.fixture
async def connected(owner, stub):
    return await owner.made("/connections", kind="openai", name="Ours", config={"api_key": KEY, "base_url": stub.url})


async def models_of(owner, connection) -> dict[str, dict]:
    items = (await owner.get(f"/connections/{connection['id']}/models")).json()["items"]
    return {item["name"]: item for item in items}


async def test_the_kinds_that_can_be_connected_come_with_their_form(owner):
    kinds = {item["kind"]: item for item in (await owner.get("/providers")).json()["items"]}
    assert kinds["extractive"]["in_process"] is True
    form = json.dumps(kinds["openai"]["config_schema"])
    assert '"writeOnly": true' in form


async def test_a_connection_is_tried_before_it_is_stored_and_brings_its_models(owner, stub, connected):
    assert connected["config"]["api_key"] == "********"
    assert connected["check_code"] is None
    assert connected["checked_at"]
    assert any(request.path == "/v1/chat/completions" for request in stub.requests), "a model was asked for a word"
    models = await models_of(owner, connected)
    assert {name: item["kind"] for name, item in models.items()} == {"stub-chat": "chat", "stub-embed": "embedding"}
    listed = (await owner.get("/models")).json()["items"]
    assert [item["name"] for item in listed if item["default"]] == ["stub-chat", "stub-embed"], "before the last resort"


@pytest.mark.parametrize(
    ("config", "field", "word"),
    [
        ({"api_key": "sk-wrong-wrong-wrong"}, "config.api_key", "key"),
        ({"base_url": "http://127.0.0.1:9/v1"}, "config.base_url", "127.0.0.1"),
        ({"base_url": "nonsense"}, "config.base_url", "https?"),
        ({"chat_models": ["no-such-model"]}, "config.chat_models", "no-such-model"),
        ({"colour": "red"}, "config.colour", "colour"),
    ],
)
async def test_what_is_wrong_is_told_in_words_that_name_the_field(owner, stub, config, field, word):
    whole = {"api_key": KEY, "base_url": stub.url} | config
    refused = await owner.post("/connections", json={"kind": "openai", "name": "Ours", "config": whole})
    assert refused.status_code == 400, refused.text
    problem = refused.json()
    assert problem["code"] == "validation-failed"
    assert [error["path"] for error in problem["errors"]] == [field]
    assert word in problem["errors"][0]["message"]
    assert KEY not in refused.text
    assert [row["kind"] for row in (await owner.get("/connections")).json()["items"]] == ["extractive"]


async def test_a_try_stores_nothing_and_says_how_long_the_first_word_took(owner, stub):
    tried = await owner.post(
        "/connections/check", json={"kind": "openai", "config": {"api_key": KEY, "base_url": stub.url}}
    )
    assert tried.status_code == 200
    body = tried.json()
    assert (body["ok"], body["tried"], body["code"]) == (True, "stub-chat", None)
    assert isinstance(body["milliseconds"], int)
    assert [item["name"] for item in body["models"]] == ["stub-chat", "stub-embed"]
    assert len((await owner.get("/connections")).json()["items"]) == 1


async def test_an_address_inside_the_network_is_refused_with_the_way_out(owner):
    config = {"api_key": KEY, "base_url": "http://169.254.169.254/v1"}
    refused = await owner.post("/connections/check", json={"kind": "openai", "config": config})
    body = refused.json()
    assert body["ok"] is False
    assert body["field"] == "config.base_url"
    assert "FOLKMOOT_NET_ALLOW" in body["message"]


async def test_unseen_it_can_be_stored_without_its_models(owner):
    fields = {"kind": "openai", "name": "Later", "config": {"base_url": "http://127.0.0.1:9/v1"}}
    made = await owner.post("/connections?check=false", json=fields)
    assert made.status_code == 201
    assert made.json()["checked_at"] is None
    assert await models_of(owner, made.json()) == {}


async def test_a_secret_stays_unless_it_is_given_anew_and_is_never_shown(owner, stub, connected):
    path = f"/connections/{connected['id']}"
    changed = await owner.patch(path, json={"config": {"silence_limit": 60}, "name": "Ours, slower"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["config"]["silence_limit"] == 60
    assert (await owner.post(f"{path}/check")).json()["ok"] is True, "the key is still there"
    wrong = await owner.patch(path, json={"config": {"api_key": "sk-not-the-right-one-at-all"}})
    assert wrong.status_code == 400
    for text in (changed.text, (await owner.get(path)).text, wrong.text):
        assert KEY not in text
        assert "sk-not-the-right" not in text


async def test_whoever_may_change_the_address_does_not_learn_the_key_by_it(owner, connected):
    path = f"/connections/{connected['id']}"
    async with OpenAIStub() as thief:
        refused = await owner.patch(path, json={"config": {"base_url": thief.url}})
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["path"] == "config.api_key"
        assert thief.requests == []
        moved = await owner.patch(path, json={"config": {"base_url": thief.url, "api_key": "sk-for-the-new-place"}})
        assert moved.status_code == 200
        assert all(KEY not in str(request.headers) for request in thief.requests)


async def test_a_list_fetched_anew_keeps_what_administrators_said(owner, stub, connected):
    before = (await models_of(owner, connected))["stub-chat"]
    said = {"enabled": False, "overrides": {"context_window": 4096, "title": "House model"}, "country": "SE"}
    assert (await owner.patch(f"/models/{before['id']}", json=said)).status_code == 200
    stub.models = ("stub-chat", "stub-new")
    assert (await owner.post(f"/connections/{connected['id']}/check")).json()["ok"]
    after = await models_of(owner, connected)
    chat = after["stub-chat"]
    assert (chat["enabled"], chat["context_window"], chat["title"], chat["country"]) == (
        False,
        4096,
        "House model",
        "SE",
    )
    assert after["stub-embed"]["offered"] is False
    assert after["stub-new"]["usable"] is True


async def test_a_check_that_fails_is_kept_and_takes_nothing_away(owner, stub, connected):
    stub.api_key = "sk-rotated-by-the-provider"
    failed = (await owner.post(f"/connections/{connected['id']}/check")).json()
    assert (failed["ok"], failed["code"], failed["field"]) == (
        False,
        "provider-authentication-failed",
        "config.api_key",
    )
    shown = (await owner.get(f"/connections/{connected['id']}")).json()
    assert shown["check_code"] == "provider-authentication-failed"
    assert all(item["offered"] for item in (await models_of(owner, connected)).values())


async def test_a_connection_that_is_switched_off_or_removed_is_not_asked(owner, connected):
    path = f"/connections/{connected['id']}"
    assert (await owner.patch(path, json={"enabled": False})).status_code == 200
    assert [item["provider"] for item in (await owner.get("/models")).json()["items"]] == ["extractive"]
    assert (await owner.delete(path)).status_code == 204
    assert (await owner.get(path)).status_code == 404


async def test_only_who_may_connect_models_sees_connections(owner, tenancy, connected):
    colleague = await tenancy.colleague(owner)
    for path in ("/connections", f"/connections/{connected['id']}", "/providers"):
        assert (await colleague.get(path)).status_code == 403
    stranger = await tenancy.owner()
    assert (await stranger.get(f"/connections/{connected['id']}")).status_code == 404
    assert (await stranger.post(f"/connections/{connected['id']}/check")).status_code == 404


async def test_the_log_tells_of_the_change_and_nothing_of_the_secret(owner, connected, count):
    own = f"tenant_id = '{owner.tenant_id}'"
    assert await count("events", f"{own} AND action IN ('connection.created', 'connection.checked')") >= 2
    assert await count("events", f"{own} AND data::text LIKE '%{KEY[3:]}%'") == 0
