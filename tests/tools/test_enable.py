"""Tools go from the organisation through the space to the assistant, and what is taken back above is gone below."""

from __future__ import annotations

from uuid import uuid4

import pytest


@pytest.fixture
async def tools(server, tools_of):
    return await tools_of(server)


async def in_space(person, space: str) -> dict[str, bool]:
    """What somebody sees there: by name, whether it is chosen."""
    answer = await person.get(f"/spaces/{space}/tools")
    assert answer.status_code == 200, answer.text
    return {item["name"]: item["chosen"] for item in answer.json()["items"]}


async def member(owner, tenancy, space: str, role: str):
    person = await tenancy.colleague(owner)
    assert (await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": role})).status_code == 200
    return person


async def test_a_space_chooses_among_what_the_organisation_switched_on(owner, tools, switched_on):
    space = await owner.space()
    off = await owner.put(f"/spaces/{space}/tools", json={"tool_ids": [tools["links"]["id"]]})
    assert (off.status_code, off.json()["code"]) == (404, "not-found")
    await switched_on(space, tools["find_parcel"])
    assert (await owner.patch(f"/tools/{tools['links']['id']}", json={"enabled": True})).status_code == 200
    assert await in_space(owner, space) == {"find_parcel": True, "links": False}
    emptied = await owner.put(f"/spaces/{space}/tools", json={"tool_ids": []})
    assert [item["chosen"] for item in emptied.json()["items"]] == [False, False]


async def test_editors_and_viewers_see_what_is_chosen_and_choose_nothing(owner, tenancy, tools, switched_on):
    space = await owner.space()
    await switched_on(space, tools["find_parcel"])
    await owner.patch(f"/tools/{tools['links']['id']}", json={"enabled": True})
    for role in ("viewer", "editor"):
        person = await member(owner, tenancy, space, role)
        assert await in_space(person, space) == {"find_parcel": True}
        refused = await person.put(f"/spaces/{space}/tools", json={"tool_ids": []})
        assert refused.status_code == 403
    admin = await member(owner, tenancy, space, "admin")
    assert await in_space(admin, space) == {"find_parcel": True, "links": False}
    assert (await admin.put(f"/spaces/{space}/tools", json={"tool_ids": []})).status_code == 200
    outsider = await tenancy.colleague(owner)
    assert (await outsider.get(f"/spaces/{space}/tools")).status_code == 404


async def test_a_personal_space_is_its_owners_to_choose_for_and_the_organisations_has_none(owner, tenancy, tools):
    colleague = await tenancy.colleague(owner)
    await owner.patch(f"/tools/{tools['links']['id']}", json={"enabled": True})
    personal = (await colleague.get("/spaces/personal")).json()["id"]
    body = {"tool_ids": [tools["links"]["id"]]}
    assert (await colleague.put(f"/spaces/{personal}/tools", json=body)).status_code == 200
    assert await in_space(colleague, personal) == {"links": True}
    assert (await owner.put(f"/spaces/{personal}/tools", json=body)).status_code == 404
    commons = (await owner.get("/spaces/organisation")).json()["id"]
    assert (await owner.put(f"/spaces/{commons}/tools", json=body)).status_code == 404
    assert await in_space(owner, commons) == {}


async def test_an_assistant_is_given_what_its_space_has(owner, tenancy, tools, switched_on):
    space, other = await owner.space(), await owner.space()
    ids = await switched_on(space, tools["find_parcel"])
    editor = await member(owner, tenancy, space, "editor")
    assistant = await editor.assistant(space, tool_ids=ids)
    shown = (await editor.get(f"/assistants/{assistant}")).json()
    assert (shown["tool_ids"], shown["builtin_tools"]) == (ids, None)
    elsewhere = {"name": "Helper", "tool_ids": ids}
    assert (await owner.post(f"/spaces/{other}/assistants", json=elsewhere)).status_code == 404
    for unknown in (tools["links"]["id"], str(uuid4())):
        refused = await editor.patch(f"/assistants/{assistant}", json={"tool_ids": [*ids, unknown]})
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    emptied = await editor.patch(f"/assistants/{assistant}", json={"tool_ids": []})
    assert (emptied.json()["tool_ids"], emptied.json()["version"]) == ([], 2)


async def test_a_tool_that_was_switched_off_meanwhile_does_not_stand_in_the_way_of_another_change(
    owner, tools, switched_on
):
    space = await owner.space()
    ids = await switched_on(space, tools["find_parcel"], tools["links"])
    assistant = await owner.assistant(space, tool_ids=ids)
    assert (await owner.patch(f"/tools/{ids[0]}", json={"enabled": False})).status_code == 200
    for body in ({"name": "Another"}, {"tool_ids": ids}, {"tool_ids": ids[:1]}):
        assert (await owner.patch(f"/assistants/{assistant}", json=body)).status_code == 200
    put_back = await owner.patch(f"/assistants/{assistant}", json={"tool_ids": ids})
    assert put_back.status_code == 200, "the other one is still there"


async def test_an_assistant_says_which_of_our_own_tools_it_may_use(owner):
    space = await owner.space()
    assistant = await owner.assistant(space, builtin_tools=["calculate"])
    path = f"/assistants/{assistant}"
    assert (await owner.get(path)).json()["builtin_tools"] == ["calculate"]
    assert (await owner.patch(path, json={"name": "Other"})).json()["builtin_tools"] == ["calculate"]
    assert (await owner.patch(path, json={"builtin_tools": []})).json()["builtin_tools"] == []
    assert (await owner.patch(path, json={"builtin_tools": None})).json()["builtin_tools"] is None
    assert (await owner.patch(path, json={"builtin_tools": ["rm"]})).status_code == 400
    versions = (await owner.get(f"{path}/versions")).json()["items"]
    assert [item["builtin_tools"] for item in versions] == [None, [], ["calculate"], ["calculate"]]


async def test_a_move_to_another_model_keeps_the_tools(owner, tools, switched_on):
    space = await owner.space()
    ids = await switched_on(space, tools["find_parcel"])
    connection = await owner.made("/connections", kind="extractive", name="Second")
    second = (await owner.get(f"/connections/{connection['id']}/models")).json()["items"][0]["id"]
    models = [item["id"] for item in (await owner.get("/models")).json()["items"] if item["kind"] == "chat"]
    first = next(model for model in models if model != second)
    assistant = await owner.assistant(space, model_id=first, tool_ids=ids, builtin_tools=["calculate"])
    await owner.made(f"/models/{first}/moves", to_model=second)
    moved = (await owner.get(f"/assistants/{assistant}")).json()
    assert (moved["model_id"], moved["tool_ids"], moved["builtin_tools"]) == (second, ids, ["calculate"])


@pytest.mark.parametrize(
    "body", [{"approval": "sometimes"}, {"enabled": "yes"}, {"description": "Harmless."}, [], None]
)
async def test_a_tool_is_not_changed_into_what_it_is_not(owner, tools, body):
    refused = await owner.patch(f"/tools/{tools['links']['id']}", json=body)
    assert refused.status_code == 400


@pytest.mark.parametrize("body", [{}, {"tool_ids": ["x"]}, {"tool_ids": None}, {"tool_ids": [str(uuid4())] * 201}])
async def test_a_choice_that_makes_no_sense_is_refused(owner, body):
    assert (await owner.put(f"/spaces/{await owner.space()}/tools", json=body)).status_code == 400


async def test_a_tool_twice_is_a_tool_once(owner, tools, switched_on):
    space = await owner.space()
    (one,) = await switched_on(space, tools["links"])
    assert (await owner.put(f"/spaces/{space}/tools", json={"tool_ids": [one, one]})).status_code == 200
    assert await in_space(owner, space) == {"links": True}


async def test_why_text_of_a_space_may_not_go_to_a_server_is_told(owner, server, tools, switched_on):
    level = await owner.made("/data-classes", name="Confidential", level=2)
    space = (await owner.made("/spaces", name="Permits", data_class_id=level["id"]))["id"]
    await switched_on(space, tools["links"])
    (item,) = (await owner.get(f"/spaces/{space}/tools")).json()["items"]
    assert "not cleared for 'Confidential'" in item["blocked"]
    await owner.patch(f"/tool-servers/{server['id']}", json={"clearance_id": level["id"]})
    (item,) = (await owner.get(f"/spaces/{space}/tools")).json()["items"]
    assert item["blocked"] is None
