"""The promises of the SDK, kept by a resource with a key and by one with Entra ID, in both forms of the API."""

from __future__ import annotations

import json

import httpx
from folkmoot_provider_azure import register_ai_providers
from folkmoot_sdk.testing.harness import Reply
from folkmoot_sdk.testing.providers import ProviderConformance

from providers.azure.tests.conftest import DEPLOYMENTS, ENTRA, KEY, error

JSON = {"content-type": "application/json"}


def reply(status: int, *said, **more) -> Reply:
    return Reply(status, JSON, json.dumps(error(*said, **more)).encode())


def upstream(request: httpx.Request) -> httpx.Response:
    """Answers as Azure does, with the words of the question."""
    path = request.url.path
    if path.endswith("/oauth2/v2.0/token"):
        return httpx.Response(200, json={"access_token": "made-up-token", "expires_in": 3599})
    if path.endswith("/audio/transcriptions"):
        if request.headers["content-type"] == "application/json":
            return httpx.Response(415)
        return httpx.Response(200, json={"text": "Hej.", "duration": 1.5, "segments": []})
    body = json.loads(request.content)
    if path.endswith("/embeddings") and "input" in body:
        vectors = [{"index": n, "embedding": [float(len(t)), 1.0]} for n, t in enumerate(body["input"])]
        return httpx.Response(200, json={"data": vectors[::-1], "usage": {"prompt_tokens": 9}})
    if "messages" not in body:
        return httpx.Response(400, json=error("Missing required parameter: 'messages'.", "missing_required_parameter"))
    words = ["", "Hallå ", "där, ", body["messages"][-1]["content"]]
    chunks = [{"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]}]
    chunks += [{"choices": [{"index": 0, "delta": {"content": word}, "content_filter_results": {}}]} for word in words]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if "stream_options" in body:
        chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 4}})
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return httpx.Response(200, text="".join(lines) + "data: [DONE]\n\n")


class TestAzure(ProviderConformance):
    spec = register_ai_providers()[0]
    chat_model = "prod-chat"
    embedding_model = "vectors"
    transcription_model = "ears"
    names_fields = True

    def config(self):
        return {"endpoint": "https://council.openai.azure.com", "deployments": DEPLOYMENTS, **KEY}

    def transport(self):
        return httpx.MockTransport(upstream)

    def failures(self):
        denied = "Access denied due to invalid subscription key or wrong API endpoint."
        gone = "The API deployment for this resource does not exist."
        return {
            "unauthorized": reply(401, denied, "401"),
            "unknown-model": reply(404, gone, "DeploymentNotFound"),
            "too-long": reply(400, "maximum context length is 8192 tokens", "context_length_exceeded"),
            "quota-exhausted": reply(429, "You exceeded your current quota", "insufficient_quota"),
            "error-in-200": Reply(
                200,
                {"content-type": "text/event-stream"},
                b"data: " + json.dumps(error("The server had an error", "server_error")).encode() + b"\n\n",
            ),
        }


class TestAzureByVersion(TestAzure):
    def config(self):
        return {**super().config(), "api_version": "2024-06-01"}


class TestAzureByEntra(TestAzure):
    def config(self):
        return {"endpoint": "https://council.openai.azure.com", "deployments": DEPLOYMENTS, **ENTRA}

    def transport(self):
        return httpx.MockTransport(upstream)

    def signs_in(self, request):
        return request.url.path.endswith("/oauth2/v2.0/token")
