"""Local services that embed and rerank, for tests: Text Embeddings Inference and Infinity, without their models.

    async with TeiStub() as stub:                       # stub.url is a base_url
    async with TeiStub(model_type="reranker") as stub:
    async with InfinityStub() as stub:

They refuse what the real ones refuse, in their words (as TEI's `router/src/http` and Infinity's
`infinity_server.py` had them in 2026). A text may hold a directive: [[overloaded]], [[nan]], [[crash]].
"""

from __future__ import annotations

import re
from typing import Any

from tests.support.ollama_stub import Answer, Asked, LocalServer
from tests.support.openai_stub import embed

_WORD = re.compile(r"\w+")


class TeiStub(LocalServer):
    """Text Embeddings Inference: one model a server."""

    def __init__(
        self,
        *,
        model: str = "intfloat/multilingual-e5-large",
        model_type: str = "embedding",
        pooling: str = "mean",
        max_client_batch_size: int = 4,
        max_input_length: int = 20,
        prompts: tuple[str, ...] = ("query", "passage"),
        api_key: str | None = None,
    ) -> None:
        super().__init__(api_key=api_key)
        self.model = model
        self.model_type = model_type
        self.pooling = pooling
        self.max_client_batch_size = max_client_batch_size
        self.max_input_length = max_input_length
        self.prompts = prompts

    async def respond(self, asked: Asked, answer: Answer) -> bool:
        body = asked.body if isinstance(asked.body, dict) else {}
        match asked.method, asked.path.partition("?")[0]:
            case "GET", "/info":
                return await answer.send(200, self._info())
            case "GET", "/health" | "/":
                return await answer.send(200, b"")
            case "POST", "/embed":
                return await self._embed(body, answer)
            case "POST", "/rerank":
                return await self._rerank(body, answer)
        return await answer.send(404, b"")

    def _info(self) -> dict[str, Any]:
        labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        kind = {"pooling": self.pooling} if self.model_type == "embedding" else labels
        return {
            "model_id": self.model,
            "model_sha": None,
            "model_dtype": "float16",
            "model_type": {self.model_type: kind},
            "max_concurrent_requests": 512,
            "max_input_length": self.max_input_length,
            "max_batch_tokens": 16384,
            "max_batch_requests": None,
            "max_client_batch_size": self.max_client_batch_size,
            "auto_truncate": True,
            "tokenization_workers": 4,
            "version": "0.0.0-stub",
            "sha": None,
            "docker_label": None,
        }

    async def _embed(self, body: dict[str, Any], answer: Answer) -> bool:
        texts = [body["inputs"]] if isinstance(body.get("inputs"), str) else list(body.get("inputs") or [])
        if self.model_type != "embedding":
            return await _refuse(answer, 424, "backend", "model is not an embedding model")
        if (name := body.get("prompt_name")) is not None and name not in self.prompts:
            words = (
                f"`default-prompt-name` is set to `{name}` but it was not found in the Sentence Transformers prompts"
            )
            return await _refuse(answer, 413, "validation", words)
        if await self._refused(texts, body, answer):
            return True
        size = int(body.get("dimensions") or 64)
        count = sum(len(text.split()) for text in texts)
        vectors = [embed(text, size) for text in texts]
        return await answer.send(200, vectors, [f"x-compute-tokens: {count}", "x-compute-characters: 1"])

    async def _rerank(self, body: dict[str, Any], answer: Answer) -> bool:
        texts = list(body.get("texts") or [])
        if self.model_type != "reranker":
            return await _refuse(answer, 424, "backend", "model is not a re-ranker model")
        if await self._refused(texts, body, answer):
            return True
        ranks = [{"index": place, "score": near(body["query"], text)} for place, text in enumerate(texts)]
        ranks.sort(key=lambda rank: -rank["score"])
        return await answer.send(200, ranks)

    async def _refused(self, texts: list[str], body: dict[str, Any], answer: Answer) -> bool:
        if not texts:
            return await _refuse(answer, 413, "validation", "`inputs` cannot be empty")
        if len(texts) > self.max_client_batch_size:
            words = f"batch size {len(texts)} > maximum allowed batch size {self.max_client_batch_size}"
            return await _refuse(answer, 413, "validation", words)
        longest = max(len(text.split()) for text in texts)
        if longest > self.max_input_length and body.get("truncate") is False:
            words = f"`inputs` must have less than {self.max_input_length} tokens. Given: {longest}"
            return await _refuse(answer, 413, "validation", words)
        told = " ".join(texts)
        if "[[overloaded]]" in told:
            return await _refuse(answer, 429, "overloaded", "Model is overloaded")
        if "[[nan]]" in told:
            return await answer.send(200, b"[[null,null]]")
        if "[[crash]]" in told:
            return await _refuse(answer, 424, "backend", "Inference error: CUDA out of memory")
        return False


class InfinityStub(LocalServer):
    """Infinity: several models a server, in OpenAI's and Cohere's dialects."""

    def __init__(self, models: dict[str, tuple[str, ...]] | None = None, *, api_key: str | None = None) -> None:
        super().__init__(api_key=api_key)
        self.models = models or {"BAAI/bge-m3": ("embed",), "BAAI/bge-reranker-v2-m3": ("rerank", "classify")}

    async def respond(self, asked: Asked, answer: Answer) -> bool:
        body = asked.body if isinstance(asked.body, dict) else {}
        match asked.method, asked.path.partition("?")[0]:
            case "GET", "/health":
                return await answer.send(200, {"unix": 1.0})
            case "GET", "/models":
                return await answer.send(200, {"data": [self._listed(name) for name in self.models], "object": "list"})
            case "POST", "/embeddings" | "/rerank" as path:
                return await self._work(path, body, answer)
        return await answer.send(404, {"detail": "Not Found"})

    def _listed(self, name: str) -> dict[str, Any]:
        stats = {"queue_fraction": 0.0, "queue_absolute": 0, "results_pending": 0, "batch_size": 32}
        return {
            "id": name,
            "object": "model",
            "owned_by": "infinity",
            "backend": "torch",
            "stats": stats,
            "capabilities": list(self.models[name]),
        }

    async def _work(self, path: str, body: dict[str, Any], answer: Answer) -> bool:
        can = self.models.get(str(body.get("model")))
        if can is None:
            words = (
                f"Invalid model: Engine for model name {body.get('model')} not found. Available: {list(self.models)}"
            )
            return await _openai_error(answer, 400, words)
        needed = {"/embeddings": "embed", "/rerank": "rerank"}[path]
        if needed not in can:
            words = f"ModelNotDeployedError: model=`{body['model']}` does not support `{needed}`. Reason: it cannot"
            return await _openai_error(answer, 400, words)
        texts = list(body.get("input") or body.get("documents") or [])
        if not texts or len(texts) > 2048:
            return await answer.send(422, {"detail": [{"loc": ["body", "input"], "msg": "List should have items"}]})
        if "[[overloaded]]" in " ".join(texts):
            return await _openai_error(answer, 429, f"model {body['model']} is currently overloaded")
        usage = {"prompt_tokens": sum(map(len, texts)), "total_tokens": sum(map(len, texts))}
        if path == "/rerank":
            scored = [{"relevance_score": near(body["query"], text), "index": n} for n, text in enumerate(texts)]
            scored.sort(key=lambda each: -each["relevance_score"])
            return await answer.send(
                200, {"object": "rerank", "results": scored, "model": body["model"], "usage": usage}
            )
        data = [{"object": "embedding", "embedding": embed(text), "index": n} for n, text in enumerate(texts)]
        return await answer.send(200, {"object": "list", "data": data, "model": body["model"], "usage": usage})


def near(query: str, text: str) -> float:
    """The share of the query's words that the text has."""
    wanted, there = set(_WORD.findall(query.lower())), set(_WORD.findall(text.lower()))
    return len(wanted & there) / (len(wanted) or 1)


async def _refuse(answer: Answer, status: int, kind: str, words: str) -> bool:
    return await answer.send(status, {"error": words, "error_type": kind})


async def _openai_error(answer: Answer, status: int, words: str) -> bool:
    return await answer.send(status, {"error": {"message": words, "type": None, "param": None, "code": status}})
