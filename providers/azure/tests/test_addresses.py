"""Where calls go: whatever form of the endpoint was pasted, and whichever version of the API is spoken."""

from __future__ import annotations

import httpx
import pytest
from folkmoot_sdk import ConfigError, EmbedRequest, InvalidRequest, TranscribeRequest

from providers.azure.tests.conftest import Resource, connected, delta, question, sse

ANSWER = httpx.Response(200, text=sse(delta("stop", content="a")))
VECTORS = httpx.Response(200, json={"data": [{"embedding": [1.0]}]})
TEXT = httpx.Response(200, json={"text": "Hej"})


async def asked(**config):
    """The addresses of a chat, an embedding and a transcription."""
    resource = Resource(ANSWER, VECTORS, TEXT)
    async with connected(resource, **config) as connection:
        _ = [event async for event in connection.chat(question(model="prod-chat"))]
        await connection.embed(EmbedRequest("vectors", ("a",)))
        await connection.transcribe(TranscribeRequest("ears", b"RIFF", "audio/wav"))
    return [str(request.url) for request in resource.asked]


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://council.openai.azure.com", "https://council.openai.azure.com/openai/v1"),
        ("https://council.openai.azure.com/", "https://council.openai.azure.com/openai/v1"),
        ("https://council.services.ai.azure.com/openai/v1/", "https://council.services.ai.azure.com/openai/v1"),
        ("https://c.openai.azure.com/openai/v1/chat/completions", "https://c.openai.azure.com/openai/v1"),
        (
            "https://c.openai.azure.com/openai/deployments/x/chat/completions?api-version=2024-06-01",
            "https://c.openai.azure.com/openai/v1",
        ),
        ("https://c.services.ai.azure.com/api/projects/budget", "https://c.services.ai.azure.com/openai/v1"),
        (
            "https://c.services.ai.azure.com/api/projects/budget/openai/v1/",
            "https://c.services.ai.azure.com/openai/v1",
        ),
        ("https://gateway.example.test/ai/openai", "https://gateway.example.test/ai/openai/v1"),
        ("https://gateway.example.test/openai-council", "https://gateway.example.test/openai-council/openai/v1"),
    ],
)
async def test_an_endpoint_in_any_form_is_understood(endpoint, base):
    assert await asked(endpoint=endpoint) == [
        f"{base}/chat/completions",
        f"{base}/embeddings",
        f"{base}/audio/transcriptions",
    ]


async def test_a_version_puts_the_deployment_in_the_path_and_itself_in_the_query():
    base, version = "https://council.openai.azure.com/openai/deployments", "?api-version=2024-10-21"
    assert await asked(api_version="2024-10-21") == [
        f"{base}/prod-chat/chat/completions{version}",
        f"{base}/vectors/embeddings{version}",
        f"{base}/ears/audio/transcriptions{version}",
    ]


async def test_the_preview_of_v1_is_a_query():
    assert (await asked(api_version="preview"))[0] == (
        "https://council.openai.azure.com/openai/v1/chat/completions?api-version=preview"
    )


async def test_a_deployments_name_stays_one_part_of_the_path():
    resource = Resource(ANSWER)
    async with connected(resource, api_version="2024-10-21", deployments=[{"name": "a/../b c"}]) as connection:
        _ = [event async for event in connection.chat(question(model="a/../b c"))]
    assert resource.asked[0].url.raw_path.startswith(b"/openai/deployments/a%2F..%2Fb%20c/chat/completions?")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"endpoint": "https://"}, "endpoint"),
        ({"api_version": "2024-13-45"}, "api_version"),
        ({"api_key": None}, "api_key"),
        ({"tenant_id": "t", "client_id": "c"}, "client_secret"),
        ({"client_id": "c", "client_secret": "s"}, "tenant_id"),
        ({"tenant_id": "t", "client_secret": "s"}, "client_id"),
        ({"tenant_id": "t", "client_id": "c", "client_secret": "s", "authority": "https://"}, "authority"),
    ],
)
async def test_what_can_never_work_is_told_at_once_by_its_field(config, field):
    with pytest.raises(InvalidRequest) as raised:
        async with connected(**config):
            pass
    assert raised.value.field == field


@pytest.mark.parametrize(
    "config",
    [
        {"endpoint": "council.openai.azure.com"},
        {"api_version": "latest"},
        {"deployments": [{"name": ""}]},
        {"deployments": [{"name": "a", "kind": "rerank"}]},
    ],
)
async def test_what_breaks_the_form_is_refused_by_it(config):
    with pytest.raises(ConfigError):
        async with connected(**config):
            pass
