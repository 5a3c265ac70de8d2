"""From Ollama's lines to events."""

from __future__ import annotations

import pytest
from folkmoot_provider_local.ollama_events import AnswerReader, count
from folkmoot_provider_local.ollama_request import STATE
from folkmoot_provider_local.ollama_wire import line_decoder
from folkmoot_sdk import (
    BadResponse,
    Finish,
    ProviderState,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)


def read(*lines):
    reader = AnswerReader()
    events = [event for line in lines for event in reader.read(line_decoder.decode(line.encode()))]
    return events + reader.end()


DONE = '{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}'


def test_text_thoughts_and_counts():
    events = read('{"message":{"thinking":"Hm."},"done":false}', '{"message":{"content":"Hej"},"done":false}', DONE)
    assert events == [ReasoningDelta("Hm."), TextDelta("Hej"), Usage(7, 3), Finish("stop")]


def test_nulls_unknown_fields_and_empty_deltas_do_no_harm():
    events = read(
        '{"message":{"content":null,"thinking":"","tool_calls":null,"mood":[1]},"done":null,"logprobs":{}}',
        '{"message":null}',
        "{}",
        '{"message":{"content":"x"},"done":true,"done_reason":null,"eval_count":null}',
    )
    assert events == [TextDelta("x"), Finish("stop")]


def test_the_last_counts_hold_and_their_absence_is_no_zero():
    assert read(DONE, DONE.replace("7", "9"))[-2] == Usage(9, 3)
    assert read('{"done":true}') == [Finish("stop")]
    # A prompt that is wholly in the cache is not counted anew.
    assert read('{"done":true,"eval_count":4}')[0] == Usage(0, 4)


def test_why_it_ended():
    assert read('{"done":true,"done_reason":"length"}') == [Finish("length")]
    assert read('{"done":true,"done_reason":"load"}') == [Finish("stop")]


def test_a_tool_call_comes_whole_and_gets_an_id_if_it_has_none():
    call = '{"message":{"tool_calls":[%s]},"done":false}'
    events = read(
        '{"message":{"thinking":"Look it up."},"done":false}',
        call % '{"id":"call_a","function":{"name":"weather","arguments":{"place":"Umeå","days":2}}}',
        call
        % '{"function":{"index":0,"name":"clock","arguments":null}},{"function":{"name":"clock","arguments":"{}"}}',
        call % '{"id":"call_a","function":{"name":"clock"}}',
        DONE,
    )
    started = [event for event in events if isinstance(event, ToolCallStarted)]
    assert [(one.index, one.name) for one in started] == [(0, "weather"), (1, "clock"), (2, "clock"), (3, "clock")]
    assert started[0].id == "call_a"
    assert len({one.id for one in started}) == 4
    assert [e.arguments for e in events if isinstance(e, ToolCallDelta)] == [
        '{"place":"Umeå","days":2}',
        "{}",
        "{}",
        "{}",
    ]
    assert ProviderState({STATE: "Look it up."}) in events
    assert events[-1] == Finish("tool_calls")


def test_a_tool_without_a_name_is_a_bad_response():
    with pytest.raises(BadResponse, match="without naming it"):
        read('{"message":{"tool_calls":[{"function":{"name":""}}]}}')


def test_an_answer_that_never_says_it_is_done_is_cut_off():
    with pytest.raises(BadResponse, match="cut off"):
        read('{"message":{"content":"Half an ans"},"done":false}')


@pytest.mark.parametrize(("value", "tokens"), [(3, 3), (3.0, 3), (-1, 0), ("3", 0), (None, 0), (True, 0), (10**30, 0)])
def test_counts_are_plausible_or_nothing(value, tokens):
    assert count(value) == tokens
