"""Many streams at once are read by the dozen tokens, few as each token comes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from folkmoot.kit import tcp
from folkmoot.kit.net import NetPolicy, outbound_client

WORDS = 30
PAUSE = 0.01


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with a word every few milliseconds."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for number in range(WORDS):
                word = b"%02d " % number
                writer.write(b"%x\r\n%b\r\n" % (len(word), word))
                await asyncio.sleep(PAUSE)
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@pytest.fixture
async def talker():
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with outbound_client(NetPolicy(("127.0.0.0/8",))) as client:
        yield client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    server.close()


async def pieces(client, url: str) -> list[bytes]:
    async with client.stream("GET", url) as response, aclosing(response.aiter_raw()) as body:
        return [piece async for piece in body]


SAID = b"".join(b"%02d " % number for number in range(WORDS))


async def test_a_few_streams_are_handed_on_word_by_word(talker):
    for got in await asyncio.gather(*(pieces(*talker) for _ in range(3))):
        assert b"".join(got) == SAID
        assert len(got) > WORDS / 2


async def test_many_streams_are_gathered_and_nothing_is_lost(talker, monkeypatch):
    monkeypatch.setattr(tcp, "FEW", 5)
    monkeypatch.setattr(tcp, "GATHER_SECONDS_EACH", 0.02)
    for got in await asyncio.gather(*(pieces(*talker) for _ in range(12))):
        assert b"".join(got) == SAID
        assert len(got) < WORDS / 2
        assert len(got[0]) == 3, "the first words never wait"


async def test_a_connection_that_is_used_again_is_quick_again(talker, monkeypatch):
    monkeypatch.setattr(tcp, "FEW", 0)
    monkeypatch.setattr(tcp, "GATHER_SECONDS_EACH", 0.05)
    for _ in range(2):
        got = await pieces(*talker)
        assert [len(piece) for piece in got[:2]] == [3, 3]
        assert b"".join(got) == SAID
    assert tcp.TcpStream._read_now == 0
