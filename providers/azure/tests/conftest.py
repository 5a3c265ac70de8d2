"""A resource that is a function, and Entra ID beside it."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
from folkmoot_provider_azure import Config, connect
from folkmoot_sdk import PluginContext, decode_config
from folkmoot_sdk.testing.harness import NOW, FixedClock

from plugins.sdk.tests.upstream import delta, question, sse

__all__ = ["DEPLOYMENTS", "ENTRA", "KEY", "Clock", "Resource", "connected", "delta", "error", "question", "sse"]

KEY = {"api_key": "made-up-azure-key-0000"}
ENTRA = {
    "tenant_id": "11111111-2222-3333-4444-555555555555",
    "client_id": "66666666-7777-8888-9999-000000000000",
    "client_secret": "made-up~client.secret",
}
DEPLOYMENTS = [
    {"name": "prod-chat", "model": "gpt-5.2"},
    {"name": "vectors", "model": "text-embedding-3-small"},
    {"name": "ears", "model": "whisper"},
]


def error(message="", code=None, **more):
    return {"error": {"message": message, "code": code, **more}}


class Clock(FixedClock):
    """Stands where it is put."""

    def __init__(self):
        self.past = timedelta(0)

    def now(self):
        return NOW + self.past


class Resource:
    """Answers as a resource with `DEPLOYMENTS` does, and as Entra ID; keeps what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        """What it says next instead, to anything but the token's fetch."""
        self.asked = []
        self.fetched = []
        self.tokens = (f"made-up-token-{n}" for n in range(1, 99))
        self.token = {"token_type": "Bearer", "expires_in": 3599}

    def __call__(self, request):
        if request.url.path.endswith("/oauth2/v2.0/token"):
            self.fetched.append(request)
            if isinstance(self.token, httpx.Response):
                return self.token
            return httpx.Response(200, json={**self.token, "access_token": next(self.tokens)})
        self.asked.append(request)
        if self.answers:
            answer = self.answers.pop(0)
            return answer(request) if callable(answer) else answer
        return httpx.Response(400, json=error("missing fields", "invalid_request"))

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.asked]


@asynccontextmanager
async def connected(handler=None, *, clock=None, **config):
    config = {"endpoint": "https://council.openai.azure.com", "deployments": DEPLOYMENTS, **config}
    if not any(name in config for name in ("api_key", "tenant_id", "client_id", "client_secret")):
        config |= KEY
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler or Resource())) as http:
        context = PluginContext(http=http, log=logging.getLogger("test"), clock=clock or FixedClock())
        async with connect(decode_config(Config, config), context) as connection:
            yield connection
