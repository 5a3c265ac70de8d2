"""Questions go out with what the deployed model and the version know, and answers come back filtered."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import (
    BadResponse,
    ContentRefused,
    EmbedRequest,
    Finish,
    ProviderError,
    RateLimited,
    TextDelta,
    ToolSpec,
    TranscribeRequest,
    Transcript,
    Unavailable,
    Usage,
)

from providers.azure.tests.conftest import Resource, connected, delta, error, question, sse

STOP = delta("stop")
LOOK = ToolSpec("look", "Looks.", {"type": "object"})


async def answer(body, *, status=200, headers=None, **config):
    async def pieces():
        for piece in body:
            yield piece

    content = pieces() if isinstance(body, list) else body
    resource = Resource(httpx.Response(status, content=content, headers=headers or {}))
    async with connected(resource, **config) as connection:
        return [event async for event in connection.chat(question(model="prod-chat"))]


async def sent(request, **config):
    resource = Resource(httpx.Response(200, text=sse(delta("stop", content="x"))))
    async with connected(resource, **config) as connection:
        _ = [event async for event in connection.chat(request)]
    return resource.bodies[0]


@pytest.mark.parametrize(
    ("version", "usage"),
    [
        ("v1", True),
        ("preview", True),
        ("2025-01-01-preview", True),
        ("2024-10-21", True),
        ("2024-09-01-preview", True),
        ("2024-06-01", False),
        ("2024-05-01-preview", False),
        ("2023-05-15", False),
    ],
)
async def test_counts_are_asked_for_only_of_versions_that_know_how(version, usage):
    body = await sent(question(model="prod-chat"), api_version=version)
    assert ("stream_options" in body) == usage


async def test_older_versions_are_spared_what_they_refuse():
    request = question(
        model="prod-chat",
        reasoning_effort="low",
        tools=(LOOK,),
        parallel_tools=False,
        response_schema={"type": "object"},
    )
    old = await sent(request, api_version="2024-06-01")
    assert not {"reasoning_effort", "parallel_tool_calls", "response_format"} & set(old)
    new = await sent(request)
    assert {"reasoning_effort", "parallel_tool_calls", "response_format"} <= set(new)


@pytest.mark.parametrize(
    ("model", "version", "field", "sampled"),
    [
        ("gpt-4o", "v1", "max_completion_tokens", True),
        ("gpt-4o", "2024-06-01", "max_tokens", True),
        ("gpt-5.2", "v1", "max_completion_tokens", False),
        ("gpt-5.2", "2024-12-01-preview", "max_completion_tokens", False),
        ("Mistral-Large-3", "v1", "max_tokens", True),
        ("", "v1", "max_tokens", True),
    ],
)
async def test_parameters_go_by_the_model_behind_a_deployment_not_by_its_name(model, version, field, sampled):
    request = question(model="prod", max_output_tokens=9, temperature=0.5)
    body = await sent(request, deployments=[{"name": "prod", "model": model}], api_version=version)
    assert body["model"] == "prod"
    assert {key: value for key, value in body.items() if key.startswith("max")} == {field: 9}
    assert ("temperature" in body) == sampled


async def test_newer_models_get_tools_only_without_reasoning():
    request = question(model="prod", tools=(LOOK,), reasoning_effort="high")
    body = await sent(request, deployments=[{"name": "prod", "model": "gpt-5.6-terra"}])
    assert body["reasoning_effort"] == "none"


async def test_the_filters_own_events_are_passed_over():
    body = sse(
        {"choices": [], "id": "", "model": "", "prompt_filter_results": [{"content_filter_results": {"hate": {}}}]},
        delta(role="assistant"),
        delta(content="Hej"),
        {"choices": [{"index": 0, "content_filter_offsets": {"check_offset": 3}, "content_filter_results": {}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": {}}], "usage": None},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
    )
    assert await answer(body) == [TextDelta("Hej"), Usage(5, 1), Finish("stop")]


async def test_an_answer_that_the_filter_stops_ends_so():
    assert await answer(sse(delta(content="Hej"), delta("content_filter"))) == [
        TextDelta("Hej"),
        Finish("content_filter"),
    ]


async def test_a_question_that_the_filter_stops_is_refused():
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True}}}
    said = error("The response was filtered due to the prompt", "content_filter", status=400, innererror=inner)
    for body, status in ((json.dumps(said), 400), (sse(delta(content="a"), said), 200)):
        with pytest.raises(ContentRefused):
            await answer(body, status=status)


async def test_how_long_to_wait_is_told_to_the_millisecond():
    for headers, said, wait in (
        ({"retry-after-ms": "1250", "retry-after": "2"}, "", 1.25),
        ({"retry-after": "2"}, "", 2.0),
        ({}, "Please retry after 6 seconds.", 6.0),
    ):
        with pytest.raises(RateLimited) as raised:
            await answer(json.dumps(error(said, "429")), status=429, headers=headers)
        assert raised.value.retry_after == wait


async def test_half_a_character_at_the_edge_of_a_chunk_is_a_whole_one():
    body = sse('{"choices":[{"delta":{"content":"Å🦐"}}]}', STOP).encode()
    for cut in range(1, len(body)):
        assert await answer([body[:cut], body[cut:]]) == [TextDelta("Å🦐"), Finish("stop")]


@pytest.mark.parametrize(
    ("counts", "events"),
    [
        ([], []),
        ([(3, 1), (5, 2)], [Usage(5, 2)]),
        ([(0, 0)], []),
    ],
)
async def test_counts_may_be_missing_or_told_twice(counts, events):
    told = [{"choices": [], "usage": {"prompt_tokens": i, "completion_tokens": o}} for i, o in counts]
    assert await answer(sse(delta(content="a"), STOP, *told)) == [TextDelta("a"), *events, Finish("stop")]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html>Sign in</html>", BadResponse),
        ("", BadResponse),
        (sse(delta(content="a")), BadResponse),
        (json.dumps(error("boom", "server_error")), BadResponse),
        (sse(error("boom", status=500)), Unavailable),
        (b"data: " + b"x" * (11 * 1024 * 1024), BadResponse),
        (b"\xff\xfe\x00", BadResponse),
    ],
)
async def test_nonsense_under_a_200_is_an_error(body, kind):
    with pytest.raises(ProviderError) as raised:
        await answer(body)
    assert type(raised.value) is kind


async def test_events_nobody_knows_are_passed_over():
    assert await answer("event: mystery\n" + sse({"type": "x"}, delta(content="a"), {"new": []}, STOP)) == [
        TextDelta("a"),
        Finish("stop"),
    ]


async def test_texts_go_by_the_hundred_and_nothing_as_null():
    def vectors(request):
        texts = json.loads(request.content)["input"]
        return httpx.Response(200, json={"data": [{"embedding": [1.0]} for _ in texts], "usage": {"prompt_tokens": 2}})

    resource = Resource(vectors, vectors)
    async with connected(resource) as connection:
        got = await connection.embed(EmbedRequest("vectors", ("a",) * 300, dimensions=1))
    assert (len(got.vectors), got.input_tokens) == (300, 4)
    assert [len(body["input"]) for body in resource.bodies] == [256, 44]
    assert all(None not in body.values() and body["encoding_format"] == "float" for body in resource.bodies)


async def test_times_are_asked_only_of_models_that_tell_them():
    deployments = [{"name": "ears", "model": "whisper"}, {"name": "new-ears", "model": "gpt-4o-transcribe"}]
    answers = [
        httpx.Response(200, json={"text": "Hej", "duration": 1.5}),
        httpx.Response(200, json={"text": "Hej", "usage": {"type": "tokens", "input_tokens": 5, "output_tokens": 1}}),
    ]
    resource = Resource(*answers)
    async with connected(resource, deployments=deployments) as connection:
        first = await connection.transcribe(TranscribeRequest("ears", b"RIFF", "audio/wav"))
        second = await connection.transcribe(TranscribeRequest("new-ears", b"RIFF", "audio/wav"))
    assert (first, second) == (Transcript("Hej", seconds=1.5), Transcript("Hej", usage=Usage(5, 1)))
    assert [b"verbose_json" in request.content for request in resource.asked] == [True, False]
