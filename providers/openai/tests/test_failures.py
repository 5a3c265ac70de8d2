"""What a service says went wrong becomes the error that the host acts on, in words a person understands."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ContentRefused,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)

from providers.openai.tests.conftest import connected, delta, question, sse


def body(message="", code=None, kind=None):
    return json.dumps({"error": {"message": message, "code": code, "type": kind}})


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, body("API key not valid", "API_KEY_INVALID"), AuthenticationFailed),
        (400, body("x", "context_length_exceeded"), ContextTooLong),
        (400, body("the request exceeds the available context size. try increasing it"), ContextTooLong),
        (400, body("prompt is too long: 9000 tokens > 8000 maximum"), ContextTooLong),
        (400, body("The response was filtered", "content_filter"), ContentRefused),
        (400, body("Unsupported parameter: 'max_tokens'", "unsupported_parameter"), InvalidRequest),
        (400, '{"error": "model \'llama9\' not found"}', ModelNotFound),
        (402, "", QuotaExhausted),
        (403, body("Project has no access to model gpt-9", "model_not_found"), ModelNotFound),
        (404, '{"error": "model \'llama9\' not found, try pulling it first"}', ModelNotFound),
        (404, '{"detail": "Not Found"}', InvalidRequest),
        (404, "<html>nginx</html>", InvalidRequest),
        (404, body("Invalid URL (POST /chat/completions)"), InvalidRequest),
        (413, "", ContextTooLong),
        (422, '{"detail": [{"loc": ["body", "n"], "msg": "Input should be 1"}]}', InvalidRequest),
        (429, body("quota", "insufficient_quota", "insufficient_quota"), QuotaExhausted),
        (429, body("slow", "rate_limit_exceeded"), RateLimited),
        (301, "", InvalidRequest),
        (529, body("overloaded"), Unavailable),
    ],
)
async def test_a_status_and_its_body_become_one_error(ask, status, text, kind):
    with pytest.raises(ProviderError) as raised:
        await ask(text, status=status)
    assert type(raised.value) is kind
    assert "api.example.test" in str(raised.value)


async def test_the_wait_is_read_from_either_header(ask):
    for headers, seconds in (
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "120", "retry-after": "1"}, 0.12),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "Mon, 06 May 2030 11:00:00 GMT"}, 0.0),
        ({}, None),
    ):
        with pytest.raises(RateLimited) as raised:
            await ask("", status=429, headers=headers)
        assert raised.value.retry_after == seconds


async def test_a_long_sentence_with_keys_in_it_is_made_short_and_harmless(ask):
    leaky = "Incorrect key sk-proj-abc123DEF456ghi and sk-mad***000, Bearer eyJhbGciOi.x.y: " + "very " * 200
    with pytest.raises(AuthenticationFailed) as raised:
        await ask(body(leaky), status=401)
    text = str(raised.value)
    assert "abc123" not in text
    assert "eyJ" not in text
    assert "sk-mad" not in text
    assert 300 < len(text) < 500


async def test_a_key_that_can_not_be_a_key_is_not_sent_and_not_shown(ask):
    for key in ("nyckel-å-hemlig", "two\nlines-hemlig"):
        with pytest.raises(AuthenticationFailed) as raised:
            await ask("", api_key=key)
        assert "hemlig" not in str(raised.value)


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


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("https://h.test/v1/", "https://h.test/v1/chat/completions"),
        (" https://h.test/v1/chat/completions", "https://h.test/v1/chat/completions"),
        ("https://h.test:8443/openai?api-version=2", "https://h.test:8443/openai/chat/completions?api-version=2"),
    ],
)
async def test_an_address_pasted_with_too_much_is_understood(address, asked):
    seen = []

    def handler(request):
        seen.append(str(request.url))
        return httpx.Response(500)

    async with connected(handler, base_url=address.strip()) as connection:
        with pytest.raises(Unavailable):
            await anext(connection.chat(question()))
    assert seen == [asked]


async def test_an_address_that_is_none_is_refused():
    with pytest.raises(InvalidRequest, match="not the address"):
        async with connected(base_url="https://"):
            pass


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (httpx.ConnectTimeout, Unavailable, "is the service running"),
        (httpx.ReadTimeout, Unavailable, "said nothing for 180 s"),
        (httpx.ConnectError, Unavailable, "failed"),
        (httpx.RemoteProtocolError, Unavailable, "failed"),
        (httpx.DecodingError, BadResponse, "unpack"),
    ],
)
async def test_a_dead_line_says_what_happened(error, kind, words):
    def handler(request):
        raise error("no", request=request)

    async with connected(handler) as connection:
        with pytest.raises(kind, match=words):
            await anext(connection.chat(question()))
