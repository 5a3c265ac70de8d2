"""Which models are on offer, what is known of them, and how texts become vectors."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_provider_openai import catalogue
from folkmoot_sdk import BadResponse, EmbedRequest, ModelInfo

from providers.openai.tests.conftest import connected


def listing(*models):
    listed = [model if isinstance(model, dict) else {"id": model} for model in models]
    return lambda _: httpx.Response(200, json={"object": "list", "data": listed})


async def names(handler, **config):
    async with connected(handler, **config) as connection:
        return [model.name for model in await connection.models()]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt-4o-mini", "chat"),
        ("openai/gpt-5", "chat"),
        ("llama3.1:8b", "chat"),
        ("text-embedding-3-small", "embedding"),
        ("BAAI/bge-m3", "embedding"),
        ("intfloat/multilingual-e5-large", "embedding"),
        ("thenlper/gte-small", "embedding"),
        ("sentence-transformers/all-MiniLM-L6-v2", "embedding"),
        ("nomic-embed-text:latest", "embedding"),
        ("qwen3-embedding:8b", "embedding"),
        ("whisper-1", "transcription"),
        ("gpt-4o-transcribe", "transcription"),
        ("tts-1-hd", None),
        ("dall-e-3", None),
        ("gpt-image-1", None),
        ("omni-moderation-latest", None),
        ("gpt-4o-realtime-preview", None),
        ("gpt-4o-audio-preview", None),
        ("bge-reranker-v2-m3", None),
        ("babbage-002", None),
    ],
)
def test_a_name_tells_what_a_model_does(name, kind):
    assert catalogue.kind_of(name) == kind


async def test_the_best_default_of_each_kind_is_first_and_snapshots_come_after_their_model():
    order = await names(
        listing(
            "gpt-3.5-turbo",
            "text-embedding-ada-002",
            "gpt-4o-2024-08-06",
            "gpt-4o",
            "gpt-5-nano",
            "whisper-1",
            "gpt-5.1",
            "text-embedding-3-large",
            "gpt-5.2",
            "tts-1",
            "text-embedding-3-small",
        )
    )
    assert order == [
        "gpt-5.2",
        "gpt-5.1",
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-5-nano",
        "gpt-3.5-turbo",
        "text-embedding-3-small",
        "text-embedding-3-large",
        "text-embedding-ada-002",
    ]


async def test_models_nobody_knows_keep_their_order():
    assert await names(listing("zeta-7b", "alpha-70b", "mu-1b")) == ["zeta-7b", "alpha-70b", "mu-1b"]


async def test_what_the_service_says_goes_before_what_the_table_says():
    handler = listing({"id": "gpt-4o", "context_length": 9}, {"id": "own", "max_model_len": 4096, "type": "embedding"})
    async with connected(handler) as connection:
        chat, own = await connection.models()
    assert (chat.context_window, chat.max_output_tokens, chat.vision, chat.tools) == (9, 16_384, True, True)
    assert own == ModelInfo("own", "embedding", context_window=4096, max_batch=32)


async def test_models_named_in_the_configuration_ask_nobody():
    def handler(request):
        raise AssertionError(request.url)

    async with connected(handler, chat_models=["a", "a"], embedding_models=["text-embedding-3-large"]) as connection:
        chat, embedding = await connection.models()
    assert (chat.name, chat.kind) == ("a", "chat")
    assert (embedding.kind, embedding.dimensions) == ("embedding", 3072)


@pytest.mark.parametrize("body", ["<html>", "{}", '{"data": 1}', "[[]]", "", '{"models": []}'])
async def test_a_list_that_is_none_says_what_to_do(body):
    with pytest.raises(BadResponse, match="name the models"):
        await names(lambda _: httpx.Response(200, text=body))


def vectors(*pairs):
    return {"data": [{"index": index, "embedding": vector} for index, vector in pairs], "usage": {"prompt_tokens": 3}}


async def embed(answer, texts=("a", "b"), model="bge-m3", **more):
    seen = []

    def handler(request):
        seen.append(json.loads(request.content))
        return httpx.Response(200, json=answer(seen[-1]) if callable(answer) else answer)

    async with connected(handler) as connection:
        return await connection.embed(EmbedRequest(model, tuple(texts), **more)), seen


async def test_vectors_come_back_in_the_order_of_their_texts():
    got, seen = await embed(vectors((1, [0, 2]), (0, [1, 0])), dimensions=2)
    assert got.vectors == [[1.0, 0.0], [0.0, 2.0]]
    assert got.input_tokens == 3
    assert seen == [{"model": "bge-m3", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2}]


async def test_many_texts_go_in_batches_and_an_empty_one_spoils_none():
    got, seen = await embed(
        lambda body: vectors(*((n, [float(len(text))]) for n, text in enumerate(body["input"]))),
        texts=["x" * n for n in range(70)],
    )
    assert [len(body["input"]) for body in seen] == [32, 32, 6]
    assert [vector[0] for vector in got.vectors] == [1.0, *range(1, 70)]
    assert got.input_tokens == 9


async def test_models_that_were_taught_prefixes_get_them():
    answer = vectors((0, [1.0]))
    for model, purpose, text in (
        ("intfloat/multilingual-e5-base", "query", "query: snö"),
        ("intfloat/multilingual-e5-base", "document", "passage: snö"),
        ("nomic-embed-text:v1.5", "query", "search_query: snö"),
        ("text-embedding-3-small", "query", "snö"),
    ):
        _, seen = await embed(answer, ["snö"], model, purpose=purpose)
        assert seen[0]["input"] == [text]


@pytest.mark.parametrize(
    "answer",
    [
        vectors((0, [1.0])),
        vectors((0, [1.0]), (0, [2.0])),
        vectors((0, [1.0]), (1, [1.0, 2.0])),
        vectors((0, []), (1, [])),
        vectors((0, ["x"]), (1, [1.0])),
        {"data": None},
        {},
        {"error": {"message": "boom"}},
    ],
)
async def test_vectors_that_do_not_fit_the_texts_are_a_bad_response(answer):
    with pytest.raises(BadResponse):
        await embed(answer)
