"""A connection whose upstream is a function."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager

import httpx
import pytest
from folkmoot_provider_openai import Config, connect
from folkmoot_sdk import ChatRequest, Message, PluginContext, TextPart, decode_config
from folkmoot_sdk.testing.harness import FixedClock


@asynccontextmanager
async def connected(handler=None, **config):
    config = {"api_key": "sk-made-up-key-000000", "base_url": "https://api.example.test/v1", **config}
    transport = httpx.MockTransport(handler) if handler else None
    async with httpx.AsyncClient(transport=transport) as http:
        context = PluginContext(http=http, log=logging.getLogger("test"), clock=FixedClock())
        async with connect(decode_config(Config, config), context) as connection:
            yield connection


def question(text="Hello?", model="some-model", **more):
    return ChatRequest(model=model, messages=(Message(role="user", content=(TextPart(text),)),), **more)


def sse(*chunks, end="data: [DONE]\n\n"):
    return "".join(f"data: {c if isinstance(c, str) else json.dumps(c)}\n\n" for c in chunks) + end


def delta(finish=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


@pytest.fixture
def ask():
    """Ask an upstream that sends this body; gives the events."""

    async def ask(body, request=None, status=200, headers=None, **config):
        content = body if isinstance(body, bytes) else body.encode()

        def handler(_):
            return httpx.Response(status, content=content, headers=headers or {})

        async with connected(handler, **config) as connection:
            return [event async for event in connection.chat(request or question())]

    return ask


@pytest.fixture
def sent():
    """The JSON body that a request becomes on the wire."""

    async def sent(request, **config):
        seen = []

        def handler(request):
            seen.append(json.loads(request.content))
            return httpx.Response(200, text=sse(delta("stop", content="x")))

        async with connected(handler, **config) as connection:
            _ = [event async for event in connection.chat(request)]
        return seen[0]

    return sent
