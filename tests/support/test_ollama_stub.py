"""The stub answers and refuses as Ollama does."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.support.ollama_stub import OllamaStub, Pulled


@pytest.fixture
async def stub():
    async with OllamaStub() as stub:
        yield stub


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=5) as client:
        yield client


def body(text, model="llama3.2", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def lines(http, stub, *question, **more):
    response = await http.post(f"{stub.url}/api/chat", json=body(*question, **more))
    assert response.status_code == 200
    return [json.loads(line) for line in response.text.splitlines()]


async def test_it_repeats_the_question_a_word_a_line(stub, http):
    said = await lines(http, stub, "Hej på dig [[halves]]")
    assert "".join(line["message"]["content"] for line in said) == "Hej på dig"
    assert (said[-1]["done"], said[-1]["done_reason"], said[-1]["eval_count"]) == (True, "stop", 3)


async def test_it_thinks_where_the_model_can(stub, http):
    assert (await lines(http, stub, "Hi", "qwen3:8b"))[0]["message"]["thinking"]
    assert "thinking" not in (await lines(http, stub, "Hi", "qwen3:8b", think=False))[0]["message"]
    refused = await http.post(f"{stub.url}/api/chat", json=body("Hi", think=True))
    assert (refused.status_code, refused.json()["error"]) == (400, '"llama3.2" does not support thinking')


async def test_it_shortens_silently_unless_told_not_to(stub, http):
    long = body("word " * 50, options={"num_ctx": 10})
    assert (await http.post(f"{stub.url}/api/chat", json=long)).status_code == 200
    refused = await http.post(f"{stub.url}/api/chat", json=long | {"truncate": False})
    assert refused.status_code == 400
    assert "exceed_context_size_error" in refused.json()["error"]


async def test_it_tells_of_its_models(stub, http):
    stub.models["gpt-oss:120b-cloud"] = Pulled(remote_host="https://ollama.com:443")
    listed = (await http.get(f"{stub.url}/api/tags")).json()["models"]
    assert [model["name"] for model in listed if "remote_host" in model] == ["gpt-oss:120b-cloud"]
    shown = (await http.post(f"{stub.url}/api/show", json={"model": "qwen3:8b"})).json()
    assert shown["model_info"]["qwen3.context_length"] == 40960
    assert (await http.post(f"{stub.url}/api/show", json={"model": "gone"})).status_code == 404


async def test_it_embeds(stub, http):
    asked = {"model": "nomic-embed-text", "input": ["snow", "rain"]}
    assert [len(vector) for vector in (await http.post(f"{stub.url}/api/embed", json=asked)).json()["embeddings"]] == [
        64,
        64,
    ]


async def test_it_notices_a_client_that_leaves(stub, http):
    async with http.stream("POST", f"{stub.url}/api/chat", json=body("[[tokens=500 delay=0.01]]")) as response:
        await anext(response.aiter_bytes())
    for _ in range(500):
        if stub.disconnects:
            break
        await asyncio.sleep(0.01)
    assert stub.disconnects == 1


async def test_it_breaks_off_as_told(stub, http):
    with pytest.raises(httpx.HTTPError):
        await http.post(f"{stub.url}/api/chat", json=body("a b c d [[cut=2]]"))
    assert (await http.get(f"{stub.url}/")).text == "Ollama is running"
