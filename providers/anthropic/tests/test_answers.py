"""Answers as Anthropic streams them, and as gateways nearly do."""

from __future__ import annotations

import json

import pytest
from folkmoot_sdk import (
    BadResponse,
    Finish,
    ProviderState,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    ToolSpec,
    Unavailable,
    Usage,
)

from providers.anthropic.tests.conftest import ENDED, MODEL, STOPPED, block, question, sse, text

START = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}


def ended(reason, usage=None, **details):
    return {"type": "message_delta", "delta": {"stop_reason": reason, **details}, "usage": usage}


def call(index, call_id, name, *pieces):
    begin = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return block(index, begin, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


THOUGHT = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Let me "},
    {"type": "thinking_delta", "thinking": "see."},
    {"type": "signature_delta", "signature": "c2ln"},
)


async def test_words_come_as_they_are_and_usage_before_the_finish(ask):
    body = sse(START, {"type": "ping"}, *text(0, "Hej ", "", "där"), ENDED, STOPPED)
    assert await ask(body) == [TextDelta("Hej "), TextDelta("där"), Usage(10, 2), Finish("stop")]


async def test_all_that_was_read_counts_as_input(ask):
    first = {"input_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 1}
    last = {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 12}}
    body = sse({"type": "message_start", "message": {"usage": first}}, *text(0, "a"), ended("end_turn", last), STOPPED)
    usage = next(event for event in await ask(body) if isinstance(event, Usage))
    assert usage == Usage(127, 30, cached_input_tokens=100, reasoning_tokens=12, cache_write_tokens=20)


async def test_later_counts_are_totals_that_replace_the_earlier_ones(ask):
    first = {"input_tokens": 7, "output_tokens": 1}
    middle = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}
    last = {"input_tokens": 8, "output_tokens": 20, "cache_read_input_tokens": None}
    start = {"type": "message_start", "message": {"usage": first}}
    events = await ask(sse(start, *text(0, "a"), middle, ended("end_turn", last), STOPPED))
    assert Usage(8, 20) in events


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"output_tokens": None}, {"output_tokens": "x"}, 5, {"output_tokens": 1.5}, {"output_tokens": True}],
)
async def test_an_answer_without_usable_counts_is_whole(ask, usage):
    start = {"type": "message_start", "message": {"usage": usage}}
    assert await ask(sse(start, *text(0, "a"), ended("end_turn", usage), STOPPED)) == [TextDelta("a"), Finish("stop")]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
        ("tool_use", "stop"),
        ("aurora", "stop"),
    ],
)
async def test_every_stop_reason_has_its_meaning(ask, said, meant):
    assert (await ask(sse(*text(0, "a"), ended(said), STOPPED)))[-1] == Finish(meant)


async def test_a_refusal_without_words_is_explained_in_the_services_words(ask):
    details = {"stop_details": {"type": "refusal", "category": "bio", "explanation": "Not this."}}
    assert await ask(sse(START, ended("refusal", **details), STOPPED)) == [
        TextDelta("Not this."),
        Usage(10, 1),
        Finish("content_filter"),
    ]
    assert (await ask(sse(*text(0, "I will not."), ended("refusal", **details), STOPPED)))[0] == TextDelta(
        "I will not."
    )


async def test_tools_are_asked_for_in_order_and_their_arguments_come_in_pieces(ask):
    body = sse(
        *text(0, "I look."),
        *call(1, "toolu_1", "weather", "", '{"to', 'wn": "Å"}'),
        *call(2, "toolu_2", "time"),
        ended("tool_use"),
        STOPPED,
    )
    assert await ask(body) == [
        TextDelta("I look."),
        ToolCallStarted(0, "toolu_1", "weather"),
        ToolCallDelta(0, '{"to'),
        ToolCallDelta(0, 'wn": "Å"}'),
        ToolCallStarted(1, "toolu_2", "time"),
        ToolCallDelta(1, "{}"),
        Finish("tool_calls"),
    ]


async def test_a_call_that_comes_all_at_once_is_understood(ask):
    begin = {"type": "tool_use", "id": "t", "name": "weather", "input": {"town": "Umeå"}}
    events = await ask(sse(*block(0, begin), ended("end_turn"), STOPPED))
    assert events == [ToolCallStarted(0, "t", "weather"), ToolCallDelta(0, '{"town":"Umeå"}'), Finish("tool_calls")]


async def test_tools_that_the_service_runs_itself_are_not_ours(ask):
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    body = sse(
        *block(0, search, {"type": "input_json_delta", "partial_json": '{"q": 1}'}),
        *block(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        *text(2, "Found."),
        ENDED,
        STOPPED,
    )
    assert await ask(body) == [TextDelta("Found."), Usage(0, 2), Finish("stop")]


async def test_thoughts_are_told_and_kept_only_while_tools_run(ask):
    tools = (ToolSpec("weather", "", {}),)
    body = sse(*THOUGHT, *call(1, "toolu_1", "weather", "{}"), ended("tool_use"), STOPPED)
    events = await ask(body, question(tools=tools))
    assert events[:2] == [ReasoningDelta("Let me "), ReasoningDelta("see.")]
    state = next(event for event in events if isinstance(event, ProviderState))
    assert json.loads(json.dumps(state.data)) == {
        "anthropic": 1,
        "model": MODEL,
        "content": [
            {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        ],
    }
    answered = await ask(sse(*THOUGHT, *text(1, "Snow."), ENDED, STOPPED))
    assert not any(isinstance(event, ProviderState) for event in answered)


async def test_thoughts_that_may_not_be_read_are_kept_as_they_came(ask):
    hidden = block(0, {"type": "redacted_thinking", "data": "ZGF0YQ=="})
    silent = block(1, {"type": "thinking", "thinking": ""}, {"type": "signature_delta", "signature": "c2ln"})
    body = sse(*hidden, *silent, *call(2, "t", "weather", "{}"), ended("tool_use"), STOPPED)
    events = await ask(body)
    assert not any(isinstance(event, ReasoningDelta) for event in events)
    state = next(event for event in events if isinstance(event, ProviderState))
    assert state.data["content"][:2] == [
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
    ]


async def test_kinds_that_nobody_knew_break_nothing(ask):
    body = sse(
        START,
        {"type": "aurora", "colour": "green"},
        {"type": "aurora", "delta": "green", "index": "last"},
        {"type": ["aurora"], "delta": 5},
        *block(0, {"type": "aurora", "text": [1]}, {"type": "aurora_delta", "text": {}}),
        *text(1, "a"),
        {"type": "content_block_delta", "index": 1, "delta": {"type": "aurora_delta"}},
        ": a comment\n\n",
        "event: nothing\n\n",
        ENDED,
        STOPPED,
    )
    assert await ask(body) == [TextDelta("a"), Usage(10, 2), Finish("stop")]


async def test_an_answer_is_whole_once_its_reason_came(ask):
    assert (await ask(sse(*text(0, "a"), ENDED)))[-1] == Finish("stop")
    assert (await ask(sse(*text(0, "a"), ENDED, 'data: {"type": "mess')))[-1] == Finish("stop")


async def test_without_a_reason_it_is_cut_off(ask):
    with pytest.raises(BadResponse, match="cut off"):
        await ask(sse(START, *text(0, "a")))
    with pytest.raises(BadResponse):
        await ask(sse(START, *text(0, "a"), 'data: {"type": "mess'))
    with pytest.raises(BadResponse, match="cut off"):
        await ask("")


async def test_a_service_that_answers_whole_is_understood(ask):
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "Hej."},
        {"type": "tool_use", "id": "t", "name": "weather", "input": {"n": 1}},
    ]
    message = {"type": "message", "content": content, "stop_reason": "tool_use"}
    body = json.dumps({**message, "usage": {"input_tokens": 3, "output_tokens": 4}})
    events = await ask(body)
    assert [event for event in events if not isinstance(event, ProviderState)] == [
        ReasoningDelta("Hm."),
        TextDelta("Hej."),
        ToolCallStarted(0, "t", "weather"),
        ToolCallDelta(0, '{"n":1}'),
        Usage(3, 4),
        Finish("tool_calls"),
    ]


async def test_a_delta_whose_block_never_began_is_still_read(ask):
    lone = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hej"}},
    ]
    assert (await ask(sse(*lone, ENDED)))[:2] == [ReasoningDelta("Hm."), TextDelta("Hej")]


@pytest.mark.parametrize(
    "body",
    [
        "data: {}x\n\n",
        "data: hello\n\n",
        'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 5}}\n\n',
    ],
)
async def test_events_that_are_none_are_a_bad_response(ask, body):
    with pytest.raises(BadResponse):
        await ask(body)


async def test_a_tool_without_a_name_is_a_bad_response(ask):
    with pytest.raises(BadResponse, match="without naming"):
        await ask(sse(*block(0, {"type": "tool_use", "id": "t"}), ended("tool_use")))


async def test_words_before_an_error_come_and_then_the_error_is_raised(ask):
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(Unavailable, match="Overloaded"):
        await ask(sse(START, *text(0, "Hej "), failed))
