"""What goes out to OpenAI and to services that are nearly OpenAI."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    EmbedRequest,
    InvalidRequest,
    ModelNotFound,
    ToolSpec,
    TranscribeRequest,
    Transcript,
)

from providers.openai.tests.conftest import connected, delta, question, sse

OPENAI = "https://api.openai.com/v1"
LOOK = ToolSpec("look", "Looks.", {"type": "object"})


@pytest.mark.parametrize(
    ("url", "model", "field"),
    [
        (OPENAI, "gpt-4o", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "gpt-4o", "max_completion_tokens"),
        ("https://api.example.test/v1", "openai/gpt-5-mini", "max_completion_tokens"),
        ("https://api.example.test/v1", "llama-3.1-8b", "max_tokens"),
        ("https://openai.com.example.test/v1", "llama-3.1-8b", "max_tokens"),
    ],
)
async def test_the_length_limit_has_the_name_that_the_service_knows(sent, url, model, field):
    body = await sent(question(model=model, max_output_tokens=9, temperature=0.1), base_url=url)
    assert {key: value for key, value in body.items() if key.startswith("max")} == {field: 9}
    assert ("temperature" in body) == ("gpt-5" not in model)


@pytest.mark.parametrize(
    ("model", "asked", "effort"),
    [
        ("gpt-4o", "high", None),
        ("gpt-5", "none", "minimal"),
        ("gpt-5.1", "minimal", "low"),
        ("o3", "none", "low"),
        ("gpt-6.2-sol", "none", "low"),
        ("gpt-6.1-terra", "none", "none"),
        ("unheard-of", "medium", "medium"),
    ],
)
async def test_the_effort_is_one_that_the_model_knows(sent, model, asked, effort):
    assert (await sent(question(model=model, reasoning_effort=asked), base_url=OPENAI)).get(
        "reasoning_effort"
    ) == effort


async def test_openais_newer_models_are_asked_not_to_reason_when_they_get_tools(sent):
    request = question(model="gpt-6.1-terra", tools=(LOOK,), reasoning_effort="high")
    assert (await sent(request, base_url=OPENAI))["reasoning_effort"] == "none"
    assert (await sent(request))["reasoning_effort"] == "high", "a gateway translates"


async def test_usage_is_asked_for_unless_the_service_refuses_that(sent):
    assert (await sent(question()))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in await sent(question(), stream_usage=False)


async def test_a_service_without_a_key_gets_none():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, text=sse(delta("stop", content="a")))

    async with connected(handler, api_key=None, organization="org-1", project="proj_1") as connection:
        _ = [event async for event in connection.chat(question())]
    assert "authorization" not in seen[0].headers
    assert seen[0].headers["openai-organization"] == "org-1"
    assert seen[0].headers["openai-project"] == "proj_1"


async def test_an_address_that_is_none_is_refused():
    with pytest.raises(InvalidRequest, match="not the address"):
        async with connected(base_url="https://"):
            pass


async def embedded(model, count=1, **config):
    purpose = config.pop("purpose", "document")
    seen = []

    def handler(request):
        seen.append(json.loads(request.content))
        return httpx.Response(200, json={"data": [{"embedding": [1.0]} for _ in seen[-1]["input"]]})

    async with connected(handler, **config) as connection:
        await connection.embed(EmbedRequest(model, ("snö",) * count, purpose=purpose))
    return seen


async def test_models_that_were_taught_prefixes_get_them():
    for model, purpose, text in (
        ("intfloat/multilingual-e5-base", "query", "query: snö"),
        ("intfloat/multilingual-e5-base", "document", "passage: snö"),
        ("nomic-embed-text:v1.5", "query", "search_query: snö"),
        ("text-embedding-3-small", "query", "snö"),
    ):
        assert (await embedded(model, purpose=purpose))[0]["input"] == [text]


async def test_openai_takes_more_texts_at_once_than_a_small_server():
    sizes = [len(body["input"]) for body in await embedded("text-embedding-3-small", 300, base_url=OPENAI)]
    assert sizes == [256, 44]
    sizes = [len(body["input"]) for body in await embedded("text-embedding-3-small", 40)]
    assert sizes == [32, 8]


@pytest.mark.parametrize(
    ("model", "wanted", "more"),
    [
        ("whisper-1", "verbose_json", False),
        ("Systran/faster-whisper-large-v3", "verbose_json", False),
        ("gpt-4o-transcribe", "json", False),
        ("gpt-transcribe", "json", False),
        ("gpt-4o-transcribe-diarize", "json", True),
    ],
)
async def test_times_are_asked_only_of_models_that_tell_them(model, wanted, more):
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, json={"text": "Hej"})

    async with connected(handler) as connection:
        assert await connection.transcribe(TranscribeRequest(model, b"RIFF", "audio/wav")) == Transcript("Hej")
    assert seen[0].url.path == "/v1/audio/transcriptions"
    assert f'name="response_format"\r\n\r\n{wanted}\r\n'.encode() in seen[0].content
    assert (b'name="chunking_strategy"' in seen[0].content) == more


async def test_whatever_is_called_errors_name_the_field():
    def handler(request):
        if "wrong" in request.headers["authorization"]:
            return httpx.Response(401)
        return httpx.Response(404, json={"error": {"message": "no", "code": "model_not_found"}})

    async def chat(connection):
        return [event async for event in connection.chat(question())]

    async def embed(connection):
        return await connection.embed(EmbedRequest("m", ("a",)))

    async def transcribe(connection):
        return await connection.transcribe(TranscribeRequest("m", b"x", "audio/wav"))

    for call, field in ((chat, "chat_models"), (embed, "embedding_models"), (transcribe, "transcription_models")):
        async with connected(handler) as connection:
            with pytest.raises(ModelNotFound) as raised:
                await call(connection)
        assert raised.value.field == field
        async with connected(handler, api_key="wrong-key") as connection:
            with pytest.raises(AuthenticationFailed) as raised:
                await call(connection)
        assert raised.value.field == "api_key"
