"""A person's conversations are private to them: no role, however high, reads, changes or even knows of them."""

from __future__ import annotations

from collections import defaultdict
from uuid import uuid4

import pytest

from folkmoot.kit.openapi import finish
from folkmoot.platform.admins import PlatformAdminService
from folkmoot.platform.schemas import PlatformAdminGrant
from folkmoot.platform.service import Actor
from tests.architecture import routes

OF_CONVERSATIONS = {
    "get_conversation", "update_conversation", "delete_conversation", "list_messages", "ask", "export_conversation",
    "get_message", "message_events", "stop_message", "regenerate_message", "continue_message", "rate_message",
    "unrate_message", "edit_answer", "get_receipt",
}  # fmt: skip
"""Said here once, so that the walk cannot pass over them."""


@pytest.fixture(scope="module")
async def of_conversations(api):
    """Every operation on a conversation or a message, also those that are added later."""
    every = routes.operations(finish(api.openapi_schema.to_schema()))
    mine = [item for item in every if "{conversation_id}" in item.path or "{message_id}" in item.path]
    assert {item.id for item in mine} >= OF_CONVERSATIONS
    return mine


@pytest.fixture
async def theirs(talk, tenancy):
    """(a person's conversation, an answer in it), in the organisation of the owner, who made the assistant."""
    assistant = talk.assistant
    space = (await talk.person.get(f"/assistants/{assistant}")).json()["space_id"]
    person = await tenancy.colleague(talk.person)
    put = await talk.person.put(f"/spaces/{space}/members/{person.user.id}", json={"role": "editor"})
    assert put.status_code == 200, put.text
    conversation = await person.conversation(assistant)
    answer = await person.ask(conversation, "What I ask is nobody else's business")
    return person, conversation, answer["id"]


@pytest.fixture(params=["owner", "ai-configurator", "auditor", "platform"])
async def snoop(request, app, talk, tenancy):
    """Somebody with power in the organisation."""
    if request.param == "owner":
        return talk.person
    if request.param == "ai-configurator":
        return await tenancy.colleague(talk.person, role="ai-configurator")
    person = await tenancy.colleague(talk.person)
    if request.param == "auditor":
        role = (await talk.person.made("/roles", name=uuid4().hex, permissions=["audit", "admin", "people"]))["id"]
        put = await talk.person.put(f"/users/{person.user.id}/roles/{role}")
        assert put.status_code < 300, put.text
        return person
    granted = PlatformAdminGrant(tenant_id=person.tenant_id, user_id=person.user.id)
    await PlatformAdminService(app, Actor.command("tester")).grant(granted)
    return person


async def test_nobody_else_gets_anywhere_with_a_conversation_s_ids(of_conversations, theirs, snoop):
    person, conversation, answer = theirs
    before = (await person.get(f"/conversations/{conversation}/messages")).json()
    ids = defaultdict(lambda: str(uuid4()), conversation_id=conversation, message_id=answer)
    for operation in of_conversations:
        if operation.id == "ask":
            operation.body["parent_id"] = None
        call = operation.call(dict.fromkeys(operation.slots, ids))
        response = await snoop.request(**call)
        assert response.status_code == 404, f"{operation.id}: {response.status_code} {response.text[:300]}"
        assert "business" not in response.text
    assert (await person.get(f"/conversations/{conversation}/messages")).json() == before


async def test_nobody_else_finds_or_lists_it(theirs, snoop):
    _, conversation, _ = theirs
    for path, params in (
        ("/conversations", {}),
        ("/conversations", {"archived": "true"}),
        ("/conversations", {"origin": "api"}),
        ("/conversations/search", {"q": "business"}),
    ):
        response = await snoop.get(path, params=params)
        assert response.status_code == 200, response.text
        assert conversation not in response.text
        assert "business" not in response.text


async def test_the_log_has_no_word_of_it(theirs, count):
    person, conversation, answer = theirs
    await person.patch(f"/conversations/{conversation}", json={"title": "My business"})
    await person.put(f"/messages/{answer}/feedback", json={"rating": "down", "comment": "Not your business"})
    assert await count("events", f"tenant_id = '{person.tenant_id}' AND data::text ILIKE '%business%'") == 0
