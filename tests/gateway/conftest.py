"""An organisation with a stub for its models, and programs that call `/v1` with a key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from folkmoot.ai.connect import connect
from tests.conversations.conftest import RULES
from tests.gateway.upstream import Upstream
from tests.support.people import Person


class Program(httpx.AsyncClient):
    """Something that was written for OpenAI's API."""

    async def chat(self, content: object = "Hello.", model: str = "stub-chat", **more) -> httpx.Response:
        messages = [{"role": "user", "content": content}]
        return await self.post("/chat/completions", json={"model": model, "messages": messages, **more})

    async def streamed(self, content: object = "Hello.", model: str = "stub-chat", **more) -> list[dict]:
        """The chunks of an answer that went well."""
        answer = await self.chat(content, model, stream=True, **more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        return chunks(answer.text)


def chunks(body: str) -> list[dict]:
    """Of a stream with its end."""
    events = [block for block in body.split("\n\n") if block and not block.startswith(":")]
    assert all(event.startswith("data: ") for event in events), body
    assert events.pop() == "data: [DONE]", body
    return [json.loads(event[6:]) for event in events]


def said(found: list[dict]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in found for choice in chunk["choices"])


def told(answer: httpx.Response) -> dict:
    """The error of an answer, which has OpenAI's form and nothing else."""
    assert answer.status_code >= 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest.fixture
async def connected(owner, app, upstream) -> Person:
    """The owner of an organisation whose models the stub answers for."""
    config = {"api_key": "k", "base_url": upstream.url}
    assert await connect(app, owner.tenant_id, kind="openai", name="Stub", config=config, rank=0)
    return owner


@pytest.fixture
async def program(api, connected):
    """By a key of the owner."""
    async with as_program(api, await key_of(connected)) as client:
        yield client


@pytest.fixture
async def assistant(connected) -> str:
    """Its id as a model; it knows the rules."""
    space = await connected.space()
    collection = await connected.collection(space)
    await connected.knows(collection, ("rules.md", RULES))
    return f"assistant/{await connected.assistant(space, collection)}"


async def key_of(person: Person, **fields) -> str:
    return (await person.made("/api-keys", name="A program", **fields))["key"]


def as_program(api, key: str, **headers: str) -> Program:
    return Program(
        transport=httpx.ASGITransport(api, raise_app_exceptions=False),
        base_url="http://folkmoot.test/v1",
        headers={"Authorization": f"Bearer {key}", **headers},
        timeout=60,
    )
