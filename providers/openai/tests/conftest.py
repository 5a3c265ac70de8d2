"""A connection whose upstream is a function."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager

import httpx
import pytest
from folkmoot_provider_openai import Config, connect
from folkmoot_sdk import PluginContext, decode_config
from folkmoot_sdk.testing.harness import FixedClock

from plugins.sdk.tests.upstream import delta, question, sse

__all__ = ["connected", "delta", "question", "sse"]


@asynccontextmanager
async def connected(handler=None, **config):
    config = {"api_key": "sk-made-up-key-000000", "base_url": "https://api.example.test/v1", **config}
    transport = httpx.MockTransport(handler) if handler else None
    async with httpx.AsyncClient(transport=transport) as http:
        context = PluginContext(http=http, log=logging.getLogger("test"), clock=FixedClock())
        async with connect(decode_config(Config, config), context) as connection:
            yield connection


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
