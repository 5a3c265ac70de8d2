"""A real tool server in a whole answer: offered to the model, approved by who asks, called, and taken back."""

from __future__ import annotations

import asyncio

import pytest

from tests.conversations.conftest import connected
from tests.support.mcp_server import TOKEN
from tests.support.openai_stub import OpenAIStub

ASK = '[[call Maps__find_parcel {"number": "7"}]] [[results]]'


@pytest.fixture
async def stub():
    async with OpenAIStub() as server:
        yield server


@pytest.fixture
async def conversation(app, owner, server, tools_of, switched_on, stub):
    """With an assistant that may call `find_parcel` at once."""
    await connected(app, owner, stub)
    model = next(item for item in (await owner.get("/models")).json()["items"] if item["name"] == "stub-chat")
    assert (await owner.patch(f"/models/{model['id']}", json={"overrides": {"tools": True}})).status_code == 200
    space = await owner.space()
    ids = await switched_on(space, (await tools_of(server))["find_parcel"], approval="never")
    assistant = await owner.assistant(space, tool_ids=ids, builtin_tools=[])
    return await owner.conversation(assistant)


def offered(stub) -> list[str]:
    asked = [request.body for request in stub.requests if request.path.endswith("/chat/completions")]
    return [tool["function"]["name"] for tool in asked[-1].get("tools", [])]


async def test_the_model_calls_it_and_answers_with_what_it_said(owner, conversation, stub, maps):
    before = len(maps.seen)
    answer = await owner.ask(conversation, ASK)
    assert answer["status"] == "complete"
    assert "parcel 7 lies by the lake" in answer["content"]
    methods = [method for method, _ in maps.seen[before:]]
    assert methods == ["POST", "POST", "POST", "DELETE"], "opened, told so, called and closed"
    assert not any(TOKEN in str(request.body) for request in stub.requests)


async def test_taken_back_by_the_organisation_it_is_not_offered_any_more(owner, conversation, stub, server):
    await owner.ask(conversation, "Hello")
    assert offered(stub) == ["Maps__find_parcel"]
    assert (await owner.patch(f"/tool-servers/{server['id']}", json={"enabled": False})).status_code == 200
    answer = await owner.ask(conversation, ASK)
    assert offered(stub) == []
    assert "by the lake" not in answer["content"]


async def test_one_that_needs_approval_is_called_once_who_asks_has_approved(
    owner, conversation, server, tools_of, maps
):
    find = (await tools_of(server))["find_parcel"]
    assert (await owner.patch(f"/tools/{find['id']}", json={"approval": "always"})).status_code == 200
    before = len(maps.seen)
    message = (await owner.post(f"/conversations/{conversation}/messages", json={"content": ASK})).json()
    assert message["status"] == "waiting_for_approval"
    assert len(maps.seen) == before
    (call,) = (await owner.get(f"/messages/{message['id']}/tool-calls")).json()["items"]
    assert (call["name"], call["arguments"], call["status"]) == ("Maps__find_parcel", {"number": "7"}, "waiting")
    decided = await owner.post(
        f"/messages/{message['id']}/approvals", json={"call_id": call["call_id"], "approved": True}
    )
    assert decided.status_code == 200, decided.text
    async with asyncio.timeout(20):
        while (message := (await owner.get(f"/messages/{message['id']}")).json())["status"] != "complete":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert "parcel 7 lies by the lake" in message["content"]
