"""OpenAI's own client, with nothing changed but its base URL, against a service that runs as people run it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import httpx
import openai
import pydantic
import pytest

from tests.conversations.conftest import RULES
from tests.gateway.upstream import Upstream
from tests.support.server import Server
from tests.support.server import until as wait_until

pytestmark = pytest.mark.slow
TOOL = {
    "type": "function",
    "function": {"name": "find_permit", "description": "Finds.", "parameters": {"type": "object", "properties": {}}},
}
PICTURE = "data:image/png;base64,iVBORw0KGgo="
ENDLESS = "[[tokens=5000 delay=0.02]]"


class Fence(pydantic.BaseModel):
    metres: float


async def until(holds: Callable[[], object], seconds: float = 15) -> None:
    """Asked beside the loop, which serves the stub."""
    async with asyncio.timeout(seconds):
        while True:
            if await asyncio.to_thread(holds):
                return
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
async def up(tmp_path_factory):
    """The service, its administrator, and the stub that it was started with."""
    async with Upstream() as upstream:
        data = tmp_path_factory.mktemp("official") / "data"
        server = Server(data, OPENAI_API_KEY="k", OPENAI_BASE_URL=upstream.url)
        await asyncio.to_thread(server.start)
        try:
            admin = await asyncio.to_thread(lambda: _signed_in(server))
            yield SimpleNamespace(
                upstream=upstream, server=server, admin=admin, **await asyncio.to_thread(_made, admin)
            )
            admin.close()
        finally:
            await asyncio.to_thread(server.stop)


def _signed_in(server: Server) -> httpx.Client:
    with server.client() as client:
        return httpx.Client(base_url=client.base_url, headers=client.headers, timeout=60, trust_env=False)


def _made(admin: httpx.Client) -> dict[str, str]:
    key = admin.post("/api-keys", json={"name": "Official"}).json()["key"]
    space = admin.post("/spaces", json={"name": "Permits"}).json()["id"]
    collection = admin.post(f"/spaces/{space}/collections", json={"name": "Rules"}).json()["id"]
    admin.post(f"/collections/{collection}/documents", files={"file": ("rules.md", RULES)})
    body = {"name": "Helper", "collection_ids": [collection]}
    assistant = admin.post(f"/spaces/{space}/assistants", json=body).json()["id"]
    path = f"/collections/{collection}/documents"
    wait_until(lambda: admin.get(path).json()["items"][0]["status"] == "ready", what="the rules are read")
    return {"key": key, "assistant": f"assistant/{assistant}"}


@pytest.fixture
async def client(up):
    base_url = f"http://127.0.0.1:{up.server.port}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key=up.key, max_retries=0, timeout=60) as made:
        yield made


def ask(content: object, **fields) -> dict:
    return {"model": "stub-chat", "messages": [{"role": "user", "content": content}], **fields}


async def test_models(client, up):
    found = {model.id: model async for model in client.models.list()}
    assert {"stub-chat", "stub-embed", "whisper-1", up.assistant} <= set(found)
    assert (await client.models.retrieve("stub-chat")).owned_by == "OpenAI"
    # The client escapes the slash.
    assert (await client.models.retrieve(up.assistant)).id == up.assistant


async def test_a_completion(client):
    answer = await client.chat.completions.create(**ask("How high?", temperature=0, max_completion_tokens=50))
    assert answer.choices[0].message.content == "How high?"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 4
    assert answer._request_id


async def test_a_stream(client):
    stream = await client.chat.completions.create(
        **ask("[[tokens=4]]", stream=True, stream_options={"include_usage": True})
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "word0 word1 word2 word3"
    assert chunks[-1].usage.completion_tokens == 4
    async with client.chat.completions.stream(**ask("[[tokens=3]]")) as events:
        final = await events.get_final_completion()
    assert final.choices[0].message.content == "word0 word1 word2"


async def test_the_client_that_waits(client, up):
    def wait() -> str:
        with openai.OpenAI(base_url=str(client.base_url), api_key=up.key, max_retries=0) as made:
            found = made.chat.completions.create(**ask("[[tokens=2]]", stream=True))
            return "".join(chunk.choices[0].delta.content or "" for chunk in found)

    assert await asyncio.to_thread(wait) == "word0 word1"


async def test_a_tool_goes_round(client):
    asked = ask("Is there one?", tools=[TOOL], tool_choice="auto", parallel_tool_calls=False)
    first = (await client.chat.completions.create(**asked)).choices[0]
    assert first.finish_reason == "tool_calls"
    (call,) = first.message.tool_calls
    assert call.function.name == "find_permit"
    asked["messages"] += [first.message, {"role": "tool", "tool_call_id": call.id, "content": "number 7"}]
    second = await client.chat.completions.create(**asked)
    assert second.choices[0].message.content == "The tool says number 7"
    async with client.chat.completions.stream(**ask("Is there one?", tools=[TOOL])) as events:
        streamed = (await events.get_final_completion()).choices[0].message.tool_calls
    assert streamed[0].function.arguments == '{"street":"High"}'


async def test_an_answer_by_a_schema(client, up):
    answer = await client.chat.completions.parse(**ask("How high?"), response_format=Fence)
    assert answer.choices[0].message.parsed == Fence(metres=1.2)
    assert up.upstream.asked["response_format"]["json_schema"]["schema"]["properties"]["metres"]["type"] == "number"


async def test_a_picture(client, up):
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    await client.chat.completions.create(**ask(parts))
    assert up.upstream.asked["messages"][0]["content"][1]["image_url"]["url"] == PICTURE


async def test_embeddings(client):
    packed = await client.embeddings.create(model="stub-embed", input=["A fence.", "A hedge."])
    plain = await client.embeddings.create(model="stub-embed", input="A fence.", encoding_format="float", dimensions=64)
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert len(packed.data) == 2
    assert packed.usage.prompt_tokens > 0


async def test_a_transcript(client):
    def sound() -> tuple[str, bytes]:
        return ("fence.wav", b"RIFF....WAVE")

    spoken = await client.audio.transcriptions.create(model="whisper-1", file=sound())
    assert spoken.text == "A fence may be high."
    text = await client.audio.transcriptions.create(model="whisper-1", file=sound(), response_format="text")
    assert text.strip() == "A fence may be high."
    whole = await client.audio.transcriptions.create(
        model="whisper-1", file=sound(), response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert (whole.duration, whole.segments[1].text) == (4.5, "may be high.")


async def test_errors_are_the_clients_own(client, up):
    asked = ask("Hello.")
    with pytest.raises(openai.AuthenticationError) as refusal:
        await client.with_options(api_key="sk-nonsense").chat.completions.create(**asked)
    assert refusal.value.code == "invalid_api_key"
    assert refusal.value.request_id
    with pytest.raises(openai.NotFoundError) as refusal:
        await client.chat.completions.create(**asked | {"model": "unknown"})
    assert refusal.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refusal:
        await client.chat.completions.create(**asked, n=2)
    assert refusal.value.param == "n"
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="stub-embed", input=[1, 2, 3])
    with pytest.raises(openai.APIStatusError) as refusal:
        await client.chat.completions.create(**ask("[[status=401 code=invalid_api_key]]"))
    assert refusal.value.status_code == 502
    narrow = await asyncio.to_thread(
        lambda: up.admin.post("/api-keys", json={"name": "Narrow", "scopes": ["read"]}).json()["key"]
    )
    with pytest.raises(openai.PermissionDeniedError):
        await client.with_options(api_key=narrow).chat.completions.create(**asked)
    slow = await asyncio.to_thread(
        lambda: up.admin.post("/api-keys", json={"name": "Slow", "requests_per_minute": 1}).json()["key"]
    )
    await client.with_options(api_key=slow).chat.completions.create(**asked)
    with pytest.raises(openai.RateLimitError) as refusal:
        await client.with_options(api_key=slow).chat.completions.create(**asked)
    assert refusal.value.response.headers["retry-after"]


async def test_a_stream_that_breaks_raises_in_the_client(client):
    stream = await client.chat.completions.create(**ask("[[tokens=9 cut=4]]", stream=True))
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_an_assistant_answers_with_its_citations(client, up):
    asked = ask("[[cite]] How high may a fence be?") | {"model": up.assistant}
    message = (await client.chat.completions.create(**asked)).choices[0].message
    assert "1.2 metres" in message.content
    (cited,) = message.annotations
    assert message.content[cited.url_citation.start_index : cited.url_citation.end_index] == "[1]"
    assert cited.url_citation.title == "rules.md"
    # The link is good for whoever may read the document.
    original = await asyncio.to_thread(up.admin.get, cited.url_citation.url)
    assert original.content == RULES
    async with client.chat.completions.stream(**asked) as events:
        final = (await events.get_final_completion()).choices[0].message
    assert final.content == message.content


@pytest.mark.parametrize("model", ["stub-chat", "assistant"])
async def test_who_closes_a_stream_stops_the_model(client, up, model):
    gone, model = up.upstream.disconnects, up.assistant if model == "assistant" else model
    stream = await client.chat.completions.create(**ask(ENDLESS, stream=True) | {"model": model})
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await until(lambda: up.upstream.disconnects > gone)
    if model == up.assistant:
        await _stopped(up)


@pytest.mark.parametrize("model", ["stub-chat", "assistant"])
async def test_who_does_not_wait_for_a_whole_answer_stops_the_model(client, up, model):
    gone, model = up.upstream.disconnects, up.assistant if model == "assistant" else model
    asking = asyncio.create_task(client.chat.completions.create(**ask(ENDLESS) | {"model": model}))
    await until(lambda: up.upstream.streaming)
    asking.cancel()
    await until(lambda: up.upstream.disconnects > gone)
    if model == up.assistant:
        await _stopped(up)


async def _stopped(up) -> None:
    def last() -> str:
        (talk, *_) = up.admin.get("/conversations", params={"origin": "api"}).json()["items"]
        return up.admin.get(f"/conversations/{talk['id']}/messages").json()["items"][-1]["status"]

    await until(lambda: last() == "stopped")


async def test_what_was_stopped_is_in_the_ledger_as_an_estimate(client, up):
    stream = await client.chat.completions.create(**ask(f"ledger {ENDLESS}", stream=True))
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    before = await asyncio.to_thread(_estimated, up)
    await stream.close()
    await until(lambda: _estimated(up) > before)


def _estimated(up) -> int:
    return up.admin.get("/usage.csv", params={"by": "entry"}).text.count("true")
