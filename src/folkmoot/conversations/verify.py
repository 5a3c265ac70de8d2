"""Checking each sentence of a finished answer against the passages."""

from __future__ import annotations

from folkmoot.conversations.run import Run
from folkmoot.kit.stream import StreamWriter


async def verify(run: Run, writer: StreamWriter) -> None:
    """Fill `run.sentences` and tell the reader, if the answer had passages to rest on."""
