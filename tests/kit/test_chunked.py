"""Chunks that come together leave together, and the body stays what it was."""

from __future__ import annotations

from itertools import pairwise

import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.kit.chunked import MOST_JOINED, JoinedChunks, join_chunks

TAIL = b"0\r\n\r\n"


def framed(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)


def read(reader, wire: list[bytes]) -> tuple[list[bytes], bool, str]:
    """(pieces, whether the end was seen, the error) of a body that comes in these parts."""
    buffer, pieces, ended = ReceiveBuffer(), [], False
    for part in wire:
        buffer += part
        while not ended:
            try:
                event = reader(buffer)
            except h11.ProtocolError as error:
                return pieces, ended, type(error).__name__
            if event is None:
                break
            if isinstance(event, h11.EndOfMessage):
                ended = True
            else:
                pieces.append(bytes(event.data))
    return pieces, ended, ""


@given(st.lists(st.binary(max_size=40), max_size=30), st.lists(st.integers(0, 1500), max_size=8), st.booleans())
def test_the_body_is_the_one_that_h11_reads_however_it_is_cut(pieces, cuts, broken):
    wire = framed(pieces) + (b"zz\r\n" if broken else TAIL)
    places = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    parts = [wire[start:end] for start, end in pairwise(places)]
    theirs, ours = read(ChunkedReader(), parts), read(JoinedChunks(), parts)
    assert b"".join(ours[0]) == b"".join(theirs[0])
    assert ours[1:] == theirs[1:]


def test_what_came_together_is_one_piece_and_the_end_still_comes():
    assert read(JoinedChunks(), [framed([b"a", b"b", b"c"]) + TAIL]) == ([b"abc"], True, "")


def test_what_came_before_a_broken_chunk_is_not_lost():
    pieces, ended, error = read(JoinedChunks(), [framed([b"said", b" this"]) + b"zz\r\n"])
    assert (pieces, ended) == ([b"said this"], False)
    assert error.endswith("ProtocolError")


def test_a_piece_does_not_grow_without_end():
    pieces, _, _ = read(JoinedChunks(), [framed([b"x" * 1000] * 200) + TAIL])
    assert max(map(len, pieces)) < MOST_JOINED + 1000
    assert sum(map(len, pieces)) == 200_000


def test_every_connection_reads_so():
    join_chunks()
    connection = h11.Connection(our_role=h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "example.org")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + framed([b"a", b"b"]) + TAIL)
    assert isinstance(connection.next_event(), h11.Response)
    assert bytes(connection.next_event().data) == b"ab", "h11 keeps its readers elsewhere now: look at kit/chunked.py"
    assert isinstance(connection.next_event(), h11.EndOfMessage)
