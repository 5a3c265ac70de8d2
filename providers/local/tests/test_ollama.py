"""Ollama, against a real server on a real socket."""

from __future__ import annotations

import asyncio
import tracemalloc

import httpx
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ContextTooLong,
    EmbedRequest,
    Finish,
    InvalidRequest,
    ModelNotFound,
    Price,
    ProviderError,
    ReasoningDelta,
    TextDelta,
    ToolCallStarted,
    ToolSpec,
    Unavailable,
    Usage,
    decode_config,
)

from providers.local.tests.conftest import SPECS, answer, connected, question
from tests.support.ollama_stub import OllamaStub, Pulled

CHAT = "llama3.2:latest"
TOOL = ToolSpec("weather", "The weather.", {"type": "object", "properties": {}})


@pytest.fixture
async def stub():
    async with OllamaStub() as stub:
        yield stub


@pytest.fixture
async def ollama(stub):
    async with connected("ollama", stub.url) as connection:
        yield connection


async def test_what_is_pulled_is_listed_with_what_it_can(ollama):
    models = {model.name: model for model in await ollama.models()}
    llama, qwen, llava, nomic = models.values()
    assert (llama.kind, llama.tools, llama.vision, llama.reasoning, llama.json_schema) == (
        "chat",
        True,
        False,
        False,
        True,
    )
    assert (qwen.reasoning, llava.vision, llama.price) == (True, True, Price())
    assert (nomic.kind, nomic.dimensions, nomic.context_window, nomic.max_batch) == ("embedding", 64, 2048, 64)


@pytest.mark.parametrize(
    ("model", "context_length", "told"),
    [
        (Pulled(context_length=131072), 8192, 8192),
        (Pulled(context_length=2048), 8192, 2048),
        (Pulled(context_length=131072), 0, 4096),
        (Pulled(context_length=131072, parameters='stop "<end>"\nnum_ctx  16384'), 0, 16384),
        (Pulled(context_length=131072, loaded_with=32768), 0, 32768),
    ],
)
async def test_the_context_is_what_the_model_is_loaded_with(stub, model, context_length, told):
    stub.models = {"m:latest": model}
    async with connected("ollama", stub.url, context_length=context_length) as connection:
        assert [info.context_window for info in await connection.models()] == [told]


async def test_an_older_release_is_read_by_its_files(stub, ollama):
    stub.models = {
        "tooled:1b": Pulled(None, template="{{ if .Tools }}{{ .Prompt }}"),
        "seeing:1b": Pulled(None, extra={"projector_info": {"clip.has_vision_encoder": True}}),
        "nomic-embed-text:v1.5": Pulled(None, architecture="nomic-bert"),
        "damaged:1b": Pulled(show_fails=True),
    }
    tooled, seeing, nomic, damaged = await ollama.models()
    assert (tooled.tools, seeing.vision, seeing.tools, nomic.kind) == (True, True, False, "embedding")
    assert (damaged.kind, damaged.tools) == ("chat", False)


async def test_models_that_run_elsewhere_are_neither_listed_nor_asked(stub, ollama):
    stub.models |= {
        "gpt-oss:120b-cloud": Pulled(remote_host="https://ollama.com:443"),
        "ours:latest": Pulled(remote_host="https://ollama.com:443"),
        "kimi-k2:cloud": Pulled(),
    }
    assert len(await ollama.models()) == 4
    asked = len(stub.requests)
    for name in ("gpt-oss:120b-cloud", "kimi-k2:cloud"):
        with pytest.raises(ModelNotFound, match=r"ollama\.com") as raised:
            await answer(ollama, "secret", name)
        assert raised.value.field == "cloud_models"
        with pytest.raises(ModelNotFound):
            await ollama.embed(EmbedRequest(name, ("secret",)))
    assert len(stub.requests) == asked
    async with connected("ollama", stub.url, cloud_models=True) as connection:
        prices = {model.name: model.price for model in await connection.models()}
        assert (prices["gpt-oss:120b-cloud"], prices[CHAT]) == (None, Price())
        assert (await answer(connection, "Hi", "kimi-k2:cloud"))[-1] == Finish("stop")


async def test_an_answer_word_by_word(stub, ollama):
    events = await answer(ollama, "Hej på dig", CHAT)
    assert events == [*map(TextDelta, ["Hej ", "på ", "dig"]), Usage(3, 3), Finish("stop")]
    sent = stub.requests[0].body
    assert (sent["options"], sent["truncate"], sent["shift"]) == ({"num_ctx": 8192}, False, False)


async def test_thoughts_are_apart_from_the_answer(ollama):
    events = await answer(ollama, "Why?", "qwen3:8b")
    assert events[0] == ReasoningDelta("Let me see. ")
    assert TextDelta("Why?") in events
    assert ReasoningDelta("Let me see. ") not in await answer(ollama, "Why?", "qwen3:8b", reasoning_effort="none")


async def test_a_tool_is_asked_for(ollama):
    events = await answer(ollama, "Cold? [[tool=weather]]", CHAT, tools=(TOOL,))
    assert ToolCallStarted(0, "call_stub", "weather") in events
    assert events[-1] == Finish("tool_calls")


@pytest.mark.parametrize("directive", ["halves", "unknown-fields", "usage-twice"])
async def test_odd_but_whole_answers_are_whole(ollama, directive):
    events = await answer(ollama, f"Älgar — 𝄞 [[{directive}]]", CHAT)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Älgar — 𝄞"
    assert events[-2:] == [Usage(4, 3), Finish("stop")]


async def test_no_counts_are_no_usage(ollama):
    assert await answer(ollama, "Hej [[no-usage]]", CHAT) == [TextDelta("Hej"), Finish("stop")]


@pytest.mark.parametrize(
    ("directive", "kind"),
    [
        ("[[status=503]]", Unavailable),
        ("[[status=500]]", Unavailable),
        ("[[status=499]]", Unavailable),
        ("[[status=401]]", AuthenticationFailed),
        ("a b c [[cut=2]]", (BadResponse, Unavailable)),
        ("a b c [[end=2]]", BadResponse),
        ("[[html]]", BadResponse),
        ("[[junk]]", BadResponse),
        ("[[error-in-200]]", Unavailable),
        ("a [[wait=30]]", Unavailable),
    ],
)
async def test_every_trouble_is_one_error(stub, directive, kind):
    async with connected("ollama", stub.url, silence_limit=1) as connection:
        with pytest.raises(ProviderError) as raised:
            await answer(connection, directive, CHAT)
        assert isinstance(raised.value, kind)
        assert len(stub.requests) == 1
        assert (await answer(connection, "still here", CHAT))[-1] == Finish("stop")


async def test_a_line_without_end_is_left_before_it_fills_the_memory(ollama):
    tracemalloc.start()
    try:
        with pytest.raises(BadResponse, match="more than"):
            await answer(ollama, "[[flood=100]]", CHAT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 1024 * 1024


async def test_a_model_that_is_not_there_says_how_to_get_it(ollama):
    for ask in (answer(ollama, "Hi", "mistral:7b"), ollama.embed(EmbedRequest("mistral:7b", ("a",)))):
        with pytest.raises(ModelNotFound, match="`ollama pull mistral:7b`"):
            await ask


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        (CHAT, {"reasoning_effort": "high"}, "does not support thinking"),
        ("llava:7b", {"tools": (TOOL,)}, "does not support tools"),
        ("nomic-embed-text:latest", {}, "does not support chat"),
    ],
)
async def test_what_a_model_cannot_is_told_in_ollamas_words(ollama, model, more, words):
    with pytest.raises(InvalidRequest, match=words):
        await answer(ollama, "Hi", model, **more)


async def test_too_long_a_conversation_is_refused_not_shortened(stub):
    async with connected("ollama", stub.url, context_length=10) as connection:
        with pytest.raises(ContextTooLong):
            await answer(connection, "word " * 50, CHAT)


async def test_leaving_early_ends_the_request_at_the_server(stub, ollama):
    events = ollama.chat(question("[[tokens=1000 delay=0.01]]", CHAT))
    assert isinstance(await anext(events), TextDelta)
    await events.aclose()
    for _ in range(100):
        if stub.disconnects:
            break
        await asyncio.sleep(0.01)
    assert stub.disconnects == 1


async def test_one_connection_serves_answer_after_answer(stub, ollama):
    for _ in range(5):
        await answer(ollama, "[[tokens=50]]", CHAT)
    assert stub.connections == 1


async def test_vectors_with_the_prefixes_that_the_model_was_trained_with(stub, ollama):
    texts = (*(f"text {n}" for n in range(70)), " ")
    got = await ollama.embed(EmbedRequest("nomic-embed-text", texts, purpose="query", dimensions=8))
    assert [len(vector) for vector in got.vectors] == [8] * 71
    first, second = (request.body for request in stub.requests)
    assert (first["input"][0], len(first["input"]), len(second["input"])) == ("search_query: text 0", 64, 7)
    assert (first["truncate"], first["dimensions"]) == (False, 8)
    assert got.input_tokens == sum(len(text.split()) for text in first["input"] + second["input"])


async def test_too_long_a_text_is_told(stub, ollama):
    stub.models["nomic-embed-text:latest"] = Pulled(("embedding",), 5)
    with pytest.raises(ContextTooLong):
        await ollama.embed(EmbedRequest("nomic-embed-text", ("word " * 20,)))


@pytest.mark.parametrize(
    "body", ['{"embeddings":[[1,2]]}', '{"embeddings":[[],[]]}', '{"embeddings":[[null],[1]]}', "[]"]
)
async def test_vectors_that_are_none_are_a_bad_response(body):
    async with connected("ollama", "http://o.test", lambda _: httpx.Response(200, text=body)) as connection:
        with pytest.raises(BadResponse):
            await connection.embed(EmbedRequest("m", ("a", "b")))


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/api/chat", "/v1/"])
async def test_what_people_paste_behind_the_address_does_no_harm(stub, ending):
    async with connected("ollama", stub.url + ending, api_key="made-up-key") as connection:
        assert len(await connection.models()) == 4
    assert stub.requests[0].headers["authorization"] == "Bearer made-up-key"


def web_page(_):
    return httpx.Response(200, html="<!doctype html><p>Welcome to nginx!")


@pytest.mark.parametrize(
    "handler",
    [
        lambda _: httpx.Response(404, text="404 page not found"),
        lambda _: httpx.Response(404, json={"detail": "Not Found"}),
        lambda _: httpx.Response(200, json={"object": "list", "data": []}),
        lambda _: httpx.Response(302, headers={"location": "https://sign.in"}),
        web_page,
    ],
)
async def test_another_server_at_the_address_is_told_by_its_field(handler):
    async with connected("ollama", "http://o.test", handler) as connection:
        with pytest.raises(ProviderError, match="does not answer as Ollama does") as raised:
            await connection.models()
    assert raised.value.field == "base_url"


async def test_a_refused_address_keeps_the_words_of_who_refused_it():
    def refuse(request):
        raise httpx.ConnectError("'o.test' is not on the public internet: FOLKMOOT_NET_ALLOW", request=request)

    async with connected("ollama", "http://o.test", refuse) as connection:
        with pytest.raises(Unavailable, match="FOLKMOOT_NET_ALLOW") as raised:
            await connection.models()
    assert raised.value.field == "base_url"


async def test_a_wrong_key_and_no_key_name_the_field():
    async with OllamaStub(api_key="right") as stub, connected("ollama", stub.url, api_key="wrong-key") as connection:
        with pytest.raises(AuthenticationFailed) as raised:
            await connection.models()
    assert raised.value.field == "api_key"
    assert "wrong-key" not in str(raised.value)


@pytest.mark.parametrize("duration", ["forever", "5 minutes", "1h30", "--1"])
def test_a_duration_that_is_none_names_its_field(duration):
    with pytest.raises(ConfigError, match="keep_alive"):
        decode_config(SPECS["ollama"].config, {"keep_alive": duration})


@pytest.mark.parametrize("duration", ["", "-1", "0", "600", "30m", "1h30m", "-1m", "1.5h"])
def test_a_duration_as_go_writes_it_is_taken(duration):
    assert decode_config(SPECS["ollama"].config, {"keep_alive": duration}).keep_alive == duration


@pytest.mark.parametrize("address", ["http://", "https:///x", "http://[::1"])
async def test_no_address_is_told_with_an_example(address):
    with pytest.raises(InvalidRequest, match="11434") as raised:
        async with connected("ollama", address):
            pass
    assert raised.value.field == "base_url"
