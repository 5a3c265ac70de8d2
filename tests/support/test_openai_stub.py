"""The stub answers as told, at the speed told, and notices who leaves."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

import httpx
import pytest

from tests.support.openai_stub import OpenAIStub, cite, embed


@pytest.fixture
async def stub():
    async with OpenAIStub() as stub:
        yield stub


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=5) as client:
        yield client


def body(text, stream=True, **more):
    return {"model": "stub-chat", "messages": [{"role": "user", "content": text}], "stream": stream, **more}


async def words(http, stub, text, **more):
    async with http.stream("POST", f"{stub.url}/chat/completions", json=body(text, **more)) as response:
        assert response.status_code == 200
        lines = [line[6:] async for line in response.aiter_lines() if line]
    chunks = [json.loads(line) for line in lines if line != "[DONE]"]
    deltas = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    return "".join(deltas), chunks, lines


async def test_it_repeats_the_question_by_default(stub, http):
    text, chunks, lines = await words(http, stub, "Hej på dig", stream_options={"include_usage": True})
    assert text == "Hej på dig"
    assert lines[-1] == "[DONE]"
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert stub.requests[0].body["messages"][0]["content"] == "Hej på dig"
    assert stub.requests[0].path == "/v1/chat/completions"


async def test_it_answers_whole_when_not_asked_to_stream(stub, http):
    response = await http.post(f"{stub.url}/chat/completions", json=body("Hej", stream=False))
    assert response.json()["choices"][0]["message"]["content"] == "Hej"


async def test_it_keeps_to_the_clock(stub, http):
    start = time.perf_counter()
    text, *_ = await words(http, stub, "[[tokens=20 delay=0.01]]")
    assert len(text.split()) == 20
    assert 0.19 <= time.perf_counter() - start < 2


async def test_the_first_word_does_not_wait_for_the_second(stub, http):
    start = time.perf_counter()
    async with http.stream("POST", f"{stub.url}/chat/completions", json=body("a b [[stall=3]]")) as response:
        async for line in response.aiter_lines():
            if '"a ' in line:
                break
    assert time.perf_counter() - start < 1


async def test_it_fails_as_told(stub, http):
    async def post(text):
        return await http.post(f"{stub.url}/chat/completions", json=body(text))

    limited = await post("[[status=429 retry_after=1 code=insufficient_quota]]")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "1")
    assert limited.json()["error"]["code"] == "insufficient_quota"
    assert (await post("[[html]]")).headers["content-type"] == "text/html"
    assert '"error"' in (await post("[[error-in-200]]")).text
    with pytest.raises(httpx.HTTPError):
        await post("a b c d e f [[cut=3]]")
    unknown = await http.post(f"{stub.url}/chat/completions", json=body("a") | {"model": "other"})
    assert unknown.json()["error"]["code"] == "model_not_found"
    assert (await http.get(f"{stub.url}/other")).status_code == 404
    assert (await post("still here")).status_code == 200


async def test_nonsense_ends_one_connection_and_not_the_server(stub, http):
    for junk in (b"\r\n\r\n", b"GET\r\n\r\n", b"POST /v1/x HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"a" * 200_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", stub.port)
        writer.write(junk)
        writer.write_eof()
        with suppress(ConnectionError):  # what was not read of the flood resets the line
            assert await reader.read() == b""
        writer.close()
    assert (await http.post(f"{stub.url}/chat/completions", content=b"{")).status_code == 404
    assert (await http.get(f"{stub.url}/models")).json()["data"][0]["id"] == "stub-chat"


async def test_it_notices_a_client_that_leaves(stub, http):
    async with http.stream("POST", f"{stub.url}/chat/completions", json=body("[[tokens=500 delay=0.01]]")) as response:
        await anext(response.aiter_bytes())
        assert stub.streaming == 1
    for _ in range(100):
        if stub.disconnects:
            break
        await asyncio.sleep(0.01)
    assert (stub.disconnects, stub.streaming) == (1, 0)


async def test_it_wants_its_key(http):
    async with OpenAIStub(api_key="k", answer="Yes.") as stub:
        assert (await http.get(f"{stub.url}/models")).status_code == 401
        headers = {"authorization": "Bearer k"}
        assert (await http.get(f"{stub.url}/models", headers=headers)).status_code == 200


async def test_similar_texts_are_near(stub, http):
    texts = ["The council meets on Tuesdays", "When does the council meet?", "Apples grow on trees in Norway"]
    response = await http.post(f"{stub.url}/embeddings", json={"model": "stub-embed", "input": texts})
    one, two, three = [item["embedding"] for item in response.json()["data"]]
    assert len(one) == 64
    near = sum(a * b for a, b in zip(one, two, strict=True))
    assert near > 0.3 > sum(a * b for a, b in zip(one, three, strict=True))
    assert embed("snow") == embed("Snow!")


@pytest.mark.parametrize(
    "prompt",
    [
        "Sources:\n[1] plan.pdf, page 3\nThe plan was adopted in 2021. More follows.\n\n[2] b.md\nOther words here.",
        'Use them.\n<passage n="1" name="plan.pdf">\nThe plan was adopted in 2021. More.\n</passage>',
        "### [1] plan.pdf\n\nThe plan was adopted in 2021. More.",
    ],
)
def test_it_cites_the_first_passage_of_a_prompt(prompt):
    assert cite(["Answer with markers such as [1].", prompt, "When?"]) == "The plan was adopted in 2021. [1]"


def test_without_passages_it_says_so():
    assert cite(["Hello"]) == "The prompt has no passages."
