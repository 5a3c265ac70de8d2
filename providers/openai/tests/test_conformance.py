"""The promises of the SDK, kept."""

from __future__ import annotations

import json

import httpx
from folkmoot_provider_openai import register_ai_providers
from folkmoot_sdk.testing.harness import Reply
from folkmoot_sdk.testing.providers import ProviderConformance

JSON = {"content-type": "application/json"}


def error(message: str, code: str | None, kind: str = "invalid_request_error") -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def upstream(request: httpx.Request) -> httpx.Response:
    """Answers as OpenAI does, with the words of the question."""
    if request.url.path == "/v1/models":
        names = ("gpt-4o-mini", "text-embedding-3-small", "whisper-1")
        return httpx.Response(200, json={"data": [{"id": name} for name in names]})
    if request.url.path == "/v1/audio/transcriptions":
        segment = {"start": 0.0, "end": 1.5, "text": " Hej."}
        return httpx.Response(200, json={"text": "Hej.", "duration": 1.5, "segments": [segment]})
    body = json.loads(request.content)
    if request.url.path == "/v1/embeddings":
        vectors = [{"index": n, "embedding": [float(len(t)), 1.0]} for n, t in enumerate(body["input"])]
        return httpx.Response(200, json={"data": vectors[::-1], "usage": {"prompt_tokens": 9}})
    words = ["", "Hallå ", "där, ", body["messages"][-1]["content"]]
    chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 5, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}
    chunks.append({"choices": [], "usage": usage})
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return httpx.Response(200, text="".join(lines) + "data: [DONE]\n\n")


class TestOpenAI(ProviderConformance):
    spec = register_ai_providers()[0]
    chat_model = "gpt-4o-mini"
    embedding_model = "text-embedding-3-small"
    transcription_model = "whisper-1"
    names_fields = True

    def config(self):
        return {"api_key": "sk-made-up-key-000000", "base_url": "https://api.example.test/v1"}

    def transport(self):
        return httpx.MockTransport(upstream)

    def failures(self):
        too_long = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
        return {
            "unauthorized": Reply(401, JSON, error("Incorrect API key provided", "invalid_api_key")),
            "unknown-model": Reply(404, JSON, error("The model `x` does not exist", "model_not_found")),
            "too-long": Reply(400, JSON, error(too_long, "context_length_exceeded")),
            "quota-exhausted": Reply(
                429, JSON, error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")
            ),
            "error-in-200": Reply(
                200,
                {"content-type": "text/event-stream"},
                b"data: " + error("The server had an error", None, "server_error") + b"\n\n",
            ),
        }
