"""What Anthropic and those between us and it say went wrong, and what the host is told."""

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
    QuotaExhausted,
    RateLimited,
    Unavailable,
)

from providers.anthropic.tests.conftest import connected, question, sse

INVALID = "invalid_request_error"


def told(kind, message, **more):
    return json.dumps({"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_1"})


@pytest.mark.parametrize(
    ("status", "body", "error", "field"),
    [
        (401, told("authentication_error", "invalid x-api-key"), AuthenticationFailed, "api_key"),
        (403, told("permission_error", "Your API key may not use this"), AuthenticationFailed, "api_key"),
        (402, told("billing_error", "Check your payment details"), QuotaExhausted, None),
        (400, told(INVALID, "Your credit balance is too low to access the Claude API"), QuotaExhausted, None),
        (400, told(INVALID, "You have reached your specified API usage limits."), QuotaExhausted, None),
        (429, told("rate_limit_error", "This would exceed your organization's spend limit"), QuotaExhausted, None),
        (404, told("not_found_error", "model: claude-none"), ModelNotFound, None),
        (404, told("not_found_error", "Not found"), InvalidRequest, "base_url"),
        (404, "<html>nginx</html>", InvalidRequest, "base_url"),
        (301, "", InvalidRequest, "base_url"),
        (413, told("request_too_large", "Request exceeds the maximum size"), ContextTooLong, None),
        (400, told(INVALID, "prompt is too long: 1200000 tokens > 1000000 maximum"), ContextTooLong, None),
        (400, told(INVALID, "input length and `max_tokens` exceed context limit: 9 + 9 > 9"), ContextTooLong, None),
        (400, told(INVALID, "Output blocked by content filtering policy"), ContentRefused, None),
        (400, told(INVALID, "anthropic-version: 2029-01-01 is not a valid version"), InvalidRequest, "version"),
        (400, told(INVALID, "Unexpected value(s) `x` for the `anthropic-beta` header"), InvalidRequest, "betas"),
        (400, told(INVALID, "messages.0: something"), InvalidRequest, None),
        (500, told("api_error", "Internal server error"), Unavailable, None),
        (504, told("timeout_error", "Timed out"), Unavailable, None),
        (529, told("overloaded_error", "Overloaded"), Unavailable, None),
        (503, "<html>busy</html>", Unavailable, None),
        (200, "<!doctype html><title>Sign in</title>", BadResponse, "base_url"),
        (200, told("api_error", "Internal server error"), Unavailable, None),
        (200, told("aurora_error", "?"), BadResponse, None),
        (200, "", BadResponse, None),
        (200, '{"choices": []}', BadResponse, None),
    ],
)
async def test_every_failure_is_the_error_it_stands_for(ask, status, body, error, field):
    with pytest.raises(error) as raised:
        await ask(body, question(model="claude-none"), status=status)
    assert type(raised.value) is error
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", Unavailable),
        ("api_error", Unavailable),
        ("timeout_error", Unavailable),
        ("rate_limit_error", RateLimited),
        ("authentication_error", AuthenticationFailed),
        ("billing_error", QuotaExhausted),
        ("invalid_request_error", InvalidRequest),
        ("request_too_large", ContextTooLong),
        ("aurora_error", BadResponse),
    ],
)
async def test_an_error_in_the_stream_is_what_it_would_have_been_outside(ask, kind, error):
    with pytest.raises(error):
        await ask(sse({"type": "ping"}, {"type": "error", "error": {"type": kind, "message": "No."}}))


@pytest.mark.parametrize("broken", [{"type": "error"}, {"type": "error", "error": "boom"}, {"error": {"type": 5}}])
async def test_an_error_in_a_form_of_its_own_is_one_all_the_same(ask, broken):
    with pytest.raises(BadResponse):
        await ask(f"data: {json.dumps(broken)}\n\n")


@pytest.mark.parametrize(("wait", "seconds"), [("7", 7.0), ("Mon, 06 May 2030 12:00:30 GMT", 30.0), ("soon", None)])
async def test_how_long_to_wait_is_passed_on(ask, wait, seconds):
    with pytest.raises(RateLimited) as raised:
        await ask(told("rate_limit_error", "Slow down"), status=429, headers={"retry-after": wait})
    assert raised.value.retry_after == seconds


async def test_a_model_named_in_the_configuration_is_to_be_changed_there(ask):
    with pytest.raises(ModelNotFound) as raised:
        await ask(told("not_found_error", "model: x"), status=404, chat_models=["x"])
    assert raised.value.field == "chat_models"


@pytest.mark.parametrize(
    ("config", "header", "value"),
    [
        ({}, "authorization", "Bearer sk-ant-made-up-000000"),
        ({"version": "2023-06-01"}, "x-api-key", "sk-ant-made-up-000000"),
        ({}, "anthropic-version", "2026-10-21"),
        ({"betas": ["a-2026-01-01", "b"]}, "anthropic-beta", "a-2026-01-01,b"),
        ({}, "anthropic-beta", None),
        ({"version": "2023-06-01"}, "authorization", None),
        ({"api_key": ""}, "authorization", None),
    ],
)
async def test_the_headers_are_those_of_the_version(config, header, value):
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(500)

    async with connected(handler, **config) as connection:
        with pytest.raises(Unavailable):
            await anext(connection.chat(question()))
    assert seen[0].headers.get(header) == value


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://h.test/v1/", "https://h.test/v1/messages"),
        ("https://h.test/v1/messages", "https://h.test/v1/messages"),
        ("https://h.test:8443/anthropic", "https://h.test:8443/anthropic/v1/messages"),
    ],
)
async def test_an_address_pasted_with_too_much_is_understood(address, asked):
    seen = []

    def handler(request):
        seen.append(str(request.url))
        return httpx.Response(500)

    async with connected(handler, base_url=address) as connection:
        with pytest.raises(Unavailable):
            await anext(connection.chat(question()))
    assert seen == [asked]


async def test_an_address_that_is_none_is_refused():
    with pytest.raises(InvalidRequest, match="not the address") as raised:
        async with connected(base_url="https://"):
            pass
    assert raised.value.field == "base_url"


async def test_a_key_that_can_be_none_is_not_sent_and_not_shown(ask):
    for key in ("nyckel-å-hemlig", "two\nlines-hemlig"):
        with pytest.raises(AuthenticationFailed) as raised:
            await ask("", api_key=key)
        assert raised.value.field == "api_key"
        assert "hemlig" not in str(raised.value)
