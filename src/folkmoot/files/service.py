"""Taking in bytes, and giving them back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from uuid import UUID

from sqlalchemy import select
from uuid_utils.compat import uuid7

from folkmoot.files.models import File
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest, ContentTooLarge, NotFound
from folkmoot.kit.storage import Stored
from folkmoot.kit.storage_errors import TooBig
from folkmoot.tenants.service import storage_room

LONGEST_NAME = 255


def clean_name(name: str) -> str:
    """A file name as people see it, without folders, control characters or tricks of direction.

    `../../etc/passwd` becomes `passwd`. Raises `BadRequest` if nothing is left.
    """
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode()).replace("\\", "/")
    name = PurePosixPath(name).name
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    name = re.sub(r"\s+", " ", name).strip()
    if name in ("", ".", ".."):
        raise BadRequest("a file has no name: give it one", code="file-name-missing")
    if len(name) > LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        name = (
            f"{stem[: LONGEST_NAME - len(suffix) - 1]}{dot}{suffix}"
            if dot and len(suffix) < 20
            else name[:LONGEST_NAME]
        )
    return name


def _quota_reached(name: str) -> ContentTooLarge:
    return ContentTooLarge(
        f"there is no room for {name}: your organisation's files may not take more. Delete documents that nobody "
        "needs, or ask an administrator for a higher quota",
        code="quota-storage",
    )


class FileService:
    """Each method opens its own short transactions: nothing holds one while a client sends."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def receive(self, principal: Principal, name: str, chunks: AsyncIterator[bytes]) -> File:
        """Store what streams in, encrypted. Raises `ContentTooLarge` at the byte that is too many.

        Too many for one file is `file-too-large`; for all files of the organisation, `quota-storage`.
        The row is made before the bytes and the document after them, so that whatever a crash leaves has a
        row without a document, which the sweep removes.
        """
        name = clean_name(name)
        file_id = uuid7()
        file = File(
            id=file_id, tenant_id=principal.tenant, name=name, size=0, sha256="", storage_key=f"files/{file_id}"
        )
        most = self._app.settings.max_upload_bytes
        async with self._app.begin(principal) as work:
            room = await storage_room(work)
            if room == 0:
                raise _quota_reached(name)
            work.session.add(file)
        limit = most if room is None else min(most, room)
        try:
            stored: Stored = await self._app.storage.write(principal.tenant, file.storage_key, chunks, limit=limit)
            file.size, file.sha256 = stored.size, stored.sha256
            await self._keep(principal, file)
        except TooBig:
            await self._drop(principal.tenant, file)
            if limit < most:
                raise _quota_reached(name) from None
            raise ContentTooLarge(
                f"{name} is larger than {limit / 1_048_576:.0f} MB, the limit here: make it smaller or split it",
                code="file-too-large",
            ) from None
        except BaseException:
            await self._drop(principal.tenant, file)
            raise
        return file

    async def _keep(self, principal: Principal, file: File) -> None:
        """Count the file that has come in; others may have filled the room that there was when it began."""
        async with self._app.begin(principal) as work:
            room = await storage_room(work, lock=True)
            kept = await work.session.get(File, file.id)
            if kept is None:
                raise NotFound("the file was removed while it arrived: send it again")
            if room is not None and file.size > room:
                raise _quota_reached(file.name)
            kept.size, kept.sha256 = file.size, file.sha256

    async def _drop(self, tenant_id: UUID, file: File) -> None:
        """Row and bytes; the bytes also when the row is gone already, with its organisation perhaps."""
        await self.remove(tenant_id, file.id)
        await self._app.storage.delete(tenant_id, file.storage_key)

    async def remove(self, tenant_id: UUID, file_id: UUID) -> None:
        """Delete bytes and row; nothing happens if they are gone already."""
        async with self._app.begin(Principal.system(tenant_id)) as work:
            file = await work.session.scalar(select(File).where(File.id == file_id).with_for_update())
            if file is None:
                return
            await work.session.delete(file)
            key = file.storage_key
            work.after_commit(lambda: self._app.storage.delete(tenant_id, key))
