"""A connection whose upstream is a function."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager

import httpx
import pytest
from folkmoot_provider_anthropic import Config, connect
from folkmoot_sdk import ChatRequest, Message, PluginContext, TextPart, decode_config
from folkmoot_sdk.testing.harness import FixedClock

MODEL = "claude-sonnet-5-5"
ENDED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOPPED = {"type": "message_stop"}


@asynccontextmanager
async def connected(handler=None, **config):
    config = {"api_key": "sk-ant-made-up-000000", "base_url": "https://api.example.test", **config}
    transport = httpx.MockTransport(handler) if handler else None
    async with httpx.AsyncClient(transport=transport) as http:
        context = PluginContext(http=http, log=logging.getLogger("test"), clock=FixedClock())
        async with connect(decode_config(Config, config), context) as connection:
            yield connection


def said(role, *parts, **more):
    content = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return Message(role=role, content=content, **more)


def question(*messages, model=MODEL, **more):
    messages = tuple(said("user", each) if isinstance(each, str) else each for each in messages or ("Hello?",))
    return ChatRequest(model=model, messages=messages, **more)


def sse(*events):
    """The body of a stream; a string stands for itself."""
    return "".join(
        each if isinstance(each, str) else f"event: {each['type']}\ndata: {json.dumps(each, ensure_ascii=False)}\n\n"
        for each in events
    )


def block(index, begin, *deltas):
    """The events of one block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": begin},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index, *words, cited=()):
    deltas = [{"type": "text_delta", "text": word} for word in words]
    deltas += [{"type": "citations_delta", "citation": {"source": f"passage {n}"}} for n in cited]
    return block(index, {"type": "text", "text": ""}, *deltas)


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
            return httpx.Response(200, text=sse(*text(0, "x"), ENDED, STOPPED))

        async with connected(handler, **config) as connection:
            _ = [event async for event in connection.chat(request)]
        return seen[0]

    return sent
