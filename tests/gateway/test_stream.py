"""Sending while it comes, and noticing who leaves."""

import asyncio

import pytest

from folkmoot.gateway.errors import ClientGone
from folkmoot.gateway.stream import COMMENT, Outlet, while_heard


class Client:
    """The other end: takes what is sent, leaves when told."""

    def __init__(self):
        self.got = []
        self.free = asyncio.Event()
        self.free.set()
        self._gone = asyncio.Event()

    async def send(self, message):
        await self.free.wait()
        self.got.append(message)

    async def receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def leave(self):
        self._gone.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.got if message["type"] == "http.response.body"]


@pytest.fixture
def client():
    return Client()


async def until(holds):
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is awaited is the other side's doing
            await asyncio.sleep(0.001)


async def test_who_leaves_ends_what_was_done_for_them(client):
    begun, ended = asyncio.Event(), []

    async def work():
        async with while_heard(client.receive):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

    working = asyncio.create_task(work())
    await begun.wait()
    client.leave()
    with pytest.raises(ClientGone):
        await working
    assert ended == [True]


async def test_who_leaves_after_the_end_ends_nothing_more(client):
    async with while_heard(client.receive):
        client.leave()
    for _ in range(5):
        await asyncio.sleep(0)


async def test_being_cancelled_by_somebody_else_is_not_the_client_leaving(client):
    async def work():
        async with while_heard(client.receive):
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_the_first_part_leaves_at_once_and_what_comes_together_leaves_together(client):
    outlet = Outlet(client.send)
    outlet.write(b"one")
    await until(lambda: client.bodies)
    client.free.clear()
    outlet.write(b"two")
    await asyncio.sleep(0)
    outlet.write(b"three")
    outlet.write(b"four")
    client.free.set()
    await outlet.end()
    assert client.got[0]["type"] == "http.response.start"
    assert client.bodies == [b"one", b"two", b"threefour", b""]
    assert [message["more_body"] for message in client.got[1:]] == [True, True, True, False]


async def test_a_silence_is_broken_before_the_first_event_and_between(client):
    outlet = Outlet(client.send, silence=0.01)
    assert not outlet.begun
    await until(lambda: len(client.bodies) >= 2)
    assert outlet.begun
    outlet.write(b"data: x\n\n")
    await outlet.end()
    assert client.bodies[0] == COMMENT
    assert b"data: x\n\n" in client.bodies


async def test_nothing_is_sent_after_it_was_closed(client):
    outlet = Outlet(client.send, silence=0.01)
    await outlet.close()
    with pytest.raises(ClientGone):
        outlet.write(b"late")
    assert client.got == []


async def test_a_reader_that_cannot_be_reached_ends_it(client):
    async def broken(_message):
        raise OSError("the line is cut")

    outlet = Outlet(broken)
    outlet.write(b"one")
    await outlet.written()
    with pytest.raises(ClientGone):
        outlet.write(b"two")
    await outlet.close()


async def test_it_can_be_waited_for_until_a_slow_reader_has_all(client):
    outlet = Outlet(client.send)
    client.free.clear()
    outlet.write(b"x" * 1000)
    waiting = asyncio.create_task(outlet.written())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert outlet.waiting == 1000
    client.free.set()
    await waiting
    assert outlet.waiting == 0
    await outlet.close()
