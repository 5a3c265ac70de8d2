"""Text Embeddings Inference, against a real server on a real socket."""

from __future__ import annotations

import httpx
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
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
from folkmoot_sdk.testing.harness import FixedClock

from providers.local.tests.conftest import connected
from tests.support.tei_stub import TeiStub

E5 = "intfloat/multilingual-e5-large"
RERANKER = "BAAI/bge-reranker-v2-m3"


@pytest.fixture
async def stub():
    async with TeiStub() as stub:
        yield stub


def embedding(*texts, model=E5, **more):
    return EmbedRequest(model, texts, **more)


def sent(stub, path):
    return [request.body for request in stub.requests if request.path == path]


async def test_the_one_model_is_listed_as_what_it_is():
    async with TeiStub() as stub, connected("tei", stub.url) as connection:
        (model,) = await connection.models()
    assert (model.name, model.kind, model.dimensions) == (E5, "embedding", 1024)
    assert (model.context_window, model.max_batch, model.max_batch_tokens) == (20, 4, 16384)
    assert (model.price, model.dialect) == (Price(), "")
    async with TeiStub(model=RERANKER, model_type="reranker") as stub, connected("tei", stub.url) as connection:
        (model,) = await connection.models()
    assert (model.name, model.kind, model.max_batch) == (RERANKER, "rerank", 4)


@pytest.mark.parametrize("what", [{"model_type": "classifier"}, {"pooling": "splade"}])
async def test_a_model_that_does_neither_is_told(what):
    async with TeiStub(**what) as stub, connected("tei", stub.url) as connection:
        with pytest.raises(InvalidRequest, match="of no use here") as raised:
            await connection.models()
    assert raised.value.field == "base_url"


async def test_vectors_in_batches_that_the_server_takes(stub):
    async with connected("tei", stub.url) as connection:
        got = await connection.embed(embedding(*(f"text {n}" for n in range(9)), " "))
        alone = await connection.embed(embedding("text 7"))
    assert len(got.vectors) == 10
    assert got.vectors[7] == alone.vectors[0]
    bodies = sent(stub, "/embed")
    assert [len(body["inputs"]) for body in bodies] == [4, 4, 2, 1]
    assert all(body["truncate"] is False for body in bodies)
    assert got.input_tokens == 9 * 3 + 1
    assert len(sent(stub, "/info")) == 1


async def test_each_text_gets_the_prefix_that_the_model_was_trained_with(stub):
    async with connected("tei", stub.url) as connection:
        await connection.embed(embedding("where?", purpose="query"))
        await connection.embed(embedding("here"))
    async with connected("tei", stub.url, query_prefix="", document_prefix="doc: ") as connection:
        await connection.embed(embedding("where?", purpose="query"))
        await connection.embed(embedding("here"))
    async with connected("tei", stub.url, query_prompt_name="query") as connection:
        await connection.embed(embedding("where?", purpose="query", dimensions=8))
    bodies = sent(stub, "/embed")
    assert [body["inputs"][0] for body in bodies] == ["query: where?", "passage: here", "where?", "doc: here", "where?"]
    assert (bodies[4]["prompt_name"], bodies[4]["dimensions"]) == ("query", 8)


async def test_reranking_goes_in_batches_and_comes_back_as_one_list():
    texts = ("snow", "a red car", "rain", "wind", "fog", "a red apple", "ice")
    async with TeiStub(model=RERANKER, model_type="reranker") as stub, connected("tei", stub.url) as connection:
        ranked = await connection.rerank(RerankRequest(RERANKER, "red apple", texts))
        assert await connection.rerank(RerankRequest(RERANKER, "red apple", ())) == []
    assert ranked[:2] == [Ranked(5, 1.0), Ranked(1, 0.5)]
    assert sorted(one.index for one in ranked) == list(range(7))
    assert [len(body["texts"]) for body in sent(stub, "/rerank")] == [4, 3]


async def test_a_server_that_now_runs_another_model_is_noticed(stub):
    async with connected("tei", stub.url) as connection:
        with pytest.raises(ModelNotFound, match="refresh the model list"):
            await connection.embed(embedding("a", model="BAAI/bge-m3"))
        with pytest.raises(ModelNotFound):
            await connection.rerank(RerankRequest(E5, "q", ("a",)))
        # What it said is not remembered once it has proved wrong.
        stub.model = "BAAI/bge-m3"
        assert (await connection.embed(embedding("a", model="BAAI/bge-m3"))).vectors
    assert sent(stub, "/rerank") == []


class Turned(FixedClock):
    seconds = 0.0

    def monotonic(self):
        return self.seconds


async def test_what_the_server_runs_is_believed_for_a_minute(stub):
    clock = Turned()
    async with connected("tei", stub.url, clock=clock) as connection:
        for clock.seconds in (0.0, 59.0, 61.0, 62.0):
            await connection.embed(embedding("a"))
        assert len(sent(stub, "/info")) == 2
        stub.model, clock.seconds = "BAAI/bge-m3", 200.0
        with pytest.raises(ModelNotFound):
            await connection.embed(embedding("a"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("word " * 30, ContextTooLong),
        ("a [[overloaded]]", RateLimited),
        ("a [[crash]]", Unavailable),
        ("a [[nan]]", BadResponse),
    ],
)
async def test_every_refusal_is_its_own_error(stub, text, kind):
    async with connected("tei", stub.url) as connection:
        with pytest.raises(kind):
            await connection.embed(embedding("fine", text))


async def test_a_batch_that_is_too_large_can_be_halved():
    def shrunk(request):
        if request.url.path == "/info":
            info = {"model_id": E5, "model_type": {"embedding": {"pooling": "cls"}}}
            return httpx.Response(200, json=info)
        words = "batch size 2 > maximum allowed batch size 1"
        return httpx.Response(413, json={"error": words, "error_type": "validation"})

    async with connected("tei", "http://t.test", shrunk) as connection:
        with pytest.raises(InvalidRequest, match="batch size 2") as raised:
            await connection.embed(embedding("a", "b"))
    assert not isinstance(raised.value, ContextTooLong)


async def test_a_prompt_that_the_model_has_not_is_told(stub):
    async with connected("tei", stub.url, query_prompt_name="other") as connection:
        with pytest.raises(InvalidRequest, match="not found in the Sentence Transformers"):
            await connection.embed(embedding("a", purpose="query"))


async def test_a_wrong_key_names_the_field():
    async with TeiStub(api_key="right") as stub, connected("tei", stub.url) as connection:
        with pytest.raises(AuthenticationFailed) as raised:
            await connection.models()
    assert raised.value.field == "api_key"


@pytest.mark.parametrize(
    "handler",
    [
        lambda _: httpx.Response(404, text=""),
        lambda _: httpx.Response(200, html="<!doctype html>"),
        lambda _: httpx.Response(200, json={"data": []}),
        lambda _: httpx.Response(200, json={"model_id": "x", "model_type": 5}),
    ],
)
async def test_another_server_at_the_address_is_told_by_its_field(handler):
    async with connected("tei", "http://t.test", handler) as connection:
        with pytest.raises(ProviderError, match="does not answer as Text Embeddings Inference does") as raised:
            await connection.models()
    assert raised.value.field == "base_url"


@pytest.mark.parametrize("ending", ["/", "/embed", "/v1/embeddings"])
async def test_what_people_paste_behind_the_address_does_no_harm(stub, ending):
    async with connected("tei", stub.url + ending) as connection:
        assert len(await connection.models()) == 1


@pytest.mark.parametrize(
    "ranks",
    [
        [],
        [{"index": 0, "score": 1.0}],
        [{"index": 0, "score": 1.0}, {"index": 0, "score": 0.5}],
        [{"index": 0, "score": 1.0}, {"index": 2, "score": 0.5}],
        [{"index": 0, "score": 1.0}, {"index": 1}],
        {"ranks": 1},
    ],
)
async def test_ranks_that_are_none_are_a_bad_response(ranks):
    def handler(request):
        info = {"model_id": RERANKER, "model_type": {"reranker": {}}}
        return httpx.Response(200, json=info if request.url.path == "/info" else ranks)

    async with connected("tei", "http://t.test", handler) as connection:
        with pytest.raises(BadResponse):
            await connection.rerank(RerankRequest(RERANKER, "q", ("a", "b")))
