"""Events come out of the bytes as the standard says, however the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from folkmoot_sdk.http import EventParser, LineParser, TooLong, sse
from hypothesis import given
from hypothesis import strategies as st

BODY = (
    '\ufeff: a comment\r\ndata: {"å": 1}\r\n\r\nevent: ping\nid: 7\nretry: 10\ndata:{"no":"space"}\n\n'
    "data: two\ndata: lines\r\rdata\nunknown: field\n\ndata:  kept blank\n\n: bye\n\ndata: [DONE]"
).encode()
EVENTS = ['{"å": 1}'.encode(), b'{"no":"space"}', b"two\nlines", b" kept blank", b"[DONE]"]


def parse(pieces: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.end()


def test_a_whole_body_gives_its_events():
    assert parse([BODY]) == EVENTS


def test_one_byte_at_a_time_gives_the_same():
    assert parse([BODY[n : n + 1] for n in range(len(BODY))]) == EVENTS


@given(st.lists(st.integers(0, len(BODY)), max_size=12))
def test_cut_anywhere_it_gives_the_same(cuts):
    places = [0, *sorted(cuts), len(BODY)]
    assert parse([BODY[a:b] for a, b in pairwise(places)]) == EVENTS


def test_a_complete_event_does_not_wait_for_the_next_byte():
    parser = EventParser()
    assert parser.feed(b"data: 1\r\n\r\n") == [b"1"]
    assert parser.feed(b"data: 2\r\r") == [b"2"]
    assert parser.feed(b"\ndata: 3\n\n") == [b"3"]


def test_an_endless_line_or_event_is_refused(monkeypatch):
    monkeypatch.setattr(sse, "LINE_LIMIT", 1000)
    with pytest.raises(TooLong):
        parse([b"x" * 100] * 11)
    with pytest.raises(TooLong):
        parse([b"data: " + b"x" * 100 + b"\n"] * 11)


def test_a_long_line_in_many_pieces_takes_no_square_of_time():
    line = b"data: " + b"x" * (9 * 1024 * 1024)
    assert parse([line[n : n + 4096] for n in range(0, len(line), 4096)] + [b"\n\n"]) == [line[6:]]


def test_data_that_is_empty_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(sse, "LINE_LIMIT", 1000)
    with pytest.raises(TooLong):
        parse([b"data:\n" * 100] * 11)


def test_lines_of_json_come_whole_however_they_are_cut():
    body = '{"a": "å"}\r\n\n{"b": 2}\r{"c": 3}'.encode()
    for size in (1, 2, 3, len(body)):
        parser = LineParser()
        lines = [line for n in range(0, len(body), size) for line in parser.feed(body[n : n + size])] + parser.end()
        assert [line for line in lines if line] == ['{"a": "å"}'.encode(), b'{"b": 2}', b'{"c": 3}']


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(sse, "LINE_LIMIT", 1000)
    parser = LineParser()
    for _ in range(10):
        assert parser.feed(b"x" * 100) == []
    with pytest.raises(TooLong):
        parser.feed(b"x")
