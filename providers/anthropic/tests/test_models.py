"""Which models are on offer, and what is known of them."""

from __future__ import annotations

import re

import httpx
import pytest
from folkmoot_provider_anthropic.catalogue import AS_OF, row_of, same
from folkmoot_sdk import AuthenticationFailed, BadResponse, InvalidRequest, ModelInfo, ModelNotFound, Price

from providers.anthropic.tests.conftest import connected

OFFICIAL = {"base_url": "https://api.anthropic.com"}


def listing(*models, **more):
    listed = [model if isinstance(model, dict) else {"id": model} for model in models]
    return lambda _: httpx.Response(200, json={"data": listed, **more})


async def offered(handler, **config):
    async with connected(handler, **config) as connection:
        return await connection.models()


async def test_the_best_default_is_first_and_what_nobody_knows_is_last():
    listed = ["claude-fable-5-2", "own-b", "claude-haiku-4-5-20251001", "own-a", "claude-sonnet-5-5"]
    models = await offered(listing(*listed))
    assert [model.name for model in models] == [
        "claude-sonnet-5-5",
        "claude-fable-5-2",
        "claude-haiku-4-5-20251001",
        "own-b",
        "own-a",
    ]
    assert {model.kind for model in models} == {"chat"}


async def test_what_the_service_says_goes_before_what_the_file_says():
    said = {
        "id": "claude-opus-4-5-20251101",
        "display_name": "Opus, said",
        "max_input_tokens": 9_000,
        "max_tokens": 900,
        "retires_at": "2027-02-01T00:00:00Z",
        "capabilities": {"image_input": {"supported": False}, "structured_outputs": {"supported": False}},
    }
    (model,) = await offered(listing(said), **OFFICIAL)
    assert model == ModelInfo(
        "claude-opus-4-5-20251101",
        "chat",
        title="Opus, said",
        context_window=9_000,
        max_output_tokens=900,
        vision=False,
        tools=True,
        reasoning=True,
        json_schema=False,
        dialect="messages",
        price=Price(5_000_000, 25_000_000, cached_input=500_000, cache_write=6_250_000, as_of=AS_OF),
        retires_on="2027-02-01",
    )


async def test_nonsense_in_the_list_is_taken_for_nothing_said():
    said = {"id": "claude-opus-4-5", "max_input_tokens": "many", "max_tokens": -1, "capabilities": [1]}
    (model,) = await offered(listing(said, {"id": ""}))
    assert (model.context_window, model.max_output_tokens, model.vision) == (200_000, 64_000, True)


async def test_only_anthropics_own_prices_and_dates_are_known():
    official = (await offered(listing("claude-sonnet-4-5"), **OFFICIAL))[0]
    gateway = (await offered(listing("anthropic/claude-sonnet-4.5")))[0]
    assert official.price is not None
    assert official.retires_on == "2026-11-30"
    assert (gateway.price, gateway.retires_on, gateway.context_window) == (None, None, 200_000)


async def test_a_window_has_no_room_for_a_prompt_of_another_price():
    (model,) = await offered(listing({"id": "claude-haiku-5-5", "max_input_tokens": 1_000_000}), **OFFICIAL)
    assert (model.context_window, model.max_output_tokens) == (228_000, 128_000)
    assert model.price is not None
    assert model.price.input == 100_000


async def test_models_that_are_gone_are_not_offered():
    gone = {"id": "claude-opus-3", "lifecycle": "retired"}
    assert [model.name for model in await offered(listing(gone, {"id": "claude-opus-5", "lifecycle": "active"}))] == [
        "claude-opus-5"
    ]


async def test_the_list_is_read_page_after_page_and_each_model_offered_once():
    asked = []

    def handler(request):
        asked.append(dict(request.url.params))
        after = request.url.params.get("after_id")
        page = {None: ["a", "b"], "b": ["b", "c"]}[after]
        return httpx.Response(
            200, json={"data": [{"id": n} for n in page], "has_more": after is None, "last_id": page[-1]}
        )

    assert [model.name for model in await offered(handler)] == ["a", "b", "c"]
    assert asked == [{"limit": "1000"}, {"limit": "1000", "after_id": "b"}]


async def test_a_list_without_an_end_is_left_at_some_point():
    count = 0

    def handler(_):
        nonlocal count
        count += 1
        return httpx.Response(200, json={"data": [{"id": f"m{count}"}], "has_more": True, "last_id": f"m{count}"})

    assert len(await offered(handler)) == count == 20
    assert [m.name for m in await offered(listing("x", has_more=True, last_id=None))] == ["x"]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": 1}', '{"data": [{"name": "x"}]}', '{"data": null}'])
async def test_a_list_that_is_none_says_what_to_do(body):
    with pytest.raises(BadResponse, match="name the models") as raised:
        await offered(lambda _: httpx.Response(200, text=body))
    assert raised.value.field == "base_url"


async def test_models_named_in_the_configuration_are_offered_alone():
    handler = listing({"id": "claude-haiku-4-5-20251001", "max_tokens": 5_000}, "claude-opus-5")
    (model,) = await offered(handler, chat_models=["claude-haiku-4-5"])
    assert (model.name, model.max_output_tokens) == ("claude-haiku-4-5", 5_000)


async def test_a_name_that_is_not_on_the_list_is_told_with_its_field():
    with pytest.raises(ModelNotFound, match="claude-opsu-5") as raised:
        await offered(listing("claude-opus-5"), chat_models=["claude-opus-5", "claude-opsu-5"])
    assert raised.value.field == "chat_models"


async def test_a_gateway_without_a_list_offers_what_is_named_but_a_wrong_key_is_told():
    missing = lambda _: httpx.Response(404, text="no")
    assert [model.name for model in await offered(missing, chat_models=["own"])] == ["own"]
    with pytest.raises(InvalidRequest):
        await offered(missing)
    with pytest.raises(InvalidRequest):
        await offered(missing, chat_models=["own"], **OFFICIAL)
    with pytest.raises(AuthenticationFailed):
        await offered(lambda _: httpx.Response(401, text="{}"), chat_models=["own"])
    wrong = {"error": {"type": "invalid_request_error", "message": "anthropic-version: no such version"}}
    with pytest.raises(InvalidRequest) as raised:
        await offered(lambda _: httpx.Response(400, json=wrong), chat_models=["own"])
    assert raised.value.field == "version"


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-4-5",
        "claude-opus-4-5-20251101",
        "claude-opus-4-5-latest",
        "Claude-Opus-4.5",
        "anthropic/claude-opus-4.5",
        "claude-opus-4-5@20251101",
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
    ],
)
def test_a_model_is_known_however_a_gateway_writes_it(name):
    assert row_of(name).name == "claude-opus-4-5"
    assert same(name, "claude-opus-4-5")


def test_a_name_is_not_taken_for_one_that_is_like_it():
    for name in ("claude-opus-4", "claude-opus-4-50", "my-claude-opus-4-5", "claude-opus-5-6"):
        assert row_of(name).price is None


def test_the_file_is_dated_and_its_prices_are_in_proportion():
    assert re.fullmatch(r"2026-\d\d-\d\d", AS_OF)
    for name in ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5", "claude-fable-5-2", "claude-haiku-4-5"):
        price = row_of(name).price
        assert price is not None
        assert price.output == 5 * price.input
        assert price.cache_write == price.input * 5 // 4
        assert price.cached_input is not None
        assert price.cached_input * 10 <= price.input
