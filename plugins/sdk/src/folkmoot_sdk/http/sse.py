"""Server-sent events and lines of JSON, a piece of the body at a time.

Bytes stay bytes: a character cut in two by the network is whole again before anything decodes it.
"""

from __future__ import annotations

LINE_LIMIT = 10 * 1024 * 1024
"""Bytes of one line, or of the data of one event: more is not an answer but an attack or a mistake."""


class TooLong(ValueError):
    """A line, or the data of one event, is over `LINE_LIMIT`."""


class LineParser:
    """Feed it what arrives; it gives each line that is complete, without its end (LF, CR or CRLF)."""

    __slots__ = ("_after_cr", "_fresh", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._fresh = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in `piece`, empty ones among them. Raises `TooLong`."""
        if self._after_cr and piece:
            self._after_cr = False
            if piece.startswith(b"\n"):  # the second half of a CRLF that was cut in two
                piece = piece[1:]
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        head, newline, tail = piece.rpartition(b"\n")
        if not newline:
            self._keep(piece)
            return []
        if self._parts:
            head = b"".join((*self._parts, head))
            self._parts.clear()
            self._size = 0
        if tail:
            self._keep(tail)
        return self._fresh_start(head).split(b"\n")

    def end(self) -> list[bytes]:
        """The last line, if the body ends without a line end."""
        last = self._fresh_start(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
        return [last] if last else []

    def _fresh_start(self, head: bytes) -> bytes:
        if self._fresh:
            self._fresh = False
            return head.removeprefix(b"\xef\xbb\xbf")
        return head

    def _keep(self, piece: bytes) -> None:
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > LINE_LIMIT:
            raise TooLong(f"a line of more than {LINE_LIMIT} bytes")


class EventParser:
    """Feed it what arrives; it gives the `data` of each event that is complete.

    The names of events are left out: every service that names them repeats the name in the data.
    """

    __slots__ = ("_data", "_data_size", "_lines")

    def __init__(self) -> None:
        self._lines = LineParser()
        self._data: list[bytes] = []
        self._data_size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in `piece`. Raises `TooLong`."""
        return self._read(self._lines.feed(piece))

    def end(self) -> list[bytes]:
        """What is left when the body ends: some servers forget the last blank line."""
        return self._read([*self._lines.end(), b""])

    def _read(self, lines: list[bytes]) -> list[bytes]:
        complete: list[bytes] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    complete.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
                    self._data_size = 0
            elif line.startswith(b"data:"):
                value = line[6:] if line.startswith(b" ", 5) else line[5:]
                self._data_size += len(value) + 1
                if self._data_size > LINE_LIMIT:
                    raise TooLong(f"an event of more than {LINE_LIMIT} bytes")
                data.append(value)
        return complete
