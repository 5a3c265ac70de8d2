"""The stub is what Anthropic's own client takes it for, and refuses what the service refuses."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.support.anthropic_stub import AnthropicStub

MODEL = "claude-stub-1"
SHARED = "the same words before every question " * 20


@pytest.fixture
async def stub():
    async with AnthropicStub() as stub:
        yield stub


@pytest.fixture
async def client(stub):
    import anthropic

    async with anthropic.AsyncAnthropic(api_key="sk-ant-made-up", base_url=stub.url, max_retries=0) as client:
        yield client


def asked(text, **more):
    return {"model": MODEL, "max_tokens": 2000, "messages": [{"role": "user", "content": text}], **more}


async def test_the_official_client_reads_a_whole_answer(client, stub):
    message = await client.messages.create(**asked("Hej på dig"))
    assert [block.text for block in message.content] == ["Hej på dig"]
    assert (message.stop_reason, message.role, message.type) == ("end_turn", "assistant", "message")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 3)
    assert stub.requests[0].path == "/v1/messages"
    assert stub.requests[0].headers["anthropic-version"] == "2026-10-21"


async def test_the_official_client_reads_a_stream_and_comes_to_the_same_message(client):
    seen = []
    async with client.messages.stream(**asked("Hej på dig [[think unknown crumbs]]")) as stream:
        async for event in stream:
            seen.append(event.type)
        message = await stream.get_final_message()
    thought, said = message.content
    assert (thought.type, thought.thinking) == ("thinking", "I think about: Hej på dig")
    assert thought.signature.startswith("stub:")
    assert (said.type, said.text) == ("text", "Hej på dig")
    assert (seen[0], seen[-1]) == ("message_start", "message_stop")
    assert {"thinking", "signature", "text", "content_block_stop", "message_delta"} <= set(seen)
    assert message.usage.output_tokens_details.thinking_tokens == 6


async def test_the_official_client_calls_a_tool_and_goes_on_with_its_answer(client):
    tools = [{"name": "weather", "description": "Tells it.", "input_schema": {"type": "object"}}]
    question = asked("Umeå? [[think tool=weather calls=2]]", tools=tools)
    async with client.messages.stream(**question) as stream:
        first = await stream.get_final_message()
    thought, *calls = first.content
    assert first.stop_reason == "tool_use"
    assert [(call.id, call.name, call.input) for call in calls] == [
        ("toolu_stub0", "weather", {"text": "Umeå?"}),
        ("toolu_stub1", "weather", {"text": "Umeå?"}),
    ]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "Snow."} for call in calls]
    turns = [*question["messages"], first.to_param(), {"role": "user", "content": results}]
    second = await client.messages.create(**{**question, "messages": turns})
    assert second.stop_reason == "end_turn"
    thought.thinking += " And something that it never thought."
    with pytest.raises(Exception, match="signature"):
        await client.messages.create(**{**question, "messages": turns})


async def test_the_official_client_reads_citations(client):
    content = [
        {
            "type": "search_result",
            "source": "policy",
            "title": "Travel policy",
            "content": [{"type": "text", "text": "Trains go first. Then the bus."}],
            "citations": {"enabled": True},
        },
        {"type": "text", "text": "How do we travel? [[cite]]"},
    ]
    async with client.messages.stream(**asked(content)) as stream:
        message = await stream.get_final_message()
    before, cited, after = message.content
    assert not before.citations
    assert not after.citations
    assert cited.text == "Trains go first."
    assert [(c.type, c.source, c.cited_text) for c in cited.citations] == [
        ("search_result_location", "policy", "Trains go first.")
    ]


async def test_the_official_client_reads_structured_output(client):
    schema = {"type": "object", "properties": {"town": {"type": "string"}, "n": {"type": "integer"}}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    message = await client.messages.create(**asked("Umeå", output_config=config))
    assert json.loads(message.content[0].text) == {"town": "Umeå", "n": 4}


async def test_the_official_client_pages_through_the_models():
    import anthropic

    names = tuple(f"claude-{n}" for n in range(45))
    async with AnthropicStub(models=names) as stub:
        async with anthropic.AsyncAnthropic(api_key="sk-ant-made-up", base_url=stub.url) as client:
            listed = [model async for model in client.models.list(limit=20)]
            one = await client.models.retrieve("claude-7")
    assert tuple(model.id for model in listed) == names
    assert len(stub.requests) == 4
    assert one.capabilities.thinking.types.adaptive.supported
    assert (one.max_input_tokens, one.lifecycle) == (200_000, "active")


@pytest.mark.parametrize(
    ("text", "kind", "status"),
    [
        ("[[status=401]]", "AuthenticationError", 401),
        ("[[status=402]]", "PaymentRequiredError", 402),
        ("[[status=429 retry_after=3]]", "RateLimitError", 429),
        ("[[status=500]]", "InternalServerError", 500),
        ("[[status=529]]", "OverloadedError", 529),
        ("a b c d [[fail=2]]", "APIStatusError", 200),
    ],
)
async def test_the_official_client_knows_each_failure(client, text, kind, status):
    import anthropic

    with pytest.raises(getattr(anthropic, kind)) as raised:
        async for _ in await client.messages.create(**asked(text), stream=True):
            pass
    assert raised.value.status_code == status
    if status == 429:
        assert raised.value.response.headers["retry-after"] == "3"
        assert raised.value.type == "rate_limit_error"


async def test_a_prefix_is_written_to_the_cache_once_and_then_read(client):
    system = [{"type": "text", "text": SHARED, "cache_control": {"type": "ephemeral"}}]
    words = len(SHARED.split())
    first = (await client.messages.create(**asked("one", system=system))).usage
    second = (await client.messages.create(**asked("two more", system=system))).usage
    assert (first.input_tokens, first.cache_creation_input_tokens, first.cache_read_input_tokens) == (1, words, 0)
    assert (second.input_tokens, second.cache_creation_input_tokens, second.cache_read_input_tokens) == (2, 0, words)


@pytest.fixture
async def post(stub):
    async with httpx.AsyncClient(base_url=stub.url, timeout=5) as http:

        async def post(body, **headers):
            headers = {"x-api-key": "sk-ant-made-up", "anthropic-version": "2023-06-01", **headers}
            return await http.post("/v1/messages", json=body, headers=headers)

        yield post


USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "x", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "y"}]}
MARK = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "x", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "max_tokens"),
        (asked(""), "non-whitespace"),
        (asked("a", system=[{"type": "text", "text": " "}]), "non-whitespace"),
        (asked([{"type": "text", "text": "a", **MARK}] * 5), "maximum of 4"),
        (asked("a", messages=[USE, RESULT], tools=[TOOL]), "first message"),
        (asked("a", messages=[*asked("a")["messages"], USE, *asked("b")["messages"]], tools=[TOOL]), "tool_result"),
        (asked("a", messages=[*asked("a")["messages"], USE, RESULT]), "must define tools"),
        (asked("a", thinking={"type": "enabled", "budget_tokens": 2000}), "budget_tokens"),
        (asked("a", thinking={"type": "adaptive"}, tools=[TOOL], tool_choice={"type": "any"}), "forces"),
    ],
)
async def test_it_refuses_what_the_service_refuses(post, body, words):
    response = await post({"model": MODEL, **body})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert words in response.json()["error"]["message"]


async def test_the_newer_version_takes_no_temperature(post):
    assert (await post(asked("a", temperature=0.5))).status_code == 200
    newer = await post(asked("a", temperature=0.5), **{"anthropic-version": "2026-10-21"})
    assert newer.status_code == 400
    unversioned = await post(asked("a"), **{"anthropic-version": ""})
    assert "anthropic-version" in unversioned.json()["error"]["message"]


async def test_keys_models_paths_and_sizes_are_checked(post, stub):
    stub.api_key = "sk-ant-right"
    stub.body_limit = 2000
    assert (await post(asked("a"))).json()["error"]["type"] == "authentication_error"
    right = {"x-api-key": "", "authorization": "Bearer sk-ant-right"}
    assert (await post(asked("a"), **right)).status_code == 200
    unknown = await post({**asked("a"), "model": "claude-none"}, **right)
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "model: claude-none")
    large = await post(asked("a" * 3000), **right)
    assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")


async def test_it_breaks_off_and_misleads_as_told(stub):
    async with httpx.AsyncClient(base_url=stub.url, timeout=5) as http:
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        body = {**asked("a b c d [[cut=2]]"), "stream": True}
        with pytest.raises(httpx.HTTPError):
            await http.post("/v1/messages", json=body, headers=headers)
        html = await http.post("/v1/messages", json=asked("[[html]]"), headers=headers)
    assert html.headers["content-type"] == "text/html"
    assert stub.streaming == 0
