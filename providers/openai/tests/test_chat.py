"""Answers from OpenAI and from the many services that are nearly OpenAI."""

from __future__ import annotations

import json

import msgspec
import pytest
from folkmoot_sdk import (
    BadResponse,
    Finish,
    ImagePart,
    Message,
    ProviderError,
    RateLimited,
    ReasoningDelta,
    TextDelta,
    TextPart,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolSpec,
    Unavailable,
    Usage,
)

from providers.openai.tests.conftest import delta, question, sse

STOP = delta("stop")


def call(index=None, call_id=None, name=None, arguments=None):
    part = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in part.items() if value is not None}


async def test_words_come_as_they_are_and_usage_before_the_finish(ask):
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    body = sse(
        delta(role="assistant", content=""),
        delta(content="Hej "),
        {"choices": [{"delta": {"content": None}}], "usage": {"prompt_tokens": 10, "completion_tokens": 1}},
        delta(content="där"),
        STOP,
        {"choices": [], "usage": usage},
    )
    assert await ask(body) == [TextDelta("Hej "), TextDelta("där"), Usage(10, 7, 4, 3), Finish("stop")]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "x"}, {"a": 1e400}])
async def test_an_answer_without_usable_counts_is_whole(ask, usage):
    assert await ask(sse(delta(content="a"), STOP, {"choices": [], "usage": usage})) == [
        TextDelta("a"),
        Finish("stop"),
    ]


async def test_a_missing_done_is_forgiven_once_the_reason_came(ask):
    assert (await ask(sse(delta(content="a"), STOP, end="")))[-1] == Finish("stop")
    assert (await ask(sse(delta(content="a"), STOP, end='data: {"choices": [], "usa')))[-1] == Finish("stop")


async def test_a_missing_reason_is_an_answer_cut_off(ask):
    with pytest.raises(BadResponse, match="cut off"):
        await ask(sse(delta(content="a")))
    with pytest.raises(BadResponse):
        await ask(sse(delta(content="a"), end='data: {"choices": [{"del'))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("function_call", "tool_calls"),
        ("eos_token", "stop"),
    ],
)
async def test_every_reason_has_its_word(ask, said, meant):
    assert await ask(sse(delta(content="a"), delta(said))) == [TextDelta("a"), Finish(meant)]


async def test_reasoning_is_not_part_of_the_answer(ask):
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "c"}]}, {"type": "text", "text": "d"}]
    body = sse(delta(reasoning_content="a"), delta(reasoning="b"), delta(content=parts), STOP)
    assert await ask(body) == [
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        ReasoningDelta("c"),
        TextDelta("d"),
        Finish("stop"),
    ]


async def test_a_refusal_is_text_for_the_reader(ask):
    assert await ask(sse(delta(refusal="I can not."), STOP)) == [TextDelta("I can not."), Finish("content_filter")]


async def test_tool_calls_come_in_pieces_side_by_side(ask):
    body = sse(
        delta(tool_calls=[call(0, "a", "look", "")]),
        delta(tool_calls=[call(0, arguments='{"q"')]),
        delta(tool_calls=[call(1, "b", "count", "{}"), call(0, arguments=":1}")]),
        delta("tool_calls"),
    )
    assert await ask(body) == [
        ToolCallStarted(0, "a", "look"),
        ToolCallDelta(0, '{"q"'),
        ToolCallStarted(1, "b", "count"),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, ":1}"),
        Finish("tool_calls"),
    ]


@pytest.mark.parametrize(
    "parts",
    [
        [call(None, "a", "look", "{}"), call(None, "b", "count", "{}")],
        [call(0, "a", "look", "{}"), call(0, "b", "count", "{}")],
        [call(None, "a", "look", {}), call(None, "b", "count", {})],
    ],
    ids=["no-index", "always-zero", "objects"],
)
async def test_whole_tool_calls_are_told_apart(ask, parts):
    separate = await ask(sse(*(delta(tool_calls=[part]) for part in parts), STOP))
    together = await ask(sse(delta(tool_calls=parts), STOP))
    assert separate == together
    assert [(e.index, e.id, e.name) for e in together if isinstance(e, ToolCallStarted)] == [
        (0, "a", "look"),
        (1, "b", "count"),
    ]
    assert together[-1] == Finish("tool_calls")


async def test_a_call_without_an_id_gets_one_and_without_a_name_is_refused(ask):
    assert ToolCallStarted(0, "call_0", "look") in await ask(sse(delta(tool_calls=[call(0, None, "look")]), STOP))
    with pytest.raises(BadResponse, match="without naming it"):
        await ask(sse(delta(tool_calls=[call(0, "a", None, "{}")]), STOP))


async def test_a_service_that_ignores_stream_is_understood(ask):
    whole = {
        "choices": [{"message": {"role": "assistant", "content": "All at once."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3},
    }
    assert await ask(json.dumps(whole, indent=1)) == [TextDelta("All at once."), Usage(1, 3), Finish("stop")]


async def test_only_the_first_of_several_choices_counts(ask):
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    assert await ask(sse(delta(content="yes"), other, STOP)) == [TextDelta("yes"), Finish("stop")]


async def test_an_error_in_the_middle_keeps_its_meaning(ask):
    for error, kind in (
        ({"error": {"message": "slow down", "code": 429}}, RateLimited),
        ({"error": {"message": "boom", "code": "502"}}, Unavailable),
        ({"error": "boom"}, BadResponse),
        ({"object": "error", "message": "boom", "code": 500}, Unavailable),
        ([{"error": {"message": "boom"}}], BadResponse),
    ):
        with pytest.raises(ProviderError, match=r"boom|takes no more requests") as raised:
            await ask(sse(delta(content="a"), error))
        assert type(raised.value) is kind


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><body>Sign in</body></html>",
        "plain words",
        "{",
        "null",
        "[" * 100_000,
        'data: {"choices": 3}\n\n',
        "data: " + "[" * 100_000 + "\n\n",
        b"\xff\xfe\x00",
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        "data: [DONE]\n\n",
    ],
)
async def test_nonsense_under_a_200_is_a_bad_response(ask, body):
    with pytest.raises(BadResponse):
        await ask(body)


async def test_a_flood_without_a_line_end_is_stopped(ask):
    with pytest.raises(BadResponse, match="in one event"):
        await ask(b"data: " + b"x" * (11 * 1024 * 1024))


async def test_turns_tools_and_pictures_go_out_in_the_dialect(sent):
    request = question(
        tools=(ToolSpec("look", "Looks.", {"type": "object"}),), stop=("END",), temperature=0.2, top_p=0.9
    )
    picture = Message("user", (TextPart("What is this?"), ImagePart("image/png", b"\x89PNG")))
    turns = (
        Message("system", (TextPart("Be brief."),)),
        picture,
        Message("assistant", tool_calls=(ToolCall("a", "look", "{}"),)),
        Message("tool", (TextPart("42"),), tool_call_id="a"),
    )
    body = await sent(msgspec.structs.replace(request, messages=turns))
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    assert body == {
        "model": "some-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "42", "tool_call_id": "a"},
        ],
        "tools": [{"type": "function", "function": function}],
        "stop": ["END"],
        "temperature": 0.2,
        "top_p": 0.9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("url", "model", "field"),
    [
        ("https://api.openai.com/v1", "gpt-4o", "max_completion_tokens"),
        ("https://api.example.test/v1", "openai/gpt-5-mini", "max_completion_tokens"),
        ("https://api.example.test/v1", "llama-3.1-8b", "max_tokens"),
        ("https://openai.com.example.test/v1", "llama-3.1-8b", "max_tokens"),
    ],
)
async def test_the_length_limit_has_the_name_that_the_service_knows(sent, url, model, field):
    body = await sent(question(model=model, max_output_tokens=9, temperature=0.1), base_url=url)
    assert {key: value for key, value in body.items() if key.startswith("max")} == {field: 9}
    assert ("temperature" in body) == ("gpt-5" not in model)


async def test_a_schema_is_strict_only_where_it_can_be(sent):
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    nested = closed | {"properties": {"a": {"type": "array", "items": {"type": "object"}}}}
    for schema, strict in ((closed, True), ({"type": "object"}, False), (nested, False)):
        body = await sent(question(response_schema=schema))
        wanted = {"name": "answer", "schema": schema, "strict": strict}
        assert body["response_format"] == {"type": "json_schema", "json_schema": wanted}


async def test_options_are_passed_on_but_it_always_streams(sent):
    body = await sent(question(options={"seed": 7, "stream": False}), stream_usage=False)
    assert body["seed"] == 7
    assert body["stream"] is True
    assert "stream_options" not in body
