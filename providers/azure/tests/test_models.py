"""Deployments become models with what is known of the model behind them, and a wrong name is told by its field."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_provider_azure import known
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    InvalidRequest,
    ModelInfo,
    ModelNotFound,
    Price,
    ProviderError,
    Unavailable,
)

from providers.azure.tests.conftest import DEPLOYMENTS, ENTRA, Resource, connected, delta, error, question, sse

PROJECT = "https://council.services.ai.azure.com/api/projects/budget"


async def models(resource=None, **config):
    async with connected(resource or Resource(), **config) as connection:
        return await connection.models()


async def test_a_deployment_is_a_model_with_the_features_and_price_of_what_is_deployed():
    chat, vectors, ears = await models()
    assert chat == ModelInfo(
        "prod-chat",
        "chat",
        title="prod-chat (gpt-5.2)",
        context_window=400_000,
        max_output_tokens=128_000,
        vision=True,
        tools=True,
        reasoning=True,
        json_schema=True,
        dialect="chat-completions",
        price=Price(1_750_000, 14_000_000, cached_input=175_000, as_of="2026-10-30"),
    )
    assert (vectors.name, vectors.kind, vectors.dimensions, vectors.max_batch) == ("vectors", "embedding", 1536, 256)
    assert (ears.kind, ears.price, ears.retires_on) == (
        "transcription",
        Price(audio_minute=6_000, as_of="2026-10-30"),
        "2026-12-15",
    )


@pytest.mark.parametrize(
    ("deployment", "endpoint", "priced"),
    [
        ({"name": "a", "model": "gpt-4o"}, "https://c.openai.azure.com", True),
        ({"name": "a", "model": "gpt-4o"}, "https://gateway.example.test", True),
        ({"name": "gpt-4o"}, "https://c.openai.azure.com", False),
        ({"name": "a", "model": "gpt-4o", "global_standard": False}, "https://c.openai.azure.com", False),
        ({"name": "a", "model": "gpt-4o"}, "https://c.openai.azure.us", False),
        ({"name": "a", "model": "gpt-4o-2099-01-01"}, "https://c.openai.azure.com", False),
    ],
)
async def test_a_price_is_told_only_where_the_list_price_surely_holds(deployment, endpoint, priced):
    (model,) = await models(deployments=[deployment], endpoint=endpoint)
    assert (model.price is not None) == priced
    assert model.vision, "features are told all the same"


def test_every_price_is_for_whole_names_and_none_is_nothing():
    for row in known.CATALOGUE.rows:
        if row.price is not None:
            assert row.match.startswith("^"), row.match
            assert row.match.endswith("$"), row.match
            assert row.price.input or row.price.audio_minute, row.match


async def test_the_kind_is_told_by_the_configuration_then_by_the_model_then_it_is_chat():
    deployments = [
        {"name": "mystery"},
        {"name": "house-embedder", "kind": "embedding"},
        {"name": "text-embedding-3-large"},
        {"name": "phone", "model": "gpt-4o-mini-transcribe"},
    ]
    kinds = {model.name: model.kind for model in await models(deployments=deployments)}
    assert kinds == {
        "mystery": "chat",
        "house-embedder": "embedding",
        "text-embedding-3-large": "embedding",
        "phone": "transcription",
    }


async def test_the_best_default_is_first_by_the_model_behind_the_name():
    named = [{"name": "aa", "model": "gpt-3.5-turbo"}, {"name": "zz", "model": "gpt-5.6-terra"}]
    assert [model.name for model in await models(deployments=named)] == ["zz", "aa"]


async def test_every_named_deployment_is_asked_for_at_its_own_address():
    resource = Resource()
    await models(resource)
    assert [request.url.path for request in resource.asked] == [
        "/openai/v1/chat/completions",
        "/openai/v1/embeddings",
        "/openai/v1/audio/transcriptions",
    ]
    assert [json.loads(request.content) for request in resource.asked] == [
        {"model": deployment["name"]} for deployment in DEPLOYMENTS
    ]


GONE = error("The API deployment for this resource does not exist.", "DeploymentNotFound")
DENIED = error("Access denied due to invalid subscription key or wrong API endpoint.", "401")


@pytest.mark.parametrize(
    ("answer", "config", "kind", "field"),
    [
        (httpx.Response(404, json=GONE), {}, ModelNotFound, "deployments"),
        (httpx.Response(401, json=DENIED), {}, AuthenticationFailed, "api_key"),
        (httpx.Response(404, json=error("Resource not found", "404")), {}, InvalidRequest, "endpoint"),
        (
            httpx.Response(404, json=error("Resource not found", "404")),
            {"api_version": "2024-99-99".replace("99", "09")},
            InvalidRequest,
            "api_version",
        ),
        (httpx.Response(400, json=error("API version not supported", "BadRequest")), {}, InvalidRequest, "api_version"),
        (
            httpx.Response(400, json=error("The embeddings operation does not work", "OperationNotSupported")),
            {},
            InvalidRequest,
            "deployments",
        ),
        (
            httpx.Response(403, json=error("Access denied due to Virtual Network/Firewall rules.", "403")),
            {},
            InvalidRequest,
            "endpoint",
        ),
        (
            httpx.Response(401, json=error("The principal lacks the required data action", "PermissionDenied")),
            {},
            AuthenticationFailed,
            "client_id",
        ),
        (httpx.Response(200, text="<html>"), {}, None, None),
        (httpx.Response(429, json=error("slow")), {}, None, None),
        (httpx.Response(500), {}, None, None),
    ],
)
async def test_a_wrong_key_endpoint_version_or_name_is_told_by_the_field_that_has_it(answer, config, kind, field):
    config = {"deployments": DEPLOYMENTS[:1], **config}
    if kind is None:
        assert len(await models(Resource(answer), **config)) == 1, "trouble that may pass says nothing of the name"
        return
    with pytest.raises(ProviderError) as raised:
        await models(Resource(answer), **config)
    assert (type(raised.value), raised.value.field) == (kind, field)


async def test_nobody_at_the_endpoint_names_the_endpoint():
    def gone(request):
        raise httpx.ConnectError("no such host", request=request)

    with pytest.raises(Unavailable) as raised:
        await models(Resource(gone))
    assert raised.value.field == "endpoint"


def row(name, model, sku="GlobalStandard"):
    return {
        "type": "ModelDeployment",
        "name": name,
        "modelName": model,
        "modelVersion": "1",
        "capabilities": {"chat_completion": "true"},
        "sku": {"name": sku, "capacity": 10},
    }


async def test_a_project_tells_what_is_deployed_and_how():
    pages = [
        httpx.Response(
            200,
            json={
                "value": [row("prod", "gpt-5.2"), row("zone", "gpt-4o", "DataZoneStandard"), row("art", "dall-e-3")],
                "nextLink": "https://elsewhere.example.test/deployments?api-version=v1&skip=3",
            },
        ),
        httpx.Response(200, json={"value": [row("vec", "text-embedding-3-large"), row("prod", "gpt-5.2")]}),
    ]
    resource = Resource(*pages)
    found = await models(resource, endpoint=PROJECT, deployments=[], **ENTRA)
    assert [(model.name, model.kind, model.price is not None) for model in found] == [
        ("prod", "chat", True),
        ("zone", "chat", False),
        ("vec", "embedding", True),
    ]
    assert [str(request.url) for request in resource.asked] == [
        f"{PROJECT}/deployments?api-version=v1",
        f"{PROJECT}/deployments?api-version=v1&skip=3",
    ], "a link to another host must not take the token there"
    assert b"ai.azure.com" in resource.fetched[0].content


async def test_an_old_list_is_read_where_it_still_answers():
    data = [
        {"id": "gpt", "model": "gpt-4o", "status": "succeeded", "object": "deployment"},
        {"id": "half", "model": "gpt-4o", "status": "running"},
    ]
    resource = Resource(httpx.Response(200, json={"data": data}))
    (model,) = await models(resource, deployments=[])
    assert (model.name, model.kind, model.price) == ("gpt", "chat", None), "the old list says nothing of the kind"
    assert str(resource.asked[0].url) == (
        "https://council.openai.azure.com/openai/deployments?api-version=2023-03-15-preview"
    )


@pytest.mark.parametrize(
    ("answer", "kind", "field"),
    [
        (httpx.Response(404, json=error("Resource not found", "404")), InvalidRequest, "deployments"),
        (httpx.Response(400, json=error("no")), InvalidRequest, "deployments"),
        (httpx.Response(200, text="nothing"), BadResponse, "deployments"),
        (httpx.Response(200, text="<html>"), BadResponse, "endpoint"),
        (httpx.Response(401, json=DENIED), AuthenticationFailed, "api_key"),
    ],
)
async def test_a_resource_that_does_not_tell_asks_for_names(answer, kind, field):
    with pytest.raises(kind) as raised:
        await models(Resource(answer), deployments=[])
    assert raised.value.field == field


async def test_a_chat_first_learns_what_is_behind_a_name_that_the_configuration_does_not_explain():
    answer = httpx.Response(200, text=sse(delta("stop", content="x")))
    resource = Resource(httpx.Response(200, json={"value": [row("prod", "gpt-5.2")]}), answer, answer)
    async with connected(resource, endpoint=PROJECT, deployments=[], **ENTRA) as connection:
        for _ in range(2):
            _ = [event async for event in connection.chat(question(model="prod", temperature=0.5))]
    assert len(resource.asked) == 3
    assert all("temperature" not in json.loads(request.content) for request in resource.asked[1:])


async def test_a_chat_goes_on_without_knowing_where_the_resource_does_not_tell():
    answer = httpx.Response(200, text=sse(delta("stop", content="x")))
    resource = Resource(httpx.Response(404), answer, answer)
    async with connected(resource, deployments=[]) as connection:
        for _ in range(2):
            _ = [event async for event in connection.chat(question(model="gpt-4o", temperature=0.5))]
    assert len(resource.asked) == 3
    assert json.loads(resource.asked[1].content)["temperature"] == 0.5
