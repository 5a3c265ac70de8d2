"""Postings as plain arrays: which chunks hold which word, how often, and how long each chunk is.

A segment of the full-text index is a sequence of blocks, each a run of words in the order of their keys; a word
stands in one block only. Beside each posting stands its chunk's length, so that BM25 needs to look nowhere else.
All numbers are little-endian, and blocks are not compressed: reading one is a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.uint32]
Keys = NDArray[np.int64]

BLOCK_BYTES = 16_384
"""About so much is read to find a rare word; a common one fills a block of its own, however large."""
_TERM_BYTES, _POSTING_BYTES = 12, 7
MOST_LENGTH, MOST_TIMES = 65_535, 255


@dataclass(frozen=True)
class Roll:
    """Chunks by their number, with their lengths: those of a segment, or those that were deleted."""

    numbers: Ints
    """Rising, each once."""
    lengths: NDArray[np.uint16]

    @classmethod
    def of(cls, numbers: Iterable[int], lengths: Iterable[int]) -> Roll:
        found = np.fromiter(numbers, "<u4")
        sizes = np.minimum(np.fromiter(lengths, "<i8"), MOST_LENGTH).astype("<u2")
        order = np.argsort(found, kind="stable")
        return cls(found[order], sizes[order])

    @classmethod
    def decode(cls, data: bytes) -> Roll:
        size = len(data) // 6
        return cls(np.frombuffer(data, "<u4", size), np.frombuffer(data, "<u2", size, 4 * size))

    @classmethod
    def joined(cls, rolls: Sequence[Roll]) -> Roll:
        """All of them as one; a number in several counts once."""
        if not rolls:
            return cls(np.empty(0, "<u4"), np.empty(0, "<u2"))
        numbers, first = np.unique(np.concatenate([roll.numbers for roll in rolls]), return_index=True)
        return cls(numbers, np.concatenate([roll.lengths for roll in rolls])[first])

    def encode(self) -> bytes:
        return self.numbers.astype("<u4").tobytes() + self.lengths.astype("<u2").tobytes()

    def only(self, kept: NDArray[np.bool_]) -> Roll:
        return Roll(self.numbers[kept], self.lengths[kept])

    @property
    def total(self) -> int:
        """Words of all its chunks."""
        return int(self.lengths.sum(dtype=np.int64))

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Postings:
    """Words with their postings, flat: those of word `i` are the `counts[i]` after those of the words before it."""

    keys: Keys
    """Rising, each once."""
    counts: Ints
    numbers: Ints
    lengths: NDArray[np.uint16]
    times: NDArray[np.uint8]

    @classmethod
    def of(cls, chunks: Sequence[tuple[int, dict[int, int], int]]) -> Postings:
        """From chunks as (number, how often each key stands in it, length), in the order of their numbers."""
        sizes = [len(counts) for _, counts, _ in chunks]
        total = sum(sizes)
        keys = np.fromiter(chain.from_iterable(counts for _, counts, _ in chunks), "<i8", total)
        said = np.fromiter(chain.from_iterable(counts.values() for _, counts, _ in chunks), "<i8", total)
        times = np.minimum(said, MOST_TIMES).astype("<u1")
        numbers = np.repeat(np.array([number for number, _, _ in chunks], "<u4"), sizes)
        lengths = np.repeat(np.array([min(length, MOST_LENGTH) for *_, length in chunks], "<u2"), sizes)
        order = np.argsort(keys, kind="stable")
        different, counts = np.unique(keys[order], return_counts=True)
        return cls(different, counts.astype("<u4"), numbers[order], lengths[order], times[order])

    @classmethod
    def decode(cls, data: bytes) -> Postings:
        words, total = (int(number) for number in np.frombuffer(data, "<u4", 2))
        at = 8
        keys = np.frombuffer(data, "<i8", words, at)
        counts = np.frombuffer(data, "<u4", words, at := at + 8 * words)
        numbers = np.frombuffer(data, "<u4", total, at := at + 4 * words)
        lengths = np.frombuffer(data, "<u2", total, at := at + 4 * total)
        return cls(keys, counts, numbers, lengths, np.frombuffer(data, "<u1", total, at + 2 * total))

    def encode(self) -> bytes:
        head = np.array([len(self.keys), len(self.numbers)], "<u4")
        parts: list[NDArray[Any]] = [head, self.keys, self.counts, self.numbers, self.lengths, self.times]
        return b"".join(part.tobytes() for part in parts)

    @classmethod
    def joined(cls, parts: Sequence[Postings], dead: Ints | None = None) -> Postings:
        """The words of all of them, each once, without the chunks in `dead` (rising)."""
        keys = np.concatenate([part.keys for part in parts])
        counts = np.concatenate([part.counts for part in parts])
        order = np.argsort(keys, kind="stable")
        numbers, lengths, times = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "lengths", "times")
        )
        begins = np.cumsum(counts, dtype=np.int64) - counts
        sizes = counts[order].astype(np.int64)
        # Where each posting of the result stands now: its word's beginning, and its place within that.
        within = np.arange(int(sizes.sum()), dtype=np.int64) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        take = np.repeat(begins[order], sizes) + within
        of_key = np.repeat(keys[order], sizes)
        if dead is not None and len(dead):
            alive = ~np.isin(numbers[take], dead)
            take, of_key = take[alive], of_key[alive]
        different, found = np.unique(of_key, return_counts=True)
        return cls(different, found.astype("<u4"), numbers[take], lengths[take], times[take])

    def between(self, first: int, last: int) -> Postings:
        """Its words number `first` to `last`, without the last."""
        ends = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])
        start, stop = int(ends[first]), int(ends[last])
        return Postings(
            self.keys[first:last],
            self.counts[first:last],
            self.numbers[start:stop],
            self.lengths[start:stop],
            self.times[start:stop],
        )

    def blocks(self) -> Iterator[Postings]:
        """Cut into runs of about `BLOCK_BYTES`."""
        size = np.cumsum(_TERM_BYTES + _POSTING_BYTES * self.counts.astype(np.int64))
        begins = np.concatenate([[0], size[:-1]]) // BLOCK_BYTES if len(size) else size
        cuts = [0, *(np.flatnonzero(np.diff(begins)) + 1).tolist(), len(self.keys)]
        for first, last in pairwise(cuts):
            if last > first:
                yield self.between(first, last)

    def find(self, key: int) -> Postings | None:
        """The postings of one word; None if it is not here."""
        at = int(np.searchsorted(self.keys, key))
        if at == len(self.keys) or self.keys[at] != key:
            return None
        return self.between(at, at + 1)

    def __len__(self) -> int:
        return len(self.keys)
