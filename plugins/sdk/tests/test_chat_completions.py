"""Answers from OpenAI and from the many services that are nearly OpenAI."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import (
    BadResponse,
    ContentRefused,
    Finish,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Unavailable,
    Usage,
)
from folkmoot_sdk.chat_completions import stream_chat
from folkmoot_sdk.http import Asked

from plugins.sdk.tests.upstream import ask, delta, service, sse

STOP = delta("stop")


def call(index=None, call_id=None, name=None, arguments=None):
    part = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in part.items() if value is not None}


async def test_words_come_as_they_are_and_usage_before_the_finish():
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
    assert await ask(body) == [TextDelta("Hej där"), Usage(10, 7, 4, 3), Finish("stop")], "what came together is one"


async def test_words_that_come_one_by_one_go_on_one_by_one():
    pieces = [sse(delta(content=word), end="").encode() for word in ("Hej ", "där")]
    assert await ask([*pieces, sse(STOP).encode()]) == [TextDelta("Hej "), TextDelta("där"), Finish("stop")]


async def test_words_before_an_error_in_the_same_piece_are_said():
    said = []
    with pytest.raises(ProviderError):
        await ask(sse(delta(content="Hej "), delta(content="där"), {"error": {"message": "broken"}}), into=said)
    assert said == [TextDelta("Hej där")]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "x"}, {"a": 1e400}])
async def test_an_answer_without_usable_counts_is_whole(usage):
    assert await ask(sse(delta(content="a"), STOP, {"choices": [], "usage": usage})) == [
        TextDelta("a"),
        Finish("stop"),
    ]


async def test_a_missing_done_is_forgiven_once_the_reason_came():
    assert (await ask(sse(delta(content="a"), STOP, end="")))[-1] == Finish("stop")
    assert (await ask(sse(delta(content="a"), STOP, end='data: {"choices": [], "usa')))[-1] == Finish("stop")


async def test_a_missing_reason_is_an_answer_cut_off():
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
async def test_every_reason_has_its_word(said, meant):
    assert await ask(sse(delta(content="a"), delta(said))) == [TextDelta("a"), Finish(meant)]


async def test_reasoning_is_not_part_of_the_answer():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "c"}]}, {"type": "text", "text": "d"}]
    body = sse(delta(reasoning_content="a"), delta(reasoning="b"), delta(content=parts), STOP)
    assert await ask(body) == [
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        ReasoningDelta("c"),
        TextDelta("d"),
        Finish("stop"),
    ]


async def test_a_refusal_is_text_for_the_reader():
    assert await ask(sse(delta(refusal="I can not."), STOP)) == [TextDelta("I can not."), Finish("content_filter")]


async def test_tool_calls_come_in_pieces_side_by_side():
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
async def test_whole_tool_calls_are_told_apart(parts):
    separate = await ask(sse(*(delta(tool_calls=[part]) for part in parts), STOP))
    together = await ask(sse(delta(tool_calls=parts), STOP))
    assert separate == together
    assert [(e.index, e.id, e.name) for e in together if isinstance(e, ToolCallStarted)] == [
        (0, "a", "look"),
        (1, "b", "count"),
    ]
    assert together[-1] == Finish("tool_calls")


async def test_a_call_without_an_id_gets_one_and_without_a_name_is_refused():
    assert ToolCallStarted(0, "call_0", "look") in await ask(sse(delta(tool_calls=[call(0, None, "look")]), STOP))
    with pytest.raises(BadResponse, match="without naming it"):
        await ask(sse(delta(tool_calls=[call(0, "a", None, "{}")]), STOP))


async def test_a_service_that_ignores_stream_is_understood():
    whole = {
        "choices": [{"message": {"role": "assistant", "content": "All at once."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3},
    }
    assert await ask(json.dumps(whole, indent=1)) == [TextDelta("All at once."), Usage(1, 3), Finish("stop")]


async def test_only_the_first_of_several_choices_counts():
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    assert await ask(sse(delta(content="yes"), other, STOP)) == [TextDelta("yes"), Finish("stop")]


async def test_an_error_in_the_middle_keeps_its_meaning():
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
async def test_nonsense_under_a_200_is_a_bad_response(body):
    with pytest.raises(BadResponse):
        await ask(body)


async def test_half_a_character_at_the_edge_of_a_chunk_is_a_whole_one():
    body = sse(delta(content="Räksmörgås 🦐"), STOP).replace("\\u00e4", "ä").encode()
    raw = sse('{"choices":[{"delta":{"content":"Räksmörgås 🦐"}}]}', STOP).encode()
    for whole in (body, raw):
        for cut in range(1, len(whole)):
            events = await ask([whole[:cut], whole[cut:]])
            assert events == [TextDelta("Räksmörgås 🦐"), Finish("stop")]


async def test_usage_told_twice_counts_once_the_last_time():
    told = [{"choices": [], "usage": {"prompt_tokens": n, "completion_tokens": n}} for n in (3, 8)]
    assert await ask(sse(delta(content="a"), told[0], STOP, told[1])) == [TextDelta("a"), Usage(8, 8), Finish("stop")]
    empty = {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    assert (await ask(sse(delta(content="a"), told[0], STOP, empty)))[1] == Usage(3, 3)


@pytest.mark.parametrize(
    ("details", "usage"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}}, Usage(10, 2, 4, 0, 5)),
        ({"prompt_tokens_details": {"cache_creation_tokens": 10}}, Usage(10, 2, 0, 0, 10)),
        ({"prompt_cache_hit_tokens": 6}, Usage(10, 2, 6)),
        ({"prompt_tokens_details": {"cached_tokens": 99}}, Usage(10, 2, 10)),
        ({"prompt_tokens_details": "x", "completion_tokens_details": [1]}, Usage(10, 2)),
    ],
)
async def test_tokens_from_and_to_the_cache_are_among_the_input(details, usage):
    told = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2} | details}
    assert await ask(sse(delta(content="a"), STOP, told)) == [TextDelta("a"), usage, Finish("stop")]


@pytest.mark.parametrize(
    "unknown",
    [
        {"type": "ping"},
        {"type": "response.progress", "message": "warming up"},
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"choices": [{"index": 0, "content_filter_offsets": {"check_offset": 1}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": None, "audio": {}, "reasoning": {"a": 1}}}]},
        {},
    ],
)
async def test_events_nobody_knows_are_passed_over(unknown):
    body = sse(unknown, delta(content="a"), unknown, STOP, unknown)
    assert await ask("event: mystery\n" + body) == [TextDelta("a"), Finish("stop")]


async def test_an_error_in_place_of_the_first_event_keeps_its_meaning():
    for error, kind in (
        ({"message": "no", "code": "content_filter"}, ContentRefused),
        ({"message": "no", "code": "insufficient_quota"}, QuotaExhausted),
        ({"message": "no", "type": "overloaded_error"}, Unavailable),
    ):
        for body in (json.dumps({"error": error}), sse({"error": error})):
            with pytest.raises(ProviderError) as raised:
                await ask(body)
            assert type(raised.value) is kind


async def test_a_flood_without_a_line_end_is_stopped():
    sent = 0

    async def flood():
        nonlocal sent
        for _ in range(1600):
            sent += 1
            yield b"x" * 65536

    for head in (b"data: ", b"{"):
        sent = 0

        def handler(_, head=head):
            async def body():
                yield head
                async for piece in flood():
                    yield piece

            return httpx.Response(200, content=body())

        async with service(handler) as reached:
            with pytest.raises(BadResponse, match="in one event"):
                _ = [event async for event in stream_chat(reached, {}, Asked("m"))]
        assert sent < 170, "of 100 MB, ten were enough to stop"
