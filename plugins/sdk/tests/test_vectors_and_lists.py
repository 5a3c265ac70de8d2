"""Texts become vectors in their order, and a list of models is one or is refused."""

from __future__ import annotations

import json

import httpx
import pytest
from folkmoot_sdk import AuthenticationFailed, BadResponse, EmbedRequest, InvalidRequest, ModelNotFound
from folkmoot_sdk.chat_completions import ListedModel, check_named, embed, list_models, list_models_if_any
from folkmoot_sdk.http import Asked

from plugins.sdk.tests.upstream import service


def vectors(*pairs, usage=None):
    data = [{"index": index, "embedding": vector} for index, vector in pairs]
    return {"data": data, "usage": usage or {"prompt_tokens": 3}}


async def embedded(answer, texts=("a", "b"), *, batch=32, prefix="", **more):
    seen = []

    def handler(request):
        seen.append(json.loads(request.content))
        return httpx.Response(200, json=answer(seen[-1]) if callable(answer) else answer)

    async with service(handler) as reached:
        request = EmbedRequest("bge-m3", tuple(texts), **more)
        return await embed(reached, request, Asked("bge-m3"), batch=batch, prefix=prefix), seen


async def test_vectors_come_back_in_the_order_of_their_texts():
    got, seen = await embedded(vectors((1, [0, 2]), (0, [1, 0])), dimensions=2)
    assert got.vectors == [[1.0, 0.0], [0.0, 2.0]]
    assert got.input_tokens == 3
    assert seen == [{"model": "bge-m3", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2}]


async def test_nothing_is_sent_as_null():
    _, seen = await embedded(vectors((0, [1.0]), (1, [1.0])))
    assert None not in seen[0].values()
    assert "dimensions" not in seen[0]


async def test_many_texts_go_in_batches_and_an_empty_one_spoils_none():
    got, seen = await embedded(
        lambda body: vectors(*((n, [float(len(text))]) for n, text in enumerate(body["input"]))),
        texts=["x" * n for n in range(70)],
    )
    assert [len(body["input"]) for body in seen] == [32, 32, 6]
    assert [vector[0] for vector in got.vectors] == [1.0, *range(1, 70)]
    assert got.input_tokens == 9


async def test_a_prefix_stands_before_every_text():
    _, seen = await embedded(vectors((0, [1.0])), ["snö"], prefix="query: ")
    assert seen[0]["input"] == ["query: snö"]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [({"total_tokens": 5}, 5), ({"prompt_tokens": "x"}, None), ("none", None), ({"prompt_tokens": 0}, None)],
)
async def test_tokens_that_are_not_told_are_not_made_up(usage, tokens):
    got, _ = await embedded(vectors((0, [1.0]), usage=usage), ["a"])
    assert got.input_tokens == tokens


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
        {"object": "list", "error": {"message": "boom"}},
    ],
)
async def test_vectors_that_do_not_fit_the_texts_are_a_bad_response(answer):
    with pytest.raises(BadResponse):
        await embedded(answer)


def answering(status=200, **more):
    return lambda _: httpx.Response(status, **more)


async def test_a_list_is_read_in_either_form_with_what_each_row_tells():
    rows = [{"id": "a", "max_model_len": 4096, "shutdown_date": "2027-01-14"}, {"id": ""}, {"id": "b", "parent": "a"}]
    for body in (rows, {"object": "list", "data": rows}):
        async with service(answering(json=body)) as reached:
            first, second = await list_models(reached)
        assert (first.id, first.context, first.retires_on, second.parent) == ("a", 4096, "2027-01-14", "a")
        assert (first.tells_retirement, second.tells_retirement) == (True, False)
    assert ListedModel("a", shutdown_date=None).tells_retirement
    assert ListedModel("a", shutdown_date="soon").retires_on is None


@pytest.mark.parametrize("body", ["{}", '{"data": 1}', "[[]]", "", '{"models": []}', "\ufeff", "null"])
async def test_a_list_that_is_none_says_what_to_do(body):
    async with service(answering(text=body)) as reached:
        with pytest.raises(BadResponse, match="name the models") as raised:
            await list_models(reached)
        assert raised.value.field == "base_url"
        assert await list_models_if_any(reached) == []


async def test_a_service_without_a_list_has_none_but_a_wrong_key_or_a_web_page_is_told():
    async with service(answering(404, text="not found")) as reached:
        assert await list_models_if_any(reached) == []
        with pytest.raises(InvalidRequest):
            await list_models(reached)
    for answer, kind, field in (
        (answering(401), AuthenticationFailed, "api_key"),
        (answering(text="<html>"), BadResponse, "base_url"),
    ):
        async with service(answer) as reached:
            with pytest.raises(kind) as raised:
                await list_models_if_any(reached)
            assert raised.value.field == field


@pytest.mark.parametrize(
    ("name", "listed", "known"),
    [
        ("a", ["a", "b"], True),
        ("c", ["a", "b"], False),
        ("c", [], True),
        ("llama3", ["llama3:latest"], True),
        ("vendor/x:online", ["vendor/x"], True),
        ("openai/gpt-9", ["openai/*"], True),
        ("gpt-9", ["openai/*"], False),
    ],
)
async def test_a_name_in_the_configuration_must_be_on_the_list_if_there_is_one(name, listed, known):
    async with service() as reached:
        rows = [ListedModel(row) for row in listed]
        if known:
            check_named(reached, [name], rows, "chat_models")
        else:
            with pytest.raises(ModelNotFound, match="correct the name") as raised:
                check_named(reached, [name], rows, "chat_models")
            assert raised.value.field == "chat_models"
