"""What a client sends becomes what a provider is asked, or is refused in words."""

import base64

import msgspec
import pytest
from folkmoot_sdk import ImagePart, ModelInfo, TextPart, ToolCall, ToolSpec

from folkmoot.gateway.errors import Refused
from folkmoot.gateway.read import read
from folkmoot.gateway.schemas import ChatCompletionRequest

PNG = b"\x89PNG\r\n\x1a\n"
PICTURE = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PLAIN = ModelInfo("m", "chat")
SAME_DIALECT = ModelInfo("m", "chat", dialect="chat-completions")
TOOL = {"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": {"type": "object"}}}


def sent(*messages, **fields) -> ChatCompletionRequest:
    messages = messages or ({"role": "user", "content": "Hello."},)
    return msgspec.convert({"model": "m", "messages": list(messages), **fields}, ChatCompletionRequest)


def request(*messages, info=PLAIN, **fields):
    return read(sent(*messages, **fields)).for_model(info)


def refused(*messages, **fields) -> tuple[str, str]:
    """(the field, the sentence) of the refusal."""
    with pytest.raises(Refused) as found:
        read(sent(*messages, **fields))
    ((param, detail),) = found.value.errors
    return param, detail


def test_every_role_finds_its_place():
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
    asked = request(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "There."},
        {"role": "assistant", "content": None, "refusal": "No."},
    )
    assert [message.role for message in asked.messages] == [
        "system",
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert [message.text for message in asked.messages] == ["Be brief.", "Be kind.", "Where?", "", "There.", "No."]
    assert asked.messages[3].tool_calls == (ToolCall("c1", "find", '{"a":1}'),)
    assert asked.messages[4].tool_call_id == "c1"


def test_parameters_are_passed_on():
    asked = request(
        temperature=0.5, top_p=0.9, max_tokens=7, stop=["a", ""], seed=3, reasoning_effort="low",
        tools=[TOOL], tool_choice="required", parallel_tool_calls=False, user="someone", unheard_of={"a": 1},
    )  # fmt: skip
    assert (asked.temperature, asked.top_p, asked.max_output_tokens, asked.stop) == (0.5, 0.9, 7, ("a",))
    assert (asked.seed, asked.reasoning_effort) == (3, "low")
    assert asked.tools == (ToolSpec("find", "Finds.", {"type": "object"}),)
    assert (asked.tool_choice, asked.parallel_tools, asked.options) == ("required", False, {})


def test_the_newer_name_of_a_limit_counts():
    assert request(max_tokens=7, max_completion_tokens=9).max_output_tokens == 9
    assert request(stop="end").stop == ("end",)


@pytest.mark.parametrize("effort", ["xhigh", "max"])
def test_more_effort_than_a_model_can_be_told_is_all_that_it_can(effort):
    assert request(reasoning_effort=effort).reasoning_effort == "high"


def test_only_a_model_of_the_same_dialect_gets_its_own_parameters():
    given = {"frequency_penalty": 0.1, "logit_bias": {"50256": -100}, "service_tier": "flex", "verbosity": "low"}
    assert request(info=SAME_DIALECT, **given, presence_penalty=None, top_k=3).options == given
    assert request(info=PLAIN, **given).options == {}


def test_forms_of_an_answer():
    schema = {"type": "object", "properties": {"metres": {"type": "number"}}}
    form = {"type": "json_schema", "json_schema": {"name": "fence", "strict": True, "schema": schema}}
    asked = request(response_format=form)
    assert (asked.response_schema, asked.response_schema_name, asked.json_object) == (schema, "fence", False)
    assert request(response_format={"type": "json_object"}).json_object
    plain = request(response_format={"type": "text"})
    assert (plain.response_schema, plain.json_object) == (None, False)


def test_pictures_come_along():
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    understood = read(sent({"role": "user", "content": parts}))
    assert understood.for_model(PLAIN).messages[0].content == (TextPart("What is it?"), ImagePart("image/png", PNG))
    assert understood.images


def test_who_stands_in_must_be_known_to_be_able():
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    for able, asked in (
        ({"vision": True}, read(sent(picture))),
        ({"tools": True}, read(sent(tools=[TOOL]))),
        ({"json_schema": True}, read(sent(response_format=form))),
    ):
        assert asked.suits(ModelInfo("m", "chat", **able))
        assert not asked.suits(PLAIN)
    assert read(sent()).suits(PLAIN)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("https://example.org/a.png", "no address is fetched"),
        ("http://169.254.169.254/", "no address is fetched"),
        ("file:///etc/passwd", "no address is fetched"),
        ("data:image/png;base64", "no address is fetched"),
        ("data:image/svg+xml;base64,PHN2Zz4=", "PNG, JPEG, WebP or GIF"),
        ("data:image/png,abc", "in base64"),
        ("data:image/png;base64,!!!", "no base64"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,iVBOR\n", "no base64"),
    ],
)
def test_a_picture_that_is_none_is_refused(url, word):
    param, detail = refused({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]})
    assert param == "messages[0].content[0].image_url.url"
    assert word in detail


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": []}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "lose"}}},
            "tool_choice.function.name",
        ),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_field(fields, param):
    assert refused(**fields)[0] == param


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "assistant", "content": None}, "messages[0].content"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "a"}}, "messages[0].function_call"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0]"),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]},
            "messages[0].content[0]",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "function": {"name": "a"}}]},
            "messages[0].tool_calls[0].type",
        ),
    ],
)
def test_a_message_that_makes_no_sense_is_refused_with_its_place(message, param):
    assert refused(message)[0] == param


def test_what_changes_nothing_is_let_be():
    assert request(n=1, logprobs=False, modalities=["text"], tool_choice="none").tool_choice is None
    assert request({"role": "assistant", "content": ""}).messages[0].content == ()
