"""Where the reference product failed (its inventory, 9.1), a test each: the number is in the name.

The others are told where they belong: 3 tests/identity/test_tokens.py, 6 tests/tenants and tests/kit/test_edges.py,
9 tests/audit and tests/federation/test_hostile.py, 10 tests/identity/test_throttle.py, 11 tests/federation,
12 tests/kit/test_net.py.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from folkmoot.kit.db import make_engine
from folkmoot.kit.recorder import Recorder
from tests.architecture import tables
from tests.architecture.furnish import DIRECTORY, SECRET, furnish
from tests.support.people import PASSWORD


@pytest.fixture
async def one(tenancy, superuser):
    return await furnish(tenancy, superuser)


@pytest.fixture
async def fingerprint(superuser, app):
    async def taking(tenant_id):
        await app.part(Recorder).flush()
        async with superuser.connect() as connection:
            found = await tables.fingerprint(connection, tenant_id)
        return {name: value for name, value in found.items() if name not in LOG}

    return taking


LOG = {"events", "audit_seals", "audit_checkpoints"}
"""Refusals are told there."""


async def test_9_1_1_nobody_makes_an_owner_or_touches_a_person_without_the_right_or_of_another_tenant(
    one, tenancy, fingerprint
):
    plain, stranger = await tenancy.colleague(one.owner), await tenancy.owner()
    before = await fingerprint(one.tenant_id)
    path = f"/users/{one.colleague.user.id}"
    for who, status in ((plain, 403), (stranger, 404)):
        assert (await who.patch(path, json={"role": "owner"})).status_code == status
        assert (await who.patch(path, json={"state": "inactive"})).status_code == status
        assert (await who.delete(path)).status_code == status
        assert (await who.post(f"/users/{one.invited['id']}/invitation")).status_code == status
    invited = await plain.post("/users", json={"email": f"{uuid4().hex}@x.example", "role": "owner"})
    assert invited.status_code == 403
    assert (await plain.patch(f"/users/{plain.user.id}", json={"role": "owner"})).status_code == 403
    assert await fingerprint(one.tenant_id) == before


async def test_9_1_2_nobody_redirects_a_stored_secret_to_a_server_of_their_own(one, tenancy, fingerprint):
    """Nor does who may: `tests/ai/test_connections.py` has that an address changes only with its secret given again."""
    plain, configurator = await tenancy.colleague(one.owner), await tenancy.colleague(one.owner, role="ai-configurator")
    before = await fingerprint(one.tenant_id)
    path = f"/connections/{one.ids['connection_id']}"
    assert (await plain.patch(path, json={"config": {"base_url": "https://evil.example"}})).status_code == 403
    assert (await plain.get(path)).status_code == 403
    path = f"/login-methods/{one.ids['method_id']}"
    for who in (plain, configurator):
        moved = {"config": {"url": "ldaps://evil.example"}}
        assert (await who.patch(path, json=moved)).status_code == 403
        assert (await who.get(path)).status_code == 403
        assert (await who.post(f"{path}/check")).status_code == 403
        assert (await who.delete(path)).status_code == 403
    assert await fingerprint(one.tenant_id) == before


async def test_9_1_4_servers_and_tokens_that_one_tenant_configured_are_not_there_for_another(one, tenancy, fingerprint):
    stranger = await tenancy.owner()
    before = await fingerprint(one.tenant_id)
    path = f"/login-methods/{one.ids['method_id']}"
    for call in (
        stranger.get(path),
        stranger.patch(path, json={"enabled": False}),
        stranger.post(f"{path}/check"),
        stranger.delete(path),
        stranger.post(f"/me/accounts/{one.ids['method_id']}/start", json={"return_to": "/spaces"}),
        stranger.post(f"/me/accounts/{one.ids['method_id']}/login", json={"identifier": "a", "password": "b"}),
    ):
        assert (await call).status_code == 404
    assert (await stranger.get("/login-methods")).json()["items"] == []
    assert one.ids["model_id"] not in (await stranger.get("/models")).text
    assert await fingerprint(one.tenant_id) == before


async def test_9_1_5_a_message_is_read_by_whoever_asked_and_nobody_else(one, tenancy):
    """Neither another tenant, nor the owner of the same organisation, nor an admin of the same space."""
    colleague = one.colleague
    path = f"/spaces/{one.ids['space_id']}/members/{colleague.user.id}"
    assert (await one.owner.put(path, json={"role": "admin"})).status_code == 200
    mine = await colleague.conversation(one.ids["assistant_id"])
    answer = (await colleague.ask(mine, "Where is the spare key?"))["id"]
    for who in (await tenancy.owner(), one.owner, await tenancy.colleague(one.owner, role="owner")):
        for path in (f"/messages/{answer}", f"/messages/{answer}/events", f"/conversations/{mine}/messages"):
            refused = await who.get(path)
            assert refused.status_code == 404, path
            assert SECRET not in refused.text
        assert (await who.get(f"/conversations/{mine}")).status_code == 404
    assert (await colleague.get(f"/messages/{answer}")).status_code == 200


async def test_9_1_7_what_waits_for_its_owner_is_ended_and_used_by_its_owner_alone(one, tenancy, fingerprint):
    """Answers under way, accounts at a provider, reasons to read the log, sessions: none by an id one came across."""
    admin = await tenancy.colleague(one.owner, role="owner")
    stranger = await tenancy.owner()
    before = await fingerprint(one.tenant_id)
    for who in (admin, stranger):
        assert (await who.post(f"/messages/{one.ids['message_id']}/stop")).status_code == 404
        assert (await who.delete(f"/me/accounts/{one.ids['account_id']}")).status_code == 404
        assert (await who.delete(f"/me/sessions/{one.ids['session_id']}")).status_code == 404
        read = await who.get("/audit/events", params={"reason_id": one.ids["reason_id"]})
        assert (read.status_code, read.json()["code"]) == (403, "reason-required")
        asked = await who.post(f"/conversations/{one.ids['conversation_id']}/messages", json={"content": "And now?"})
        assert asked.status_code == 404
    assert await fingerprint(one.tenant_id) == before


async def test_9_1_8_no_secret_lies_in_the_clear_in_any_table(tenancy, superuser, stranger):
    person = await tenancy.owner()
    bind = f"bind-{uuid4().hex}"
    config = {**DIRECTORY, "bind_dn": "cn=reader,dc=municipality,dc=example", "bind_password": bind}
    await person.made("/login-methods", kind="ldap", name="Directory", config=config)
    key = (await person.made("/api-keys", name="A program"))["key"]
    link = (await person.made("/users", email=f"{uuid4().hex}@x.example"))["link"].partition("#")[2]
    said = {"email": person.user.email, "password": PASSWORD, "tenant": person.tenant_name}
    signed = (await stranger.post("/api/v1/auth/login", json=said, params={"cookie": "false"})).json()
    factor = (await person.post("/me/second-factor", json={"password": PASSWORD})).json()["secret"]
    secrets = {
        "password of the directory": bind,
        "API key": key,
        "link": link,
        "refresh token": signed["refresh_token"],
        "access token": signed["access_token"],
        "second factor": factor,
        "password": PASSWORD,
    }
    async with superuser.connect() as connection:
        for table in await tables.table_names(connection):
            for what, secret in secrets.items():
                for form in (secret, secret.encode().hex()):
                    found = await connection.scalar(
                        text(f"SELECT count(*) FROM {table} t WHERE position(:secret in t::text) > 0"), {"secret": form}
                    )
                    assert found == 0, f"the {what} lies in the clear in {table}"


async def test_9_1_13_a_viewer_neither_reads_an_unpublished_assistant_by_its_id_nor_deletes_a_file_on_the_way(
    one, tenancy, app, superuser
):
    viewer, outsider = await tenancy.colleague(one.owner), await tenancy.colleague(one.owner)
    path = f"/spaces/{one.ids['space_id']}/members/{viewer.user.id}"
    assert (await one.owner.put(path, json={"role": "viewer"})).status_code == 200
    for path in (f"/assistants/{one.ids['assistant_id']}", f"/assistants/{one.ids['assistant_id']}/versions"):
        assert (await viewer.get(path)).status_code == 404
    assert (await viewer.post(f"/assistants/{one.ids['assistant_id']}/conversations")).status_code == 404
    document = f"/documents/{one.ids['document_id']}"
    before = await app.storage.usage(one.tenant_id)
    assert (await viewer.delete(document)).status_code == 403
    assert (await outsider.delete(document)).status_code == 404
    assert (await (await tenancy.owner()).delete(document)).status_code == 404
    assert await app.storage.usage(one.tenant_id) == before
    assert SECRET.encode() in (await one.owner.get(f"{document}/content")).content


async def test_9_1_13_what_a_file_is_is_told_by_its_bytes_and_not_by_what_the_client_says(one):
    collection = await one.owner.collection(one.ids["space_id"])
    parts = [("file", ("photo.png", b"<html><script>alert(1)</script></html>", "image/png"))]
    answer = await one.owner.post(f"/collections/{collection}/documents", files=parts)
    document = await one.owner.read_through(answer.json()["items"][0]["id"])
    assert document["media_type"] != "image/png"
    content = await one.owner.get(f"/documents/{document['id']}/content")
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-disposition"].startswith("attachment")


async def test_9_1_14_the_log_has_signing_in_and_out_with_address_agent_and_request(one, superuser, app, stranger):
    said = {"email": one.colleague.user.email, "tenant": one.colleague.tenant_name}
    done = {}
    for name, password in (("session.failed", "wrong"), ("session.started", PASSWORD)):
        done[name] = uuid4().hex
        headers = {"User-Agent": "a browser", "X-Request-ID": done[name]}
        answer = await stranger.post("/api/v1/auth/login", json={**said, "password": password}, headers=headers)
        assert answer.status_code == (401 if password == "wrong" else 200)
    done["session.ended"] = uuid4().hex
    headers = {"User-Agent": "a browser", "X-Request-ID": done["session.ended"]}
    out = await one.colleague.post("/auth/logout", headers=headers)
    assert out.status_code == 204
    await app.part(Recorder).flush()
    async with superuser.connect() as connection:
        for action, request_id in done.items():
            rows = await connection.execute(
                text("SELECT ip, user_agent FROM events WHERE tenant_id = :t AND action = :a AND request_id = :r"),
                {"t": one.tenant_id, "a": action, "r": request_id},
            )
            (event,) = rows.all()
            assert event.ip
            assert event.user_agent == "a browser"


async def test_9_1_14_the_service_cannot_rewrite_the_log(one, database):
    engine = make_engine(database["runtime"], pool=1)
    tried = (
        "UPDATE events SET ip = ''",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE audit_seals SET position = position + 1",
        "DELETE FROM audit_seals",
        "UPDATE audit_checkpoints SET link = ''",
        "DELETE FROM audit_reasons",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP POLICY events_tenant ON events",
        "ALTER SEQUENCE events_seq_seq RESTART",
        "SELECT setval('events_seq_seq', 1)",
        "SET session_replication_role = replica",
        "COPY events TO PROGRAM 'cat'",
    )
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT set_config('folkmoot.tenant', :t, false)"), {"t": str(one.tenant_id)})
            for statement in tried:
                with pytest.raises(DBAPIError) as failed:
                    async with connection.begin_nested():
                        await connection.execute(text(statement))
                assert failed.value.orig.sqlstate == "42501", statement
    finally:
        await engine.dispose()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/api/openapi.json"])
async def test_9_1_15_what_anybody_may_ask_names_no_organisation(one, stranger, path):
    answer = await stranger.get(path)
    assert answer.status_code == 200
    for told in (str(one.tenant_id), one.owner.tenant_name, one.owner.user.email):
        assert told not in answer.text


async def test_9_1_15_organisations_are_listed_for_the_installations_administrators_alone(one, stranger):
    assert (await stranger.get("/api/v1/platform/tenants")).status_code == 401
    assert (await one.owner.get("/platform/tenants")).status_code == 403
    for named in ("", one.owner.tenant_name[:6], "%", "*"):
        ways = await stranger.get("/api/v1/auth/methods", params={"tenant": named} if named else {})
        assert one.owner.tenant_name not in ways.text
        assert str(one.tenant_id) not in ways.text
