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
from folkmoot_sdk.http import Fields, Meant, cleaned

from plugins.sdk.tests.upstream import KEY, ask, service


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
        (400, json.dumps({"error": body("prompt is too long: 9 tokens")}), ContextTooLong),
        (422, json.dumps({"detail": body("slow", "context_length_exceeded")}), ContextTooLong),
        (401, '{"error": "invalid_client", "error_description": "secret expired"}', AuthenticationFailed),
        (400, "[" * 50_000, InvalidRequest),
        (400, json.dumps({"error": {"message": {"a": [["deep"]]}}}), InvalidRequest),
    ],
)
async def test_a_status_and_its_body_become_one_error(status, text, kind):
    with pytest.raises(ProviderError) as raised:
        await ask(text, status=status)
    assert type(raised.value) is kind
    assert "api.example.test" in str(raised.value)


async def test_the_wait_is_read_from_either_header():
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


async def test_a_long_sentence_with_keys_in_it_is_made_short_and_harmless():
    leaky = "Incorrect key sk-proj-abc123DEF456ghi and sk-mad***000, Bearer eyJhbGciOi.x.y: " + "very " * 200
    with pytest.raises(AuthenticationFailed) as raised:
        await ask(body(leaky), status=401)
    text = str(raised.value)
    assert "abc123" not in text
    assert "eyJ" not in text
    assert "sk-mad" not in text
    assert 300 < len(text) < 500


async def test_a_key_that_can_not_be_a_key_is_not_sent_and_not_shown():
    for key in ("nyckel-å-hemlig", "two\nlines-hemlig"):
        with pytest.raises(AuthenticationFailed) as raised:
            await ask("", key=key)
        assert "hemlig" not in str(raised.value)
        assert raised.value.field == "api_key"


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

    async with service(handler) as reached:
        with pytest.raises(kind, match=words):
            async with reached.open("GET", "/models"):
                pass


@pytest.mark.parametrize(
    ("sentence", "seconds"),
    [
        ("Rate limit reached. Please try again in 20s. Visit", 20.0),
        ("Please try again in 858ms.", 0.858),
        ("Please retry after 6 seconds.", 6.0),
        ("Please try again in 1m30s.", None),
        ("Please wait.", None),
    ],
)
async def test_a_wait_told_only_in_the_sentence_counts_too(sentence, seconds):
    with pytest.raises(RateLimited) as raised:
        await ask(body(sentence), status=429)
    assert raised.value.retry_after == seconds
    with pytest.raises(RateLimited) as raised:
        await ask(body(sentence), status=429, headers={"retry-after": "3"})
    assert raised.value.retry_after == 3.0, "the header goes first"


@pytest.mark.parametrize(
    ("status", "text", "field"),
    [
        (401, body("no"), "key"),
        (403, body("no"), "key"),
        (404, body("The model does not exist", "model_not_found"), "chat_models"),
        (404, "<html>nginx</html>", "endpoint"),
        (405, "", "endpoint"),
        (301, "", "endpoint"),
        (400, body("bad"), None),
        (429, body("slow"), None),
        (503, body("busy"), None),
        (200, "<html>Sign in</html>", "endpoint"),
    ],
)
async def test_an_error_names_the_field_of_the_configuration_that_must_change(status, text, field):
    with pytest.raises(ProviderError) as raised:
        await ask(text, status=status, fields=Fields("endpoint", "key"))
    assert raised.value.field == field


async def test_nobody_at_an_address_names_the_address_but_silence_does_not():
    for error, field in ((httpx.ConnectError, "base_url"), (httpx.ConnectTimeout, "base_url"), (httpx.ReadError, None)):

        def handler(request, error=error):
            raise error("no", request=request)

        async with service(handler) as reached:
            with pytest.raises(Unavailable) as raised:
                async with reached.open("GET", "/models"):
                    pass
        assert raised.value.field == field


async def test_a_service_that_wants_a_key_says_that_there_is_none():
    with pytest.raises(AuthenticationFailed, match="the connection has none"):
        await ask(body("no"), status=401, key=None)


async def test_the_rules_of_one_service_go_before_the_common_ones():
    def rule(status, said):
        if "deployment" in said.all:
            return Meant(ModelNotFound, "deployments")
        return QuotaExhausted if status == 418 else None

    for status, text, kind, field in (
        (404, body("no such deployment"), ModelNotFound, "deployments"),
        (418, "", QuotaExhausted, None),
        (429, body("slow"), RateLimited, None),
    ):
        with pytest.raises(kind) as raised:
            await ask(text, status=status, rules=(rule,))
        assert raised.value.field == field


async def test_the_key_is_hidden_wherever_the_service_repeats_it():
    key = "plain words, no digits"
    for status in (400, 401, 429, 500, 200):
        with pytest.raises(ProviderError) as raised:
            await ask(body(f"you sent {key}!"), status=status, key=key)
        assert key not in str(raised.value)


def test_cleaning_a_long_hostile_sentence_is_quick_and_leaves_one_line():
    for text in ("a-" * 500_000, "a" * 1_000_000, "*" * 1_000_000, "x\x1b[31m\u202e\ny" * 100):
        shown = cleaned(text, (KEY,))
        assert len(shown) <= 300
        assert shown.isprintable()
