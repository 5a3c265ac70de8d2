"""The WebSocket of what happens, against a real server process."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from dataclasses import fields

import httpx
import pytest
import websockets

SECONDS = 20


def start(environment):
    return subprocess.Popen([sys.executable, "-m", "folkmoot", "serve"], env=environment)


@pytest.fixture(scope="module")
async def server(settings, app):
    """A server process of its own, on the same engines; gives host and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = dict(os.environ)
    for item in fields(settings):
        value = getattr(settings, item.name)
        if value not in (None, "", ()):
            environment[f"FOLKMOOT_{item.name.upper()}"] = ",".join(value) if isinstance(value, tuple) else str(value)
    environment["FOLKMOOT_PORT"] = str(port)
    process = start(environment)
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(SECONDS):
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/health/live")).status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, "the server ended"
                await asyncio.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connect(server, person, after=None):
    query = f"?last_event_id={after}" if after else ""
    headers = {"Authorization": person.headers["Authorization"]} if person else {}
    return websockets.connect(f"ws://{server}/api/v1/ws{query}", additional_headers=headers)


async def hear(feed, number):
    async with asyncio.timeout(SECONDS):
        return [json.loads(await feed.recv()) for _ in range(number)]


async def test_what_happens_in_my_spaces_arrives_in_order(server, owner):
    async with connect(server, owner) as feed:
        space = await owner.space("A")
        collection = await owner.collection(space)
        events = await hear(feed, 2)
    assert [event["event"] for event in events] == ["space.created", "collection.created"]
    assert [event["object_id"] for event in events] == [space, collection]
    assert all(event["space_id"] == space for event in events)
    assert events[0]["data"] == {"name": "A"}


async def test_who_resumes_misses_nothing_and_hears_nothing_twice(server, owner):
    async with connect(server, owner) as feed:
        spaces = [await owner.space(f"S{number}") for number in range(3)]
        heard = await hear(feed, 1)
    spaces += [await owner.space(f"S{number}") for number in range(3, 6)]
    async with connect(server, owner, heard[0]["id"]) as feed:
        heard += await hear(feed, 5)
        last = await owner.space("last")
        heard += await hear(feed, 1)
    assert [event["object_id"] for event in heard] == [*spaces, last]
    assert len({event["id"] for event in heard}) == len(heard)


async def test_events_of_transactions_side_by_side_are_all_heard(server, owner):
    async with connect(server, owner) as feed:
        made = await asyncio.gather(*(owner.space(f"S{number}") for number in range(20)))
        heard = await hear(feed, 20)
    assert {event["object_id"] for event in heard} == set(made)


async def test_nothing_of_another_space_or_tenant_arrives(server, owner, tenancy):
    colleague, stranger = await tenancy.colleague(owner), await tenancy.owner()
    async with connect(server, colleague) as theirs, connect(server, stranger) as foreign:
        hidden = await owner.space("hidden")
        shared = await owner.space("shared")
        await owner.put(f"/spaces/{shared}/members/{colleague.user.id}", json={"role": "viewer"})
        await owner.collection(hidden)
        collection = await owner.collection(shared)
        own = await stranger.space("own")
        heard = []
        while collection not in heard:
            heard += [event["object_id"] for event in await hear(theirs, 1)]
        assert set(heard) == {shared, collection}
        assert [event["object_id"] for event in await hear(foreign, 1)] == [own]


async def test_a_conversation_is_told_to_nobody_else(server, owner, tenancy):
    space = await owner.space()
    colleague = await tenancy.colleague(owner)
    await owner.put(f"/spaces/{space}/members/{colleague.user.id}", json={"role": "admin"})
    assistant = await owner.assistant(space)
    async with connect(server, colleague) as theirs:
        await owner.conversation(assistant)
        marker = await owner.collection(space)
        assert [event["object_id"] for event in await hear(theirs, 1)] == [marker]


async def test_without_a_token_there_is_no_feed(server, owner):
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        with pytest.raises(websockets.WebSocketException) as refused:
            async with websockets.connect(f"ws://{server}/api/v1/ws", additional_headers=headers) as feed:
                await feed.recv()
        response = getattr(refused.value, "response", None)
        closed = getattr(refused.value, "rcvd", None)
        assert (response and response.status_code in (401, 403)) or (closed and closed.code in (4401, 1008)), refused


async def test_a_browser_sends_its_token_as_subprotocol(server, owner):
    token = owner.headers["Authorization"].removeprefix("Bearer ")
    protocols = ["folkmoot", f"bearer.{token}"]
    async with websockets.connect(f"ws://{server}/api/v1/ws", subprotocols=protocols) as feed:
        assert feed.subprotocol == "folkmoot"
        space = await owner.space()
        assert (await hear(feed, 1))[0]["object_id"] == space


@pytest.mark.parametrize("cursor", ["x", "1", "1-x", "9" * 30 + "-1", "-1-1"])
async def test_a_cursor_that_is_not_ours_closes_with_a_reason(server, owner, cursor):
    async with connect(server, owner, cursor) as feed:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await hear(feed, 1)
    assert closed.value.rcvd.code == 4400
    assert "last_event_id" in closed.value.rcvd.reason
