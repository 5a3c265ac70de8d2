"""The hostile upstream is as bad as it says, and answers as it should when it is not told to be."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.support.hostile_upstream import MEGABYTE, WORDS, HostileUpstream

TEXT = "".join(WORDS)
DIALECTS = ["openai", "anthropic"]


@pytest.fixture
async def upstream():
    async with HostileUpstream() as upstream:
        yield upstream


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=10) as client:
        yield client


def address(base, dialect):
    return base + ("/chat/completions" if dialect == "openai" else "/messages")


def body(text="Hej", stream=True):
    return {"model": "hostile-chat", "messages": [{"role": "user", "content": text}], "stream": stream}


async def events(http, url, text="Hej"):
    async with http.stream("POST", url, json=body(text)) as response:
        raw = b"".join([piece async for piece in response.aiter_bytes()]).decode()
    lines = [line.removeprefix("data: ") for line in raw.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def said(chunks):
    text = ""
    for chunk in chunks:
        for choice in chunk.get("choices", []):
            text += choice["delta"].get("content") or ""
        if chunk.get("type") == "content_block_delta":
            text += chunk["delta"].get("text", "")
    return text


def usages(chunks):
    found = [chunk.get("usage") or chunk.get("message", {}).get("usage") for chunk in chunks]
    return [usage for usage in found if usage]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_answers_as_it_should(upstream, http, dialect):
    chunks = await events(http, address(upstream.url, dialect))
    assert said(chunks) == TEXT
    assert usages(chunks)
    whole = (await http.post(address(upstream.url, dialect), json=body(stream=False))).json()
    text = whole["choices"][0]["message"]["content"] if dialect == "openai" else whole["content"][0]["text"]
    assert text == TEXT
    await upstream.until(lambda upstream: not upstream.open)
    assert [len(upstream.requests), upstream.connections] == [2, 1]
    assert (await http.get(f"{upstream.url}/models")).json()["data"][0]["id"] == "hostile-chat"
    vectors = (await http.post(f"{upstream.url}/embeddings", json={"input": ["a", "b"]})).json()["data"]
    assert len(vectors) == 2


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("where", ["before", "head", "body", "chunk"])
@pytest.mark.parametrize("stream", [True, False])
async def test_it_cuts_the_line(upstream, http, dialect, where, stream):
    with pytest.raises(httpx.TransportError):
        await http.post(address(upstream.at(f"cut={where}"), dialect), json=body(stream=stream))
    assert upstream.left == []
    assert (await http.post(address(upstream.url, dialect), json=body(stream=stream))).status_code == 200


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("failure", ["bad-chunk", "short"])
async def test_it_breaks_the_framing(upstream, http, dialect, failure):
    with pytest.raises(httpx.TransportError):
        await http.post(address(upstream.at(failure), dialect), json=body(stream=failure == "bad-chunk"))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_splits_characters_and_breaks_off_within_one(upstream, http, dialect, chunk_by_chunk):
    async with http.stream("POST", address(upstream.at("split-utf8"), dialect), json=body()) as response:
        pieces = [piece async for piece in response.aiter_raw()]
    assert "漢".encode()[:1] in pieces
    assert "漢字" in b"".join(pieces).decode()
    broken = await http.post(address(upstream.at("cut-utf8"), dialect), json=body())
    with pytest.raises(UnicodeDecodeError):
        broken.content.decode()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_refuses_as_told(upstream, http, dialect):
    async def post(failure, stream=True):
        return await http.post(address(upstream.at(failure), dialect), json=body(stream=stream))

    limited = await post("status=429 retry-after=7")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    dated = (await post("status=429 retry-date=60")).headers["retry-after"]
    assert 50 < (parsedate_to_datetime(dated) - datetime.now(UTC)).total_seconds() <= 60
    assert "retry-after" not in (await post("status=429")).headers
    assert (await post("status=500 reason=broken")).json()["error"]["message"] == "broken"
    assert (await post("html")).headers["content-type"] == "text/html"
    assert (await post("status=502 html")).status_code == 502
    assert (await post("empty")).content == b""
    assert "error" in (await post("error-in-200")).text
    assert "error" in (await post("error-in-200", stream=False)).json()
    assert "error" in (await events(http, address(upstream.at("error-midway"), dialect)))[-1]
    redirected = await post("redirect=http://169.254.169.254/latest")
    assert (redirected.status_code, redirected.headers["location"]) == (307, "http://169.254.169.254/latest")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_counts_as_told(upstream, http, dialect):
    async def counted(failure):
        return usages(await events(http, address(upstream.at(failure), dialect)))

    assert await counted("no-usage") == []
    assert len(await counted("usage-twice")) >= 2
    assert -5 in (await counted("usage-nonsense"))[0].values()
    chunks = await events(http, address(upstream.at("no-end"), dialect))
    assert said(chunks) == TEXT
    assert "stop" not in json.dumps([chunk for chunk in chunks if chunk.get("type") != "message_start"])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_says_things_that_nobody_knows(upstream, http, dialect):
    chunks = await events(http, address(upstream.at("unknown-events"), dialect))
    assert said(chunks) == TEXT
    assert "wonder" in json.dumps(chunks)


@pytest.mark.parametrize("failure", ["long-line=30000000", "gzip-bomb=300000000"])
async def test_it_sends_more_than_anybody_should_read(upstream, http, failure):
    size = int(failure.partition("=")[2])
    for stream in (True, False):
        got = 0
        async with http.stream("POST", address(upstream.at(failure), "openai"), json=body(stream=stream)) as response:
            async for piece in response.aiter_bytes():
                got += len(piece)
                assert b"\n" not in piece
        assert got >= size - MEGABYTE
    if "gzip" in failure:
        assert upstream.sent < 2 * MEGABYTE


@pytest.mark.parametrize("failure", ["endless", "stall=600", "stall=600 beats", "wait=600", "endless-headers"])
async def test_it_sees_a_client_that_leaves(upstream, http, failure):
    async def read():
        async with http.stream("POST", address(upstream.at(failure), "openai"), json=body()) as response:
            async for _ in response.aiter_bytes():
                pass

    reading = asyncio.create_task(read())
    await upstream.until(lambda upstream: upstream.open)
    if failure == "endless-headers":
        with pytest.raises(httpx.RemoteProtocolError):
            await reading
    else:
        assert upstream.left == []
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    left = time.monotonic()
    await upstream.until(lambda upstream: upstream.left and not upstream.open)
    assert upstream.left[0] - left < 5
    assert upstream.most_open == 1


async def test_one_call_after_another_fails_as_the_script_says(upstream, http):
    upstream.script, upstream.failing = ["status=500", ""], "status=429"
    url = f"{upstream.url}/chat/completions"
    assert [(await http.post(url, json=body())).status_code for _ in range(3)] == [500, 200, 429]


async def test_the_question_may_say_what_goes_wrong(upstream, http):
    response = await http.post(f"{upstream.url}/chat/completions", json=body("Please [[status=503]]"))
    assert response.status_code == 503
    given = {"model": "x", "input": ["one", "two [[vectors=few]]"]}
    assert len((await http.post(f"{upstream.url}/embeddings", json=given)).json()["data"]) == 1
    given["input"][1] = "[[vectors=ragged]]"
    ragged = (await http.post(f"{upstream.url}/embeddings", json=given)).json()["data"]
    assert len({len(each["embedding"]) for each in ragged}) == 2
    given["input"][1] = "[[vectors=nan]]"
    assert "NaN" in (await http.post(f"{upstream.url}/embeddings", json=given)).text
