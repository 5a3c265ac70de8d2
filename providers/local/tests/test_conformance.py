"""The promises of the SDK, kept by every kind."""

from __future__ import annotations

import json

import httpx
from folkmoot_sdk.testing.harness import Reply
from folkmoot_sdk.testing.providers import ProviderConformance

from providers.local.tests.conftest import SPECS

JSON = {"content-type": "application/json"}
KEY = "made-up-key-000000"


def reply(status, body, kind="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {"content-type": kind}, data)


def vectors(texts):
    return [[float(len(text)), float(sum(map(ord, text)) % 97), 1.0] for text in texts]


def ranked(texts):
    return sorted(
        ({"index": n, "score": 1 / len(text)} for n, text in enumerate(texts)), key=lambda each: -each["score"]
    )


def chat_completions(body):
    """Answers as the dialect has it, with the words of the question."""
    words = ["", "Hallå ", "där, ", body["messages"][-1]["content"]]
    chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 4}})
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return httpx.Response(200, text="".join(lines) + "data: [DONE]\n\n")


def openai_dialect(request):
    """What vLLM, llama.cpp, LM Studio and Infinity have in common."""
    body = json.loads(request.content or b"null")
    match request.url.path.removeprefix("/v1"):
        case "/models":
            rows = [{"id": name} for name in ("qwen3-8b", "nomic-embed-text-v1.5", "bge-reranker-v2-m3")]
            for row, capability in zip(rows, ("none", "embed", "rerank"), strict=True):
                row["capabilities"] = [capability]
            return httpx.Response(200, json={"object": "list", "data": rows})
        case "/embeddings":
            data = [{"index": n, "embedding": vector} for n, vector in enumerate(vectors(body["input"]))]
            return httpx.Response(200, json={"data": data[::-1], "usage": {"prompt_tokens": 9}})
        case "/rerank":
            results = [{"index": one["index"], "relevance_score": one["score"]} for one in ranked(body["documents"])]
            return httpx.Response(200, json={"results": results})
        case "/chat/completions":
            return chat_completions(body)
    return httpx.Response(404, json={"detail": "Not Found"})


def ollama(request):
    """Answers as Ollama does."""
    body = json.loads(request.content or b"null")
    match request.url.path:
        case "/api/tags":
            return httpx.Response(200, json={"models": [{"model": "qwen3:8b"}, {"model": "nomic-embed-text:latest"}]})
        case "/api/show":
            can = ["embedding"] if "embed" in body["model"] else ["completion"]
            return httpx.Response(200, json={"capabilities": can, "model_info": {}})
        case "/api/embed":
            return httpx.Response(200, json={"embeddings": vectors(body["input"]), "prompt_eval_count": 9})
        case "/api/chat":
            words = ["", "Hallå ", "där, ", body["messages"][-1]["content"]]
            lines = [{"message": {"content": word}, "done": False} for word in words]
            counts = {"total_duration": 5_000_000_000, "prompt_eval_count": 5, "eval_count": 4}
            lines.append({"message": {"content": ""}, "done": True, "done_reason": "stop", **counts})
            return httpx.Response(200, text="".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return httpx.Response(404, text="404 page not found")


def tei(kind):
    def answer(request):
        body = json.loads(request.content or b"null")
        match request.url.path:
            case "/info":
                return httpx.Response(200, json={"model_id": f"the-{kind}", "model_type": {kind: {}}})
            case "/embed":
                return httpx.Response(200, json=vectors(body["inputs"]), headers={"x-compute-tokens": "9"})
            case "/rerank":
                return httpx.Response(200, json=ranked(body["texts"]))
        return httpx.Response(404)

    return answer


class Local(ProviderConformance):
    """A server of one's own, with the key that a proxy before it may want."""

    __test__ = False
    address = "http://server.test"
    answers = staticmethod(openai_dialect)

    def config(self):
        return {"api_key": KEY, "base_url": self.address}

    def transport(self):
        return httpx.MockTransport(self.answers)


class TestOllama(Local):
    __test__ = True
    spec = SPECS["ollama"]
    chat_model = "qwen3:8b"
    embedding_model = "nomic-embed-text:latest"
    answers = staticmethod(ollama)

    def failures(self):
        inner = {"error": {"code": 400, "message": "exceeds the context", "type": "exceed_context_size_error"}}
        ended = {"error": "llama runner process has terminated", "status": 500}
        return {
            "unknown-model": reply(404, {"error": "model 'x' not found"}),
            "too-long": reply(400, {"error": json.dumps(inner)}),
            "overloaded": reply(503, {"error": "server busy, please try again. maximum pending requests exceeded"}),
            "error-in-200": reply(200, json.dumps(ended).encode() + b"\n", "application/x-ndjson"),
        }


class TestVllm(Local):
    __test__ = True
    spec = SPECS["vllm"]
    chat_model = "qwen3-8b"
    embedding_model = "nomic-embed-text-v1.5"
    rerank_model = "bge-reranker-v2-m3"

    def failures(self):
        def flat(code, message, kind):
            return reply(code, {"object": "error", "message": message, "type": kind, "param": None, "code": code})

        return {
            "unknown-model": flat(404, "The model `x` does not exist.", "NotFoundError"),
            "too-long": flat(400, "This model's maximum context length is 8 tokens.", "BadRequestError"),
            "error-in-200": reply(200, b'data: {"error":{"message":"EngineDeadError","code":500}}\n\n'),
        }


class TestLlamaCpp(Local):
    __test__ = True
    spec = SPECS["llama-cpp"]
    chat_model = "qwen3-8b"
    embedding_model = "nomic-embed-text-v1.5"
    rerank_model = "bge-reranker-v2-m3"

    def failures(self):
        def error(code, message, kind):
            return reply(code, {"error": {"code": code, "message": message, "type": kind}})

        return {
            "too-long": error(400, "request (9 tokens) exceeds the available", "exceed_context_size_error"),
            "overloaded": error(503, "Loading model", "unavailable_error"),
            "error-in-200": reply(200, b'data: {"error":{"code":500,"message":"Compute error."}}\n\n'),
        }


class TestLmStudio(Local):
    __test__ = True
    spec = SPECS["lm-studio"]
    chat_model = "qwen3-8b"
    embedding_model = "nomic-embed-text-v1.5"

    def failures(self):
        return {"error-in-200": reply(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"})}


class TestTei(Local):
    __test__ = True
    spec = SPECS["tei"]
    embedding_model = "the-embedding"
    answers = staticmethod(tei("embedding"))


class TestTeiReranker(Local):
    __test__ = True
    spec = SPECS["tei"]
    rerank_model = "the-reranker"
    answers = staticmethod(tei("reranker"))


class TestInfinity(Local):
    __test__ = True
    spec = SPECS["infinity"]
    embedding_model = "nomic-embed-text-v1.5"
    rerank_model = "bge-reranker-v2-m3"
