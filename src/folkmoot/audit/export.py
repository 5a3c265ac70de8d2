"""The log as a file: CSV for spreadsheets, JSON lines for programs.

Read in short transactions, one for each batch: a client that reads slowly holds no connection. Before each of
them it is asked whether the person may still read the log.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from folkmoot.audit.schemas import EventOut
from folkmoot.audit.service import Filter, LogService
from folkmoot.identity.standing import Standing
from folkmoot.kit.access import Permission, Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import Forbidden, NotSignedIn
from folkmoot.kit.work import Work

Format = Literal["csv", "jsonl"]
MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
BATCH = 1_000
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet may take for the beginning of a formula."""
_PERSON = text("SELECT * FROM folkmoot_person(:tenant, :person)")


async def export(
    app: App, principal: Principal, wanted: Filter, form: Format, permission: Permission = Permission.AUDIT
) -> AsyncIterator[bytes]:
    """What `wanted` finds, newest first, batch by batch, as long as the person may read it."""
    async for part in _written(app, principal, wanted, form, permission, asking=True):
        yield part


async def written(app: App, tenant_id: UUID, wanted: Filter, form: Format) -> AsyncIterator[bytes]:
    """The same for a command, which acts for nobody in the organisation."""
    principal = Principal.system(tenant_id)
    async for part in _written(app, principal, wanted, form, Permission.AUDIT, asking=False):
        yield part


async def _written(
    app: App, principal: Principal, wanted: Filter, form: Format, permission: Permission, *, asking: bool
) -> AsyncIterator[bytes]:
    cursor = None
    if form == "csv":
        yield _csv([EventOut.__struct_fields__])
    while True:
        async with app.begin(principal) as work:
            if asking:
                await still(work, permission)
            rows, cursor = await LogService(work, permission).events(wanted, BATCH, cursor)
        if form == "csv":
            yield _csv([[defused(_cell(getattr(row, name))) for name in row.__struct_fields__] for row in rows])
        else:
            yield b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        if cursor is None:
            return


def defused(cell: str) -> str:
    """`cell` as a spreadsheet shows it and does not run it (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.startswith(RISKY) else cell


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    found = msgspec.to_builtins(value)
    return found if isinstance(found, str) else str(found)


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


async def still(work: Work, permission: Permission) -> None:
    """Raise unless the person may go on reading: a long export must not outlive the right to it."""
    found = await work.session.execute(_PERSON, {"tenant": work.principal.tenant, "person": work.principal.user})
    row = found.first()
    if row is None:
        raise NotSignedIn("this account is gone")
    standing = Standing.of(row)
    standing.check()
    if permission not in standing.permissions:
        raise Forbidden("you may not read the log any more")
