"""The promises of the SDK, kept."""

from __future__ import annotations

import json

import httpx
from folkmoot_provider_anthropic import register_ai_providers
from folkmoot_sdk.testing.harness import Reply
from folkmoot_sdk.testing.providers import ProviderConformance

from providers.anthropic.tests.conftest import ENDED, MODEL, STOPPED, block, sse, text

JSON = {"content-type": "application/json"}


def error(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).encode()


def upstream(request: httpx.Request) -> httpx.Response:
    """Answers as Anthropic does, with the words of the question."""
    if request.url.path == "/v1/models":
        return httpx.Response(200, json={"data": [{"id": MODEL, "type": "model"}], "has_more": False})
    body = json.loads(request.content)
    asked = body["messages"][-1]["content"][-1]["text"]
    usage = {"input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 1}
    thought = [{"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "sig"}]
    events = [
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "ping"},
        *block(0, {"type": "thinking", "thinking": "", "signature": ""}, *thought),
        *text(1, "Hallå ", "där, ", asked),
        ENDED,
        STOPPED,
    ]
    return httpx.Response(200, text=sse(*events), headers={"content-type": "text/event-stream"})


class TestAnthropic(ProviderConformance):
    spec = register_ai_providers()[0]
    chat_model = MODEL

    def config(self):
        return {"api_key": "sk-ant-made-up-000000"}

    def transport(self):
        return httpx.MockTransport(upstream)

    def failures(self):
        return {
            "unauthorized": Reply(401, JSON, error("authentication_error", "invalid x-api-key")),
            "forbidden": Reply(403, JSON, error("permission_error", "Your API key may not use this resource")),
            "unknown-model": Reply(404, JSON, error("not_found_error", "model: claude-none")),
            "too-long": Reply(
                400, JSON, error("invalid_request_error", "prompt is too long: 1000001 tokens > 1000000 maximum")
            ),
            "quota-exhausted": Reply(
                400, JSON, error("invalid_request_error", "Your credit balance is too low to access the Claude API.")
            ),
            "overloaded": Reply(529, JSON, error("overloaded_error", "Overloaded")),
            "error-in-200": Reply(
                200,
                {"content-type": "text/event-stream"},
                b"event: error\ndata: " + error("overloaded_error", "Overloaded") + b"\n\n",
            ),
        }
