"""What must hold of every table, as a checker that can itself be tested on a bad one."""

from __future__ import annotations

from sqlalchemy import text

PLATFORM_WIDE = {"tenants"}
"""The one table without `tenant_id`: its own id is the tenant."""
NO_TENANT_DATA = {"alembic_version"}
FOR_THE_PLATFORM = {"deletion_certificates"}
"""They outlive their tenant, so no tenant reads them; its `tenant_id` only says which it was."""
_TABLES = text(
    """
    SELECT c.relname AS name, c.relrowsecurity AS secured, c.relforcerowsecurity AS forced,
           pg_get_userbyid(c.relowner) AS owner, c.relispartition AS part,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'
                   AND a.attnotnull AND NOT a.attisdropped) AS has_tenant
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1
    """
)
_POLICIES = text(
    "SELECT tablename, cmd, permissive, qual, with_check FROM pg_policies WHERE schemaname = 'public' ORDER BY 1"
)


async def table_names(connection) -> set[str]:
    """The parts of a table that is cut into some are not tables of their own."""
    return {row.name for row in await connection.execute(_TABLES) if not row.part} - NO_TENANT_DATA


async def faults(connection, runtime_role: str) -> list[str]:
    """What is wrong with the tables' protection, one sentence each; empty when all is well."""
    policies: dict[str, list] = {}
    for row in await connection.execute(_POLICIES):
        policies.setdefault(row.tablename, []).append(row)
    found = []
    for table in await connection.execute(_TABLES):
        if table.name in NO_TENANT_DATA:
            continue
        if table.owner == runtime_role:
            found.append(f"{table.name} is owned by the runtime role, which could take its policy away")
        if not table.has_tenant and table.name not in PLATFORM_WIDE:
            found.append(f"{table.name} has no tenant_id that is always set")
        if not table.secured:
            found.append(f"{table.name} has no row-level security")
        if not table.forced:
            found.append(f"{table.name} does not force row-level security on its owner")
        own = policies.get(table.name, [])
        if not any(row.cmd == "ALL" for row in own):
            found.append(f"{table.name} has no policy for all commands")
        for row in own:
            for part in (row.qual, row.with_check) if row.cmd != "SELECT" else (row.qual,):
                asked = "folkmoot_is_platform()" if table.name in FOR_THE_PLATFORM else "folkmoot_tenant()"
                if asked not in (part or "") and row.cmd != "SELECT":
                    found.append(f"{table.name} has a policy that does not ask for the tenant: {part}")
            if row.cmd == "SELECT" and "folkmoot_" not in (row.qual or ""):
                found.append(f"{table.name} has a policy that shows rows to anybody: {row.qual}")
    return found


async def writable_columns(connection, table: str) -> list[str]:
    """The columns that an INSERT may name: not the generated ones."""
    rows = await connection.execute(
        text(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0"
            " AND NOT attisdropped AND attidentity = '' AND attgenerated = '' ORDER BY attnum"
        ),
        {"table": table},
    )
    return [row[0] for row in rows]


async def fingerprint(connection, tenant_id) -> dict[str, str]:
    """A hash of all rows of a tenant, table by table."""
    found = {}
    for table in sorted(await table_names(connection)):
        own = "id" if table in PLATFORM_WIDE else "tenant_id"
        found[table] = await connection.scalar(
            text(
                f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t WHERE {own} = :t"
            ),
            {"t": tenant_id},
        )
    return found


async def loose_references(connection) -> list[str]:
    """Foreign keys between tables of tenants that do not hold the tenant fast."""
    found = await connection.execute(
        text(
            "SELECT c.conname, c.conrelid::regclass::text AS child, ARRAY("
            "  SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)"
            ") AS columns FROM pg_constraint c WHERE c.contype = 'f' AND c.confrelid <> 'tenants'::regclass"
        )
    )
    return [f"{row.child}.{row.conname}" for row in found if "tenant_id" not in row.columns]
