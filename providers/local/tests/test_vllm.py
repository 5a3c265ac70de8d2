"""vLLM: its list, its engine's health, and what it takes a little differently."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    ContextTooLong,
    EmbedRequest,
    Finish,
    InvalidRequest,
    ModelNotFound,
    Price,
    ProviderError,
    Ranked,
    ReasoningDelta,
    RerankRequest,
    TextDelta,
    Unavailable,
    Usage,
)

from providers.local.tests.conftest import answer, connected
from tests.support.ollama_stub import OllamaStub
from tests.support.openai_stub import OpenAIStub

QWEN = "Qwen/Qwen3-32B"
URL = "http://v.test:8000"


class Upstream:
    """vLLM as a function: what it lists, and what it was asked."""

    def __init__(self, *rows, chat=None, health=200):
        self.rows = [{"object": "model", "owned_by": "vllm", **row} for row in rows]
        self.chat = chat
        self.health = health
        self.asked = []

    def __call__(self, request):
        self.asked.append((request.url.path, json.loads(request.content or b"null")))
        match request.url.path:
            case "/v1/models":
                return httpx.Response(200, json={"object": "list", "data": self.rows})
            case "/health":
                return httpx.Response(self.health)
            case "/v1/chat/completions":
                return self.chat or sse({"content": "x"}, finish="stop")
            case "/v1/rerank":
                return httpx.Response(
                    200, json={"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}
                )
        return httpx.Response(404, json={"detail": "Not Found"})


def sse(*deltas, finish=None, usage=None):
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        chunks.append({"choices": [], "usage": usage})
    return httpx.Response(200, text="".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n")


async def test_a_model_and_its_adapters_are_listed_with_the_servers_context():
    upstream = Upstream(
        {"id": QWEN, "max_model_len": 40960, "parent": None},
        {"id": "municipal-tone", "max_model_len": None, "parent": QWEN},
    )
    async with connected("vllm", URL, upstream) as connection:
        model, adapter = await connection.models()
    assert (model.name, model.kind, model.context_window, model.price) == (QWEN, "chat", 40960, Price())
    assert (model.tools, model.reasoning, model.json_schema, model.dialect) == (True, True, True, "chat-completions")
    assert (adapter.name, adapter.context_window, adapter.reasoning) == ("municipal-tone", 40960, True)


async def test_kinds_come_from_names_or_from_the_configuration():
    rows = ({"id": "BAAI/bge-m3"}, {"id": "BAAI/bge-reranker-v2-m3"}, {"id": "openai/whisper-large-v3"})
    async with connected("vllm", URL, Upstream(*rows)) as connection:
        assert [(m.kind, m.max_batch) for m in await connection.models()] == [("embedding", 64), ("rerank", 256)]
    upstream = Upstream({"id": "house-model", "max_model_len": 512})
    async with connected("vllm", URL, upstream, embedding_models=["house-model"]) as connection:
        (model,) = await connection.models()
    assert (model.kind, model.context_window) == ("embedding", 512)
    async with connected("vllm", URL, upstream, chat_models=["other"]) as connection:
        with pytest.raises(ModelNotFound) as raised:
            await connection.models()
    assert raised.value.field == "chat_models"


async def test_a_server_whose_engine_died_is_unavailable():
    async with connected("vllm", URL, Upstream({"id": QWEN}, health=503)) as connection:
        with pytest.raises(Unavailable, match="engine does not run"):
            await connection.models()
    async with connected("vllm", URL, Upstream({"id": QWEN}, health=404)) as connection:
        assert len(await connection.models()) == 1


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_have_two_names(name):
    said = sse({name: "Hm."}, {"content": "Yes."}, finish="stop", usage={"prompt_tokens": 5, "completion_tokens": 2})
    async with connected("vllm", URL, Upstream(chat=said)) as connection:
        events = await answer(connection, "Hi", QWEN)
    assert events == [ReasoningDelta("Hm."), TextDelta("Yes."), Usage(5, 2), Finish("stop")]


@pytest.mark.parametrize(
    ("effort", "sent"),
    [(None, (None, None)), ("minimal", ("low", None)), ("high", ("high", None)), ("none", (None, False))],
)
async def test_no_effort_is_a_switch_of_the_template(effort, sent):
    upstream = Upstream()
    async with connected("vllm", URL, upstream) as connection:
        await answer(connection, "Hi", QWEN, reasoning_effort=effort)
    body = upstream.asked[-1][1]
    assert (body.get("reasoning_effort"), body.get("chat_template_kwargs", {}).get("enable_thinking")) == sent
    assert body["stream_options"] == {"include_usage": True}


async def test_a_callers_own_switches_hold():
    upstream = Upstream()
    options = {"chat_template_kwargs": {"enable_thinking": True}, "top_k": 3}
    async with connected("vllm", URL, upstream) as connection:
        await answer(connection, "Hi", QWEN, reasoning_effort="none", options=options)
    body = upstream.asked[-1][1]
    assert (body["chat_template_kwargs"]["enable_thinking"], body["top_k"]) == (True, 3)


async def test_a_schema_goes_out_as_openai_has_it():
    upstream = Upstream()
    async with connected("vllm", URL, upstream) as connection:
        await answer(connection, "Hi", QWEN, response_schema={"type": "object"}, response_schema_name="reply")
    assert upstream.asked[-1][1]["response_format"]["json_schema"]["name"] == "reply"


def flat(message, kind="BadRequestError", code=400):
    return httpx.Response(code, json={"object": "error", "message": message, "type": kind, "param": None, "code": code})


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            flat("This model's maximum context length is 4096 tokens. However, you requested 5000"),
            ContextTooLong,
            "context|max_tokens",
        ),
        (flat("max_tokens must be at least 1, got -186."), ContextTooLong, "context|max_tokens"),
        (flat("The model `x` does not exist.", "NotFoundError", 404), ModelNotFound, "`x` does not exist"),
        (flat('"auto" tool choice requires --enable-auto-tool-choice'), InvalidRequest, "--enable-auto-tool-choice"),
        (flat("As of transformers v4.44, default chat template is no longer allowed"), InvalidRequest, "chat template"),
        (httpx.Response(401, json={"error": "Unauthorized"}), AuthenticationFailed, "API key"),
        (httpx.Response(500, text="Internal Server Error"), Unavailable, "in trouble"),
        (
            httpx.Response(
                200, text='data: {"error": {"message": "EngineDeadError", "code": 500}}\n\ndata: [DONE]\n\n'
            ),
            Unavailable,
            "EngineDeadError",
        ),
    ],
)
async def test_every_refusal_is_its_own_error(reply, kind, words):
    async with connected("vllm", URL, Upstream(chat=reply)) as connection:
        with pytest.raises(ProviderError, match=words) as raised:
            await answer(connection, "Hi", "x")
    assert type(raised.value) is kind


async def test_reranking_is_by_coheres_dialect():
    upstream = Upstream()
    async with connected("vllm", URL, upstream) as connection:
        ranked = await connection.rerank(RerankRequest("BAAI/bge-reranker-v2-m3", "q", ("a", "b")))
    assert ranked == [Ranked(1, 0.9), Ranked(0, 0.1)]
    assert upstream.asked[-1][1]["documents"] == ["a", "b"]


@pytest.mark.parametrize("address", [URL, f"{URL}/", f"{URL}/v1/", f"{URL}/v1/chat/completions"])
async def test_the_version_may_be_missing_and_more_may_be_pasted(address):
    async with connected("vllm", address, Upstream({"id": QWEN})) as connection:
        assert len(await connection.models()) == 1


@pytest.mark.parametrize(
    ("owner", "product"), [("library", "Ollama"), ("llamacpp", "llama.cpp"), ("organization_owner", "LM Studio")]
)
async def test_another_product_is_told_by_its_name(owner, product):
    async with connected("vllm", URL, Upstream({"id": "m", "owned_by": owner})) as connection:
        with pytest.raises(InvalidRequest, match=f"is {product}, not vLLM") as raised:
            await connection.models()
    assert raised.value.field == "base_url"


async def test_an_address_of_ollama_and_a_path_that_is_none_name_the_field():
    async with OllamaStub() as stub:
        for address in (stub.url, f"{stub.url}/other/path"):
            async with connected("vllm", address) as connection:
                with pytest.raises(InvalidRequest) as raised:
                    await connection.models()
            assert raised.value.field == "base_url"


async def test_a_server_behind_a_gateway_works_whoever_it_says_it_is():
    async with OpenAIStub() as stub, connected("vllm", stub.url) as connection:
        assert [(m.name, m.kind) for m in await connection.models()] == [
            ("stub-chat", "chat"),
            ("stub-embed", "embedding"),
        ]
        events = await answer(connection, "Hej på dig", "stub-chat")
        *said, counted, finish = events
        assert all(isinstance(event, TextDelta) for event in said)
        assert "".join(event.text for event in said) == "Hej på dig"
        assert [counted, finish] == [Usage(3, 3), Finish("stop")]
        got = await connection.embed(EmbedRequest("stub-embed", ("one", "two")))
        assert [len(vector) for vector in got.vectors] == [64, 64]
