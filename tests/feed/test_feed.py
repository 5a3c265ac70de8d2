"""The WebSocket of what happens, against a real server process."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import fields
from functools import partial
from uuid import UUID

import httpx
import pytest
import websockets
from sqlalchemy import delete, text, update

from folkmoot.feed import service
from folkmoot.identity.models import User
from folkmoot.kit.access import Principal
from folkmoot.people.models import GroupMember
from tests.support.groups import make_group

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


@pytest.fixture(autouse=True)
async def behind(owner, settled):
    """What made the owner is behind everybody's cursor: else a feed that begins now would tell of it."""
    await settled()


def connect(server, person, after=None):
    query = f"?last_event_id={after}" if after else ""
    headers = {"Authorization": person.headers["Authorization"]} if person else {}
    return websockets.connect(f"ws://{server}/api/v1/ws{query}", additional_headers=headers)


async def hear(feed, number):
    async with asyncio.timeout(SECONDS):
        return [json.loads(await feed.recv()) for _ in range(number)]


async def until(feed, object_id):
    """What is heard up to the first event about `object_id`, that one included."""
    heard = []
    while not heard or heard[-1]["object_id"] != object_id:
        heard += await hear(feed, 1)
    return heard


async def hear_of_each(feed, happening):
    """Let something happen again and again, and read what is told of it."""
    async with asyncio.timeout(SECONDS):
        while True:
            await happening()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(feed.recv(), 0.3)


def actions(events):
    return [event["event"] for event in events]


async def let_in(owner, space, person, role="viewer"):
    put = await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": role})
    assert put.status_code == 200


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


async def test_who_is_in_through_a_group_hears_as_long_as_they_are_in_it(server, app, owner, tenancy):
    person = await tenancy.colleague(owner)
    space, marker = await owner.space(), (await person.get("/spaces/personal")).json()["id"]
    team = await make_group(app, owner, person)
    async with connect(server, person) as feed:
        await owner.put(f"/spaces/{space}/groups/{team}", json={"role": "viewer"})
        collection = await owner.collection(space)
        assert actions(await until(feed, collection)) == ["space.group_put", "collection.created"]
        async with app.begin(Principal.system(owner.tenant_id)) as work:
            await work.session.execute(delete(GroupMember).where(GroupMember.user_id == person.user.id))
        await owner.collection(space)
        mine = await person.collection(marker)
        assert [event["object_id"] for event in await until(feed, mine)] == [mine]


async def test_a_personal_space_is_heard_by_its_owner_alone(server, owner, tenancy):
    person = await tenancy.colleague(owner)
    async with connect(server, person) as mine, connect(server, owner) as other:
        space = (await person.get("/spaces/personal")).json()["id"]
        collection = await person.collection(space)
        assert actions(await until(mine, collection)) == ["space.created", "collection.created"]
        marker = await owner.space("marker")
        assert [event["object_id"] for event in await until(other, marker)] == [marker]


async def test_the_organisation_space_is_heard_by_its_admins(server, owner, tenancy):
    person = await tenancy.colleague(owner)
    common = (await owner.get("/spaces/organisation")).json()["id"]
    async with connect(server, owner) as admin, connect(server, person) as user:
        collection = await owner.collection(common)
        assert actions(await until(admin, collection)) == ["collection.created"]
        marker = await person.space("marker")
        assert [event["object_id"] for event in await until(user, marker)] == [marker]


async def test_that_a_space_is_deleted_reaches_all_who_were_in_it_and_nobody_else(server, app, owner, tenancy):
    direct, through, outside = [await tenancy.colleague(owner) for _ in range(3)]
    space = await owner.space("Closing")
    await let_in(owner, space, direct)
    team = await make_group(app, owner, through)
    await owner.put(f"/spaces/{space}/groups/{team}", json={"role": "editor"})
    feeds = [connect(server, person) for person in (owner, direct, through, outside)]
    async with feeds[0] as one, feeds[1] as two, feeds[2] as three, feeds[3] as four:
        await owner.delete(f"/spaces/{space}")
        for feed in (one, two, three):
            (told,) = await hear(feed, 1)
            assert (told["event"], told["object_id"], told["data"]) == ("space.deleted", space, {"name": "Closing"})
        marker = await outside.space("marker")
        assert [event["object_id"] for event in await until(four, marker)] == [marker]


async def test_who_is_taken_out_hears_that_and_no_more(server, app, owner, tenancy):
    direct, through = await tenancy.colleague(owner), await tenancy.colleague(owner)
    space = await owner.space()
    await let_in(owner, space, direct)
    team = await make_group(app, owner, through)
    await owner.put(f"/spaces/{space}/groups/{team}", json={"role": "editor"})
    async with connect(server, direct) as one, connect(server, through) as two:
        await owner.delete(f"/spaces/{space}/groups/{team}")
        assert actions(await hear(one, 1)) == ["space.group_removed"]
        await owner.delete(f"/spaces/{space}/members/{direct.user.id}")
        await owner.collection(space)
        markers = [await person.space("marker") for person in (direct, through)]
        assert actions(await until(one, markers[0])) == ["space.member_removed", "space.created"]
        assert actions(await until(two, markers[1])) == ["space.group_removed", "space.created"]


async def test_drafts_are_not_told_to_viewers(server, owner, tenancy):
    space = await owner.space()
    viewer, editor = await tenancy.colleague(owner), await tenancy.colleague(owner)
    await let_in(owner, space, viewer)
    await let_in(owner, space, editor, "editor")
    async with connect(server, viewer) as less, connect(server, editor) as all_of_it:
        draft = await owner.assistant(space, name="Secret plans")
        await owner.patch(f"/assistants/{draft}", json={"instructions": "Other."})
        assistant = await owner.assistant(space)
        for verb in ("publish", "unpublish"):
            await owner.post(f"/assistants/{assistant}/{verb}")
        await owner.delete(f"/assistants/{assistant}")
        await owner.delete(f"/assistants/{draft}")
        marker = await owner.collection(space)
        told = await until(less, marker)
        assert actions(told) == ["assistant.published", "assistant.unpublished", "collection.created"]
        assert {event["object_id"] for event in told} == {assistant, marker}
        assert "Secret plans" not in json.dumps(told)
        assert actions(await until(all_of_it, marker)) == [
            "assistant.created",
            "assistant.updated",
            "assistant.created",
            "assistant.published",
            "assistant.unpublished",
            "assistant.deleted",
            "assistant.deleted",
            "collection.created",
        ]


async def test_a_role_that_was_lowered_hears_less_on_an_open_socket(server, owner, tenancy):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    await let_in(owner, space, person, "editor")
    async with connect(server, person) as feed:
        await let_in(owner, space, person, "viewer")
        await owner.assistant(space, name="Secret plans")
        marker = await owner.collection(space)
        assert actions(await until(feed, marker)) == ["space.member_put", "collection.created"]


async def test_who_is_shut_out_is_told_nothing_more(server, app, owner, tenancy):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    await let_in(owner, space, person)
    async with connect(server, person) as feed:
        async with app.begin(Principal.system(owner.tenant_id)) as work:
            await work.session.execute(update(User).where(User.id == person.user.id).values(state="inactive"))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await hear_of_each(feed, partial(owner.collection, space))
    assert closed.value.rcvd.code == 4401


async def test_what_is_not_for_one_is_looked_at_once(app, owner, tenancy):
    person = await tenancy.colleague(owner)
    principal = Principal(tenant_id=owner.tenant_id, user_id=person.user.id, kind="user")
    heard, begin = [], await service.now(app, principal)
    cursor = begin
    async with asyncio.timeout(SECONDS):
        # Another test's transaction may still be open, and nothing is settled before it ends.
        while cursor == begin:
            await owner.space()
            heard, cursor = await service.after(app, principal, begin)
    assert heard == []
    assert cursor > begin


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


def principal(person):
    return Principal(tenant_id=person.tenant_id, user_id=person.user.id, kind="user")


async def test_what_was_written_before_a_restored_dump_is_not_told_as_new(app, owner, superuser):
    """A dump keeps transaction ids, and the server that it is restored into counts its own."""
    cursor = await service.now(app, principal(owner))
    async with superuser.begin() as behind:
        await behind.execute(
            text(
                "INSERT INTO events (id, tenant_id, actor_kind, action, object_type, user_id, request_id, ip, data,"
                " created_at) VALUES (gen_random_uuid(), :t, 'user', 'user.updated', 'user', :u, '', '', '{}',"
                " now() - interval '2 days')"
            ),
            {"t": owner.tenant_id, "u": owner.user.id},
        )
    space = await owner.space("New")
    told, _ = await service.after(app, principal(owner), cursor)
    assert [event["object_id"] for event in told if event["event"] == "space.created"] == [UUID(space)]
    assert "user.updated" not in {event["event"] for event in told}


async def test_a_cursor_from_before_a_restored_dump_hears_of_what_is_new(app, owner):
    _, seq = await service.now(app, principal(owner))
    space = await owner.space("New")
    told, cursor = await service.after(app, principal(owner), (10**15, seq))
    assert UUID(space) in {event["object_id"] for event in told}
    assert cursor[0] < 10**15
