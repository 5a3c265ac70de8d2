"""What somebody could do who runs SQL as the service does: nothing by a function, nothing to the log unseen."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.audit.seal import seal
from folkmoot.audit.verify import verify
from folkmoot.kit.db import make_engine
from tests.architecture.furnish import furnish

SAY = text("SELECT set_config('folkmoot.tenant', :tenant, true), set_config('folkmoot.lookup', :lookup, true)")


@pytest.fixture
async def one(tenancy, superuser):
    return await furnish(tenancy, superuser)


@pytest.fixture
async def runtime(database):
    engine = make_engine(database["runtime"], pool=1)
    yield engine
    await engine.dispose()


async def test_no_function_view_or_trigger_works_with_the_rights_of_its_owner(superuser):
    ours = "n.nspname = 'public' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {0}.oid AND d.deptype = 'e')"
    async with superuser.connect() as connection:
        functions = await connection.execute(
            text(
                "SELECT p.proname, p.prosecdef, l.lanname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
                f" JOIN pg_language l ON l.oid = p.prolang WHERE {ours.format('p')} ORDER BY 1"
            )
        )
        found = {row.proname: row for row in functions}
        assert set(found) == {
            "folkmoot_add_key",
            "folkmoot_is_platform",
            "folkmoot_keys",
            "folkmoot_key_standing",
            "folkmoot_lookup",
            "folkmoot_person",
            "folkmoot_standing",
            "folkmoot_tenant",
        }
        assert [name for name, row in found.items() if row.prosecdef or row.lanname not in ("sql", "plpgsql")] == []
        views = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN"
        assert (await connection.scalars(text(f"{views} ('v', 'm', 'f') AND {ours.format('c')}"))).all() == []
        assert (await connection.scalars(text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"))).all() == []
        assert (await connection.scalars(text("SELECT rulename FROM pg_rules WHERE schemaname = 'public'"))).all() == []
        owner = await connection.execute(
            text("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'folkmoot_owner'")
        )
        assert not any(owner.one())


async def test_what_a_function_says_of_somebody_stays_in_their_organisation(one, tenancy, runtime):
    other = await tenancy.owner()
    asked = {"tenant": one.tenant_id, "person": one.owner.user.id}
    person = text("SELECT email FROM folkmoot_person(:tenant, :person)")
    async with runtime.connect() as connection:
        assert (await connection.execute(person, asked)).all() == []
        await connection.execute(SAY, {"tenant": str(other.tenant_id), "lookup": ""})
        assert (await connection.execute(person, asked)).all() == []
        for mixed in ({**asked, "tenant": other.tenant_id}, {**asked, "person": other.user.id}):
            assert (await connection.execute(person, mixed)).all() == []
        for hashed in ("", "%", uuid4().hex, str(one.ids["key_id"])):
            known = await connection.execute(text("SELECT * FROM folkmoot_key_standing(:h)"), {"h": hashed})
            assert known.all() == []
        await connection.rollback()
        # The tenant that a function says is forgotten with the statement's transaction.
        asked |= {"session": one.ids["session_id"]}
        said = "SELECT email FROM folkmoot_standing(:tenant, :person, CAST(:session AS uuid))"
        assert (await connection.execute(text(said), asked)).all() == [(one.owner.user.email,)]
        await connection.rollback()
        assert await connection.scalar(text("SELECT count(*) FROM users")) == 0


@pytest.mark.parametrize("lookup", ["", "%", "_", "*", "' OR true --", "e-mail", "the id of a space"])
async def test_a_lookup_finds_what_it_names_whole_and_nothing_else(one, runtime, lookup):
    named = {"e-mail": one.owner.user.email, "the id of a space": one.ids["space_id"]}.get(lookup, lookup)
    async with runtime.connect() as connection:
        await connection.execute(SAY, {"tenant": "", "lookup": named})
        counts = {}
        for table in ("users", "tenants", "api_keys", "login_methods", "allowed_origins", "spaces", "events", "links"):
            counts[table] = await connection.scalar(text(f"SELECT count(*) FROM {table}"))
    assert counts == dict.fromkeys(counts, 0) | {"users": 1 if lookup == "e-mail" else 0}


@pytest.mark.parametrize("place", ["before all", "among the sealed"])
async def test_an_event_that_the_service_itself_dates_back_is_found(one, app, runtime, superuser, place):
    await seal(app, one.tenant_id)
    assert (await verify(app, one.tenant_id)).faults == []
    async with superuser.connect() as connection:
        row = await connection.execute(
            text("SELECT xid, created_at FROM events WHERE tenant_id = :t ORDER BY xid, seq OFFSET 2 LIMIT 1"),
            {"t": one.tenant_id},
        )
        xid, at = row.one()
    forged = text(
        "INSERT INTO events (id, tenant_id, created_at, actor_kind, actor_id, action, object_type, data, xid, seq,"
        " request_id, ip) OVERRIDING SYSTEM VALUE"
        " VALUES (gen_random_uuid(), :t, :at, 'user', :u, 'space.deleted', 'space', '{}', :x, :s, '', '')"
    )
    given = {"t": one.tenant_id, "at": at, "u": one.owner.user.id, "s": -int(uuid4().int >> 80)}
    async with runtime.begin() as connection:
        await connection.execute(SAY, {"tenant": str(one.tenant_id), "lookup": ""})
        await connection.execute(forged, given | {"x": 3 if place == "before all" else xid})
    faults = (await verify(app, one.tenant_id)).faults
    assert [fault.kind for fault in faults] == ["inserted"]
    assert "space.deleted" in faults[0].detail
