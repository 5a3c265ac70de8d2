"""What goes out to Ollama."""

from __future__ import annotations

import base64

import pytest
from folkmoot_provider_local.ollama_request import STATE, chat_body, kept_alive
from folkmoot_sdk import ChatRequest, ImagePart, InvalidRequest, Message, TextPart, ToolCall, ToolSpec

WEATHER = ToolSpec("weather", "The weather somewhere.", {"type": "object", "properties": {"place": {"type": "string"}}})
CLOCK = ToolSpec("clock", "The time.", {"type": "object", "properties": {}})


def ask(text="Hello?", **more):
    return ChatRequest(model="qwen3:8b", messages=(Message("user", (TextPart(text),)),), **more)


def body(request, context_length=8192, keep_alive=""):
    return chat_body(request, context_length=context_length, keep_alive=keep_alive)


def test_a_plain_question_is_never_shortened_silently():
    assert body(ask()) == {
        "model": "qwen3:8b",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": {"num_ctx": 8192},
    }


def test_parameters_have_ollamas_names():
    request = ask(temperature=0.0, top_p=0.9, max_output_tokens=50, stop=("END",), seed=0)
    assert body(request)["options"] == {
        "temperature": 0.0,
        "top_p": 0.9,
        "num_predict": 50,
        "stop": ["END"],
        "seed": 0,
        "num_ctx": 8192,
    }


def test_options_that_would_load_the_model_anew_do_not_go_through():
    options = {"top_k": 5, "presence_penalty": 0.5, "num_ctx": 10**9, "num_gpu": 0, "keep_alive": -1, "model": "other"}
    sent = body(ask(options=options))
    assert sent["options"] == {"top_k": 5, "presence_penalty": 0.5, "num_ctx": 8192}
    assert sent["model"] == "qwen3:8b"
    assert "keep_alive" not in sent


def test_with_a_context_length_of_zero_the_server_decides():
    assert body(ask(), context_length=0)["options"] == {}


@pytest.mark.parametrize(
    ("given", "sent"),
    [("", {}), ("30m", {"keep_alive": "30m"}), ("-1", {"keep_alive": -1}), (" 600 ", {"keep_alive": 600})],
)
def test_how_long_a_model_stays_is_a_duration_or_a_number(given, sent):
    assert kept_alive(given) == sent


def test_a_schema_and_any_json_are_two_formats():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert body(ask(response_schema=schema, json_object=True))["format"] == schema
    assert body(ask(json_object=True))["format"] == "json"


@pytest.mark.parametrize(
    ("model", "effort", "think"),
    [
        ("qwen3:8b", None, None),
        ("qwen3:8b", "none", False),
        ("qwen3:8b", "high", True),
        ("gpt-oss:20b", "none", "low"),
        ("gpt-oss:20b", "minimal", "low"),
        ("gpt-oss:20b", "high", "high"),
    ],
)
def test_thinking_is_a_switch_and_for_gpt_oss_a_level(model, effort, think):
    request = ChatRequest(model=model, messages=ask().messages, reasoning_effort=effort)
    assert body(request).get("think") == think


def test_images_stand_beside_the_text():
    message = Message("user", (TextPart("What is "), ImagePart("image/png", b"\x89PNG"), TextPart("this?")))
    sent = body(ChatRequest(model="llava", messages=(message,)))["messages"][0]
    assert sent["content"] == "What is this?"
    assert base64.b64decode(sent["images"][0]) == b"\x89PNG"


def test_tools_and_a_choice_among_them():
    sent = body(ask(tools=(WEATHER, CLOCK)))["tools"]
    assert [tool["function"]["name"] for tool in sent] == ["weather", "clock"]
    assert sent[0]["type"] == "function"
    assert sent[0]["function"]["parameters"] == WEATHER.parameters
    assert "tools" not in body(ask(tools=(WEATHER,), tool_choice="none"))
    assert len(body(ask(tools=(WEATHER, CLOCK), tool_choice="required"))["tools"]) == 2
    only = body(ask(tools=(WEATHER, CLOCK), tool_choice="clock"))["tools"]
    assert [tool["function"]["name"] for tool in only] == ["clock"]
    with pytest.raises(InvalidRequest, match="'moon'"):
        body(ask(tools=(WEATHER,), tool_choice="moon"))


def test_the_turns_of_a_tool_go_back_with_names_ids_and_thoughts():
    calls = (ToolCall("c1", "weather", '{"place":"Umeå"}'), ToolCall("c2", "clock", ""), ToolCall("c3", "clock", "[1"))
    turns = (
        Message("assistant", (), tool_calls=calls, provider_state={STATE: "First the weather."}),
        Message("tool", (TextPart("-4 °C"),), tool_call_id="c1"),
        Message("tool", (TextPart("?"),), tool_call_id="unknown"),
        Message("assistant", (TextPart("Cold."),), provider_state={"of another": ["provider"]}),
    )
    said, answer, lost, last = body(ChatRequest(model="m", messages=turns))["messages"]
    assert said["thinking"] == "First the weather."
    assert [call["function"]["arguments"] for call in said["tool_calls"]] == [
        {"place": "Umeå"},
        {},
        {"arguments": "[1"},
    ]
    assert said["tool_calls"][0]["id"] == "c1"
    assert answer == {"role": "tool", "content": "-4 °C", "tool_call_id": "c1", "tool_name": "weather"}
    assert lost["tool_name"] == ""
    assert last == {"role": "assistant", "content": "Cold."}
