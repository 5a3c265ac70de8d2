"""LM Studio: three ways to tell of its models, and what it takes a little differently."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import BadResponse, ContextTooLong, ModelNotFound, Price, ProviderError, ToolSpec

from providers.local.tests.conftest import answer, connected

URL = "http://s.test:1234"
NEW = {
    "models": [
        {
            "type": "llm",
            "key": "google/gemma-3-4b",
            "display_name": "Gemma 3 4B",
            "loaded_instances": [],
            "max_context_length": 131072,
            "capabilities": {"vision": True, "trained_for_tool_use": False},
        },
        {
            "type": "llm",
            "key": "qwen/qwen3-8b",
            "display_name": "Qwen3 8B",
            "loaded_instances": [{"id": "a", "config": {"context_length": 16384}}, {"id": "b", "config": {}}],
            "max_context_length": 40960,
            "capabilities": {"vision": False, "trained_for_tool_use": True},
        },
        {
            "type": "embedding",
            "key": "text-embedding-nomic-embed-text-v1.5",
            "display_name": "Nomic Embed Text",
            "loaded_instances": [],
            "max_context_length": 2048,
        },
        {"type": "tts", "key": "a-voice", "max_context_length": 1},
    ]
}
OLD = {
    "object": "list",
    "data": [
        {"id": "qwen2-vl-7b", "type": "vlm", "state": "not-loaded", "max_context_length": 32768},
        {
            "id": "llama-3.1-8b",
            "type": "llm",
            "state": "loaded",
            "max_context_length": 131072,
            "loaded_context_length": 8192,
            "capabilities": ["tool_use"],
        },
        {"id": "text-embedding-bge-m3", "type": "embeddings", "state": "not-loaded", "max_context_length": 8192},
    ],
}
OPENAI = {"data": [{"id": "qwen3-8b", "object": "model", "owned_by": "organization_owner"}], "object": "list"}


class Upstream:
    """LM Studio as a function: an address that it does not have is answered with 200 and an error inside."""

    def __init__(self, chat=None, **pages):
        self.pages = pages
        self.chat = chat
        self.asked = []

    def __call__(self, request):
        path = request.url.path
        self.asked.append((path, json.loads(request.content or b"null")))
        pages = {"/api/v1/models": "new", "/api/v0/models": "old", "/v1/models": "openai"}
        if pages.get(path) in self.pages:
            return httpx.Response(200, json=self.pages[pages[path]])
        if path == "/v1/chat/completions":
            return self.chat or httpx.Response(
                200, text='data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
            )
        return httpx.Response(200, json={"error": f"Unexpected endpoint or method. ({request.method} {path})"})


async def models(**pages):
    async with connected("lm-studio", URL, Upstream(**pages)) as connection:
        return await connection.models()


async def test_the_newest_list_tells_all():
    gemma, qwen, nomic = await models(new=NEW, old=OLD, openai=OPENAI)
    assert (gemma.name, gemma.title, gemma.context_window) == ("google/gemma-3-4b", "Gemma 3 4B", 4096)
    assert (gemma.vision, gemma.tools, gemma.price) == (True, False, Price())
    assert (qwen.context_window, qwen.vision, qwen.tools, qwen.reasoning) == (16384, False, True, True)
    assert (nomic.kind, nomic.context_window, nomic.dimensions) == ("embedding", 2048, 768)


async def test_an_older_one_is_asked_the_older_way():
    qwen, llama, bge = await models(old=OLD, openai=OPENAI)
    assert (qwen.kind, qwen.vision, qwen.context_window) == ("chat", True, 4096)
    assert (llama.tools, llama.context_window) == (True, 8192)
    assert (bge.kind, bge.context_window) == ("embedding", 4096)


async def test_and_the_oldest_by_names_alone():
    (qwen,) = await models(openai=OPENAI)
    assert (qwen.name, qwen.reasoning, qwen.context_window) == ("qwen3-8b", True, None)


async def test_something_else_at_the_address_is_told_by_its_field():
    with pytest.raises(ProviderError, match="does not answer as LM Studio does") as raised:
        await models()
    assert raised.value.field == "base_url"


async def test_what_it_would_refuse_is_said_another_way():
    upstream = Upstream()
    tools = (ToolSpec("weather", "", {"type": "object"}), ToolSpec("clock", "", {"type": "object"}))
    async with connected("lm-studio", URL, upstream) as connection:
        await answer(connection, "Hi", "m", tools=tools, tool_choice="clock", json_object=True, reasoning_effort="high")
    sent = upstream.asked[-1][1]
    assert ([tool["function"]["name"] for tool in sent["tools"]], sent["tool_choice"]) == (["clock"], "required")
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "reasoning_effort" not in sent


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (
            httpx.Response(404, json={"error": {"message": "No models loaded.", "code": "model_not_found"}}),
            ModelNotFound,
        ),
        (httpx.Response(400, json={"error": "loaded with context length of only 4096 tokens"}), ContextTooLong),
        (httpx.Response(200, json={"error": "Unexpected endpoint or method."}), BadResponse),
        (
            httpx.Response(200, text='event: error\ndata: {"error":{"message":"The model has crashed"}}\n\n'),
            BadResponse,
        ),
    ],
)
async def test_every_refusal_is_its_own_error(reply, kind):
    async with connected("lm-studio", URL, Upstream(chat=reply)) as connection:
        with pytest.raises(ProviderError) as raised:
            await answer(connection, "Hi", "m")
    assert type(raised.value) is kind
