"""The OpenAPI document says what the service does, and the service does what it says."""

import json
import re
from pathlib import Path

import httpx
import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from folkmoot.kit.openapi import ERRORS, finish

EXAMPLES = 15


@pytest.fixture(scope="module")
async def document(api):
    return finish(api.openapi_schema.to_schema())


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "operationId" in operation:
                yield f"{method.upper()} {path}", operation


def resolved(schema, document):
    return {**schema, "components": document["components"]}


async def test_every_operation_has_an_id_a_summary_and_its_errors(document):
    seen = []
    for name, operation in operations(document):
        seen.append(operation["operationId"])
        assert operation["summary"], name
        assert operation["tags"], name
        assert set(ERRORS) <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            assert response["description"], f"{name} {status}"
            if int(status) >= 400:
                form = "application/problem+json" if " /api/" in name else "application/json"
                assert set(response["content"]) == {form}, f"{name} {status}"
    assert len(seen) == len(set(seen))


async def test_every_body_has_an_example_that_fits_its_schema(document):
    checked = 0
    for name, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for media_type, media in body.get("content", {}).items():
                if not media_type.endswith("json") or media_type.endswith("ndjson"):
                    continue
                assert "example" in media, f"{name} {media_type}"
                jsonschema.Draft202012Validator(resolved(media["schema"], document)).validate(media["example"])
                checked += 1
    assert checked > 300


async def test_the_stored_document_is_the_one_that_is_served(document):
    stored = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
    assert stored == document, "run `make openapi`"


async def test_it_is_served_and_read_without_another_host(stranger, document):
    served = await stranger.get("/api/openapi.json")
    assert served.json() == document
    assert served.json()["openapi"].startswith("3.1")
    page = await stranger.get("/api/docs")
    assert page.status_code == 200
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert loaded
    assert [address for address in loaded if not address.startswith(("/", "data:"))] == []
    assert (await stranger.get("/api/assets/swagger-ui-bundle.js")).status_code == 200


@pytest.mark.slow
async def test_made_up_requests_get_only_documented_answers(document, owner):
    """Schemathesis makes up requests for every operation; ids of real things stand in for some of the made-up."""
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig())
    space = await owner.space()
    collection = await owner.collection(space)
    assistant = await owner.assistant(space, collection)
    conversation = await owner.conversation(assistant)
    real = {
        "space_id": space,
        "collection_id": collection,
        "assistant_id": assistant,
        "conversation_id": conversation,
        "user_id": str(owner.user.id),
    }
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    keep = {"delete_space", "delete_collection", "delete_assistant", "delete_conversation", "logout"}
    calls, faults = 0, []
    for found in schema.get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        for case in sample(operation):
            places = {**case.path_parameters}
            tries = [places, {key: real.get(key, value) for key, value in places.items()}]
            for place in tries if places and name not in keep else tries[:1]:
                if name == "logout":
                    continue
                case.path_parameters = place
                answer = await send(owner, case)
                if answer is None:
                    continue
                calls += 1
                try:
                    case.validate_response(answer, checks=checks)
                except AssertionError as fault:
                    faults.append(f"{name}: {str(fault)[:600]}")
                except BaseExceptionGroup as group:
                    faults += [f"{name}: {str(part)[:600]}" for part in group.exceptions]
    print(f"\n{calls} made-up calls")
    assert faults == []
    assert calls > 300


def sample(operation) -> list:
    """A bounded number of cases, the same each time."""
    made = []

    @settings(
        max_examples=EXAMPLES, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy())
    def gather(case):
        made.append(case)

    gather()
    return made


async def send(client, case):
    """The answer to a case over the app's own transport, as Schemathesis wants to see it; None if it cannot be sent."""
    arguments = case.as_transport_kwargs(base_url="http://folkmoot.test")
    wanted = {key: arguments[key] for key in ("method", "url", "params", "json", "data", "files") if arguments.get(key)}
    if isinstance(wanted.get("data"), bytes | str):
        wanted["content"] = wanted.pop("data")
    headers = {**(arguments.get("headers") or {}), "Authorization": client.headers["Authorization"]}
    try:
        request = httpx.Request(wanted.pop("method"), wanted.pop("url"), headers=headers, **wanted)
    except (httpx.InvalidURL, UnicodeError, TypeError, ValueError, AttributeError):
        return None
    answer = await client.send(request)
    return Response(
        status_code=answer.status_code,
        headers={key: [value] for key, value in answer.headers.items()},
        content=answer.content,
        request=requests.Request(case.method, "http://folkmoot.test").prepare(),
        elapsed=0.1,
        verify=False,
        http_version="1.1",
    )
