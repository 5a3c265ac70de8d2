"""The stubs embed, rerank and refuse as TEI and Infinity do."""

from __future__ import annotations

import httpx
import pytest

from tests.support.tei_stub import InfinityStub, TeiStub


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=5) as client:
        yield client


async def test_tei_serves_one_model_and_says_which(http):
    async with TeiStub() as stub:
        info = (await http.get(f"{stub.url}/info")).json()
        assert (info["model_type"], info["max_client_batch_size"]) == ({"embedding": {"pooling": "mean"}}, 4)
        response = await http.post(f"{stub.url}/embed", json={"inputs": ["snow", "rain and wind"]})
        assert (len(response.json()), response.headers["x-compute-tokens"]) == (2, "4")
        assert (await http.post(f"{stub.url}/rerank", json={"query": "a", "texts": ["a"]})).status_code == 424


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"inputs": ["a"] * 5}, 413, "batch size 5 > maximum allowed batch size 4"),
        ({"inputs": ["word " * 30], "truncate": False}, 413, "must have less than 20 tokens. Given: 30"),
        ({"inputs": ["a [[overloaded]]"]}, 429, "Model is overloaded"),
        ({"inputs": ["a"], "prompt_name": "other"}, 413, "not found in the Sentence Transformers prompts"),
        ({"inputs": []}, 413, "cannot be empty"),
    ],
)
async def test_tei_refuses(http, asked, status, words):
    async with TeiStub() as stub:
        response = await http.post(f"{stub.url}/embed", json=asked)
        assert response.status_code == status
        assert words in response.json()["error"]


async def test_tei_shortens_unless_told_not_to(http):
    async with TeiStub() as stub:
        assert (await http.post(f"{stub.url}/embed", json={"inputs": ["word " * 30]})).status_code == 200


async def test_tei_reranks_best_first(http):
    async with TeiStub(model_type="reranker") as stub:
        asked = {"query": "red apple", "texts": ["snow", "a red apple", "a red car"]}
        ranks = (await http.post(f"{stub.url}/rerank", json=asked)).json()
        assert [rank["index"] for rank in ranks] == [1, 2, 0]


async def test_infinity_does_both_with_the_right_model(http):
    async with InfinityStub() as stub:
        listed = (await http.get(f"{stub.url}/models")).json()["data"]
        assert [model["capabilities"] for model in listed] == [["embed"], ["rerank", "classify"]]
        asked = {"model": "BAAI/bge-m3", "input": ["snow"]}
        assert len((await http.post(f"{stub.url}/embeddings", json=asked)).json()["data"]) == 1
        wrong = await http.post(f"{stub.url}/rerank", json={"model": "BAAI/bge-m3", "query": "q", "documents": ["d"]})
        assert "ModelNotDeployedError" in wrong.json()["error"]["message"]
        assert (await http.post(f"{stub.url}/embeddings", json=asked | {"model": "x"})).status_code == 400
