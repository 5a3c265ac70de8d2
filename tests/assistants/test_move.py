"""Moving every assistant to another model: seen before, done at once, and taken back."""

from __future__ import annotations

import pytest

from tests.support.openai_stub import OpenAIStub


@pytest.fixture
async def models(owner):
    async with OpenAIStub(models=("old-chat", "new-chat", "some-embed")) as stub:
        await owner.made("/connections", kind="openai", name="Ours", config={"base_url": stub.url})
        yield {item["name"]: item["id"] for item in (await owner.get("/models")).json()["items"]}


async def model_of(person, assistant: str) -> str:
    return (await person.get(f"/assistants/{assistant}")).json()["model_id"]


async def test_a_look_before_names_who_moves_and_changes_nothing(owner, tenancy, models):
    mine = await owner.assistant(await owner.space(), name="Mine", model_id=models["old-chat"])
    await owner.assistant(await owner.space(), name="Other", model_id=models["new-chat"])
    colleague = await tenancy.colleague(owner)
    theirs = await colleague.assistant(await colleague.space(), name="Private matter", model_id=models["old-chat"])
    items = (await owner.get(f"/models/{models['old-chat']}/assistants")).json()["items"]
    assert {item["assistant_id"]: item["name"] for item in items} == {mine: "Mine", theirs: None}
    assert await model_of(owner, mine) == models["old-chat"]


async def test_a_move_makes_a_version_of_each_and_undoing_it_another(owner, tenancy, models):
    colleague = await tenancy.colleague(owner)
    mine = await owner.assistant(await owner.space(), model_id=models["old-chat"], instructions="Be brief.")
    theirs = await colleague.assistant(await colleague.space(), model_id=models["old-chat"])
    moved = await owner.made(f"/models/{models['old-chat']}/moves", to_model=models["new-chat"])
    assert moved["assistants"] == 2
    for person, assistant in ((owner, mine), (colleague, theirs)):
        shown = (await person.get(f"/assistants/{assistant}")).json()
        assert (shown["model_id"], shown["version"]) == (models["new-chat"], 2)
    assert (await owner.get(f"/assistants/{mine}")).json()["instructions"] == "Be brief."
    await colleague.patch(f"/assistants/{theirs}", json={"instructions": "Changed since."})
    undone = await owner.post(f"/model-moves/{moved['id']}/undo")
    assert undone.json() == {"back": 1, "left": 1}
    assert await model_of(owner, mine) == models["old-chat"]
    assert await model_of(colleague, theirs) == models["new-chat"], "what was changed since stays"
    again = await owner.post(f"/model-moves/{moved['id']}/undo")
    assert (again.status_code, again.json()["code"]) == (409, "already-undone")
    listed = (await owner.get(f"/models/{models['old-chat']}/moves")).json()["items"]
    assert [(item["id"], item["undone_at"] is not None) for item in listed] == [(moved["id"], True)]


async def test_whose_text_may_not_go_to_the_new_model_stays_and_is_named_before(owner, models):
    secret = await owner.made("/data-classes", name="Secret", level=2)
    await owner.patch(f"/models/{models['old-chat']}", json={"clearance_id": secret["id"]})
    space = (await owner.made("/spaces", name="Case files", data_class_id=secret["id"]))["id"]
    bound = await owner.assistant(space, model_id=models["old-chat"])
    free = await owner.assistant(await owner.space(), model_id=models["old-chat"])
    path = f"/models/{models['old-chat']}"
    items = (await owner.get(f"{path}/assistants", params={"to_model": models["new-chat"]})).json()["items"]
    assert {item["assistant_id"]: bool(item["blocked"]) for item in items} == {bound: True, free: False}
    assert (await owner.made(f"{path}/moves", to_model=models["new-chat"]))["assistants"] == 1
    assert await model_of(owner, bound) == models["old-chat"]


@pytest.mark.parametrize(("to", "status"), [("old-chat", 400), ("some-embed", 400)])
async def test_only_another_model_for_chat_takes_over(owner, models, to, status):
    refused = await owner.post(f"/models/{models['old-chat']}/moves", json={"to_model": models[to]})
    assert refused.status_code == status


async def test_a_move_needs_the_right_and_stays_in_the_organisation(owner, tenancy, models):
    colleague = await tenancy.colleague(owner)
    fields = {"to_model": models["new-chat"]}
    assert (await colleague.post(f"/models/{models['old-chat']}/moves", json=fields)).status_code == 403
    stranger = await tenancy.owner()
    assert (await stranger.post(f"/models/{models['old-chat']}/moves", json=fields)).status_code == 404
