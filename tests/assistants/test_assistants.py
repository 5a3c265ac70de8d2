"""Assistants and their versions."""

from uuid import uuid4

import pytest


async def versions(client, assistant):
    return (await client.get(f"/assistants/{assistant}/versions")).json()["items"]


async def test_each_save_makes_a_version_and_the_old_ones_stay(owner):
    space = await owner.space()
    assistant = await owner.assistant(space, name="One", instructions="Be brief.", temperature=0.2)
    changed = (await owner.patch(f"/assistants/{assistant}", json={"instructions": "Be kind.", "name": "Two"})).json()
    assert (changed["version"], changed["name"], changed["temperature"]) == (2, "Two", 0.2)
    cleared = (await owner.patch(f"/assistants/{assistant}", json={"temperature": None})).json()
    assert (cleared["version"], cleared["instructions"], cleared["temperature"]) == (3, "Be kind.", None)
    told = [(item["number"], item["name"], item["instructions"]) for item in await versions(owner, assistant)]
    assert told == [(3, "Two", "Be kind."), (2, "Two", "Be kind."), (1, "One", "Be brief.")]


async def test_an_answer_names_the_version_that_gave_it(owner):
    assistant = await owner.assistant(await owner.space())
    conversation = await owner.conversation(assistant)
    first = await owner.ask(conversation, "One?")
    await owner.patch(f"/assistants/{assistant}", json={"instructions": "Other."})
    second = await owner.ask(conversation, "Two?")
    newest, oldest = await versions(owner, assistant)
    assert first["assistant_version_id"] == oldest["id"]
    assert second["assistant_version_id"] == newest["id"]
    assert (await owner.get(f"/messages/{first['id']}")).json()["assistant_version_id"] == oldest["id"]


async def test_its_collections_lie_in_the_same_space(owner):
    space, elsewhere = await owner.space(), await owner.collection()
    for collection in (elsewhere, str(uuid4())):
        answer = await owner.post(f"/spaces/{space}/assistants", json={"name": "A", "collection_ids": [collection]})
        assert answer.status_code == 404
    assistant = await owner.assistant(space)
    refused = await owner.patch(f"/assistants/{assistant}", json={"name": "B", "collection_ids": [elsewhere]})
    assert refused.status_code == 404
    assert (await owner.get(f"/assistants/{assistant}")).json()["name"] == "Helper"
    assert len(await versions(owner, assistant)) == 1


@pytest.mark.parametrize("fields", [{"temperature": 3}, {"max_output_tokens": 0}, {"model_id": "x"}, {"tools": []}])
async def test_a_field_out_of_bounds_is_refused(owner, fields):
    assistant = await owner.assistant(await owner.space())
    assert (await owner.patch(f"/assistants/{assistant}", json=fields)).status_code == 400
    assert len(await versions(owner, assistant)) == 1


async def test_an_older_view_does_not_overwrite(owner):
    assistant = await owner.assistant(await owner.space())
    tag = (await owner.get(f"/assistants/{assistant}")).headers["etag"]
    fresh = await owner.patch(f"/assistants/{assistant}", json={"name": "B"}, headers={"If-Match": tag})
    assert fresh.status_code == 200
    stale = await owner.patch(f"/assistants/{assistant}", json={"name": "C"}, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed-meanwhile")


async def test_a_conversation_outlives_its_assistant(owner):
    assistant = await owner.assistant(await owner.space())
    conversation = await owner.conversation(assistant)
    answer = await owner.ask(conversation, "Is anybody there?")
    assert (await owner.delete(f"/assistants/{assistant}")).status_code == 204
    assert (await owner.get(f"/assistants/{assistant}")).status_code == 404
    assert (await owner.get(f"/messages/{answer['id']}")).json()["content"] == answer["content"]
    refused = await owner.post(f"/conversations/{conversation}/messages", json={"content": "And now?"})
    assert (refused.status_code, refused.json()["code"]) == (409, "assistant-gone")
