"""Which models are on offer, what is known of them, and what they cost."""

from __future__ import annotations

import httpx
import pytest
from folkmoot_provider_openai import known
from folkmoot_sdk import AuthenticationFailed, BadResponse, InvalidRequest, ModelInfo, ModelNotFound, Price

from providers.openai.tests.conftest import connected

OPENAI = "https://api.openai.com/v1"


def listing(*models):
    listed = [model if isinstance(model, dict) else {"id": model} for model in models]
    return lambda _: httpx.Response(200, json={"object": "list", "data": listed})


async def models(handler, **config):
    async with connected(handler, **config) as connection:
        return await connection.models()


async def names(handler, **config):
    return [model.name for model in await models(handler, **config)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt-4o-mini", "chat"),
        ("openai/gpt-5", "chat"),
        ("gpt-6.1-terra", "chat"),
        ("o3", "chat"),
        ("text-embedding-3-small", "embedding"),
        ("whisper-1", "transcription"),
        ("gpt-4o-transcribe", "transcription"),
        ("gpt-transcribe", "transcription"),
        ("tts-1-hd", None),
        ("dall-e-3", None),
        ("gpt-image-1", None),
        ("omni-moderation-latest", None),
        ("gpt-4o-realtime-preview", None),
        ("gpt-4o-audio-preview", None),
        ("babbage-002", None),
        ("gpt-5-pro", None),
        ("gpt-5.3-codex", None),
        ("o3-deep-research", None),
    ],
)
def test_a_name_tells_what_a_model_does(name, kind):
    assert known.OPENAI.kind_of(name) == kind


async def test_the_best_default_of_each_kind_is_first_and_snapshots_come_after_their_model():
    order = await names(
        listing(
            "gpt-3.5-turbo",
            "text-embedding-ada-002",
            "gpt-4o-2024-08-06",
            "gpt-4o",
            "whisper-1",
            "gpt-6-luna",
            "gpt-5.1",
            "gpt-transcribe",
            "text-embedding-3-large",
            "gpt-6.1-terra",
            "tts-1",
            "gpt-5-pro",
            "text-embedding-3-small",
        ),
        base_url=OPENAI,
    )
    assert order == [
        "gpt-6.1-terra",
        "gpt-6-luna",
        "gpt-5.1",
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-3.5-turbo",
        "text-embedding-3-small",
        "text-embedding-3-large",
        "text-embedding-ada-002",
        "gpt-transcribe",
        "whisper-1",
    ]


async def test_newer_members_of_a_family_nobody_knows_yet_come_first():
    assert await names(listing("gpt-7-sol", "gpt-8.1-sol", "gpt-8-sol")) == ["gpt-8.1-sol", "gpt-8-sol", "gpt-7-sol"]


async def test_models_nobody_knows_keep_their_order():
    assert await names(listing("zeta-7b", "alpha-70b", "mu-1b")) == ["zeta-7b", "alpha-70b", "mu-1b"]


async def test_a_gateway_may_offer_what_openai_has_only_elsewhere_and_rerankers_are_left_out():
    assert await names(listing("openai/gpt-5-pro", "bge-reranker-v2-m3")) == ["openai/gpt-5-pro"]


async def test_what_the_service_says_goes_before_what_the_table_says():
    handler = listing({"id": "gpt-4o", "context_length": 9}, {"id": "own", "max_model_len": 4096, "type": "embedding"})
    chat, own = await models(handler)
    assert (chat.context_window, chat.max_output_tokens, chat.vision, chat.tools) == (9, 16_384, True, True)
    assert own == ModelInfo("own", "embedding", context_window=4096, max_batch=32)


async def test_a_model_listed_twice_is_offered_once():
    assert await names(listing("a", "b", "a")) == ["a", "b"]


async def test_features_come_from_the_table():
    (mini,) = await models(listing("gpt-4o-mini"), base_url=OPENAI)
    assert mini == ModelInfo(
        "gpt-4o-mini",
        "chat",
        context_window=128_000,
        max_output_tokens=16_384,
        vision=True,
        tools=True,
        json_schema=True,
        dialect="chat-completions",
        price=Price(150_000, 600_000, cached_input=75_000, as_of="2026-10-30"),
        retires_on="2027-01-14",
    )


async def test_models_whose_tools_need_another_api_offer_none_here():
    listed = listing("gpt-6.1-terra", "gpt-6-astra", "gpt-6.2-sol", "gpt-6.1-sol", "gpt-5.2")
    tools = {model.name: model.tools for model in await models(listed, base_url=OPENAI)}
    assert tools == {
        "gpt-6.1-terra": True,
        "gpt-6-astra": False,
        "gpt-6.2-sol": False,
        "gpt-6.1-sol": False,
        "gpt-5.2": True,
    }
    assert all(model.tools for model in await models(listed)), "a gateway translates"


@pytest.mark.parametrize(
    ("base_url", "name", "price"),
    [
        (OPENAI, "gpt-5.2", Price(1_750_000, 14_000_000, cached_input=175_000)),
        (OPENAI, "gpt-6-luna", Price(100_000, 500_000, cached_input=10_000, cache_write=125_000)),
        (OPENAI, "text-embedding-3-large", Price(130_000)),
        (OPENAI, "whisper-1", Price(audio_minute=6_000)),
        (OPENAI, "gpt-4o-transcribe", Price(2_500_000, 10_000_000)),
        (OPENAI, "gpt-5.2-2099-01-01", None),
        (OPENAI, "ft:gpt-4o-mini-2024-07-18:council::abc", None),
        (OPENAI, "gpt-5.2-turbo", None),
        (OPENAI, "gpt-99", None),
        ("https://api.example.test/v1", "gpt-5.2", None),
        ("https://api.openai.com.example.test/v1", "gpt-5.2", None),
        ("https://elsewhere.openai.com/v1", "gpt-5.2", None),
        ("https://eu.api.openai.com/v1", "gpt-5.2", Price(1_750_000, 14_000_000, cached_input=175_000)),
        ("https://eu.api.openai.com/v1", "gpt-5.4-mini", Price(825_000, 4_950_000, cached_input=82_500)),
    ],
)
async def test_a_price_is_told_only_for_the_very_model_at_openai_itself(base_url, name, price):
    (model,) = await models(listing(name), base_url=base_url)
    told = model.price
    assert (told is None) == (price is None)
    if told is not None and price is not None:
        assert told.as_of == "2026-10-30"
        assert Price(told.input, told.output, told.cached_input, told.cache_write, 0, told.audio_minute) == price


def test_every_price_is_for_whole_names_and_none_is_nothing():
    for row in known.OPENAI.rows:
        if row.price is not None:
            assert row.match.startswith("^"), row.match
            assert row.match.endswith("$"), row.match
            assert row.price.input or row.price.audio_minute, row.match
            assert row.price.cached_input is None or row.price.cached_input < row.price.input, row.match


async def test_the_day_of_retirement_is_openais_own_where_its_list_tells_one():
    told = {"id": "gpt-5", "shutdown_date": "2027-02-02"}
    (model,) = await models(listing(told), base_url=OPENAI)
    assert model.retires_on == "2027-02-02"
    (model,) = await models(listing({"id": "gpt-5", "shutdown_date": None}), base_url=OPENAI)
    assert model.retires_on is None
    (model,) = await models(listing("gpt-5"), base_url=OPENAI)
    assert model.retires_on == "2026-12-11"


async def test_models_named_in_the_configuration_are_offered_instead_of_the_list():
    handler = listing({"id": "a", "max_model_len": 4096}, "b", "text-embedding-3-large", "w")
    chat, embedding, speech = await models(
        handler,
        chat_models=["a", "a"],
        embedding_models=["text-embedding-3-large"],
        transcription_models=["w"],
    )
    assert (chat.name, chat.kind, chat.context_window) == ("a", "chat", 4096)
    assert (embedding.kind, embedding.dimensions) == ("embedding", 3072)
    assert (speech.name, speech.kind) == ("w", "transcription")


async def test_a_server_without_a_list_is_taken_at_the_configurations_word_but_openai_is_not():
    def handler(_):
        return httpx.Response(404, json={"detail": "Not Found"})

    assert await names(handler, chat_models=["a"]) == ["a"]
    with pytest.raises(InvalidRequest) as raised:
        await names(handler, base_url=OPENAI, chat_models=["a"])
    assert raised.value.field == "base_url"


@pytest.mark.parametrize(
    ("answer", "config", "kind", "field"),
    [
        (listing("a"), {"chat_models": ["b"]}, ModelNotFound, "chat_models"),
        (listing("a"), {"embedding_models": ["b"]}, ModelNotFound, "embedding_models"),
        (listing("a"), {"transcription_models": ["b"]}, ModelNotFound, "transcription_models"),
        (lambda _: httpx.Response(401), {"chat_models": ["b"]}, AuthenticationFailed, "api_key"),
        (lambda _: httpx.Response(401), {}, AuthenticationFailed, "api_key"),
        (lambda _: httpx.Response(404), {}, InvalidRequest, "base_url"),
        (lambda _: httpx.Response(200, text="<html>"), {}, BadResponse, "base_url"),
        (lambda _: httpx.Response(200, text="<html>"), {"chat_models": ["b"]}, BadResponse, "base_url"),
        (lambda _: httpx.Response(200, text="{}"), {}, BadResponse, "base_url"),
        (lambda _: httpx.Response(301, headers={"location": "https://h.test"}), {}, InvalidRequest, "base_url"),
    ],
)
async def test_a_wrong_key_address_or_name_is_told_by_the_field_that_has_it(answer, config, kind, field):
    with pytest.raises(kind) as raised:
        await models(answer, **config)
    assert raised.value.field == field
