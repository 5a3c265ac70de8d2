"""One object on its way into the file store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import obstore
from obstore.store import LocalStore, S3Store

from folkmoot.kit.storage_errors import told

PIECE_BYTES = 1024 * 1024
"""How much is hashed, encrypted and handed to the store at a time: larger stalls the loop, smaller is slow."""
_ABANDON_SECONDS = 30.0


class Upload:
    """One object on its way into the store, which works on one piece while the next is being sealed.

    The pieces go through a queue to a task of their own. Cancelling obstore's call in the middle would leave
    the parts of an S3 upload in the bucket, unseen and paid for; an iterator that raises makes it clean up.
    """

    def __init__(self, store: LocalStore | S3Store, path: str, key: str, part_bytes: int) -> None:
        self._store, self._path, self._key, self._part_bytes = store, path, key, part_bytes
        self._piece = bytearray()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._abandoned = False
        self._task: asyncio.Task[None] | None = None

    async def feed(self, data: bytes) -> None:
        self._piece += data
        if len(self._piece) > PIECE_BYTES:
            if self._task is None:
                self._task = asyncio.create_task(self._put(self._pieces()))
            await self._hand_over(bytes(self._piece), self._task)
            self._piece.clear()

    async def finish(self) -> None:
        if self._task is None:
            # The common small file is one request, not the three of an upload in parts.
            self._task = asyncio.create_task(self._put(bytes(self._piece)))
        else:
            await self._hand_over(bytes(self._piece), self._task)
            await self._hand_over(None, self._task)
        await asyncio.shield(self._task)

    async def abandon(self) -> None:
        """Leave nothing behind, unless the store has it whole already."""
        self._abandoned = True
        if self._task is None:
            return
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({self._task}, timeout=_ABANDON_SECONDS)
        self._task.cancel()

    async def _put(self, what: bytes | AsyncIterator[bytes]) -> None:
        whole = isinstance(what, bytes)
        with told(self._key, reading=False):
            await obstore.put_async(
                self._store, self._path, what, use_multipart=not whole, chunk_size=self._part_bytes, max_concurrency=2
            )

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._queue.get()) is not None:
            yield piece
        if self._abandoned:
            raise _AbandonedError

    async def _hand_over(self, piece: bytes | None, task: asyncio.Task[None]) -> None:
        handing = asyncio.create_task(self._queue.put(piece))
        try:
            await asyncio.wait({handing, task}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
        finally:
            handing.cancel()


class _AbandonedError(Exception):
    """Tells obstore to clean up; nobody else sees it."""
