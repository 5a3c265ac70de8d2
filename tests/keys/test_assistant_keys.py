"""The key of an assistant: begins, asks, reads and stops its own, and knows of nothing else."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.conversations.conftest import connected, parse
from tests.keys.conftest import code, until
from tests.support.openai_stub import OpenAIStub


@pytest.fixture
async def stub():
    async with OpenAIStub() as server:
        yield server


@pytest.fixture
async def widget(owner, app, stub, program):
    """A program with the key of an assistant of `owner`, who is also `widget.owner`."""
    await connected(app, owner, stub)
    space = await owner.space()
    assistant = await owner.assistant(space)
    made = await owner.made("/api-keys", name="Widget", assistant_id=assistant)
    client = program(made["key"])
    client.owner, client.space_id, client.assistant_id, client.made_key = owner, space, assistant, made
    return client


async def test_it_is_told_by_its_prefix_and_only_chats(widget):
    made = widget.made_key
    assert (made["key"][:4], made["kind"], made["scopes"]) == ("fma_", "assistant", ["chat"])
    assert made["assistant_id"] == widget.assistant_id


async def test_it_begins_asks_reads_streams_and_stops(widget):
    conversation = await widget.conversation(widget.assistant_id)
    answer = await widget.ask(conversation, "Hej på dig")
    assert answer["content"] == "Hej på dig"
    assert (await widget.get(f"/conversations/{conversation}")).json()["key_id"] == widget.made_key["id"]
    assert len((await widget.get(f"/conversations/{conversation}/messages")).json()["items"]) == 2
    assert (await widget.get(f"/messages/{answer['id']}")).json() == answer
    events = parse((await widget.get(f"/messages/{answer['id']}/events")).text)
    assert events[-1].event == "message.completed"
    assert (await widget.post(f"/messages/{answer['id']}/stop")).status_code == 202


async def test_other_assistants_are_not_there(widget, tenancy):
    beside = await widget.owner.assistant(widget.space_id, name="Beside")
    stranger = await tenancy.owner()
    elsewhere = await stranger.assistant(await stranger.space())
    for other in (beside, elsewhere, str(uuid4())):
        assert await code(widget.post(f"/assistants/{other}/conversations", json={})) == (404, "not-found")


async def test_what_its_owner_or_another_key_began_is_not_there(widget, program):
    owner = widget.owner
    other = program((await owner.made("/api-keys", name="Other", assistant_id=widget.assistant_id))["key"])
    everything = program((await owner.made("/api-keys", name="Mine"))["key"])
    for began in (owner, other, everything):
        conversation = await began.conversation(widget.assistant_id)
        answer = await began.ask(conversation, "Private")
        assert await code(widget.get(f"/conversations/{conversation}")) == (404, "not-found")
        assert await code(widget.get(f"/conversations/{conversation}/messages")) == (404, "not-found")
        assert await code(widget.post(f"/conversations/{conversation}/messages", json={"content": "?"})) == (
            404,
            "not-found",
        )
        for path in (f"/messages/{answer['id']}", f"/messages/{answer['id']}/events"):
            assert await code(widget.get(path)) == (404, "not-found")
        assert await code(widget.post(f"/messages/{answer['id']}/stop")) == (404, "not-found")


async def test_the_owner_sees_what_the_widget_was_asked(widget):
    conversation = await widget.conversation(widget.assistant_id)
    found = (await widget.owner.get("/conversations")).json()["items"]
    assert [(item["id"], item["key_id"]) for item in found] == [(conversation, widget.made_key["id"])]


async def test_conversations_go_on_after_rotation_on_both_sides(widget, program):
    owner, old = widget.owner, widget.made_key
    before = await widget.conversation(widget.assistant_id)
    second = await owner.made(f"/api-keys/{old['id']}/rotate")
    third = await owner.made(f"/api-keys/{second['id']}/rotate")
    newest = program(third["key"])
    assert (await newest.ask(before, "Still here"))["content"] == "Still here"
    after = await newest.conversation(widget.assistant_id)
    assert (await widget.get(f"/conversations/{after}")).status_code == 200
    unrelated = program((await owner.made("/api-keys", name="Other", assistant_id=widget.assistant_id))["key"])
    assert await code(unrelated.get(f"/conversations/{after}")) == (404, "not-found")


async def test_only_who_may_edit_an_assistant_makes_its_key(owner, tenancy, count):
    space = await owner.space()
    assistant = await owner.assistant(space)
    await owner.patch(f"/assistants/{assistant}", json={"published": True})
    await owner.post(f"/assistants/{assistant}/publish")
    colleague, stranger = await tenancy.colleague(owner), await tenancy.owner()
    wanted = {"name": "Widget", "assistant_id": assistant}
    for other in (colleague, stranger):
        assert await code(other.post("/api-keys", json=wanted)) == (404, "not-found")
    assert await code(owner.post("/api-keys", json={"name": "x", "assistant_id": str(uuid4())})) == (404, "not-found")
    member = f"/spaces/{space}/members/{colleague.user.id}"
    assert (await owner.put(member, json={"role": "viewer"})).status_code == 200
    assert (await colleague.post("/api-keys", json=wanted)).status_code in (403, 404)
    assert await count("api_keys", f"tenant_id = '{owner.tenant_id}'") == 0
    assert (await owner.put(member, json={"role": "editor"})).status_code == 200
    assert (await colleague.made("/api-keys", **wanted))["kind"] == "assistant"


async def test_it_has_no_other_scope(owner):
    assistant = await owner.assistant(await owner.space())
    answer = await owner.post("/api-keys", json={"name": "x", "assistant_id": assistant, "scopes": ["chat", "read"]})
    assert await code(answer) == (400, "validation-failed")
    made = await owner.made("/api-keys", name="x", assistant_id=assistant, scopes=["chat"])
    changed = await owner.patch(f"/api-keys/{made['id']}", json={"scopes": ["read"]})
    assert await code(changed) == (400, "validation-failed")


async def test_it_stops_when_its_maker_may_not_edit_any_more(owner, tenancy, app, stub, program):
    await connected(app, owner, stub)
    space = await owner.space()
    assistant = await owner.assistant(space)
    colleague = await tenancy.colleague(owner)
    member = f"/spaces/{space}/members/{colleague.user.id}"
    await owner.put(member, json={"role": "editor"})
    client = program((await colleague.made("/api-keys", name="Widget", assistant_id=assistant))["key"])
    conversation = await client.conversation(assistant)
    assert (await client.ask(conversation, "Yes"))["status"] == "complete"
    ask = {"url": f"/conversations/{conversation}/messages", "json": {"content": "Still?"}}
    await owner.put(member, json={"role": "viewer"})
    assert (await client.post(**ask)).status_code in (403, 404)
    assert (await owner.delete(member)).status_code in (200, 204)
    assert await code(client.post(**ask)) == (404, "not-found")
    assert await code(client.post(f"/assistants/{assistant}/conversations", json={})) == (404, "not-found")


async def test_it_goes_with_its_assistant(widget):
    assert (await widget.owner.delete(f"/assistants/{widget.assistant_id}")).status_code == 204

    async def gone():
        answer = await widget.post(f"/assistants/{widget.assistant_id}/conversations", json={})
        return await code(answer) == (401, "key-invalid")

    await until(gone, seconds=5)
