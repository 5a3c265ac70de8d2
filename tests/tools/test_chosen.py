"""What an answer's model is offered, and what comes of a call: asked anew each time, and nothing held meanwhile."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from folkmoot.ai.catalogue import Catalogue
from folkmoot.tools.chosen import chosen
from folkmoot.tools.servers import ToolServers
from tests.support.mcp_server import COMMAND, TOKEN
from tests.tools.conftest import hostile, until


@pytest.fixture
async def tools(server, tools_of):
    return await tools_of(server)


@pytest.fixture
def offers(app, owner):
    """The offers for an answer in a space, by name."""

    async def ask(space: str, ids: list[str], *classes: str | None):
        class_ids = [UUID(one) if one else None for one in classes] or [None]
        found = await chosen(app, owner.tenant_id, UUID(space), [UUID(one) for one in ids], class_ids)
        return {offer.spec.name: offer for offer in found}

    return ask


async def test_an_assistant_without_tools_costs_no_look_at_the_database(app, owner, monkeypatch):
    monkeypatch.setattr(type(app), "begin", None)
    assert await chosen(app, owner.tenant_id, owner.tenant_id, [], [None]) == []


async def test_an_offer_has_all_that_a_model_and_a_person_need(owner, tools, switched_on, offers):
    space = await owner.space()
    ids = await switched_on(space, tools["find_parcel"])
    (offer,) = (await offers(space, ids)).values()
    assert offer.spec.name == "Maps__find_parcel"
    assert offer.spec.description == "Where a parcel lies."
    assert offer.spec.parameters["required"] == ["number"]
    assert (offer.title, offer.approval, str(offer.tool_id)) == ("Find a parcel (Maps)", True, ids[0])
    await owner.patch(f"/tools/{ids[0]}", json={"approval": "never"})
    (offer,) = (await offers(space, ids)).values()
    assert offer.approval is False


async def test_a_call_gives_the_words_of_the_tool(owner, tools, switched_on, offers):
    space = await owner.space()
    ids = await switched_on(space, *tools.values())
    found = await offers(space, ids)
    said = await found["Maps__find_parcel"].call({"number": "7"})
    assert (said.text, said.failed) == ("parcel 7 lies by the lake", "")
    said = await found["Maps__links"].call({})
    assert said.text == "Read the plan.\n[Plan](https://maps.example/plan.pdf)"
    said = await found["Maps__measures"].call({"sides": [2, 3]})
    assert '"area": 6.0' in said.text
    said = await found["Maps__delete_parcel"].call({"number": "7"})
    assert said.failed == "tool-failed"
    assert "parcel 7 is not there" in said.text
    assert TOKEN not in said.text


async def test_calls_at_the_same_time_do_not_get_into_each_others_way(owner, tools, switched_on, offers):
    space = await owner.space()
    offer = (await offers(space, await switched_on(space, tools["find_parcel"])))["Maps__find_parcel"]
    said = await asyncio.gather(*(offer.call({"number": str(number)}) for number in range(40)))
    assert [item.text for item in said] == [f"parcel {number} lies by the lake" for number in range(40)]


@pytest.mark.parametrize("away", ["tool", "server", "space", "removed", "refused by the server"])
async def test_what_is_taken_back_above_is_gone_at_once_also_from_an_answer_under_way(
    owner, server, tools, switched_on, offers, away
):
    space = await owner.space()
    ids = await switched_on(space, tools["find_parcel"])
    offer = (await offers(space, ids))["Maps__find_parcel"]
    path = f"/tool-servers/{server['id']}"
    match away:
        case "tool":
            done = await owner.patch(f"/tools/{ids[0]}", json={"enabled": False})
        case "server":
            done = await owner.patch(path, json={"enabled": False})
        case "space":
            done = await owner.put(f"/spaces/{space}/tools", json={"tool_ids": []})
        case "removed":
            done = await owner.delete(path)
        case _:
            changed = {"config": {"token": "not-the-token"}}
            done = await owner.patch(f"{path}?check=false", json=changed)
    assert done.status_code in (200, 204)
    said = await offer.call({"number": "7"})
    if away == "refused by the server":
        assert (said.failed, said.text) == ("tool-unreachable", "the tool server does not let us in")
    else:
        assert (said.failed, await offers(space, ids)) == ("tool-withdrawn", {})


async def test_text_goes_only_to_a_server_that_is_cleared_for_its_class(owner, server, tools, switched_on, offers):
    internal = await owner.made("/data-classes", name="Internal", level=1)
    secret = await owner.made("/data-classes", name="Secret", level=3, countries=["SE"])
    space = await owner.space()
    ids = await switched_on(space, tools["find_parcel"])
    path = f"/tool-servers/{server['id']}"
    assert len(await offers(space, ids, None)) == 1
    assert await offers(space, ids, None, internal["id"]) == {}
    await owner.patch(path, json={"clearance_id": internal["id"]})
    assert len(await offers(space, ids, internal["id"])) == 1
    assert await offers(space, ids, internal["id"], secret["id"]) == {}
    await owner.patch(path, json={"clearance_id": secret["id"]})
    assert await offers(space, ids, secret["id"]) == {}, "nobody has said where it stands"
    await owner.patch(path, json={"country": "US"})
    assert await offers(space, ids, secret["id"]) == {}
    await owner.patch(path, json={"country": "SE"})
    assert len(await offers(space, ids, secret["id"])) == 1


async def test_a_space_whose_class_is_raised_meanwhile_keeps_its_text(app, owner, tools, switched_on, offers):
    level = await owner.made("/data-classes", name="Internal", level=1)
    space = await owner.space()
    offer = (await offers(space, await switched_on(space, tools["find_parcel"])))["Maps__find_parcel"]
    raised = await owner.patch(f"/spaces/{space}", json={"data_class_id": level["id"]})
    assert raised.status_code == 200, raised.text
    # Of a class that this process has not heard of yet, nothing is known, and so nothing is sent.
    assert (await offer.call({"number": "7"})).failed in ("tool-withdrawn", "tool-unreachable")
    app.part(Catalogue).forget(owner.tenant_id)
    assert (await offer.call({"number": "7"})).failed == "tool-withdrawn"


async def test_a_call_holds_no_database_connection_while_the_server_talks(app, owner, switched_on, tools_of, offers):
    async def act(call):
        if call.body["method"] == "tools/list":
            await call.say(call.result({"tools": [{"name": "find", "inputSchema": {"type": "object"}}]}))
            return
        await until(lambda: not app.sessions.engine.pool.checkedout())
        await call.say(call.result({"content": [{"type": "text", "text": "nothing is held"}]}))

    async with hostile(act) as (url, _):
        made = await owner.made("/tool-servers", name="Slow", kind="http", config={"url": url})
        space = await owner.space()
        offer = (await offers(space, await switched_on(space, (await tools_of(made))["find"])))["Slow__find"]
        assert (await offer.call({})).text == "nothing is held"


async def test_what_is_not_text_is_left_out_with_a_note(owner, switched_on, tools_of, offers):
    content = [
        {"type": "text", "text": "See:"},
        {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"},
        {"type": "audio", "data": "aGVsbG8=", "mimeType": "audio/wav"},
        {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "the text of a"}},
        {"type": "resource", "resource": {"uri": "file:///b.bin", "blob": "aGVsbG8="}},
    ]

    async def act(call):
        if call.body["method"] == "tools/list":
            await call.say(call.result({"tools": [{"name": "find", "inputSchema": {"type": "object"}}]}))
        else:
            await call.say(call.result({"content": content, "structuredContent": {"said": "above"}}))

    async with hostile(act) as (url, _):
        made = await owner.made("/tool-servers", name="Mixed", kind="http", config={"url": url})
        space = await owner.space()
        offer = (await offers(space, await switched_on(space, (await tools_of(made))["find"])))["Mixed__find"]
        assert (await offer.call({})).text.splitlines() == [
            "See:",
            "[left out: image/png, which is not text]",
            "[left out: audio/wav, which is not text]",
            "file:///a.txt",
            "the text of a",
            "[left out: file:///b.bin, which is not text]",
        ]


async def test_a_command_knows_nothing_of_the_service_that_runs_it(
    app, owner, monkeypatch, switched_on, tools_of, offers
):
    monkeypatch.setattr(app.part(ToolServers), "commands", (COMMAND,))
    monkeypatch.setenv("FOLKMOOT_SECRET_KEY", "not for others")
    made = await owner.made("/tool-servers", name="Local", kind="stdio", config={"command": COMMAND})
    space = await owner.space()
    ids = await switched_on(space, (await tools_of(made))["environment"])
    offer = (await offers(space, ids))["Local__environment"]
    said = await offer.call({})
    assert said.failed == ""
    assert "PATH" in said.text
    assert "FOLKMOOT" not in said.text
    assert " in / as " in said.text
    monkeypatch.setattr(app.part(ToolServers), "commands", ())
    assert (await offer.call({})).failed == "tool-unreachable", "the operator has taken it from the list"


async def test_tools_of_another_organisation_are_none(app, tenancy, owner, tools, switched_on):
    space = await owner.space()
    ids = await switched_on(space, tools["find_parcel"])
    other = await tenancy.owner()
    assert await chosen(app, other.tenant_id, UUID(space), [UUID(one) for one in ids], [None]) == []
