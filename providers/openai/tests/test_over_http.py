"""The provider against a real server on a real socket."""

from __future__ import annotations

import asyncio

import pytest
from folkmoot_sdk import (
    BadResponse,
    EmbedRequest,
    Finish,
    ModelNotFound,
    ProviderError,
    RateLimited,
    TextDelta,
    Unavailable,
    Usage,
)

from providers.openai.tests.conftest import connected, question
from tests.support.openai_stub import OpenAIStub


@pytest.fixture
async def stub():
    async with OpenAIStub() as stub:
        yield stub


async def answer(connection, text):
    return [event async for event in connection.chat(question(text, model="stub-chat"))]


async def test_models_chat_and_vectors(stub):
    async with connected(base_url=stub.url) as connection:
        assert [(m.name, m.kind) for m in await connection.models()] == [
            ("stub-chat", "chat"),
            ("stub-embed", "embedding"),
        ]
        events = await answer(connection, "Hej på dig")
        *said, counted, finish = events
        assert all(isinstance(event, TextDelta) for event in said)
        assert "".join(event.text for event in said) == "Hej på dig"
        assert [counted, finish] == [Usage(3, 3), Finish("stop")]
        got = await connection.embed(EmbedRequest("stub-embed", ("one", "two")))
        assert [len(vector) for vector in got.vectors] == [64, 64]
    assert stub.requests[1].headers["authorization"] == "Bearer sk-made-up-key-000000"


async def test_one_connection_serves_answer_after_answer(stub):
    async with connected(base_url=stub.url) as connection:
        for _ in range(5):
            await answer(connection, "[[tokens=50]]")
    assert stub.connections == 1


async def test_leaving_early_ends_the_request_at_the_server(stub):
    async with connected(base_url=stub.url) as connection:
        events = connection.chat(question("[[tokens=1000 delay=0.01]]", model="stub-chat"))
        assert isinstance(await anext(events), TextDelta)
        await events.aclose()
        for _ in range(100):
            if stub.disconnects:
                break
            await asyncio.sleep(0.01)
    assert (stub.disconnects, stub.streaming) == (1, 0)


async def test_many_answers_at_once_stay_apart(stub):
    async with connected(base_url=stub.url) as connection:
        answers = await asyncio.gather(*(answer(connection, f"number {n} " * 20) for n in range(40)))
    for n, events in enumerate(answers):
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == (f"number {n} " * 20).strip()


@pytest.mark.parametrize(
    ("directive", "kind"),
    [
        ("[[status=429 retry_after=1]]", RateLimited),
        ("[[status=503]]", Unavailable),
        ("[[status=404 code=model_not_found]]", ModelNotFound),
        ("a b c d e f g [[cut=5]]", (BadResponse, Unavailable)),
        ("[[html]]", BadResponse),
        ("[[error-in-200]]", BadResponse),
        ("a b [[stall=30]]", Unavailable),
    ],
)
async def test_every_trouble_is_one_error(stub, directive, kind):
    async with connected(base_url=stub.url, silence_limit=1) as connection:
        with pytest.raises(ProviderError) as raised:
            await answer(connection, directive)
        assert isinstance(raised.value, kind)
        assert (await answer(connection, "still here"))[-1] == Finish("stop")


async def test_nobody_at_the_address_is_unavailable(stub):
    async with OpenAIStub() as gone:
        url = gone.url
    async with connected(base_url=url) as connection:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
            await connection.models()


async def test_missing_counts_and_a_missing_end_mark_do_no_harm(stub):
    async with connected(base_url=stub.url) as connection:
        assert await answer(connection, "Hej [[no-usage no-done]]") == [TextDelta("Hej"), Finish("stop")]
