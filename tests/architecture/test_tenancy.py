"""No tenant ever sees or changes what is another's: every table, every route."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from litestar import Litestar, WebSocket, get, websocket
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from folkmoot.kit.db import RUNTIME_ROLE, make_engine
from folkmoot.kit.openapi import finish
from folkmoot.migrate import METADATA
from tests.architecture import routes, tables

PUBLIC = {"login", "refresh"}
READERS_MAY = {"search_collection", "create_conversation", "create_space", "logout"}
"""Not reading, and yet for everybody who is in a space: they change nothing that belongs to it."""
SECRET = "the spare key lies under the blue stone"


async def furnish(tenancy, superuser):
    """A tenant with a row in every table, and the id of one thing of each kind."""
    owner = await tenancy.owner()
    space = await owner.space(f"Space {uuid4().hex[:6]}")
    collection = await owner.collection(space)
    (document,) = await owner.knows(collection, ("secret.txt", f"Where is it? It is known that {SECRET}.".encode()))
    assistant = await owner.assistant(space, collection)
    conversation = await owner.conversation(assistant)
    answer = await owner.ask(conversation, "Where is the spare key?")
    model = (await owner.get("/models")).json()["items"][0]["id"]
    async with superuser.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO chunk_vectors (id, tenant_id, chunk_id, collection_id, model_id, embedding)"
                " SELECT gen_random_uuid(), tenant_id, id, collection_id, :model, '[1,0]'::halfvec FROM chunks"
                " WHERE tenant_id = :tenant LIMIT 1"
            ),
            {"model": model, "tenant": owner.tenant_id},
        )
    ids = {
        "space_id": space,
        "collection_id": collection,
        "document_id": document["id"],
        "assistant_id": assistant,
        "conversation_id": conversation,
        "message_id": answer["id"],
        "model_id": model,
        "user_id": str(owner.user.id),
    }
    return SimpleNamespace(owner=owner, ids=ids, tenant_id=owner.tenant_id)


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


@pytest.fixture
async def every(api):
    return routes.operations(finish(api.openapi_schema.to_schema()))


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
        for table in await tables.table_names(behind):
            assert await behind.scalar(text(f"SELECT count(*) FROM {table}")) > 0, f"{table} is empty"
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table
            assert await refused(connection, await copying(behind, table), **await a_row(behind, table, one)) == "42501"


async def test_a_tenant_cannot_touch_the_rows_of_another_by_sql(one, other, runtime, superuser):
    async with superuser.connect() as behind, runtime.connect() as connection:
        before = await tables.fingerprint(behind, other.tenant_id)
        await connection.execute(text("SELECT set_config('folkmoot.tenant', :t, false)"), {"t": str(one.tenant_id)})
        for table in await tables.table_names(behind):
            own = "id" if table == "tenants" else "tenant_id"
            theirs = f"{own} = '{other.tenant_id}'"
            assert await behind.scalar(text(f"SELECT count(*) FROM {table} WHERE {theirs}")) > 0, table
            assert await connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {theirs}")) == 0, table
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) > 0, table
            row = await a_row(behind, table, other)
            assert await refused(connection, await copying(behind, table), **row) == "42501", table
            if table in ("events", "assistant_versions"):
                continue
            changed = await connection.execute(text(f"UPDATE {table} SET {own} = {own} WHERE {theirs}"))
            assert changed.rowcount == 0, table
            given = f"UPDATE {table} SET {own} = '{other.tenant_id}' WHERE {own} = '{one.tenant_id}'"
            assert await refused(connection, given) == "42501", f"a row of {table} can be given to another tenant"
            removed = await connection.execute(text(f"DELETE FROM {table} WHERE {theirs}"))
            assert removed.rowcount == 0, table
        await connection.rollback()
        assert await tables.fingerprint(behind, other.tenant_id) == before


async def test_what_happened_and_what_answered_is_never_rewritten(one, runtime):
    async with runtime.connect() as connection:
        await connection.execute(text("SELECT set_config('folkmoot.tenant', :t, false)"), {"t": str(one.tenant_id)})
        for table in ("events", "assistant_versions"):
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


# routes


async def test_nobody_gets_anywhere_without_a_token(one, every, stranger):
    calls = 0
    for operation in every:
        arguments = operation.call(dict.fromkeys(operation.slots, one.ids))
        arguments["url"] = f"/api/v1{arguments['url']}"
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
            response = await stranger.request(**arguments, headers=headers)
            calls += 1
            if operation.id in PUBLIC:
                assert response.status_code in (400, 401), operation.id
            else:
                assert response.status_code == 401, f"{operation.id} answered {response.status_code} to nobody"
                assert response.headers["www-authenticate"] == "Bearer"
    print(f"\n{len(every)} operations, {calls} calls as nobody")
    assert {operation.id for operation in every} >= PUBLIC | READERS_MAY


async def test_the_owner_of_another_tenant_gets_nothing_of_this_one(one, other, every, superuser):
    async with superuser.connect() as connection:
        before = [await tables.fingerprint(connection, tenant.tenant_id) for tenant in (one, other)]
    calls = 0
    for operation in every:
        for name, ids in attempts(operation, mine=other.ids, theirs=one.ids):
            call = operation.call(ids)
            response = await other.owner.request(**call)
            calls += 1
            assert response.status_code == 404, (
                f"{operation.id} with another tenant's {name}: {response.status_code} {response.text[:300]}"
            )
            assert_tells_nothing(response, one, operation, str(call))
    async with superuser.connect() as connection:
        after = [await tables.fingerprint(connection, tenant.tenant_id) for tenant in (one, other)]
    assert changes(before[0], after[0]) == set()
    assert changes(before[1], after[1]) == set()
    print(f"\n{len(every)} operations, {calls} calls with another tenant's ids")
    assert calls > len(every) / 2


async def test_lists_tell_nothing_of_another_tenant(one, other, every, tenancy):
    calls = 0
    for operation in every:
        if operation.slots or operation.id in PUBLIC:
            continue
        caller = await tenancy.colleague(other.owner, role="owner")
        response = await caller.request(**operation.call({}))
        calls += 1
        assert response.status_code < 300, operation.id
        assert_tells_nothing(response, one, operation, "")
    print(f"\n{calls} calls of operations without an id")


async def test_a_viewer_writes_nothing(one, every, tenancy, superuser):
    viewer = await tenancy.colleague(one.owner)
    put = await one.owner.put(f"/spaces/{one.ids['space_id']}/members/{viewer.user.id}", json={"role": "viewer"})
    assert put.status_code == 200
    assert (await viewer.get(f"/spaces/{one.ids['space_id']}")).json()["role"] == "viewer"
    calls = await walk_writes(viewer, one, every, superuser, allowed=(403, 404))
    print(f"\n{calls} writes tried as viewer")


async def test_a_colleague_outside_the_space_does_not_know_of_it(one, every, tenancy, superuser):
    outsider = await tenancy.colleague(one.owner)
    calls = await walk_writes(outsider, one, every, superuser, allowed=(404,))
    for operation in every:
        if operation.slots and not operation.writes:
            response = await outsider.request(**operation.call(dict.fromkeys(operation.slots, one.ids)))
            calls += 1
            assert response.status_code == 404, operation.id
    print(f"\n{calls} calls as a colleague who is not in the space")


async def walk_writes(client, one, every, superuser, allowed) -> int:
    async with superuser.connect() as connection:
        before = await tables.fingerprint(connection, one.tenant_id)
    calls = 0
    for operation in every:
        if not operation.writes or operation.id in PUBLIC | READERS_MAY:
            continue
        response = await client.request(**operation.call(dict.fromkeys(operation.slots, one.ids)))
        calls += 1
        assert response.status_code in allowed, f"{operation.id}: {response.status_code} {response.text[:300]}"
    async with superuser.connect() as connection:
        assert changes(before, await tables.fingerprint(connection, one.tenant_id)) == set()
    return calls


def attempts(operation, mine, theirs):
    """Everything theirs, then each id alone theirs and the rest one's own."""
    if operation.slots:
        yield "everything", dict.fromkeys(operation.slots, theirs)
    if len(operation.slots) > 1:
        for slot in operation.slots:
            yield slot, dict.fromkeys(operation.slots, mine) | {slot: theirs}


def assert_tells_nothing(response, one, operation, sent):
    """Nothing of the tenant `one` is in the answer, but for ids that we sent ourselves."""
    assert SECRET not in response.text, operation.id
    for name, value in one.ids.items():
        if value not in sent:
            assert value not in response.text, f"{operation.id} tells the {name} of another tenant"


def changes(before, after):
    return {table for table in before if before[table] != after[table]}


def test_the_walk_fails_for_an_id_that_it_cannot_fill_in():
    said = {"operationId": "new", "requestBody": {"content": {"application/json": {"example": {"x_id": str(uuid4())}}}}}
    with pytest.raises(AssertionError, match="x_id"):
        routes.operations({"paths": {"/api/v1/new": {"post": {**said, "responses": {}}}}})


def test_the_check_of_routes_finds_one_without_permission():
    @get("/bare", opt={})
    async def bare() -> None: ...

    @websocket("/socket")
    async def socket(socket: WebSocket) -> None: ...

    unguarded, public = routes.open_handlers(Litestar([bare, socket], openapi_config=None))
    assert sorted(unguarded) == ["/bare (bare)", "/socket (socket)"]
    assert public == set()
