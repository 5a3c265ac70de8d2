"""What a request becomes on the wire."""

from __future__ import annotations

import base64

import pytest
from folkmoot_sdk import ImagePart, ToolCall, ToolSpec

from providers.anthropic.tests.conftest import MODEL, question, said

WEATHER = ToolSpec("weather", "Tells it.", {"properties": {"town": {"type": "string"}}})
CLOCK = ToolSpec("clock", "Tells the time.", {})
OLDER = {"version": "2023-06-01", "cache_prompts": False}
PLAIN = {"cache_prompts": False}


def texts(turn):
    return [block["text"] for block in turn["content"]]


async def test_a_question_is_one_turn_and_a_limit_is_always_sent(sent):
    body = await sent(question("Hej", model="claude-haiku-4-5"), **PLAIN)
    assert body == {
        "model": "claude-haiku-4-5",
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hej"}]}],
        "stream": True,
    }


@pytest.mark.parametrize(
    ("model", "wanted", "limit"),
    [
        ("claude-haiku-4-5", 500, 500),
        ("claude-haiku-4-5", 200_000, 64_000),
        ("claude-opus-9", None, 64_000),
        ("claude-opus-9", 200_000, 64_000),
        ("own-model", None, 8_192),
        ("own-model", 20_000, 20_000),
    ],
)
async def test_the_limit_is_never_above_the_models_own(sent, model, wanted, limit):
    assert (await sent(question(model=model, max_output_tokens=wanted)))["max_tokens"] == limit


async def test_system_messages_stand_apart_and_turns_alternate(sent):
    body = await sent(
        question(
            said("system", "Be brief."),
            "One.",
            "Two.",
            said("assistant", "Yes.  \n"),
            said("assistant", " ", ""),
            said("system", "Be kind."),
            said("user", "Three.", " ", "Four."),
        ),
        **PLAIN,
    )
    assert [block["text"] for block in body["system"]] == ["Be brief.", "Be kind."]
    assert [(turn["role"], texts(turn)) for turn in body["messages"]] == [
        ("user", ["One.", "Two."]),
        ("assistant", ["Yes."]),
        ("user", ["Three.", "Four."]),
    ]


async def test_a_conversation_that_was_cut_still_begins_with_the_user(sent):
    body = await sent(question(said("assistant", "Yes."), "And?"), **PLAIN)
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert "left out" in texts(body["messages"][0])[0]


async def test_images_go_along_as_base64_and_never_as_the_models_own(sent):
    image = ImagePart("image/png", b"\x89PNG")
    body = await sent(question(said("user", image, "What?"), said("assistant", image, "A."), "And?"), **PLAIN)
    picture, _ = body["messages"][0]["content"]
    assert picture == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"\x89PNG").decode()},
    }
    assert texts(body["messages"][1]) == ["A."]


CALLED = [
    "Umeå?",
    said(
        "assistant",
        "I look.",
        tool_calls=(ToolCall("call.1", "weather", '{"town": "Umeå"}'), ToolCall("2", "clock", "")),
    ),
    said("tool", "Snow.", tool_call_id="call.1"),
    said("tool", tool_call_id="2"),
]


async def test_tools_their_calls_and_their_answers(sent):
    body = await sent(question(*CALLED, "Thanks. And now?", tools=(WEATHER, CLOCK)), **PLAIN)
    assert body["tools"] == [
        {
            "name": "weather",
            "description": "Tells it.",
            "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}},
        },
        {"name": "clock", "description": "Tells the time.", "input_schema": {"type": "object"}},
    ]
    assert "tool_choice" not in body
    _, call, answer = body["messages"]
    assert call["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"town": "Umeå"}},
        {"type": "tool_use", "id": "2", "name": "clock", "input": {}},
    ]
    assert answer["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "Snow."}]},
        {"type": "tool_result", "tool_use_id": "2"},
        {"type": "text", "text": "Thanks. And now?"},
    ]


@pytest.mark.parametrize("arguments", ["{", "[1]", '"x"', "nonsense", "[" * 100_000])
async def test_arguments_that_are_no_object_are_wrapped_in_one(sent, arguments):
    call = said("assistant", tool_calls=(ToolCall("1", "weather", arguments),))
    body = await sent(question("Umeå?", call, said("tool", "?", tool_call_id="1"), tools=(WEATHER,)))
    assert body["messages"][1]["content"][0]["input"] == {"INVALID_JSON": arguments}


async def test_old_calls_have_a_definition_even_when_no_tools_are_on_offer(sent):
    body = await sent(question(*CALLED), **PLAIN)
    assert [tool["name"] for tool in body["tools"]] == ["weather", "clock"]
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("choice", "parallel", "on_the_wire"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("weather", None, {"type": "tool", "name": "weather"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("auto", True, {"type": "auto", "disable_parallel_tool_use": False}),
    ],
)
async def test_the_choice_among_tools(sent, choice, parallel, on_the_wire):
    request = question(model="claude-haiku-5-5", tools=(WEATHER, CLOCK), tool_choice=choice, parallel_tools=parallel)
    assert (await sent(request)).get("tool_choice") == on_the_wire


async def test_a_model_that_cannot_be_forced_is_told_instead(sent):
    body = await sent(question(tools=(WEATHER, CLOCK), tool_choice="clock"), **PLAIN)
    assert "tool_choice" not in body
    assert [tool["name"] for tool in body["tools"]] == ["clock"]
    assert "the tool clock" in body["system"][-1]["text"]
    body = await sent(question(tools=(WEATHER, CLOCK), tool_choice="required"), **PLAIN)
    assert [tool["name"] for tool in body["tools"]] == ["weather", "clock"]
    assert "one of your tools" in body["system"][-1]["text"]


async def test_a_schema_is_fitted_and_goes_as_the_output_format(sent):
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    body = await sent(question(response_schema=schema, reasoning_effort="low"))
    assert body["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}},
                "additionalProperties": False,
            },
        },
    }


async def test_json_without_a_schema_is_asked_for_in_words(sent):
    body = await sent(question(said("system", "Be brief."), "Hej", json_object=True))
    assert body["system"][0]["text"] == "Be brief."
    assert "one JSON object" in body["system"][-1]["text"]
    assert "format" not in body.get("output_config", {})


async def test_stop_texts_of_white_space_are_left_out(sent):
    assert (await sent(question(stop=("END", "\n\n", ""))))["stop_sequences"] == ["END"]
    assert "stop_sequences" not in await sent(question(stop=("\n",)))


@pytest.mark.parametrize(
    ("model", "config", "more", "wanted"),
    [
        ("claude-sonnet-4-6", OLDER, {"temperature": 0.3, "top_p": 0.9}, {"temperature": 0.3}),
        ("claude-sonnet-4-6", OLDER, {"temperature": 1.7}, {"temperature": 1.0}),
        ("claude-sonnet-4-6", OLDER, {"top_p": 0.9}, {"top_p": 0.9}),
        ("claude-sonnet-4-6", PLAIN, {"temperature": 0.3}, {}),
        ("claude-sonnet-4-6", OLDER, {"temperature": 0.3, "reasoning_effort": "low"}, {}),
        ("claude-haiku-4-5", OLDER, {"temperature": 0.3, "reasoning_effort": "high"}, {}),
        (MODEL, OLDER, {"temperature": 0.3}, {}),
        ("own-model", OLDER, {"temperature": 0.3}, {"temperature": 0.3}),
    ],
)
async def test_sampling_is_left_out_where_it_is_refused(sent, model, config, more, wanted):
    body = await sent(question(model=model, **more), **config)
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == wanted


async def test_options_go_in_last_but_it_always_streams(sent):
    body = await sent(question(options={"top_k": 5, "stream": False, "metadata": {"user_id": "u"}}, seed=7))
    assert (body["top_k"], body["stream"], body["metadata"]) == (5, True, {"user_id": "u"})
    assert "seed" not in body
