"""Tokens of Entra ID: fetched when needed, kept while they last, renewed once when refused, and never shown."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import parse_qs

import httpx
import pytest
from folkmoot_sdk import AuthenticationFailed, BadResponse, ProviderError, Unavailable

from providers.azure.tests.conftest import ENTRA, Clock, Resource, connected, delta, question, sse

SECRET = ENTRA["client_secret"]


def answer(_=None):
    return httpx.Response(200, text=sse(delta("stop", content="x")))


async def ask(connection):
    return [event async for event in connection.chat(question(model="prod-chat"))]


def bearer(resource):
    return [request.headers["authorization"] for request in resource.asked]


async def test_a_token_is_fetched_by_client_credentials_and_used():
    resource = Resource(answer())
    async with connected(resource, **ENTRA) as connection:
        await ask(connection)
    (fetched,) = resource.fetched
    assert str(fetched.url) == (f"https://login.microsoftonline.com/{ENTRA['tenant_id']}/oauth2/v2.0/token")
    assert parse_qs(fetched.content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": [ENTRA["client_id"]],
        "client_secret": [SECRET],
        "scope": ["https://cognitiveservices.azure.com/.default"],
    }
    assert bearer(resource) == ["Bearer made-up-token-1"]
    assert "api-key" not in resource.asked[0].headers


async def test_another_cloud_has_its_own_authority_and_scope():
    resource = Resource(answer())
    other = {"authority": "https://login.example.test/", "scope": "https://cognitiveservices.azure.us/.default"}
    async with connected(resource, **ENTRA, **other) as connection:
        await ask(connection)
    assert resource.fetched[0].url.host == "login.example.test"
    assert b"azure.us" in resource.fetched[0].content


async def test_a_key_goes_in_a_header_of_its_own():
    resource = Resource(answer())
    async with connected(resource) as connection:
        await ask(connection)
    assert resource.asked[0].headers["api-key"] == "made-up-azure-key-0000"
    assert "authorization" not in resource.asked[0].headers


async def test_a_token_is_kept_until_shortly_before_it_runs_out():
    clock, resource = Clock(), Resource(*[answer] * 4)
    async with connected(resource, clock=clock, **ENTRA) as connection:
        await ask(connection)
        clock.past = timedelta(minutes=54)
        await ask(connection)
        clock.past = timedelta(minutes=55)
        await ask(connection)
        await ask(connection)
    assert [header[-1] for header in bearer(resource)] == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("expires", "lasts"), [(60, 30), ("3599", 3299), (None, 0), (10**12, 86_400 - 300), (-5, 0), (1, 0.5)]
)
async def test_however_long_a_token_lasts_it_is_used_at_least_once(expires, lasts):
    clock, resource = Clock(), Resource(*[answer] * 3)
    resource.token = {"expires_in": expires}
    async with connected(resource, clock=clock, **ENTRA) as connection:
        await ask(connection)
        clock.past = timedelta(seconds=lasts - 0.25)
        if lasts:
            await ask(connection)
            assert len(resource.fetched) == 1
        clock.past = timedelta(seconds=lasts)
        await ask(connection)
    assert len(resource.fetched) == 2


async def test_many_at_once_wait_for_one_token():
    resource = Resource(*[answer] * 20)
    async with connected(resource, **ENTRA) as connection:
        await asyncio.gather(*(ask(connection) for _ in range(20)))
    assert len(resource.fetched) == 1


async def test_a_token_that_is_refused_is_renewed_once_for_all():
    def only_second(request):
        return answer() if "token-2" in request.headers["authorization"] else httpx.Response(401)

    resource = Resource(*[only_second] * 20)
    async with connected(resource, **ENTRA) as connection:
        await asyncio.gather(*(ask(connection) for _ in range(5)))
    assert len(resource.fetched) == 2
    assert len(resource.asked) <= 10


async def test_a_resource_that_refuses_every_token_is_asked_twice_and_told_apart_from_a_wrong_secret():
    resource = Resource(*[httpx.Response(401)] * 5)
    async with connected(resource, **ENTRA) as connection:
        with pytest.raises(AuthenticationFailed, match="token of Entra ID") as raised:
            await ask(connection)
    assert (len(resource.asked), len(resource.fetched)) == (2, 2)
    assert raised.value.field == "client_id"


@pytest.mark.parametrize(
    ("status", "sentence", "field"),
    [
        (400, "AADSTS90002: Tenant 'x' not found.", "tenant_id"),
        (400, "AADSTS900023: Specified tenant identifier 'x' is not a valid domain name.", "tenant_id"),
        (400, "AADSTS700016: Application with identifier 'x' was not found in the directory.", "client_id"),
        (401, "AADSTS7000215: Invalid client secret provided.", "client_secret"),
        (401, "AADSTS7000222: The provided client secret keys are expired.", "client_secret"),
        (400, "AADSTS500011: The resource principal named x was not found in the tenant.", "scope"),
        (401, "something new", "client_secret"),
    ],
)
async def test_what_entra_id_takes_offence_at_is_told_by_its_field(status, sentence, field):
    resource = Resource()
    resource.token = httpx.Response(status, json={"error": "invalid_client", "error_description": sentence})
    async with connected(resource, **ENTRA) as connection:
        with pytest.raises(AuthenticationFailed) as raised:
            await connection.models()
    assert raised.value.field == field
    assert sentence.rstrip(".") in str(raised.value)
    assert "login.microsoftonline.com does not accept the client secret" in str(raised.value)
    assert not resource.asked


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (httpx.Response(200, text="<html>"), BadResponse),
        (httpx.Response(200, text="[]"), BadResponse),
        (httpx.Response(200, json={"access_token": "a\nb", "expires_in": 9}), BadResponse),
        (httpx.Response(200, json={"access_token": "a", "expires_in": "soon"}), BadResponse),
        (httpx.Response(200, json={"access_token": "a", "expires_in": "nan"}), None),
        (httpx.Response(200, json={"access_token": "a", "expires_in": []}), None),
        (httpx.Response(200, content=b"x" * 300_000), BadResponse),
        (httpx.Response(404, text="no"), ProviderError),
        (httpx.Response(503), Unavailable),
    ],
)
async def test_an_authority_that_gives_no_token_is_an_error_and_no_crash(token, kind):
    resource = Resource(answer())
    resource.token = token
    async with connected(resource, **ENTRA) as connection:
        if kind is None:
            await ask(connection)
            return
        with pytest.raises(kind) as raised:
            await ask(connection)
    assert not resource.asked
    if kind is BadResponse and "sent more" not in str(raised.value):
        assert raised.value.field == "authority"


async def test_nobody_at_the_authority_names_the_authority():
    def gone(request):
        raise httpx.ConnectError("no such host", request=request)

    async with connected(gone, **ENTRA) as connection:
        with pytest.raises(Unavailable) as raised:
            await ask(connection)
    assert raised.value.field == "authority"


async def test_neither_secret_nor_token_is_ever_shown():
    said = f"you sent {SECRET} and made-up-token-1 and made-up-token-2"
    refused = httpx.Response(401, json={"error": {"message": said}})
    resource = Resource(refused, refused)
    async with connected(resource, **ENTRA) as connection:
        with pytest.raises(AuthenticationFailed, match="you sent") as raised:
            await ask(connection)
    assert SECRET not in str(raised.value)
    assert "made-up-token" not in str(raised.value)
    resource.token = httpx.Response(401, json={"error": "invalid_client", "error_description": said})
    async with connected(resource, **ENTRA) as connection:
        with pytest.raises(AuthenticationFailed, match="you sent") as raised:
            await ask(connection)
    assert SECRET not in str(raised.value)
