"""A flat file without the pictures in it.

They stand there as base64, megabytes in one piece, and libxml2 takes pieces of ten megabytes for an attack.
"""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO

_START = b"<office:binary-data>"
_END = b"</office:binary-data>"
_CHUNK = 1 << 16


class WithoutPictures:
    """Reads as the file does, passing over what is inside `office:binary-data`; leaves the file open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ready = b""
        self._held = b""
        """Read, but perhaps the first half of a mark."""
        self._inside = False
        self._ended = False

    def __enter__(self) -> WithoutPictures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready = self._held = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        pieces: list[bytes] = []
        missing = size
        while missing > 0:
            if not self._ready:
                if self._ended:
                    break
                self._fill()
                continue
            piece, self._ready = self._ready[:missing], self._ready[missing:]
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _fill(self) -> None:
        data = self._file.read(_CHUNK)
        self._ended = not data
        data = self._held + data
        kept: list[bytes] = []
        position = 0
        while True:
            mark = _END if self._inside else _START
            found = data.find(mark, position)
            if found < 0:
                break
            if not self._inside:
                kept.append(data[position : found + len(mark)])
            # The closing mark itself is read as text again.
            position = found if self._inside else found + len(mark)
            self._inside = not self._inside
        rest = data[position:]
        keep = 0 if self._ended else len(_END if self._inside else _START) - 1
        cut = max(0, len(rest) - keep)
        if not self._inside:
            kept.append(rest[:cut])
        self._held = rest[cut:]
        self._ready = b"".join(kept)
