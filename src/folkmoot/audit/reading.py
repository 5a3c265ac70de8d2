"""Reading rows of the log as PostgreSQL writes them for COPY, the quickest way out of it."""

from __future__ import annotations

from typing import Any, cast

from folkmoot.kit.work import Work

# A row below the oldest open transaction can no longer get an older neighbour. One above the newest was written
# before the database was restored from a dump, which keeps transaction ids but does not go on counting from them.
SETTLED = (
    "(e.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    " OR e.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"
)
UNSEALED = "NOT EXISTS (SELECT FROM audit_seals s WHERE s.tenant_id = e.tenant_id AND s.event_id = e.id)"


async def copy_out(work: Work, query: str) -> list[bytes]:
    """The rows of `query` in the text format of COPY, one for each. Its values stand in the query: only our own."""
    connection = await work.session.connection()
    raw = cast("Any", (await connection.get_raw_connection()).driver_connection)
    parts: list[bytes] = []

    async def keep(part: bytes) -> None:
        parts.append(part)

    await raw.copy_from_query(query, output=keep)
    # The format ends each row with a line end, and has none inside of one.
    return b"".join(parts).split(b"\n")[:-1]
