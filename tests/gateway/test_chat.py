"""`/v1/chat/completions` with plain models."""

import asyncio
import base64
import json

import pytest

from folkmoot.ai.connect import connect
from tests.gateway.conftest import as_program, key_of, said, told
from tests.gateway.upstream import Upstream

TOOL = {"type": "function", "function": {"name": "find_permit", "parameters": {"type": "object"}}}


async def settled(person, calls: int = 1) -> list[dict]:
    """The entries of the ledger, once there are so many: an answer does not wait for them."""
    async with asyncio.timeout(10):
        while True:
            found = await person.get("/usage.csv", params={"by": "entry"})
            head, *rows = found.text.splitlines()
            if len(rows) >= calls:
                return [dict(zip(head.split(","), row.split(","), strict=False)) for row in rows]
            await asyncio.sleep(0.02)


async def test_a_model_answers_as_openai_would(program, upstream, connected):
    answer = await program.chat("How high?", temperature=0.5, stop=["x"])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", "stub-chat")
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "How high?", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert (upstream.asked["temperature"], upstream.asked["stop"]) == (0.5, ["x"])


async def test_it_streams_with_the_usage_last_if_asked(program):
    found = await program.streamed("[[tokens=5]]", stream_options={"include_usage": True})
    assert said(found) == "word0 word1 word2 word3 word4"
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["choices"] == []
    assert found[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    assert {chunk["id"] for chunk in found} == {found[0]["id"]}


async def test_without_asking_the_stream_tells_no_usage(program):
    found = await program.streamed("[[tokens=2]]")
    assert said(found) == "word0 word1"
    assert all("usage" not in chunk for chunk in found)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", [{}, {"stream_options": {"include_usage": True}}])
async def test_what_it_takes_is_in_the_ledger(program, connected, stream, usage):
    fields = {"stream": True, **usage} if stream else {}
    assert (await program.chat("one two three", **fields)).status_code == 200
    (entry,) = await settled(connected)
    assert (entry["purpose"], entry["model"], entry["user_id"]) == ("api", "stub-chat", str(connected.user.id))
    assert (entry["input_tokens"], entry["output_tokens"], entry["estimated"]) == ("3", "3", "false")
    assert entry["key_id"]


async def test_an_answer_that_nobody_counted_is_estimated(program):
    body = (await program.chat("[[no-usage]] something to repeat")).json()
    assert body["usage"]["estimated"] is True
    assert body["usage"]["completion_tokens"] > 0
    assert body["usage"]["prompt_tokens"] > 0


async def test_a_tool_goes_round(program, upstream):
    asked = {"model": "stub-chat", "tools": [TOOL], "messages": [{"role": "user", "content": "Is there one?"}]}
    first = (await program.post("/chat/completions", json=asked)).json()["choices"][0]
    assert first["finish_reason"] == "tool_calls"
    assert first["message"]["content"] is None
    (call,) = first["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "find_permit")
    assert json.loads(call["function"]["arguments"]) == {"street": "High"}
    asked["messages"] += [first["message"], {"role": "tool", "tool_call_id": call["id"], "content": "number 7"}]
    second = (await program.post("/chat/completions", json=asked)).json()["choices"][0]
    assert second["message"]["content"] == "The tool says number 7"
    sent = upstream.asked["messages"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == call["id"]


async def test_a_tool_call_streams(program):
    found = await program.streamed("Is there one?", tools=[TOOL], tool_choice="required")
    calls = [call for chunk in found for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", [])]
    assert calls[0]["id"]
    assert calls[0]["function"]["name"] == "find_permit"
    assert "".join(call["function"]["arguments"] for call in calls) == '{"street":"High"}'
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_thoughts_are_told_apart_from_what_is_said(program):
    whole = (await program.chat("[[think]]")).json()["choices"][0]["message"]
    assert (whole["reasoning_content"], whole["content"]) == ("Hm. Yes.", "So.")
    found = await program.streamed("[[think]]")
    thoughts = "".join(choice["delta"].get("reasoning_content", "") for c in found for choice in c["choices"])
    assert (thoughts, said(found)) == ("Hm. Yes.", "So.")


async def test_an_answer_by_a_schema(program, upstream):
    schema = {"type": "object", "properties": {"metres": {"type": "number"}}, "required": ["metres"]}
    form = {"type": "json_schema", "json_schema": {"name": "fence", "schema": schema}}
    answer = (await program.chat("How high?", response_format=form)).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"metres": 1.2}
    assert upstream.asked["response_format"]["json_schema"]["name"] == "fence"


async def test_a_picture_reaches_the_model(program, upstream):
    url = f"data:image/png;base64,{base64.b64encode(b'not really').decode()}"
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    assert (await program.chat(parts)).status_code == 200
    assert upstream.asked["messages"][0]["content"][1]["image_url"]["url"] == url


async def test_only_the_dialects_own_parameters_are_passed_on(program, upstream):
    await program.chat(frequency_penalty=0.25, metadata={"a": "b"}, store=True, invented=1)
    assert upstream.asked["frequency_penalty"] == 0.25
    assert not {"metadata", "store", "invented"} & set(upstream.asked)


@pytest.fixture
async def two(app, owner):
    """Two services: the first refuses our key, so the second stands in for it."""
    async with Upstream(models=("first",), api_key="another") as first, Upstream(models=("second",)) as second:
        for rank, (name, upstream) in enumerate((("One", first), ("Two", second))):
            upstream.api_key, refuses = None, upstream.api_key
            config = {"api_key": "k", "base_url": upstream.url}
            assert await connect(app, owner.tenant_id, kind="openai", name=name, config=config, rank=rank * 10)
            upstream.api_key = refuses
        yield first, second


async def test_who_stands_in_is_named(api, owner, two):
    async with as_program(api, await key_of(owner)) as program:
        answer = await program.chat("Hello.", "first")
        assert (answer.status_code, answer.json()["model"]) == (200, "second"), answer.text
        found = await program.streamed("Hello.", "first")
    assert {chunk["model"] for chunk in found} == {"second"}


async def test_a_stand_in_must_be_able_to_do_what_was_asked(api, owner, two):
    models = (await owner.get("/models")).json()["items"]
    second_id = next(item["id"] for item in models if item["name"] == "second")
    changed = await owner.patch(f"/models/{second_id}", json={"overrides": {"vision": False}})
    assert changed.status_code == 200, changed.text
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]
    async with as_program(api, await key_of(owner)) as program:
        refusal = await program.chat(picture, "first")
    assert (refusal.status_code, told(refusal)["code"]) == (502, "provider_authentication_failed")
    assert [item.path for item in two[1].requests if "chat" in item.path] == []


async def test_text_goes_only_to_a_model_that_is_cleared_for_the_default_class(program, connected, upstream):
    await connected.made("/data-classes", name="Internal", level=5, default=True)
    upstream.requests.clear()
    refusal = await program.chat()
    assert (refusal.status_code, told(refusal)["code"]) == (403, "model_not_cleared")
    assert upstream.requests == []


async def test_an_access_token_works_as_well(api, connected):
    async with as_program(api, connected.headers["Authorization"].removeprefix("Bearer ")) as client:
        assert (await client.chat()).status_code == 200
