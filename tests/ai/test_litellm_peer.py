"""Our providers and the litellm proxy, which speaks both dialects and was written by somebody else.

The provider of OpenAI's dialect and that of Anthropic's talk to one proxy over the client that the host lends. What the
proxy says itself is mocked in its configuration; what it passes on goes to our stub.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from contextlib import asynccontextmanager

import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ChatRequest,
    ContextTooLong,
    EmbedRequest,
    Finish,
    Message,
    ModelNotFound,
    PluginContext,
    RateLimited,
    TextDelta,
    TextPart,
    Unavailable,
    Usage,
    decode_config,
)
from folkmoot_sdk.testing.harness import FixedClock

from folkmoot.kit.net import NetPolicy, outbound_client
from tests.support.litellm_proxy import mocked, passed_on, running, translated
from tests.support.openai_stub import OpenAIStub

pytestmark = pytest.mark.slow
SAID = "Nämnden möts i Åre på tisdag. Ärendet är öppet för alla."
DIALECTS = {"openai": "/v1", "anthropic": ""}
"""Which plugin, and what its address ends in."""
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="module")
async def stub():
    async with OpenAIStub() as stub:
        yield stub


@pytest.fixture(scope="module")
def proxy(stub, tmp_path_factory):
    models = [
        mocked("mock-chat", SAID),
        translated("mock-translated", "mock-chat"),
        mocked("mock-limited", "litellm.RateLimitError"),
        mocked("mock-too-long", "litellm.ContextWindowExceededError"),
        mocked("mock-broken", "litellm.InternalServerError"),
        mocked("mock-embed", [0.5, 0.25, -1.0]),
        passed_on("stub-chat", stub.url),
        passed_on("stub-embed", stub.url),
    ]
    with running(models, tmp_path_factory.mktemp("litellm")) as proxy:
        yield proxy


@pytest.fixture
def connected(proxy):
    @asynccontextmanager
    async def connected(dialect, key=proxy.key):
        (spec,) = importlib.import_module(f"folkmoot_provider_{dialect}").register_ai_providers()
        config = decode_config(spec.config, {"api_key": key, "base_url": proxy.url + DIALECTS[dialect]})
        async with outbound_client(NetPolicy(("127.0.0.1",))) as http:
            context = PluginContext(http=http, log=logging.getLogger("test"), clock=FixedClock())
            async with spec.connect(config, context) as connection:
                yield connection

    return connected


def question(model, text="When does the board meet?"):
    return ChatRequest(model=model, messages=(Message(role="user", content=(TextPart(text),)),))


async def answer(connection, model, text="When does the board meet?"):
    return [event async for event in connection.chat(question(model, text))]


@each_dialect
async def test_its_models_are_listed(connected, dialect):
    async with connected(dialect) as connection:
        names = {model.name for model in await connection.models()}
    assert {"mock-chat", "mock-translated", "stub-chat"} <= names


@each_dialect
async def test_an_answer_comes_in_pieces_with_its_usage(connected, dialect, chunk_by_chunk):
    async with connected(dialect) as connection:
        events = await answer(connection, "mock-translated" if dialect == "anthropic" else "mock-chat")
    *texts, usage, finish = events
    assert len(texts) > 5
    assert "".join(event.text for event in texts if isinstance(event, TextDelta)) == SAID
    assert isinstance(usage, Usage)
    assert usage.input_tokens > 0 < usage.output_tokens
    assert finish == Finish("stop")


async def test_an_answer_that_comes_whole_in_place_of_a_stream_is_read(connected):
    """A mocked model of litellm's answers so in Anthropic's dialect, whatever was asked for."""
    async with connected("anthropic") as connection:
        events = await answer(connection, "mock-chat")
    assert [event.text for event in events if isinstance(event, TextDelta)] == [SAID]
    assert events[-1] == Finish("stop")


@each_dialect
async def test_a_wrong_key_is_told_with_its_field(connected, dialect):
    wrong = "sk-made-up-0123456789abcdef"
    async with connected(dialect, key=wrong) as connection:
        for call in (connection.models(), answer(connection, "mock-chat")):
            with pytest.raises(AuthenticationFailed) as caught:
                await call
            assert caught.value.field == "api_key"
            assert wrong not in str(caught.value)


@each_dialect
async def test_an_unknown_model_is_told_by_its_name(connected, dialect):
    async with connected(dialect) as connection:
        with pytest.raises(ModelNotFound, match="no-such-model"):
            await answer(connection, "no-such-model")


@each_dialect
@pytest.mark.parametrize(
    ("model", "kind"),
    [("mock-limited", RateLimited), ("mock-too-long", ContextTooLong), ("mock-broken", Unavailable)],
)
async def test_its_failures_are_understood(connected, dialect, model, kind):
    async with connected(dialect) as connection:
        with pytest.raises(kind):
            await answer(connection, model)


async def test_vectors_come_one_a_text_and_in_order(connected):
    texts = ("the council", "meets on Tuesdays", "the council")
    async with connected("openai") as connection:
        got = await connection.embed(EmbedRequest("stub-embed", texts))
        (alone,) = (await connection.embed(EmbedRequest("stub-embed", texts[1:2]))).vectors
    assert got.vectors[0] == got.vectors[2] != got.vectors[1] == alone
    assert got.input_tokens == 7


async def test_fewer_vectors_than_texts_are_refused(connected):
    """A mocked model of litellm's gives one vector, however many texts it got."""
    async with connected("openai") as connection:
        assert (await connection.embed(EmbedRequest("mock-embed", ("one",)))).vectors == [[0.5, 0.25, -1.0]]
        with pytest.raises(BadResponse, match="1 vectors for 2 texts"):
            await connection.embed(EmbedRequest("mock-embed", ("one", "two")))


async def test_closing_the_answer_closes_the_request_behind_the_proxy(connected, stub):
    left = stub.disconnects
    async with connected("openai") as connection:
        events = connection.chat(question("stub-chat", "[[tokens=1000 delay=0.01]]"))
        assert isinstance(await anext(events), TextDelta)
        assert stub.streaming == 1
        await events.aclose()
    for _ in range(2000):
        if not stub.streaming:
            break
        await asyncio.sleep(0.01)
    assert stub.disconnects == left + 1
