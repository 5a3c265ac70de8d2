"""One service over the lent client: what is sent, what is read, and when to stop reading."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import aclosing

import httpx
import pytest
from folkmoot_sdk import AuthenticationFailed, BadResponse, InvalidRequest, Secret, Unavailable
from folkmoot_sdk.http import ApiKey, Service, drain

from plugins.sdk.tests.upstream import service


class Tokens:
    """Credentials that run out: each `renew` gives the next one."""

    def __init__(self, *tokens, renewals=1):
        self.tokens = list(tokens)
        self.renewals = renewals
        self.refused = []

    async def headers(self):
        return {"authorization": f"Bearer {self.tokens[0]}"}

    async def renew(self, refused):
        self.refused.append(refused["authorization"])
        if len(self.tokens) > 1:
            self.tokens.pop(0)
        return self.renewals > 0

    def secrets(self):
        return self.tokens


async def fetch(reached: Service, **more):
    async with reached.open("POST", "/x", **more) as response:
        return await reached.whole(response, limit=1000)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("https://h.test/v1/", "https://h.test/v1/x"),
        (" https://h.test/v1/chat/completions\n", "https://h.test/v1/x"),
        ("https://h.test:8443/openai?api-version=2", "https://h.test:8443/openai/x?api-version=2"),
        ("https://user:hush@h.test/v1", "https://user:hush@h.test/v1/x"),
    ],
)
async def test_an_address_pasted_with_too_much_is_understood(address, asked):
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(500)

    async with service(handler, url=address) as reached:
        with pytest.raises(Unavailable) as raised:
            await fetch(reached)
    assert str(seen[0].url).replace("user:hush@", "") == asked.replace("user:hush@", "")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("address", ["https://", "", "ftp://h.test", "h.test/v1", "https://h\x00.test", "x" * 100_000])
async def test_an_address_that_is_none_names_its_field(address):
    with pytest.raises(InvalidRequest, match="not the address") as raised:
        async with service(url=address):
            pass
    assert raised.value.field == "base_url"


async def test_the_query_goes_along_with_every_request():
    seen = []

    def handler(request):
        seen.append(str(request.url))
        return httpx.Response(200, json=[])

    async with service(handler, query={"api-version": "2024-10-21"}) as reached:
        await fetch(reached, json={})
        await fetch(reached)
    assert seen == ["https://api.example.test/v1/x?api-version=2024-10-21"] * 2


async def test_a_key_can_go_in_any_header_with_others_beside():
    seen = []

    def handler(request):
        seen.append(request.headers)
        return httpx.Response(200, json=[])

    key = ApiKey(Secret(" made-up-key "), header="x-api-key", prefix="", more={"version": "1", "left-out": None})
    async with service(handler, credentials=key) as reached:
        await fetch(reached, json={"a": 1})
    assert seen[0]["x-api-key"] == "made-up-key"
    assert seen[0]["version"] == "1"
    assert seen[0]["content-type"] == "application/json"
    assert "left-out" not in seen[0]
    assert "authorization" not in seen[0]


async def test_a_token_that_ran_out_is_renewed_once_and_the_request_sent_again():
    seen = []

    def handler(request):
        seen.append((request.headers["authorization"], request.content))
        return httpx.Response(200 if "new" in seen[-1][0] else 401, json={})

    tokens = Tokens("old", "new")
    async with service(handler, credentials=tokens) as reached:
        assert await fetch(reached, json={"a": 1}) == b"{}"
    assert seen == [("Bearer old", b'{"a":1}'), ("Bearer new", b'{"a":1}')]
    assert tokens.refused == ["Bearer old"]


async def test_a_token_that_stays_refused_is_tried_twice_at_most():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(401, json={})

    for renewals, requests in ((1, 2), (0, 1)):
        seen.clear()
        async with service(handler, credentials=Tokens("a", "b", "c", renewals=renewals)) as reached:
            with pytest.raises(AuthenticationFailed):
                await fetch(reached)
        assert len(seen) == requests


async def test_a_text_with_half_a_character_is_refused_before_it_is_sent():
    async with service() as reached:
        with pytest.raises(InvalidRequest, match="half a character"):
            await fetch(reached, json={"a": "\ud83d"})


async def test_an_error_that_is_null_is_none():
    async with service(lambda _: httpx.Response(200, text='{"error": null, "status": "ok"}')) as reached:
        assert await fetch(reached) == b'{"error": null, "status": "ok"}'


async def test_waiting_for_a_free_line_is_not_called_silence():
    def handler(request):
        raise httpx.PoolTimeout("", request=request)

    async with service(handler) as reached:
        with pytest.raises(Unavailable, match="too many calls"):
            await fetch(reached)


async def test_a_form_carries_its_file_and_not_the_type_of_json():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, json={})

    async with service(handler) as reached:
        await fetch(reached, form={"model": "w"}, files={"file": ("a.mp3", b"\x00\xff", "audio/mpeg")})
    assert seen[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n\x00\xff' in seen[0].content


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"x" * 1001, "more than 1000 bytes"),
        (b"\n <!doctype html><p>Sign in", "a web page"),
        (b'{"error": {"message": "boom"}}', "boom"),
        (b'{ "error" : "boom"}', "boom"),
    ],
)
async def test_a_whole_body_that_is_no_answer_is_a_bad_response(body, words):
    async with service(lambda _: httpx.Response(200, content=body)) as reached:
        with pytest.raises(BadResponse, match=words):
            await fetch(reached)


async def test_a_body_packed_tight_is_measured_as_it_unpacks():
    packed = gzip.compress(b"x" * 5_000_000)
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, content=packed)
    async with service(lambda _: response) as reached:
        with pytest.raises(BadResponse, match="more than 1000 bytes"):
            await fetch(reached)
    broken = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))
    async with service(lambda _: broken) as reached:
        with pytest.raises(BadResponse, match="unpack"):
            await fetch(reached)


async def test_lines_of_json_come_one_by_one():
    async def pieces():
        for piece in (b'{"a": ', b'1}\n\n{"b"', b": 2}\n", b'{"c": 3}'):
            yield piece

    async with service() as reached, aclosing(reached.lines(pieces())) as lines:
        assert [line async for line in lines] == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']


@pytest.mark.parametrize("body", [b"<html>", b"x" * (11 * 1024 * 1024)])
async def test_lines_that_are_none_are_a_bad_response(body):
    async def pieces():
        yield body[: len(body) // 2]
        yield body[len(body) // 2 :]

    async with service() as reached, aclosing(reached.lines(pieces())) as lines:
        with pytest.raises(BadResponse):
            _ = [line async for line in lines]


async def test_a_failure_whose_body_never_ends_is_still_told(monkeypatch):
    monkeypatch.setattr("folkmoot_sdk.http.service._ERROR_BODY_SECONDS", 0.01)

    async def endless():
        yield b'{"error": {"message": "bo'
        await asyncio.Event().wait()

    async with service(lambda _: httpx.Response(503, content=endless())) as reached:
        with pytest.raises(Unavailable, match="in trouble"):
            await fetch(reached)


async def test_draining_gives_up_on_a_body_that_goes_on():
    async def endless():
        yield b""
        await asyncio.Event().wait()

    await drain(endless())
