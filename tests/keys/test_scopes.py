"""Every operation with every scope, as the table says, and the few that the key of an assistant may use."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from folkmoot.kit.access import Scope, scope_of
from folkmoot.kit.openapi import finish
from tests.keys.conftest import code

KNOWN = {
    "list_spaces": "read",
    "get_document": "read",
    "create_space": "write",
    "delete_space": "write",
    "create_assistant": "write",
    "upload_documents": "write",
    "list_conversations": "chat",
    "create_conversation": "chat",
    "ask": "chat",
    "attach_files": "chat",
    "get_message": "chat",
    "message_events": "chat",
    "stop_message": "chat",
    "decide_tool_call": "chat",
    "list_plugins": "admin",
    "list_api_keys": "person",
    "create_api_key": "person",
    "rotate_api_key": "person",
}
"""Said here once more, so that the table is not its own witness."""
FOR_ASSISTANTS = {
    "create_conversation",
    "get_conversation",
    "list_messages",
    "ask",
    "get_message",
    "message_events",
    "stop_message",
    "decide_tool_call",
    "list_tool_calls",
    "v1_list_models",
    "v1_get_model",
    "v1_chat_completion",
    "v1_embeddings",
    "v1_transcription",
}


def operations(api) -> list[tuple[str, str, str, dict]]:
    """(operation id, method, path below /api/v1, opt) of all that is not public."""
    opts = {}
    for route in api.routes:
        for handler in getattr(route, "route_handlers", []):
            if isinstance(getattr(handler, "operation_id", None), str):
                opts[handler.operation_id] = handler.opt
    found = []
    for path, item in finish(api.openapi_schema.to_schema())["paths"].items():
        for method, said in item.items():
            if "operationId" in said and not opts[said["operationId"]].get("public"):
                found.append(
                    (said["operationId"], method.upper(), path.removeprefix("/api/v1"), opts[said["operationId"]])
                )
    return found


def expected(opt: dict, method: str) -> str:
    return "person" if opt["person"] else (opt["scope"] or scope_of(opt["permission"], method)).value


async def refusal(client, method: str, path: str) -> str:
    """The code if the guard refuses, for things that are not there and without a body."""
    path = re.sub(r"\{[^}]*\}", lambda _: str(uuid4()), path)
    # What programs written for OpenAI call lies beside `/api/v1`.
    answer = await client.request(method, f"http://folkmoot.test{path}" if path.startswith("/v1/") else path)
    if answer.status_code != 403:
        return ""
    said = answer.json()
    # Under `/v1` errors have OpenAI's form.
    return said["error"]["code"].replace("_", "-") if "error" in said else said["code"]


@pytest.fixture
async def platform_owner(owner, change):
    await change(
        "INSERT INTO platform_admins (id, tenant_id, user_id, granted_by) VALUES (uuidv7(), :tenant, :user, 'a test')",
        tenant=owner.tenant_id,
        user=owner.user.id,
    )
    return owner


def test_the_table_says_what_one_would_expect(api):
    table = {name: expected(opt, method) for name, method, _, opt in operations(api)}
    assert {name: table.get(name) for name in KNOWN} == KNOWN


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_key_opens_what_its_scope_says_and_nothing_else(platform_owner, program, api, scope):
    made = await platform_owner.made("/api-keys", name=scope.value, scopes=[scope.value])
    client = program(made["key"], ip=f"198.18.0.{list(Scope).index(scope) + 1}")
    opened, shut = set(), set()
    for name, method, path, opt in operations(api):
        wanted = expected(opt, method)
        found = await refusal(client, method, path)
        if wanted == "person":
            assert found == "key-not-allowed", name
        elif wanted != scope.value:
            assert found == "scope-missing", name
            shut.add(name)
        else:
            assert found not in ("scope-missing", "key-not-allowed"), name
            opened.add(name)
    print(f"\n{scope.value}: {len(opened)} operations open, {len(shut)} shut")
    assert shut


async def test_the_key_of_an_assistant_opens_a_handful(owner, program, api):
    assistant = await owner.assistant(await owner.space())
    made = await owner.made("/api-keys", name="Widget", assistant_id=assistant)
    client = program(made["key"], ip="198.18.0.99")
    opened = set()
    for name, method, path, _ in operations(api):
        found = await refusal(client, method, path)
        if not found:
            opened.add(name)
        else:
            assert found in ("key-not-allowed", "scope-missing", "forbidden"), name
    assert opened == FOR_ASSISTANTS
    assert await code(client.get("/conversations")) == (403, "key-not-allowed")
    assert await code(client.delete(f"/conversations/{uuid4()}")) == (403, "key-not-allowed")
