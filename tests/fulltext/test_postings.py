"""Postings as arrays: what is written is read, and merging is the same as having written all at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.fulltext.postings import BLOCK_BYTES, MOST_LENGTH, MOST_TIMES, Postings, Roll

KEYS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3))
CHUNKS = st.lists(
    st.tuples(st.dictionaries(KEYS, st.integers(1, 300), max_size=8), st.integers(0, 70_000)), max_size=12
)


def numbered(chunks, start: int = 0):
    return [(start + at, counts, length) for at, (counts, length) in enumerate(chunks)]


def plain(postings: Postings) -> dict[int, dict[int, tuple[int, int]]]:
    found: dict[int, dict[int, tuple[int, int]]] = {}
    at = 0
    for key, count in zip(postings.keys.tolist(), postings.counts.tolist(), strict=True):
        rows = range(at, at + count)
        found[key] = {int(postings.numbers[i]): (int(postings.lengths[i]), int(postings.times[i])) for i in rows}
        at += count
    return found


def expected(chunks) -> dict[int, dict[int, tuple[int, int]]]:
    found: dict[int, dict[int, tuple[int, int]]] = {}
    for number, counts, length in chunks:
        for key, times in counts.items():
            found.setdefault(key, {})[number] = (min(length, MOST_LENGTH), min(times, MOST_TIMES))
    return found


@given(CHUNKS)
def test_what_is_written_is_read(chunks):
    chunks = numbered(chunks)
    postings = Postings.of(chunks)
    assert plain(postings) == expected(chunks)
    assert plain(Postings.decode(postings.encode())) == plain(postings)
    assert postings.keys.tolist() == sorted(set(postings.keys.tolist()))


@given(st.lists(CHUNKS, min_size=1, max_size=4), st.sets(st.integers(0, 40)))
def test_merged_is_the_same_as_written_at_once_without_the_dead(parts, dead):
    whole, at = [], 0
    pieces = []
    for chunks in parts:
        part = numbered(chunks, at)
        at += len(part)
        whole += part
        pieces.append(Postings.of(part))
    joined = Postings.joined(pieces, np.array(sorted(dead), "<u4"))
    assert plain(joined) == expected([chunk for chunk in whole if chunk[0] not in dead])


def test_blocks_hold_each_word_once_and_all_in_order():
    chunks = numbered([(dict.fromkeys(range(-3000, 3000, 1 + at), 1), 5) for at in range(30)])
    postings = Postings.of(chunks)
    blocks = list(postings.blocks())
    assert len(blocks) > 3
    assert [key for block in blocks for key in block.keys.tolist()] == postings.keys.tolist()
    assert all(len(block.encode()) < 2 * BLOCK_BYTES for block in blocks)
    assert {key: rows for block in blocks for key, rows in plain(block).items()} == expected(chunks)
    found = next(block for block in blocks if block.find(12) is not None).find(12)
    assert plain(found) == {12: expected(chunks)[12]}
    assert postings.find(3001) is None


@given(st.dictionaries(st.integers(0, 2**31), st.integers(0, 60_000), max_size=20))
def test_a_roll_keeps_numbers_with_their_lengths(chunks):
    roll = Roll.decode(Roll.of(chunks, chunks.values()).encode())
    assert dict(zip(roll.numbers.tolist(), roll.lengths.tolist(), strict=True)) == chunks
    assert roll.total == sum(chunks.values())
    twice = Roll.joined([roll, roll])
    assert (twice.numbers.tolist(), twice.total) == (roll.numbers.tolist(), roll.total)
