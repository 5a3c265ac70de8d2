"""A `Service` whose upstream is a function, and the words of the dialect."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager

import httpx
from folkmoot_sdk import ChatRequest, Message, PluginContext, Secret, TextPart
from folkmoot_sdk.chat_completions import Quirks, chat_body, stream_chat
from folkmoot_sdk.http import ApiKey, Asked, Service
from folkmoot_sdk.testing.harness import FixedClock

URL = "https://api.example.test/v1"
KEY = "sk-made-up-key-000000"


@asynccontextmanager
async def service(handler=None, *, url=URL, credentials=None, key=KEY, **more):
    transport = httpx.MockTransport(handler) if handler else None
    async with httpx.AsyncClient(transport=transport) as http:
        context = PluginContext(http=http, log=logging.getLogger("test"), clock=FixedClock())
        yield Service(context, url, credentials or ApiKey(Secret(key) if key else None), **more)


def question(text="Hello?", model="some-model", **more):
    return ChatRequest(model=model, messages=(Message(role="user", content=(TextPart(text),)),), **more)


def sse(*chunks, end="data: [DONE]\n\n"):
    return "".join(f"data: {c if isinstance(c, str) else json.dumps(c)}\n\n" for c in chunks) + end


def delta(finish=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


async def ask(body, *, status=200, headers=None, asked=None, into=None, **more):
    """The events of an upstream that sends this body: bytes, text, or a list of pieces as the network cuts them.

    `into` is a list for those that came before it raised.
    """
    got = [] if into is None else into

    async def pieces():
        for piece in body:
            yield piece

    def handler(_):
        content = pieces() if isinstance(body, list) else body
        return httpx.Response(status, content=content, headers=headers or {})

    async with service(handler, **more) as reached:
        events = stream_chat(reached, chat_body(question()), asked or Asked("some-model", "chat_models"))
        async for event in events:
            got.append(event)
        return got


def body_of(request, **quirks):
    """The JSON that goes out, as the other side reads it."""
    return json.loads(json.dumps(chat_body(request, Quirks(**quirks))))
