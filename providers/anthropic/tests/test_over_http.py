"""The provider against real servers on real sockets: one that behaves, and one that does every wrong thing."""

from __future__ import annotations

import asyncio
import json

import pytest
from folkmoot_sdk import (
    BadResponse,
    ContextTooLong,
    Finish,
    ModelNotFound,
    Passage,
    ProviderError,
    ProviderState,
    RateLimited,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolSpec,
    Unavailable,
    Usage,
)

from providers.anthropic.tests.conftest import connected, question, said
from tests.support.anthropic_stub import AnthropicStub
from tests.support.hostile_upstream import WORDS, HostileUpstream

MODEL = "claude-haiku-5-5"


@pytest.fixture
async def stub():
    async with AnthropicStub(models=(MODEL, "claude-haiku-4-5")) as stub:
        yield stub


@pytest.fixture
async def hostile():
    async with HostileUpstream() as upstream:
        yield upstream


async def answer(connection, *messages, **more):
    request = question(*messages, **{"model": MODEL, **more})
    return [event async for event in connection.chat(request)]


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_models_and_an_answer(stub):
    async with connected(base_url=stub.url) as connection:
        models = await connection.models()
        assert [(m.name, m.context_window, m.title) for m in models] == [
            (MODEL, 164_000, "Claude Haiku 5 5"),
            ("claude-haiku-4-5", 200_000, "Claude Haiku 4 5"),
        ]
        events = await answer(connection, "Hej på dig")
    assert events == [*map(TextDelta, ["Hej ", "på ", "dig"]), Usage(3, 3), Finish("stop")]
    assert stub.requests[0].path == "/v1/models?limit=1000"


async def test_characters_cut_in_two_by_the_network_are_whole_again(stub):
    async with connected(base_url=stub.url) as connection:
        events = await answer(connection, "Åäö 漢字 🙂 [[think crumbs unknown]]")
    assert text_of(events) == "Åäö 漢字 🙂"
    assert isinstance(events[0], ReasoningDelta)


async def test_it_thinks_calls_a_tool_and_goes_on_with_its_thoughts(stub):
    tools = (ToolSpec("weather", "Tells it.", {}),)
    asked = "Umeå? [[think redacted tool=weather]]"
    more = {"tools": tools, "model": "claude-haiku-4-5", "reasoning_effort": "medium"}
    async with connected(base_url=stub.url) as connection:
        first = await answer(connection, asked, **more)
        state = next(event.data for event in first if isinstance(event, ProviderState))
        started = next(event for event in first if isinstance(event, ToolCallStarted))
        arguments = "".join(event.arguments for event in first if isinstance(event, ToolCallDelta))
        assert json.loads(arguments) == {"text": "Umeå?"}
        assert first[-1] == Finish("tool_calls")
        call = ToolCall(started.id, started.name, arguments)
        turn = said("assistant", tool_calls=(call,), provider_state=json.loads(json.dumps(state)))
        second = await answer(connection, asked, turn, said("tool", "Snow.", tool_call_id=call.id), **more)
    assert second[-1] == Finish("stop")
    # The stub has checked the signature.
    assert [block["type"] for block in stub.requests[1].body["messages"][1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "tool_use",
    ]


async def test_the_second_question_reads_what_the_first_wrote_to_the_cache(stub):
    system = said("system", "word " * 50)
    async with connected(base_url=stub.url) as connection:
        first = await answer(connection, system, "one")
        second = await answer(connection, system, "one", said("assistant", "two three"), "four")
    assert first[-2] == Usage(51, 1, cached_input_tokens=0, cache_write_tokens=50)
    assert second[-2] == Usage(54, 1, cached_input_tokens=50, cache_write_tokens=3)


async def test_what_claude_cites_is_marked(stub):
    passages = (Passage(2, "Trains go first. Then buses.", "Policy"), Passage(5, "Else.", "Other"))
    async with connected(base_url=stub.url, native_citations=True) as connection:
        assert all(model.passages for model in await connection.models())
        events = await answer(connection, "How? [[cite]]", passages=passages, grounded=True)
    assert text_of(events) == "It says: Trains go first. [2] That is all."


async def test_an_answer_follows_its_schema(stub):
    schema = {"type": "object", "properties": {"town": {"type": "string", "maxLength": 9}}}
    async with connected(base_url=stub.url) as connection:
        events = await answer(connection, "Umeå", response_schema=schema)
    assert json.loads(text_of(events)) == {"town": "Umeå"}


async def test_one_connection_serves_answer_after_answer(stub):
    async with connected(base_url=stub.url) as connection:
        for _ in range(5):
            await answer(connection, "[[tokens=50]]")
    assert stub.connections == 1


async def test_leaving_early_ends_the_request_at_the_server(stub):
    async with connected(base_url=stub.url) as connection:
        events = connection.chat(question("[[tokens=1000 delay=0.01]]", model=MODEL))
        assert isinstance(await anext(events), TextDelta)
        await events.aclose()
        for _ in range(200):
            if stub.disconnects:
                break
            await asyncio.sleep(0.01)
    assert (stub.disconnects, stub.streaming) == (1, 0)


async def test_many_answers_at_once_stay_apart(stub):
    async with connected(base_url=stub.url) as connection:
        answers = await asyncio.gather(*(answer(connection, f"number {n} " * 20) for n in range(40)))
    for n, events in enumerate(answers):
        assert text_of(events) == (f"number {n} " * 20).strip()


@pytest.mark.parametrize(
    ("directive", "kind"),
    [
        ("[[status=429 retry_after=1]]", RateLimited),
        ("[[status=529]]", Unavailable),
        ("[[status=404 message=model:_x]]", ModelNotFound),
        ("[[status=413]]", ContextTooLong),
        ("a b c d e f g [[cut=5]]", (BadResponse, Unavailable)),
        ("a b c [[fail=2]]", Unavailable),
        ("a b c [[fail=1 type=rate_limit_error]]", RateLimited),
        ("[[html]]", BadResponse),
        ("[[error-in-200]]", Unavailable),
        ("a b [[no-stop]]", BadResponse),
        ("a b [[stall=30]]", Unavailable),
        ("[[wait=30]]", Unavailable),
        ("[[long-line=100]]", BadResponse),
    ],
)
async def test_every_trouble_is_one_error_and_the_next_answer_is_whole(stub, directive, kind):
    async with connected(base_url=stub.url, silence_limit=1) as connection:
        with pytest.raises(ProviderError) as raised:
            await answer(connection, directive)
        assert isinstance(raised.value, kind)
        assert (await answer(connection, "still here"))[-1] == Finish("stop")


async def test_missing_counts_and_an_answer_in_one_piece_do_no_harm(stub):
    async with connected(base_url=stub.url) as connection:
        assert await answer(connection, "Hej [[no-usage]]") == [TextDelta("Hej"), Finish("stop")]
        assert await answer(connection, "Hej du [[whole]]") == [TextDelta("Hej du"), Usage(3, 2), Finish("stop")]


async def test_nobody_at_the_address_is_unavailable(stub):
    async with AnthropicStub() as gone:
        url = gone.url
    async with connected(base_url=url) as connection:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1") as raised:
            await connection.models()
    assert raised.value.field == "base_url"


@pytest.mark.parametrize(
    "oddity", ["split-utf8", "unknown-events", "no-usage", "usage-twice", "usage-nonsense", "short"]
)
async def test_a_hostile_service_that_still_answers_is_understood(hostile, oddity):
    async with connected(base_url=hostile.at(oddity)) as connection:
        events = await answer(connection, "Hej")
    assert text_of(events) == "".join(WORDS)
    assert events[-1] == Finish("stop")


@pytest.mark.parametrize(
    "failure",
    [
        *(f"cut={where}" for where in ("before", "head", "body", "chunk")),
        "cut-utf8",
        "status=500",
        "html",
        "empty",
        "error-in-200",
        "error-midway",
        "bad-chunk",
        "long-line=100000000",
        "no-end",
    ],
)
async def test_a_hostile_service_is_one_error(hostile, failure):
    async with connected(base_url=hostile.at(failure), silence_limit=5) as connection:
        with pytest.raises((BadResponse, Unavailable)):
            await answer(connection, "Hej")
    assert len(hostile.requests) == 1
