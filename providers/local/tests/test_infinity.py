"""Infinity, against a real server on a real socket."""

from __future__ import annotations

import httpx
import pytest
from folkmoot_sdk import (
    BadResponse,
    ContextTooLong,
    EmbedRequest,
    InvalidRequest,
    ModelNotFound,
    Price,
    ProviderError,
    Ranked,
    RateLimited,
    RerankRequest,
    Unavailable,
)

from providers.local.tests.conftest import connected
from tests.support.tei_stub import InfinityStub

BGE = "BAAI/bge-m3"
RERANKER = "BAAI/bge-reranker-v2-m3"


@pytest.fixture
async def stub():
    async with InfinityStub() as stub:
        yield stub


@pytest.fixture
async def infinity(stub):
    async with connected("infinity", stub.url) as connection:
        yield connection


async def test_models_are_listed_by_what_they_can(stub, infinity):
    stub.models |= {"openai/clip": ("image_embed", "embed"), "roberta-emotions": ("classify",)}
    models = await infinity.models()
    assert [(model.name, model.kind) for model in models] == [
        (BGE, "embedding"),
        ("openai/clip", "embedding"),
        (RERANKER, "rerank"),
    ]
    assert (models[0].dimensions, models[0].max_batch, models[0].price) == (1024, 32, Price())


async def test_older_releases_have_one_model_and_no_capabilities():
    def handler(_):
        return httpx.Response(200, json={"data": {"id": BGE, "stats": {"batch_size": 64}}, "object": "list"})

    async with connected("infinity", "http://i.test", handler) as connection:
        (model,) = await connection.models()
    assert (model.name, model.kind, model.max_batch) == (BGE, "embedding", 64)


async def test_vectors_with_prefixes(stub, infinity):
    stub.models = {"intfloat/e5-small-v2": ("embed",)}
    got = await infinity.embed(EmbedRequest("intfloat/e5-small-v2", ("a", "b"), purpose="query"))
    assert ([len(vector) for vector in got.vectors], got.input_tokens) == ([64, 64], 16)
    assert stub.requests[0].body["input"] == ["query: a", "query: b"]
    async with connected("infinity", stub.url, query_prefix="Q: ") as connection:
        await connection.embed(EmbedRequest("intfloat/e5-small-v2", ("a",), purpose="query"))
    assert stub.requests[1].body["input"] == ["Q: a"]


async def test_reranking_best_first(stub, infinity):
    texts = ("snow", "a red car", "a red apple")
    ranked = await infinity.rerank(RerankRequest(RERANKER, "red apple", texts))
    assert ranked == [Ranked(2, 1.0), Ranked(1, 0.5), Ranked(0, 0.0)]
    assert stub.requests[0].body["return_documents"] is False


async def test_ranks_of_older_releases_have_another_name():
    def handler(_):
        return httpx.Response(200, json={"data": [{"index": 0, "relevance_score": 0.2}]})

    async with connected("infinity", "http://i.test", handler) as connection:
        assert await connection.rerank(RerankRequest(RERANKER, "q", ("a",))) == [Ranked(0, 0.2)]


async def test_thousands_of_texts_go_in_several_requests(stub, infinity):
    texts = tuple(f"text {n}" for n in range(2050))
    assert len(await infinity.rerank(RerankRequest(RERANKER, "text 2049", texts))) == 2050
    assert len((await infinity.embed(EmbedRequest(BGE, texts))).vectors) == 2050
    assert len(stub.requests) == 4


@pytest.mark.parametrize(
    ("model", "text", "kind"),
    [("gone", "a", ModelNotFound), (RERANKER, "a", InvalidRequest), (BGE, "[[overloaded]]", RateLimited)],
)
async def test_every_refusal_is_its_own_error(infinity, model, text, kind):
    with pytest.raises(kind):
        await infinity.embed(EmbedRequest(model, (text,)))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, {"detail": [{"msg": "String should have at most 122880 characters"}]}, ContextTooLong),
        (422, {"detail": [{"msg": "Field required"}]}, InvalidRequest),
        (500, {"error": {"message": "InternalServerError: CUDA"}}, Unavailable),
        (200, {"results": [{"index": 5, "relevance_score": 1}]}, BadResponse),
        (200, {"error": {"message": "CUDA error", "code": 500}}, Unavailable),
        (200, ["what"], BadResponse),
    ],
)
async def test_refusals_and_nonsense_of_reranking(status, body, kind):
    async with connected("infinity", "http://i.test", lambda _: httpx.Response(status, json=body)) as connection:
        with pytest.raises(ProviderError) as raised:
            await connection.rerank(RerankRequest(RERANKER, "q", ("a",)))
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    "handler", [lambda _: httpx.Response(404, json={"detail": "Not Found"}), lambda _: httpx.Response(200, text="[]")]
)
async def test_another_server_at_the_address_is_told_by_its_field(handler):
    async with connected("infinity", "http://i.test", handler) as connection:
        with pytest.raises(ProviderError, match="does not answer as Infinity does") as raised:
            await connection.models()
    assert raised.value.field == "base_url"
