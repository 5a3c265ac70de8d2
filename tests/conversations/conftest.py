"""A person, a stub for a model, and a conversation with both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from folkmoot.ai.connect import connect
from tests.conversations.tooling import Toolbox
from tests.support.openai_stub import OpenAIStub
from tests.support.people import Person

RULES = b"# Fences\n\nA fence along the street may be 1.2 metres high. Elsewhere it may be 1.8 metres high.\n"


@dataclass
class Event:
    id: int
    event: str
    data: dict


def parse(body: str) -> list[Event]:
    """Server-sent events; comments are left out."""
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def eventually(holds: Callable[[], object], seconds: float = 15) -> None:
    """Return once `holds()` is true."""
    async with asyncio.timeout(seconds):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


def said(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.event == "text.delta")


@dataclass
class Talk:
    """One conversation of one person."""

    person: Person
    id: str
    assistant: str
    collection: str = ""

    async def ask(self, content: str, **headers) -> dict:
        return await self.person.ask(self.id, content, **headers)

    async def stream(self, content: str, **headers) -> list[Event]:
        response = await self.person.post(
            f"/conversations/{self.id}/messages",
            json={"content": content},
            headers={"Accept": "text/event-stream", **headers},
        )
        assert response.status_code == 201, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return parse(response.text)

    async def again(self, message_id: str, after: int | None = None) -> list[Event]:
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        response = await self.person.get(f"/messages/{message_id}/events", headers=headers)
        assert response.status_code == 200, response.text
        return parse(response.text)

    async def messages(self) -> list[dict]:
        return (await self.person.get(f"/conversations/{self.id}/messages")).json()["items"]

    async def begin(self, content: str, **fields) -> tuple[asyncio.Task, dict]:
        """Ask without waiting: (the request, the pending answer)."""
        known = {message["id"] for message in await self.messages()}
        asking = asyncio.create_task(
            self.person.post(f"/conversations/{self.id}/messages", json={"content": content, **fields})
        )
        async with asyncio.timeout(10):
            while True:
                new = [
                    item for item in await self.messages() if item["id"] not in known and item["role"] == "assistant"
                ]
                if new:
                    return asking, new[0]
                await asyncio.sleep(0.01)

    async def message(self, message_id: str) -> dict:
        return (await self.person.get(f"/messages/{message_id}")).json()


@pytest.fixture
async def stub():
    async with OpenAIStub() as server:
        yield server


async def connected(app, person: Person, stub: OpenAIStub) -> None:
    config = {"api_key": "k", "base_url": stub.url}
    assert await connect(app, person.tenant_id, kind="openai", name="Stub", config=config, rank=0)


@pytest.fixture
async def talk(owner, app, stub):
    """With the stub as model and no knowledge."""
    await connected(app, owner, stub)
    assistant = await owner.assistant(await owner.space())
    return Talk(owner, await owner.conversation(assistant), assistant)


@pytest.fixture
async def informed(owner, app, stub):
    """With the stub as model and a collection with the rules."""
    space = await owner.space()
    collection = await owner.collection(space)
    await owner.knows(collection, ("rules.md", RULES))
    await connected(app, owner, stub)
    assistant = await owner.assistant(space, collection)
    return Talk(owner, await owner.conversation(assistant), assistant, collection)


@pytest.fixture
async def keyless(owner):
    """With no model but the one that needs no key, and the rules."""
    space = await owner.space()
    collection = await owner.collection(space)
    await owner.knows(collection, ("rules.md", RULES))
    assistant = await owner.assistant(space, collection)
    return Talk(owner, await owner.conversation(assistant), assistant, collection)


@pytest.fixture
async def tools(monkeypatch, owner, request):
    """The tools that answers' models are offered in this test; none of our own. The stub's model can call them."""
    box = Toolbox()
    request.getfixturevalue("informed" if "informed" in request.fixturenames else "talk")
    for model in (await owner.get("/models")).json()["items"]:
        if model["name"] == "stub-chat":
            assert (await owner.patch(f"/models/{model['id']}", json={"overrides": {"tools": True}})).status_code == 200

    async def chosen(*_, **__):
        return list(box.offers)

    monkeypatch.setattr("folkmoot.conversations.toolcalls.calls.chosen", chosen)
    monkeypatch.setattr("folkmoot.conversations.toolcalls.builtin.offers", lambda *_: [])
    return box
