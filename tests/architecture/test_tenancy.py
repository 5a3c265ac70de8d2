"""No tenant ever sees or changes what is another's: every table."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from folkmoot.kit.db import RUNTIME_ROLE, make_engine
from folkmoot.migrate import METADATA
from tests.architecture import tables
from tests.architecture.furnish import furnish

PERMANENT = ("events", "assistant_versions", "audit_seals", "audit_checkpoints", "audit_reasons",
             "model_prices", "usage_entries", "receipts")  # fmt: skip


@pytest.fixture
async def one(tenancy, superuser):
    return await furnish(tenancy, superuser)


@pytest.fixture
async def other(tenancy, superuser):
    return await furnish(tenancy, superuser)


@pytest.fixture
async def runtime(database):
    engine = make_engine(database["runtime"], pool=2)
    yield engine
    await engine.dispose()


async def refused(connection, statement: str, **values) -> str:
    """Run what must fail, and give the SQLSTATE."""
    with pytest.raises(DBAPIError) as failed:
        async with connection.begin_nested():
            await connection.execute(text(statement), values)
    return failed.value.orig.sqlstate


# tables


async def test_every_table_is_protected(superuser):
    async with superuser.connect() as connection:
        assert await tables.faults(connection, RUNTIME_ROLE) == []
        assert await tables.table_names(connection) == set(METADATA.tables)


async def test_a_reference_never_leads_into_another_tenant(superuser):
    async with superuser.connect() as connection:
        assert await tables.loose_references(connection) == []
        await connection.execute(text("CREATE TABLE bad (tenant_id uuid, space_id uuid REFERENCES spaces (id))"))
        assert await tables.loose_references(connection) == ["bad.bad_space_id_fkey"]
        await connection.rollback()


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        ("CREATE TABLE bad (id int)", "bad has no tenant_id that is always set"),
        ("CREATE TABLE bad (tenant_id uuid NOT NULL)", "bad has no row-level security"),
        (
            "CREATE TABLE bad (tenant_id uuid NOT NULL); ALTER TABLE bad ENABLE ROW LEVEL SECURITY",
            "bad does not force row-level security on its owner",
        ),
        (
            "CREATE TABLE bad (tenant_id uuid NOT NULL); ALTER TABLE bad ENABLE ROW LEVEL SECURITY;"
            "ALTER TABLE bad FORCE ROW LEVEL SECURITY",
            "bad has no policy for all commands",
        ),
        (
            "CREATE TABLE bad (tenant_id uuid NOT NULL); ALTER TABLE bad FORCE ROW LEVEL SECURITY;"
            "CREATE POLICY p ON bad USING (true) WITH CHECK (tenant_id = folkmoot_tenant())",
            "bad has a policy that does not ask for the tenant: true",
        ),
        (
            "CREATE TABLE bad (tenant_id uuid NOT NULL); ALTER TABLE bad OWNER TO folkmoot_runtime",
            "bad is owned by the runtime role, which could take its policy away",
        ),
    ],
)
async def test_the_check_of_tables_finds_a_bad_one(superuser, made, fault):
    async with superuser.connect() as connection:
        for statement in made.split(";"):
            await connection.execute(text(statement))
        assert fault in await tables.faults(connection, RUNTIME_ROLE)
        await connection.rollback()


async def test_the_runtime_role_has_no_power_of_its_own(runtime):
    async with runtime.connect() as connection:
        role = (await connection.execute(text("SELECT * FROM pg_roles WHERE rolname = current_user"))).one()
        assert role.rolname == RUNTIME_ROLE
        assert not any((role.rolsuper, role.rolbypassrls, role.rolcreaterole, role.rolcreatedb, role.rolreplication))
        owned = "SELECT count(*) FROM pg_class WHERE relowner = to_regrole(current_user)::oid"
        assert await connection.scalar(text(owned)) == 0
        member = "SELECT count(*) FROM pg_auth_members WHERE member = to_regrole(current_user)::oid"
        assert await connection.scalar(text(member)) == 0
        assert await refused(connection, "CREATE TABLE mine (id int)") == "42501"
        assert await refused(connection, "ALTER TABLE spaces NO FORCE ROW LEVEL SECURITY") == "42501"
        assert await refused(connection, "SET ROLE folkmoot_owner") == "42501"
        assert await refused(connection, "TRUNCATE spaces") == "42501"


async def test_without_a_tenant_there_is_nothing_to_see_or_add(one, runtime, superuser):
    async with superuser.connect() as behind, runtime.connect() as connection:
        for table in await tables.table_names(behind) - tables.FOR_THE_PLATFORM:
            assert await behind.scalar(text(f"SELECT count(*) FROM {table}")) > 0, f"{table} is empty"
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table
            assert await refused(connection, await copying(behind, table), **await a_row(behind, table, one)) == "42501"


async def test_a_tenant_cannot_touch_the_rows_of_another_by_sql(one, other, runtime, superuser):
    async with superuser.connect() as behind, runtime.connect() as connection:
        before = await tables.fingerprint(behind, other.tenant_id)
        await connection.execute(text("SELECT set_config('folkmoot.tenant', :t, false)"), {"t": str(one.tenant_id)})
        for table in await tables.table_names(behind) - tables.FOR_THE_PLATFORM:
            own = "id" if table == "tenants" else "tenant_id"
            theirs = f"{own} = '{other.tenant_id}'"
            assert await behind.scalar(text(f"SELECT count(*) FROM {table} WHERE {theirs}")) > 0, table
            assert await connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {theirs}")) == 0, table
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) > 0, table
            row = await a_row(behind, table, other)
            assert await refused(connection, await copying(behind, table), **row) == "42501", table
            if table in PERMANENT:
                continue
            changed = await connection.execute(text(f"UPDATE {table} SET {own} = {own} WHERE {theirs}"))
            assert changed.rowcount == 0, table
            if table == "platform_admins":
                # Seen by its tenant, and changed by the platform alone: not even one's own rows.
                assert (await connection.execute(text(f"DELETE FROM {table}"))).rowcount == 0
                continue
            given = f"UPDATE {table} SET {own} = '{other.tenant_id}' WHERE {own} = '{one.tenant_id}'"
            assert await refused(connection, given) == "42501", f"a row of {table} can be given to another tenant"
            removed = await connection.execute(text(f"DELETE FROM {table} WHERE {theirs}"))
            assert removed.rowcount == 0, table
        await connection.rollback()
        assert await tables.fingerprint(behind, other.tenant_id) == before


async def test_what_happened_and_what_answered_is_never_rewritten(one, runtime):
    async with runtime.connect() as connection:
        await connection.execute(text("SELECT set_config('folkmoot.tenant', :t, false)"), {"t": str(one.tenant_id)})
        for table in PERMANENT:
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) > 0
            assert await refused(connection, f"UPDATE {table} SET created_at = now()") == "42501"
            assert await refused(connection, f"DELETE FROM {table}") == "42501"


async def test_who_is_about_to_sign_in_sees_their_own_row_and_changes_nothing(one, other, runtime):
    async with runtime.connect() as connection:
        email = one.owner.user.email
        await connection.execute(text("SELECT set_config('folkmoot.lookup', :e, false)"), {"e": email})
        assert (await connection.scalars(text("SELECT email FROM users"))).all() == [email]
        for table in ("spaces", "sessions", "tenants", "events"):
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        changed = await connection.execute(text("UPDATE users SET role = 'owner'"))
        assert changed.rowcount == 0
        removed = await connection.execute(text("DELETE FROM users"))
        assert removed.rowcount == 0
        await connection.rollback()


async def copying(behind, table: str) -> str:
    """An INSERT of a row given as JSON, under a new key."""
    columns = ", ".join(f'"{name}"' for name in await tables.writable_columns(behind, table))
    row = f"jsonb_populate_record(NULL::{table}, CAST(:row AS jsonb) || jsonb_build_object('id', gen_random_uuid()))"
    return f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {row}"


async def a_row(behind, table: str, of) -> dict[str, str]:
    own = "id" if table == "tenants" else "tenant_id"
    found = await behind.scalar(
        text(f"SELECT to_jsonb(t)::text FROM {table} t WHERE {own} = :t LIMIT 1"), {"t": of.tenant_id}
    )
    assert found is not None, f"{table} has no row of the tenant: the test is blind"
    return {"row": found}


async def test_what_outlives_a_tenant_is_for_the_platform_alone(one, superuser, runtime):
    made = (
        "INSERT INTO deletion_certificates (id, tenant_id, tenant_name, requested_by, requested_at, removed, key_id,"
        " completed_at, signature)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'gone', 'a test', now(), '{}', '', now(), :signature)"
    )
    async with superuser.begin() as behind:
        await behind.execute(text(made), {"signature": b"signed"})
        await behind.execute(text(made), {"signature": None})
    async with runtime.connect() as connection:
        await connection.execute(text("SELECT set_config('folkmoot.tenant', :t, false)"), {"t": str(one.tenant_id)})
        assert await connection.scalar(text("SELECT count(*) FROM deletion_certificates")) == 0
        assert await refused(connection, made, signature=None) == "42501"
        await connection.execute(text("SELECT set_config('folkmoot.platform', 'on', false)"))
        assert await connection.scalar(text("SELECT count(*) FROM deletion_certificates")) >= 2
        changed = await connection.execute(
            text("UPDATE deletion_certificates SET tenant_name = 'x' WHERE signature IS NOT NULL")
        )
        assert changed.rowcount == 0, "a signed certificate was changed"
        assert await refused(connection, "DELETE FROM deletion_certificates") == "42501"
        await connection.rollback()
