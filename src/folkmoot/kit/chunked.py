"""Chunks of a body, as many at once as have come.

A model sends each token as a chunk of its own, and h11 hands on one chunk at a time through all layers above it: with
hundreds of answers at once that costs more than all else. The reader here is h11's own, asked again for as long as it
finds a whole chunk, and the body that comes out is the same.
"""

from __future__ import annotations

from typing import Any, cast

from h11 import Data, EndOfMessage, ProtocolError
from h11._readers import READERS, ChunkedReader
from h11._state import SEND_BODY

MOST_JOINED = 1 << 16
"""Bytes from which on the rest waits for its turn."""


class JoinedChunks(ChunkedReader):
    """h11's reader of chunked bodies, which gives the chunks that are there as one piece."""

    def __init__(self) -> None:
        super().__init__()
        self._next: EndOfMessage | ProtocolError | None = None

    def __call__(self, buf: Any) -> Data | EndOfMessage | None:
        if (after := self._next) is not None:
            self._next = None
            if isinstance(after, ProtocolError):
                raise after
            return after
        first = super().__call__(buf)
        if not isinstance(first, Data) or not buf:
            return first
        joined = bytearray(first.data)
        while buf and len(joined) < MOST_JOINED:
            try:
                more = super().__call__(buf)
            except ProtocolError as error:
                # What came before it counts.
                self._next = error
                break
            if more is None:
                break
            if isinstance(more, EndOfMessage):
                self._next = more
                break
            joined += more.data
        return Data(data=bytes(joined))


def join_chunks() -> None:
    """Let every connection of this process that h11 reads join its chunks."""
    cast("dict[Any, dict[str, Any]]", READERS)[SEND_BODY]["chunked"] = JoinedChunks
