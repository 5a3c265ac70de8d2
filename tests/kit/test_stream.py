"""A stream of events is the same for whoever reads it, whenever, wherever."""

import asyncio
from contextlib import aclosing
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from folkmoot.kit import stream as module
from folkmoot.kit.stream import Entry, Streams, key_of

SECONDS = 20


@pytest.fixture
async def connect(settings):
    """Makes the streams of a process; call it again for another process."""
    made = []

    def process() -> Streams:
        redis = Redis.from_url(settings.redis_url, protocol=2)
        blocking = Redis.from_url(settings.redis_url, protocol=2, socket_timeout=None)
        streams = Streams(redis, blocking)
        made.append((streams, redis, blocking))
        return streams

    yield process
    for streams, *clients in made:
        await streams.close()
        for client in clients:
            await client.aclose()


@pytest.fixture
def streams(connect):
    return connect()


@pytest.fixture
def name():
    return uuid4().hex


async def read(streams, name, after=0) -> list[Entry]:
    async with asyncio.timeout(SECONDS):
        async with aclosing(streams.read(name, after)) as entries:
            return [entry async for entry in entries if entry is not None]


def said(entries) -> str:
    return "".join(msgspec.json.decode(entry.data)["text"] for entry in entries if entry.event == b"text.delta")


async def write(streams, name, *texts) -> None:
    writer = await streams.writer(name)
    writer.write("message.created", {})
    for text in texts:
        writer.text("text.delta", text)
        await asyncio.sleep(0)
    writer.write("message.completed", {})
    await writer.flush()


async def test_numbers_grow_from_one_without_a_gap(streams, name):
    await write(streams, name, *("word " * 30).split(" "))
    entries = await read(streams, name)
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[0].event == b"message.created"
    assert entries[-1].event == b"message.completed"


async def test_whoever_resumes_gets_exactly_the_rest(streams, connect, name):
    writer = await streams.writer(name)
    for number in range(12):
        writer.write("citation", {"n": number})
    writer.write("message.completed", {})
    await writer.flush()
    whole = await read(streams, name)
    assert len(whole) == 13
    elsewhere = connect()
    for after in range(13):
        assert await read(elsewhere, name, after) == whole[after:]


async def test_two_readers_see_the_same_as_it_comes(streams, connect, name):
    readers = [asyncio.create_task(read(where, name)) for where in (streams, streams, connect())]
    await asyncio.sleep(0)
    await write(streams, name, "a", "b", "c")
    first, second, third = await asyncio.gather(*readers)
    assert first == second == third == await read(streams, name)


async def test_a_reader_that_comes_while_the_next_event_is_waited_for_misses_nothing(streams, name, monkeypatch):
    writer = await streams.writer(name)
    writer.write("message.created", {})
    writer.text("text.delta", "one ")
    await writer.flush()
    async with asyncio.timeout(SECONDS), aclosing(streams.read(name)) as first:
        assert [(await anext(first)).number for _ in range(2)] == [1, 2]

        async def nobody_hears() -> None: ...

        # The shared read goes on waiting for what comes after 2, not knowing of the one who begins at 0.
        monkeypatch.setattr(streams, "_ring", nobody_hears)
        late = asyncio.create_task(read(streams, name))
        await asyncio.sleep(0)
        writer.write("message.completed", {})
        await writer.flush()
        assert (await anext(first)).number == 3
        assert [entry.number for entry in await late] == [1, 2, 3]


async def test_a_reader_may_come_before_the_writer(streams, connect, name):
    early = asyncio.create_task(read(streams, name))
    other = asyncio.create_task(read(streams, uuid4().hex))
    await asyncio.sleep(0)
    await write(connect(), name, "late")
    assert said(await early) == "late"
    other.cancel()


async def test_joined_deltas_keep_the_text_byte_for_byte(streams, name):
    parts = [
        "Hej",
        " på",
        " dig",
        "",
        "\n",
        "\r\n",
        "\u2028",
        "👩‍👩‍👧",
        "é",
        "e\u0301",
        "\t",
        '"\\',
        " \u200b",
        "data: x\n\n",
    ] * 20
    reader = asyncio.create_task(read(streams, name))
    await write(streams, name, *parts)
    entries = await reader
    assert said(entries) == "".join(parts)
    deltas = [entry for entry in entries if entry.event == b"text.delta"]
    assert len(deltas) < len(parts) / 4, "nothing was joined"


async def test_the_first_delta_is_not_delayed_by_the_joining(streams, name, monkeypatch):
    """It can be read while the joining of later ones still waits, for as long as that may be."""
    monkeypatch.setattr(module, "JOIN_SECONDS", 3600)
    writer = await streams.writer(name)
    async with asyncio.timeout(SECONDS), aclosing(streams.read(name)) as entries:
        writer.text("text.delta", "first")
        assert (await anext(entries)).data == b'{"text":"first"}'
        writer.text("text.delta", "second ")
        writer.text("text.delta", "third")
        writer.write("message.completed", {})
        assert (await anext(entries)).data == b'{"text":"second third"}'
        assert (await anext(entries)).event == b"message.completed"


async def test_kinds_of_text_are_not_mixed(streams, name):
    writer = await streams.writer(name)
    for event, text in (("reasoning.delta", "a"), ("text.delta", "b"), ("reasoning.delta", "c"), ("text.delta", "d")):
        writer.text(event, text)
    writer.write("message.completed", {})
    await writer.flush()
    entries = await read(streams, name)
    assert said(entries) == "bd"
    assert [entry.event for entry in entries[:4]] == [b"reasoning.delta", b"text.delta"] * 2


async def test_another_writer_goes_on_after_the_first(streams, connect, name):
    writer = await streams.writer(name)
    writer.write("message.created", {})
    writer.text("text.delta", "from one ")
    await writer.flush()
    successor = await connect().writer(name)
    successor.text("text.delta", "and another")
    successor.write("message.failed", {})
    await successor.flush()
    entries = await read(streams, name)
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert said(entries) == "from one and another"


async def test_many_streams_at_once_keep_apart(streams):
    names = [uuid4().hex for _ in range(40)]
    readers = [asyncio.create_task(read(streams, name)) for name in names]
    await asyncio.gather(*(write(streams, name, name[:8], name[8:]) for name in names))
    for name, entries in zip(names, await asyncio.gather(*readers), strict=True):
        assert said(entries) == name


async def test_silence_is_told_by_a_heart_beat(streams, name, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    async with asyncio.timeout(SECONDS), aclosing(streams.read(name)) as entries:
        assert await anext(entries) is None
        await write(streams, name, "x")
        events = [entry.event async for entry in entries if entry is not None]
    assert events == [b"message.created", b"text.delta", b"message.completed"]


async def test_a_reader_that_leaves_is_forgotten(streams, name):
    entries = streams.read(name)
    waiting = asyncio.create_task(anext(entries))
    await asyncio.sleep(0)
    assert streams._readers
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert streams._readers == {}


@pytest.mark.parametrize("steps", range(5))
async def test_a_reader_told_to_leave_at_the_very_moment_an_event_comes_leaves(streams, name, steps):
    """As when the client hangs up while the model talks: else nobody would stop the answer."""
    leaving = asyncio.create_task(read(streams, name))
    await asyncio.sleep(0.05)
    ((reader,),) = streams._readers.values()
    reader.queue.put_nowait(Entry(1, b"text.delta", b"{}"))
    for _ in range(steps):
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving], timeout=5)
    assert leaving.cancelled(), "it reads on, though it was cancelled"


async def test_a_finished_stream_is_kept_for_a_while_only(streams, app, name):
    await write(streams, name, "x")
    assert await streams.exists(name)
    assert 0 < await app.redis.ttl(key_of(name)) <= module.KEEP_SECONDS
    assert not await streams.exists(uuid4().hex)


@given(st.text(), st.integers(1, 2**40))
def test_an_event_is_one_block_of_lines(text, number):
    """Nothing in the text can end the event early or begin another."""
    block = Entry(number, b"text.delta", msgspec.json.encode({"text": text})).sse().decode()
    assert block.endswith("\n\n")
    assert block.count("\n") == 4
    assert "\r" not in block
    assert msgspec.json.decode(block.split("\n")[2].removeprefix("data: ")) == {"text": text}


async def test_an_unheard_of_last_event_id_is_refused_and_holds_nobody_up(owner):
    """A number that Redis cannot count to would break the read that all readers of the process share."""
    conversation = await owner.conversation(await owner.assistant(await owner.space()))
    answer = await owner.ask(conversation, "Is anybody there?")
    for value in ("9" * 30, "x", "-1", "1.5", "٣"):
        headers = [(b"Last-Event-ID", value.encode())]
        assert (await owner.get(f"/messages/{answer['id']}/events", headers=headers)).status_code == 400
    assert (await owner.ask(conversation, "And now?"))["status"] == "complete"
