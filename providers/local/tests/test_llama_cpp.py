"""llama.cpp: what `/props` tells, its router, and what it takes a little differently."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    ContextTooLong,
    EmbedRequest,
    InvalidRequest,
    ModelNotFound,
    Price,
    ProviderError,
    Ranked,
    RerankRequest,
    ToolSpec,
    Unavailable,
)

from providers.local.tests.conftest import answer, connected

URL = "http://l.test:8080"
PATH = "../models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"
PROPS = {
    "default_generation_settings": {"n_ctx": 8192, "params": {"n_predict": -1}},
    "total_slots": 4,
    "modalities": {"vision": True, "audio": False},
    "chat_template_caps": {"supports_tools": True},
}
TOOLS = (ToolSpec("weather", "", {"type": "object"}), ToolSpec("clock", "", {"type": "object"}))


class Upstream:
    """llama-server as a function."""

    def __init__(self, *rows, props=PROPS, reply=None):
        self.rows = [{"object": "model", "owned_by": "llamacpp", **row} for row in rows]
        self.props = props
        self.reply = reply
        self.asked = []

    def __call__(self, request):
        self.asked.append((str(request.url).removeprefix(URL), json.loads(request.content or b"null")))
        match request.url.path:
            case "/v1/models":
                return httpx.Response(200, json={"object": "list", "data": self.rows})
            case "/props" if self.props is not None:
                return httpx.Response(200, json=self.props)
            case "/v1/chat/completions" | "/v1/embeddings" | "/v1/rerank":
                return self.reply or httpx.Response(
                    200, text='data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
                )
        return httpx.Response(
            404, json={"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}
        )

    def sent(self):
        return self.asked[-1][1]


async def test_props_tell_of_the_one_model():
    upstream = Upstream({"id": PATH, "meta": {"n_ctx_train": 131072, "n_embd": 4096}})
    async with connected("llama-cpp", URL, upstream) as connection:
        (model,) = await connection.models()
    assert (model.name, model.title) == (PATH, "Meta-Llama-3.1-8B-Instruct-Q4_K_M")
    assert (model.context_window, model.vision, model.tools, model.price) == (8192, True, True, Price())


async def test_without_props_the_name_tells_what_it_can_and_the_context_is_not_known():
    async with connected("llama-cpp", URL, Upstream({"id": PATH, "meta": None}, props=None)) as connection:
        (model,) = await connection.models()
    assert (model.context_window, model.tools, model.vision) == (None, True, False)


async def test_a_router_tells_of_models_without_loading_them():
    upstream = Upstream(
        {"id": "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "status": {"value": "loaded", "args": ["llama-server"]}},
        {
            "id": "ggml-org/Qwen3-8B-GGUF:Q4_K_M",
            "status": {"value": "unloaded", "args": ["llama-server", "-c", "16384"]},
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        },
        {"id": "nomic-embed-text-v1.5", "status": {"value": "sleeping", "args": ["--ctx-size", "x"]}},
    )
    async with connected("llama-cpp", URL, upstream) as connection:
        gemma, qwen, nomic = await connection.models()
    assert (gemma.context_window, gemma.vision) == (8192, True)
    assert (qwen.context_window, qwen.vision, qwen.reasoning) == (16384, True, True)
    assert (nomic.kind, nomic.context_window, nomic.max_batch) == ("embedding", None, 64)
    assert [path for path, _ in upstream.asked if path.startswith("/props")] == [
        "/props?model=ggml-org%2Fgemma-3-4b-it-GGUF%3AQ4_K_M&autoload=false"
    ]


async def test_the_configuration_may_say_what_a_model_is_for():
    async with connected("llama-cpp", URL, Upstream({"id": "house.gguf"}), rerank_models=["house.gguf"]) as connection:
        (model,) = await connection.models()
    assert (model.kind, model.vision, model.max_batch) == ("rerank", False, 256)


async def test_a_tool_by_name_is_offered_alone():
    upstream = Upstream()
    async with connected("llama-cpp", URL, upstream) as connection:
        await answer(connection, "Hi", "m", tools=TOOLS, tool_choice="clock")
        sent = upstream.sent()
        assert ([tool["function"]["name"] for tool in sent["tools"]], sent["tool_choice"]) == (["clock"], "required")
        with pytest.raises(InvalidRequest, match="'moon'"):
            await answer(connection, "Hi", "m", tools=TOOLS, tool_choice="moon")


async def test_no_effort_reaches_older_templates_too():
    upstream = Upstream()
    async with connected("llama-cpp", URL, upstream) as connection:
        await answer(connection, "Hi", "m", reasoning_effort="none")
        assert (upstream.sent()["reasoning_effort"], upstream.sent()["chat_template_kwargs"]["enable_thinking"]) == (
            "none",
            False,
        )
        await answer(connection, "Hi", "m", reasoning_effort="high")
        assert "chat_template_kwargs" not in upstream.sent()


def error(code, message, kind, **more):
    return httpx.Response(code, json={"error": {"code": code, "message": message, "type": kind, **more}})


LONG = "request (8889 tokens) exceeds the available context size (4096 tokens), try increasing it"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(503, "Loading model", "unavailable_error"), Unavailable),
        (error(400, LONG, "exceed_context_size_error", n_prompt_tokens=8889, n_ctx=4096), ContextTooLong),
        (error(500, "input is too large to process. increase the physical batch size", "server_error"), ContextTooLong),
        (error(501, "This server does not support embeddings. Start it with `--embeddings`", "x"), InvalidRequest),
        (error(401, "Invalid API Key", "authentication_error"), AuthenticationFailed),
        (error(404, "model not found", "not_found_error"), ModelNotFound),
        (error(500, "failed to parse grammar", "server_error"), Unavailable),
    ],
)
async def test_every_refusal_is_its_own_error(reply, kind):
    async with connected("llama-cpp", URL, Upstream(reply=reply)) as connection:
        for ask in (answer(connection, "Hi", "m"), connection.embed(EmbedRequest("m", ("a",)))):
            with pytest.raises(ProviderError) as raised:
                await ask
            assert type(raised.value) is kind


async def test_reranking_takes_scores_of_any_size():
    ranks = [{"index": 0, "relevance_score": -7.1}, {"index": 1, "score": 3.5}]
    upstream = Upstream(reply=httpx.Response(200, json={"object": "list", "results": ranks}))
    async with connected("llama-cpp", URL, upstream) as connection:
        assert await connection.rerank(RerankRequest("m", "q", ("a", "b"))) == [Ranked(1, 3.5), Ranked(0, -7.1)]
    assert upstream.asked[-1][0] == "/v1/rerank"


async def test_another_product_is_told_by_its_name():
    async with connected("llama-cpp", URL, Upstream({"id": "m", "owned_by": "vllm"})) as connection:
        with pytest.raises(InvalidRequest, match=r"is vLLM, not llama\.cpp"):
            await connection.models()
