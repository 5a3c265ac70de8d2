"""Whatever goes wrong under `/v1` is told as OpenAI tells it."""

import json

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

from folkmoot.ai.catalogue import Catalogue
from folkmoot.gateway.errors import of_answer, of_provider
from folkmoot.kit.errors import TooManyRequests
from tests.gateway.conftest import Program, as_program, key_of, told


async def test_a_key_that_is_none_is_an_invalid_api_key(api, connected, program):
    revoked = await connected.made("/api-keys", name="Gone")
    assert (await connected.delete(f"/api-keys/{revoked['id']}")).status_code == 204
    for key in ("nonsense", "fmu_nonsense", "sk-abc", revoked["key"]):
        async with as_program(api, key) as client:
            for answer in (await client.get("/models"), await client.chat(), await client.post("/embeddings", json={})):
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                error = told(answer)
                assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    del program.headers["Authorization"]
    assert told(await program.chat())["code"] == "invalid_api_key"


async def test_a_key_without_the_scope_is_forbidden(api, connected):
    async with as_program(api, await key_of(connected, scopes=["read", "write"])) as client:
        answer = await client.chat()
        assert answer.status_code == 403
        assert (told(answer)["type"], told(answer)["code"]) == ("permission_error", "scope_missing")


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(api, connected):
    async with as_program(api, await key_of(connected, requests_per_minute=2)) as client:
        answers = [await client.chat() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert (told(answers[-1])["type"], told(answers[-1])["code"]) == ("rate_limit_error", "rate_limit_exceeded")


async def test_an_empty_budget_is_an_insufficient_quota(program, connected):
    await connected.made("/budgets", kind="tenant", period="day", limit_micros=0)
    for fields in ({}, {"stream": True}):
        answer = await program.chat(**fields)
        assert answer.status_code == 429
        assert (told(answer)["type"], told(answer)["code"]) == ("insufficient_quota", "insufficient_quota")
        assert answer.headers["x-should-retry"] == "false"
    embedded = await program.post("/embeddings", json={"model": "stub-embed", "input": "x"})
    assert told(embedded)["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/completions", 404),
        ("POST", "/chat", 404),
        ("POST", "/responses", 404),
        ("GET", "/chat/completions", 405),
        ("DELETE", "/models/stub-chat", 405),
    ],
)
async def test_what_is_not_offered(program, method, path, status):
    answer = await program.request(method, path)
    assert answer.status_code == status
    assert path in told(answer)["message"]


async def test_the_rest_of_the_service_keeps_its_own_form(stranger):
    for path in ("/api/v1/nothing", "/nothing", "/v10/models", "/v1x"):
        answer = await stranger.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/v1", "/v1/", "/v1/nothing"):
        answer = await stranger.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'{"model":"stub-chat"}', None),
        (b'{"model":"stub-chat","messages":[]}', "messages"),
        (b'{"model":5,"messages":[{"role":"user","content":"a"}]}', "model"),
        (b'{"model":"stub-chat","messages":[{"role":"user","content":5}]}', "messages[0].content"),
        (b'{"model":"stub-chat","messages":[{"role":"user","content":"a"}],"temperature":"hot"}', "temperature"),
        (b'{"model":"stub-chat","messages":[{"role":"user","content":"a"}],"max_tokens":0}', "max_tokens"),
        (b'{"model":"stub-chat","messages":[{"role":"user","content":"a"}],"n":3}', "n"),
        (b'{"model":"stub-chat","messages":[{"role":"user","content":"a"}],"reasoning_effort":"huge"}',
         "reasoning_effort"),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named(program, body, param):
    answer = await program.post("/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    error = told(answer)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, None)


async def test_a_body_that_is_too_large_is_refused(program):
    answer = await program.post("/chat/completions", content=b" " * (33 * 1024 * 1024))
    assert (answer.status_code, told(answer)["code"]) == (413, "content_too_large")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("directive", "status", "code"),
    [
        ("status=400 code=context_length_exceeded", 400, "context_length_exceeded"),
        ("status=400 code=content_filter", 400, "content_filter"),
        ("status=401 code=invalid_api_key", 502, "provider_authentication_failed"),
        ("status=429 code=insufficient_quota", 502, "provider_quota_exhausted"),
        ("html", 502, "provider_bad_response"),
    ],
)
async def test_what_the_provider_refuses(program, directive, status, code, stream):
    answer = await program.chat(f"[[{directive}]]", stream=stream)
    assert (answer.status_code, told(answer)["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RateLimited("slow down", 7.2), 429, "provider-rate-limited"),
        (RateLimited("slow down"), 429, "provider-rate-limited"),
        (RateLimited("slow down", float("inf")), 429, "provider-rate-limited"),
        (AuthenticationFailed("the key sk-secret is wrong"), 502, "provider-authentication-failed"),
        (QuotaExhausted("account acme has no money"), 502, "provider-quota-exhausted"),
        (ModelNotFound("no such model"), 404, "model-not-found"),
        (ContextTooLong("too long"), 400, "context-too-long"),
        (ContentRefused("not this"), 400, "content-refused"),
        (InvalidRequest("makes no sense"), 400, "provider-invalid-request"),
        (BadResponse("nonsense"), 502, "provider-bad-response"),
        (Unavailable("is down"), 503, "provider-unavailable"),
        (ProviderError("something"), 502, "provider-error"),
    ],
)
def test_a_providers_error_is_told_by_whose_fault_it_is(error, status, code):
    found = of_provider(error)
    assert (found.status, found.code) == (status, code)
    if isinstance(found, TooManyRequests):
        assert found.retry_after == (7.2 if error.retry_after == 7.2 else 1.0)
    assert "secret" not in found.detail
    assert "acme" not in found.detail
    again = of_answer(error.code, str(error), retryable=error.retryable)
    assert (again.status, again.code) == (status, code)


@pytest.mark.parametrize(
    ("code", "retryable", "status"),
    [
        ("budget-exhausted", False, 429),
        ("spending-limit-reached", False, 429),
        ("internal-error", True, 500),
        ("answer-too-long", True, 503),
        ("message-deleted", False, 502),
    ],
)
def test_an_answer_that_failed_is_told_as_well(code, retryable, status):
    found = of_answer(code, "a sentence", retryable=retryable)
    assert (found.status, found.code, found.detail) == (status, code, "a sentence")


async def test_a_stream_that_breaks_ends_with_the_error_and_without_an_end(program: Program):
    answer = await program.chat("[[tokens=9 cut=4]]", stream=True)
    assert answer.status_code == 200
    events = [event for event in answer.text.split("\n\n") if event]
    assert "[DONE]" not in answer.text
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert error["type"] == "server_error"
    assert error["code"] in ("provider_unavailable", "provider_bad_response")
    assert "word3" in events[-2]


async def test_what_breaks_on_our_side_is_a_500_that_tells_nothing(program, app, monkeypatch):
    async def broken(*_arguments, **_more):
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(app.part(Catalogue), "of", broken)
    answer = await program.chat()
    assert answer.status_code == 500
    assert (told(answer)["type"], told(answer)["code"]) == ("server_error", "internal_error")
    assert "42" not in answer.text


async def test_a_repeated_request_with_one_key_is_answered_once(program, upstream):
    headers = {"Idempotency-Key": "once"}
    body = {"model": "stub-chat", "messages": [{"role": "user", "content": "Hello."}]}
    first, second = [await program.post("/chat/completions", json=body, headers=headers) for _ in range(2)]
    assert first.json() == second.json()
    assert len([item for item in upstream.requests if "chat" in item.path]) == 1
    reused = await program.post("/chat/completions", json=body | {"n": 1}, headers=headers)
    assert (reused.status_code, told(reused)["code"]) == (409, "idempotency_key_reused")
    assert reused.headers["x-should-retry"] == "false"
