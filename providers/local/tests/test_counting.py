"""Servers that tell how many tokens their own template makes of a conversation."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import BadResponse, ImagePart, InvalidRequest, Message, TextPart, TokenCounter, ToolSpec

from providers.local.tests.conftest import connected, question

TOOLS = (ToolSpec("weather", "", {"type": "object"}),)


class Upstream:
    def __init__(self, **replies):
        self.replies = {f"/{name.replace('_', '-')}": reply for name, reply in replies.items()}
        self.asked = []

    def __call__(self, request):
        self.asked.append((request.url.path, json.loads(request.content)))
        reply = self.replies.get(request.url.path)
        if reply is None:
            return httpx.Response(404, json={"detail": "Not Found"})
        return httpx.Response(200, json=reply) if not isinstance(reply, bytes) else httpx.Response(200, content=reply)


async def test_vllm_counts_by_its_own_template_and_tools():
    upstream = Upstream(tokenize={"count": 42, "max_model_len": 4096, "tokens": [1] * 42})
    async with connected("vllm", "http://v.test:8000", upstream) as connection:
        assert isinstance(connection, TokenCounter)
        assert await connection.count_tokens(question("Hej", tools=TOOLS, max_output_tokens=5)) == 42
    (path, body) = upstream.asked[0]
    assert path == "/tokenize"
    assert set(body) == {"model", "messages", "tools"}


async def test_llama_cpp_counts_what_its_template_makes():
    upstream = Upstream(apply_template={"prompt": "<|user|>Hej"}, tokenize={"tokens": [5, 6, 7]})
    async with connected("llama-cpp", "http://l.test:8080", upstream) as connection:
        assert await connection.count_tokens(question("Hej", tools=TOOLS)) == 3
    assert [path for path, _ in upstream.asked] == ["/apply-template", "/tokenize"]
    assert upstream.asked[1][1]["content"] == "<|user|>Hej"


async def test_llama_cpp_does_not_count_pictures_and_asks_nobody():
    upstream = Upstream()
    picture = Message(role="user", content=(ImagePart("image/png", b"x"), TextPart("Hej")))
    async with connected("llama-cpp", "http://l.test:8080", upstream) as connection:
        request = question("Hej")
        assert await connection.count_tokens(type(request)(model="m", messages=(picture,))) is None
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("kind", "replies", "error"),
    [
        ("vllm", {}, InvalidRequest),
        ("vllm", {"tokenize": b"<html>"}, BadResponse),
        ("vllm", {"tokenize": {"count": "many"}}, BadResponse),
        ("llama-cpp", {}, InvalidRequest),
        ("llama-cpp", {"apply_template": {"prompt": 5}}, BadResponse),
        ("llama-cpp", {"apply_template": {"prompt": ""}, "tokenize": []}, BadResponse),
    ],
)
async def test_a_server_that_cannot_count_is_said(kind, replies, error):
    async with connected(kind, "http://l.test:8080", Upstream(**replies)) as connection:
        with pytest.raises(error):
            await connection.count_tokens(question("Hej"))


async def test_those_that_have_no_way_to_count_do_not_pretend():
    for kind in ("ollama", "lm-studio"):
        async with connected(kind, "http://o.test:11434") as connection:
            assert not isinstance(connection, TokenCounter)
