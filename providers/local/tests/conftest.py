"""Connections of every kind whose upstream is a function, or a stub on loopback."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager

import httpx
from folkmoot_provider_local import register_ai_providers
from folkmoot_sdk import ChatRequest, Message, PluginContext, TextPart, decode_config
from folkmoot_sdk.testing.harness import FixedClock

SPECS = {spec.kind: spec for spec in register_ai_providers()}


@asynccontextmanager
async def connected(kind, base_url, handler=None, clock=None, **config):
    """A connection to `base_url`, or to the function `handler` in its place."""
    spec = SPECS[kind]
    transport = httpx.MockTransport(handler) if handler else None
    async with httpx.AsyncClient(transport=transport) as http:
        context = PluginContext(http=http, log=logging.getLogger("test"), clock=clock or FixedClock())
        async with spec.connect(decode_config(spec.config, {"base_url": base_url, **config}), context) as connection:
            yield connection


def question(text="Hello?", model="some-model", **more):
    return ChatRequest(model=model, messages=(Message(role="user", content=(TextPart(text),)),), **more)


async def answer(connection, text, model, **more):
    return [event async for event in connection.chat(question(text, model, **more))]
