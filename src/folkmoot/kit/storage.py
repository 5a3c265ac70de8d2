"""Files at rest: encrypted by us, in a local folder or an S3-compatible bucket.

The store sees ciphertext, `<tenant>/<key>` and sizes, nothing else. A file appears under its key whole or not
at all: both kinds of store put it together aside and show it at the end. Segments and their checks are in
`kit/crypto.py`.

The store is reached by `obstore`, whose own HTTP client talks to the bucket: its address is the operator's
setting, so it does not pass `kit/net.py`.

What can go wrong is in `kit/storage_errors.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

import obstore
from obstore.store import LocalStore, S3Store

from folkmoot.kit.crypto import (
    FILE_KEY_AT,
    HEAD_BYTES,
    HEADER_BYTES,
    SEALED_SEGMENT_BYTES,
    SEGMENT_BYTES,
    FileOpener,
    FileSealer,
    Tampered,
    resealed_header,
    sealed_offset,
)
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.storage_errors import (
    LONGEST_KEY,
    BadStorageUrl,
    InvalidKey,
    Missing,
    StorageFailed,
    TooBig,
    told,
)
from folkmoot.kit.upload import PIECE_BYTES, Upload

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig

_KEY = re.compile(r"[a-z0-9_.-]+(?:/[a-z0-9_.-]+)*")
_S3_PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes as one part of an upload."""
_BULK = 1000
"""The most that S3 removes in one request."""


@dataclass(frozen=True)
class Stored:
    """What was written."""

    key: str
    size: int
    """Bytes of plaintext."""
    sha256: str
    """Of the plaintext, in hexadecimal."""


class Storage:
    """The files of all tenants, each sealed with its tenant's key."""

    def __init__(self, store: LocalStore | S3Store, keyring: Keyring, *, root: Path | None = None) -> None:
        self._store = store
        self._keyring = keyring
        self._root = root
        """The folder of a local store; None for a bucket."""
        self._window = PIECE_BYTES // SEGMENT_BYTES * (1 if root else 4)
        """Segments fetched at a time: a bucket answers slowly, so each request should bring more."""

    @classmethod
    def from_url(cls, url: str, keyring: Keyring, **options: Any) -> Self:
        """Open `file:///folder`, which is made if it is not there, or `s3://bucket/prefix`.

        `options` are those of `obstore.store.S3Store`: `endpoint`, `region`, `access_key_id`,
        `secret_access_key`, `virtual_hosted_style_request`, ...; what is not given is read from the AWS_*
        variables of the environment. An `endpoint` of `http://` is taken as meant. Raises `BadStorageUrl`.
        """
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path not in {"", "/"} and not options:
            root = Path(unquote(parts.path))
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(LocalStore(root, automatic_cleanup=True), keyring, root=root)
        if parts.scheme == "s3" and parts.netloc and not parts.query and "@" not in parts.netloc:
            endpoint = options.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
            plain = str(endpoint or "").startswith("http://")
            client: ClientConfig = {"allow_http": plain, "connect_timeout": "10s", "timeout": "120s"}
            prefix = unquote(parts.path).strip("/") or None
            return cls(S3Store(parts.netloc, prefix=prefix, client_options=client, **options), keyring)
        raise BadStorageUrl(f"{url.rpartition('@')[2]!r} is no file store: give file:///folder or s3://bucket/prefix")

    async def write(
        self, tenant_id: UUID, key: str, chunks: AsyncIterator[bytes], *, limit: int | None = None
    ) -> Stored:
        """Encrypt and store what comes, of any chunking; replaces what lay there once all of it is in.

        Takes a few MiB of memory, however large the file. On any error, and when it is cancelled, nothing of
        the file remains and what lay there before stays. Raises `TooBig` as soon as more than `limit` bytes
        came, `StorageFailed`, and whatever `chunks` raises.
        """
        path = _path(tenant_id, key)
        sealer = FileSealer(await self._keyring.of(tenant_id), name=key)
        upload = self._upload(path, key)
        digest, size = hashlib.sha256(), 0
        try:
            await upload.feed(sealer.header)
            async for chunk in chunks:
                size += len(chunk)
                if limit is not None and size > limit:
                    raise TooBig(limit, key)
                with memoryview(chunk) as view:
                    for at in range(0, len(view), PIECE_BYTES):
                        piece = view[at : at + PIECE_BYTES]
                        digest.update(piece)
                        await upload.feed(sealer.update(piece))
            await upload.feed(sealer.finish())
            await upload.finish()
        except BaseException:
            await upload.abandon()
            raise
        await self._settle(path, key)
        return Stored(key, size, digest.hexdigest())

    async def read(self, tenant_id: UUID, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The plaintext from byte `start` up to, not including, `end`, in chunks of at most 64 KiB.

        Every chunk is verified before it is given, and a range that reaches the end also verifies that this is
        the end. A range outside the file is shorter or empty, as with slices. Raises `Missing`, `Tampered`,
        `StorageFailed`; also after some chunks, if the file is removed, replaced or damaged further on.
        """
        path = _path(tenant_id, key)
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"bytes {start} to {end} of {key!r} are no range")
        first = start // SEGMENT_BYTES
        wanted = self._window if end is None else min(self._window, max(0, -(-end // SEGMENT_BYTES) - first))
        head, meta = await self._fetch(path, key, 0, HEADER_BYTES if first else sealed_offset(wanted))
        opener = await self._opener(tenant_id, key, head, meta)
        stop = opener.size if end is None else min(end, opener.size)
        final = opener.segments - 1 if end is None or end >= opener.size else (end - 1) // SEGMENT_BYTES
        number = min(first, opener.segments - 1)
        window = head[HEADER_BYTES:]
        while number <= final:
            if not window:
                start_at, until = sealed_offset(number), sealed_offset(min(number + self._window, final + 1))
                try:
                    window, _ = await self._fetch(path, key, start_at, until, meta["e_tag"])
                except Missing:
                    # Its header may have been sealed anew, which leaves the rest as it is.
                    head, meta = await self._fetch(path, key, 0, HEADER_BYTES)
                    if not opener.same(await self._opener(tenant_id, key, head, meta)):
                        raise
                    continue
            if not window:
                raise Tampered(key)
            for at in range(0, len(window), SEALED_SEGMENT_BYTES):
                plain = opener.open(number, window[at : at + SEALED_SEGMENT_BYTES])
                offset = number * SEGMENT_BYTES
                if piece := plain[max(0, start - offset) : max(0, stop - offset)]:
                    yield piece
                number += 1
            window = window[:0]

    async def reseal(self, tenant_id: UUID, key: str) -> bool:
        """Seal the key of a file with the newest of its tenant; False if it is already. What is in it stays.

        No store can change the beginning of an object alone, so all of it is written once more, as it lies. Whoever
        reads it meanwhile reads on. One who removes it at the same moment may find it back: look for it again.
        Raises `Missing`, `Tampered`, `StorageFailed`.
        """
        path = _path(tenant_id, key)
        head, meta = await self._fetch(path, key, 0, HEADER_BYTES)
        before = bytes(head)
        if before[FILE_KEY_AT:].startswith((await self._keyring.of(tenant_id)).head):
            return False
        header = await self._keyring.opened(tenant_id, lambda keys: resealed_header(keys, before, name=key))
        if header is None:
            return False
        upload = self._upload(path, key)
        try:
            await upload.feed(header)
            at = HEADER_BYTES
            while at < meta["size"]:
                piece, _ = await self._fetch(path, key, at, min(at + _S3_PART_BYTES, meta["size"]), meta["e_tag"])
                await upload.feed(bytes(piece))
                at += len(piece)
            await upload.finish()
        except BaseException:
            await upload.abandon()
            raise
        await self._settle(path, key)
        return True

    async def seal_of(self, tenant_id: UUID, key: str) -> bytes:
        """How the sealed key of a file begins: with which key it is sealed. Raises as `read` does."""
        head, _ = await self._fetch(_path(tenant_id, key), key, 0, HEADER_BYTES)
        return bytes(head[FILE_KEY_AT : FILE_KEY_AT + HEAD_BYTES])

    async def read_bytes(self, tenant_id: UUID, key: str, start: int = 0, end: int | None = None) -> bytes:
        """`read`, in one piece: for files that are known to be small."""
        return b"".join([chunk async for chunk in self.read(tenant_id, key, start, end)])

    async def copy_to(self, tenant_id: UUID, key: str, file: BinaryIO) -> int:
        """Write the plaintext to an open file, off the event loop; returns its size in bytes.

        After an error the file holds the beginning: throw it away.
        """
        size = 0
        async for chunk in self.read(tenant_id, key):
            await asyncio.to_thread(file.write, chunk)
            size += len(chunk)
        return size

    async def exists(self, tenant_id: UUID, key: str) -> bool:
        """Whether something lies under the key; not whether it can be read."""
        path = _path(tenant_id, key)
        try:
            with told(key):
                await obstore.head_async(self._store, path)
        except Missing:
            return False
        return True

    async def delete(self, tenant_id: UUID, key: str) -> None:
        """Remove a file; it is no error if there is none."""
        path = _path(tenant_id, key)
        with suppress(Missing), told(key):
            await obstore.delete_async(self._store, path)

    async def delete_tenant(self, tenant_id: UUID) -> int:
        """Remove every file of a tenant, also what broken uploads left; returns how many files there were."""
        paths = [f"{tenant_id}/{key}" async for key in self.keys(tenant_id)]
        with suppress(Missing), told(str(tenant_id)):
            if self._root is not None:
                await asyncio.to_thread(shutil.rmtree, self._root / str(tenant_id))
            else:
                for at in range(0, len(paths), _BULK):
                    await obstore.delete_async(self._store, paths[at : at + _BULK])
        return len(paths)

    async def keys(self, tenant_id: UUID) -> AsyncIterator[str]:
        """The keys of a tenant's files, in no order that holds."""
        async for meta in self._listed(tenant_id):
            yield meta["path"].removeprefix(f"{tenant_id}/")

    async def usage(self, tenant_id: UUID) -> tuple[int, int]:
        """How many files a tenant has, and their bytes as they lie, encrypted."""
        sizes = [meta["size"] async for meta in self._listed(tenant_id)]
        return len(sizes), sum(sizes)

    async def _listed(self, tenant_id: UUID) -> AsyncIterator[ObjectMeta]:
        prefix = f"{tenant_id}/"
        with told(prefix):
            # The type of its other form needs a package that is not installed.
            async for page in obstore.list(self._store, prefix, chunk_size=500):  # pyright: ignore[reportUnknownMemberType]
                for meta in page:
                    yield meta

    async def sweep(self, older_than: float = 86_400.0) -> int:
        """Remove what uploads left that were killed more than `older_than` seconds ago; returns how many.

        Only a folder needs it. In a bucket a lifecycle rule (AbortIncompleteMultipartUpload) does the same.
        """
        return 0 if self._root is None else await asyncio.to_thread(_sweep, self._root, time.time() - older_than)

    async def _opener(self, tenant_id: UUID, key: str, head: memoryview, meta: ObjectMeta) -> FileOpener:
        header, size = bytes(head[:HEADER_BYTES]), meta["size"]
        return await self._keyring.opened(tenant_id, lambda keys: FileOpener(keys, header, size, name=key))

    def _upload(self, path: str, key: str) -> Upload:
        return Upload(self._store, path, key, PIECE_BYTES if self._root else _S3_PART_BYTES)

    async def _settle(self, path: str, key: str) -> None:
        if self._root is not None:
            with told(key):
                await asyncio.to_thread(_sync, self._root / path)

    async def _fetch(
        self, path: str, key: str, start: int, end: int, version: str | None = None
    ) -> tuple[memoryview, ObjectMeta]:
        options: GetOptions = {"range": (start, end)}
        if version is not None:
            options["if_match"] = version
        try:
            with told(key):
                result = await obstore.get_async(self._store, path, options=options)
                return memoryview(await result.buffer_async()), result.meta
        except StorageFailed:
            # A store answers a range outside the object with an error of no particular kind.
            with told(key):
                meta = await obstore.head_async(self._store, path)
            if meta["size"] < HEADER_BYTES:
                raise Tampered(key) from None
            raise


def _path(tenant_id: UUID, key: str) -> str:
    if len(key) > LONGEST_KEY or not _KEY.fullmatch(key) or not {".", ".."}.isdisjoint(key.split("/")):
        raise InvalidKey(key)
    return f"{tenant_id}/{key}"


def _sync(path: Path) -> None:
    """Have the disk hold the file and its name before anybody is told that it is stored."""
    for each in (path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep(root: Path, before: float) -> int:
    """Unfinished files are named `<key>#<number>`, which no key can be."""
    count = 0
    for path in root.rglob("*#*"):
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < before:
                path.unlink()
                count += 1
    return count
