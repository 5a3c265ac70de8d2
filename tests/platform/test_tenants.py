"""Organisations as those who administer the installation see them."""

import asyncio
from uuid import uuid4

import pytest

from folkmoot.tenants.models import PLATFORM

TENANTS = "/platform/tenants"


def wanted(**fields) -> dict:
    return {"name": f"Riverside {uuid4().hex[:8]}", "admin_email": f"{uuid4().hex[:8]}@riverside.example", **fields}


async def test_an_organisation_is_made_with_an_administrator_who_can_sign_in(admin, stranger):
    body = wanted(max_users=7)
    made = await admin.post(TENANTS, json=body)
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    tenant = made.json()
    assert (tenant["state"], tenant["max_users"], tenant["max_storage_bytes"]) == ("active", 7, None)
    assert tenant["admin"]["invitation_url"] is None
    login = {name: tenant["admin"][name] for name in ("email", "password")}
    signed = await stranger.post("/api/v1/auth/login", json=login | {"tenant": body["name"]})
    assert signed.status_code in (200, 201), signed.text
    me = await stranger.get("/api/v1/me", headers={"Authorization": f"Bearer {signed.json()['access_token']}"})
    assert "admin" in me.json()["permissions"]
    assert "platform" not in me.json()["permissions"]
    read = (await admin.get(f"{TENANTS}/{tenant['id']}")).json()
    assert read["usage"] == {"users": 1, "storage_bytes": 0, "chunks": 0}
    assert "admin" not in read


async def test_an_administrator_may_be_invited_instead(admin, count):
    made = (await admin.post(TENANTS, json=wanted(invite=True))).json()
    assert made["admin"]["password"] is None
    assert "#" in made["admin"]["invitation_url"]
    assert await count("users", f"tenant_id = '{made['id']}' AND state = 'invited' AND password_hash IS NULL") == 1
    assert await count("links", f"tenant_id = '{made['id']}' AND purpose = 'invitation'") == 1


async def test_neither_password_nor_link_is_in_any_event(admin, events):
    for invite in (False, True):
        made = (await admin.post(TENANTS, json=wanted(invite=invite))).json()
        secret = made["admin"]["password"] or made["admin"]["invitation_url"].partition("#")[2]
        for log in (PLATFORM, made["id"]):
            told = await events(log)
            assert told
            assert secret not in str(told)


async def test_organisations_are_listed_newest_first_page_by_page(admin):
    ids = [(await admin.post(TENANTS, json=wanted())).json()["id"] for _ in range(3)]
    first = (await admin.get(TENANTS, params={"limit": 2})).json()
    assert [item["id"] for item in first["items"]] == ids[:0:-1]
    second = (await admin.get(TENANTS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert second["items"][0]["id"] == ids[0]
    await admin.post(f"{TENANTS}/{ids[1]}/suspend", json={"reason": "unpaid"})
    shut = (await admin.get(TENANTS, params={"state": "suspended", "limit": 1})).json()
    assert [item["id"] for item in shut["items"]] == [ids[1]]
    assert str(PLATFORM) not in str(first)


async def test_name_and_quotas_are_changed_and_null_takes_a_quota_away(admin, events):
    body = wanted()
    made = await admin.post(TENANTS, json={**body, "max_users": 7, "requests_per_minute": 100})
    tenant, new = made.json(), f"Brookside {uuid4().hex[:6]}"
    path = f"{TENANTS}/{tenant['id']}"
    changed = await admin.patch(path, json={"name": f"  {new} ", "max_users": None}, headers={"If-Match": "*"})
    assert changed.status_code == 200, changed.text
    said = changed.json()
    assert (said["name"], said["max_users"], said["requests_per_minute"]) == (new, None, 100)
    stale = await admin.patch(path, json={"max_users": 1}, headers={"If-Match": made.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed-meanwhile")
    assert (await admin.patch(path, json={}, headers={"If-Match": changed.headers["etag"]})).status_code == 200
    for log in (PLATFORM, tenant["id"]):
        last = (await events(log, tenant["id"]))[-1]
        assert (last.action, last.data["changed"]) == ("tenant.updated", {"name": new, "max_users": None})
        assert (last.actor_kind, last.actor_id) == ("platform", admin.user.id)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "   "},
        {"name": "a\u202eb"},
        {"name": "a\x00b"},
        {"name": "01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d"},
        {"name": "x" * 201},
        {"admin_email": "nobody"},
        {"max_users": 0},
        {"max_users": "many"},
        {"max_storage_bytes": -1},
        {"requests_per_minute": 0},
        {"requests_per_minute": 2**40},
        {"state": "platform"},
    ],
)
async def test_an_organisation_that_makes_no_sense_is_not_made(admin, count, fields):
    before = await count("tenants")
    refused = await admin.post(TENANTS, json=wanted(**fields))
    assert refused.status_code == 400, refused.text
    assert await count("tenants") == before


async def test_a_name_is_taken_in_whatever_case(admin):
    body = wanted()
    assert (await admin.post(TENANTS, json=body)).status_code == 201
    other = (await admin.post(TENANTS, json=wanted())).json()["id"]
    for again in (
        await admin.post(TENANTS, json=wanted(name=body["name"].upper())),
        await admin.patch(f"{TENANTS}/{other}", json={"name": body["name"].lower()}),
    ):
        assert (again.status_code, again.json()["code"]) == (409, "already-exists")


async def test_two_made_at_once_with_one_name_are_one(admin, count):
    body = wanted()
    answers = await asyncio.gather(*(admin.post(TENANTS, json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert await count("tenants", f"name = '{body['name']}'") == 1


async def test_suspending_stops_every_call_and_sign_in_and_resuming_lets_in_again(admin, tenancy, sign_in, events):
    person = await tenancy.owner()
    path = f"{TENANTS}/{person.tenant_id}"
    assert (await person.get("/me")).status_code == 200
    shut = await admin.post(f"{path}/suspend", json={"reason": " The contract ended. "})
    assert (shut.status_code, shut.json()["state"]) == (200, "suspended")
    assert shut.json()["state_reason"] == "The contract ended."
    for call in (person.get("/me"), person.get("/spaces"), person.post("/spaces", json={"name": "x"})):
        refused = await call
        assert (refused.status_code, refused.json()["code"]) == (403, "tenant-suspended")
    assert (await sign_in(person)).status_code in (401, 403)
    again = await admin.post(f"{path}/suspend", json={"reason": "The contract ended."})
    assert again.status_code == 200
    back = await admin.post(f"{path}/resume")
    assert (back.json()["state"], back.json()["state_reason"]) == ("active", "")
    assert (await person.get("/me")).status_code == 200
    assert (await sign_in(person)).status_code in (200, 201)
    assert (await admin.post(f"{path}/resume")).status_code == 200
    for log in (PLATFORM, person.tenant_id):
        told = [row for row in await events(log, person.tenant_id) if row.action != "tenant.created"]
        assert [row.action for row in told] == ["tenant.suspended", "tenant.resumed"]
        assert all(row.actor_id == admin.user.id and row.ip is not None for row in told)
        assert told[0].data["reason"] == "The contract ended."


@pytest.mark.parametrize("end", ["suspend", "delete"])
async def test_a_key_that_was_used_a_moment_ago_is_shut_out_at_once_too(admin, tenancy, monkeypatch, end):
    monkeypatch.setattr("folkmoot.keys.authenticate.REMEMBER_SECONDS", 60)
    person = await tenancy.owner()
    as_key = {"Authorization": f"Bearer {(await person.made('/api-keys', name='Script'))['key']}"}
    assert (await person.get("/me", headers=as_key)).status_code == 200
    path, name = f"{TENANTS}/{person.tenant_id}", (await person.get("/me")).json()["tenant"]["name"]
    answer = await (admin.post(f"{path}/suspend") if end == "suspend" else admin.delete(path, params={"name": name}))
    assert answer.status_code in (200, 202)
    refused = await person.get("/me", headers=as_key)
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant-suspended")


@pytest.mark.parametrize("body", [{}, None])
async def test_suspending_waits_for_no_reason_and_does_not_wipe_one(admin, tenancy, events, body):
    person = await tenancy.owner()
    path = f"{TENANTS}/{person.tenant_id}/suspend"
    shut = await (admin.post(path) if body is None else admin.post(path, json=body))
    assert (shut.status_code, shut.json()["state"], shut.json()["state_reason"]) == (200, "suspended", "")
    assert (await person.get("/me")).json()["code"] == "tenant-suspended"
    told = await admin.post(path, json={"reason": "unpaid"})
    assert (await admin.post(path)).json()["state_reason"] == told.json()["state_reason"] == "unpaid"
    told = [row.data["reason"] for row in await events(PLATFORM, person.tenant_id) if row.action == "tenant.suspended"]
    assert told == ["", "unpaid"]


@pytest.mark.parametrize("body", [{"reason": ""}, {"reason": "  "}, {"reason": "x" * 1001}, {"why": "x"}])
async def test_nobody_is_shut_out_for_a_reason_that_is_none(admin, tenancy, body):
    person = await tenancy.owner()
    refused = await admin.post(f"{TENANTS}/{person.tenant_id}/suspend", json=body)
    assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed")
    assert (await person.get("/me")).status_code == 200


async def test_the_last_who_administers_cannot_shut_themself_out(alone, count):
    path = f"{TENANTS}/{alone.tenant_id}"
    for call in (
        alone.post(f"{path}/suspend", json={"reason": "by a slip"}),
        alone.delete(path, params={"name": alone.tenant_name}),
    ):
        refused = await call
        assert (refused.status_code, refused.json()["code"]) == (409, "last-platform-admin")
    assert (await alone.get("/me")).status_code == 200
    assert await count("deletion_certificates", f"tenant_id = '{alone.tenant_id}'") == 0


@pytest.mark.parametrize("found", ["01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d", str(PLATFORM)])
async def test_an_organisation_that_is_not_there_is_not_found(admin, found):
    path = f"{TENANTS}/{found}"
    for call in (
        admin.get(path),
        admin.patch(path, json={"max_users": 3}),
        admin.post(f"{path}/suspend", json={"reason": "x"}),
        admin.post(f"{path}/resume"),
        admin.delete(path, params={"name": "(the platform)"}),
    ):
        assert (await call).status_code == 404


async def test_an_owner_who_is_not_named_may_do_nothing_here(tenancy, owner, count):
    other = await tenancy.owner()
    path = f"{TENANTS}/{other.tenant_id}"
    before = await count("tenants"), await count("platform_admins")
    for call in (
        owner.get(TENANTS),
        owner.post(TENANTS, json=wanted()),
        owner.get(path),
        owner.patch(path, json={"name": "x"}),
        owner.post(f"{path}/suspend", json={"reason": "x"}),
        owner.post(f"{path}/resume"),
        owner.delete(path, params={"name": other.tenant_name}),
        owner.get("/platform/certificates"),
        owner.get(f"/platform/certificates/{uuid4()}"),
        owner.get("/platform/admins"),
        owner.post("/platform/admins", json={"tenant_id": str(owner.tenant_id), "user_id": str(owner.user.id)}),
        owner.delete(f"/platform/admins/{owner.user.id}"),
    ):
        refused = await call
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await count("tenants"), await count("platform_admins")) == before
    assert (await other.get("/me")).status_code == 200
