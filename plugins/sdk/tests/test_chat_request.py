"""What a question becomes on the wire, and what a model that cannot take something is spared."""

from __future__ import annotations

import msgspec
import pytest
from folkmoot_sdk import ImagePart, Message, TextPart, ToolCall, ToolSpec

from plugins.sdk.tests.upstream import body_of, question

LOOK = ToolSpec("look", "Looks.", {"type": "object"})


def test_turns_tools_and_pictures_go_out_in_the_dialect():
    request = question(tools=(LOOK,), stop=("END",), temperature=0.2, top_p=0.9, max_output_tokens=9, seed=7)
    picture = Message("user", (TextPart("What is this?"), TextPart(""), ImagePart("image/png", b"\x89PNG")))
    turns = (
        Message("system", (TextPart("Be brief."),)),
        picture,
        Message("assistant", tool_calls=(ToolCall("a", "look", ""),)),
        Message("tool", (TextPart("42"),), tool_call_id="a"),
    )
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    assert body_of(msgspec.structs.replace(request, messages=turns)) == {
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
        "max_tokens": 9,
        "seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_plain_question_carries_nothing_that_was_not_asked_for():
    assert set(body_of(question())) == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("look", {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_a_tool_is_chosen_by_a_word_or_by_its_name(choice, sent):
    assert body_of(question(tools=(LOOK,), tool_choice=choice)).get("tool_choice") == sent
    assert "tool_choice" not in body_of(question(tool_choice=choice)), "OpenAI refuses it without tools"


def test_several_tools_at_once_are_asked_for_only_where_that_is_known():
    request = question(tools=(LOOK,), parallel_tools=False)
    assert body_of(request)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in body_of(request, parallel_tools=False)


@pytest.mark.parametrize(
    ("asked", "known", "sent"),
    [
        ("medium", None, "medium"),
        ("medium", (), None),
        ("medium", ("low", "medium"), "medium"),
        ("none", ("minimal", "low"), "minimal"),
        ("minimal", ("none", "low"), "low"),
        ("high", ("low", "medium"), "medium"),
        ("minimal", ("low", "medium", "high", "xhigh", "max"), "low"),
        (None, ("low",), None),
    ],
)
def test_the_nearest_effort_that_the_model_knows_is_sent(asked, known, sent):
    assert body_of(question(reasoning_effort=asked), efforts=known).get("reasoning_effort") == sent


def test_tools_force_the_one_effort_at_which_the_model_takes_them():
    quirks = {"efforts": ("none", "low", "high"), "tools_effort": "none"}
    assert body_of(question(tools=(LOOK,), reasoning_effort="high"), **quirks)["reasoning_effort"] == "none"
    assert body_of(question(tools=(LOOK,)), **quirks)["reasoning_effort"] == "none"
    assert body_of(question(reasoning_effort="high"), **quirks)["reasoning_effort"] == "high"


def test_what_a_model_refuses_is_left_out():
    request = question(temperature=0.5, top_p=0.5, max_output_tokens=9, response_schema={"type": "object"})
    body = body_of(
        request, sampling=False, length_limit="max_completion_tokens", response_format=False, stream_usage=False
    )
    assert body == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "Hello?"}],
        "max_completion_tokens": 9,
        "stream": True,
    }
    picture = Message("user", (TextPart("See?"), ImagePart("image/png", b"x")))
    blind = body_of(msgspec.structs.replace(request, messages=(picture,)), images=False)
    assert blind["messages"] == [{"role": "user", "content": "See?"}]


CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (CLOSED | {"properties": {"properties": {"type": "string"}}, "required": ["properties"]}, True),
        ({"type": "object"}, False),
        (CLOSED | {"properties": {"a": {"type": "array", "items": {"type": "object"}}}}, False),
        (CLOSED | {"$defs": {"b": {"type": "object"}}}, False),
        ({"anyOf": [CLOSED, {"type": "null"}]}, True),
    ],
)
def test_a_schema_is_strict_only_where_it_can_be(schema, strict):
    body = body_of(question(response_schema=schema, response_schema_name="letter", json_object=True))
    wanted = {"name": "letter", "schema": schema, "strict": strict}
    assert body["response_format"] == {"type": "json_schema", "json_schema": wanted}


def test_any_json_object_can_be_asked_for():
    assert body_of(question(json_object=True))["response_format"] == {"type": "json_object"}


def test_options_are_passed_on_but_it_always_streams():
    body = body_of(question(options={"logit_bias": {"1": 2}, "stream": False, "temperature": 1}), stream_usage=False)
    assert body["logit_bias"] == {"1": 2}
    assert body["temperature"] == 1
    assert body["stream"] is True
    assert "stream_options" not in body_of(question(options={"stream_options": {}}), stream_usage=False)
