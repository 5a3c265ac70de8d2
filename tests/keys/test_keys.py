"""Making, changing, exchanging and revoking keys over the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from folkmoot.keys.schemas import KeyMade, KeyOut
from tests.keys.conftest import code


def soon(**delta) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


async def test_a_key_is_shown_once_and_works(owner, program, row, events):
    response = await owner.post("/api-keys", json={"name": "Nightly import"})
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    made = response.json()
    assert set(made) == set(KeyMade.__struct_fields__)
    assert made["key"].startswith("fmu_")
    assert (made["kind"], made["status"], made["scopes"]) == ("user", "active", ["read", "write", "chat"])
    assert made["hint"] == f"fmu_…{made['key'][-4:]}"
    client = program(made["key"])
    assert (await client.get("/spaces")).status_code == 200
    assert (await client.post("/spaces", json={"name": "Made by a program"})).status_code == 201
    for path in ("/api-keys", f"/api-keys/{made['id']}"):
        again = await owner.get(path)
        assert again.status_code == 200
        assert made["key"] not in again.text
        assert made["key"][4:-6] not in again.text
    stored = await row(made["id"])
    assert all(made["key"] not in str(value) for value in stored)
    (event,) = await events("key.created", object_id=made["id"])
    assert (event.tenant_id, event.actor_id, event.user_id) == (owner.tenant_id, owner.user.id, owner.user.id)
    assert event.data["scopes"] == ["read", "write", "chat"]
    assert made["key"] not in json.dumps(event.data)


async def test_what_a_program_does_is_recorded_with_its_key(owner, program, events):
    made = await owner.made("/api-keys", name="Import")
    space = await program(made["key"]).made("/spaces", name="Imported")
    (event,) = await events("space.created", object_id=space["id"])
    assert (event.actor_kind, event.actor_id, str(event.key_id)) == ("key", owner.user.id, made["id"])


async def test_the_list_is_ones_own_and_administrators_see_all(owner, tenancy):
    colleague = await tenancy.colleague(owner)
    stranger = await tenancy.owner()
    mine = await owner.made("/api-keys", name="Mine")
    theirs = await colleague.made("/api-keys", name="Theirs")
    await stranger.made("/api-keys", name="Elsewhere")

    async def ids(client, **params) -> list[str]:
        response = await client.get("/api-keys", params=params)
        assert response.status_code == 200
        return [item["id"] for item in response.json()["items"]]

    assert await ids(owner) == [mine["id"]]
    assert await ids(owner, all=True) == [theirs["id"], mine["id"]]
    assert await ids(colleague) == [theirs["id"]]
    assert await code(colleague.get("/api-keys", params={"all": True})) == (403, "forbidden")


async def test_a_list_goes_on_from_its_cursor(owner):
    made = [(await owner.made("/api-keys", name=f"Key {number}"))["id"] for number in range(3)]
    first = (await owner.get("/api-keys", params={"limit": 2})).json()
    rest = (await owner.get("/api-keys", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None


async def test_somebody_elses_key_is_not_there(owner, tenancy):
    colleague = await tenancy.colleague(owner)
    stranger = await tenancy.owner()
    made = await owner.made("/api-keys", name="Mine")
    path = f"/api-keys/{made['id']}"
    for other in (colleague, stranger):
        assert await code(other.get(path)) == (404, "not-found")
        assert await code(other.patch(path, json={"name": "x"})) == (404, "not-found")
        assert await code(other.delete(path)) == (404, "not-found")
        assert await code(other.post(f"{path}/rotate", json={})) == (404, "not-found")
    assert (await owner.get(path)).json() == {name: made[name] for name in KeyOut.__struct_fields__}


async def test_an_administrator_revokes_and_never_takes_over(owner, tenancy, program, events):
    colleague = await tenancy.colleague(owner)
    made = await colleague.made("/api-keys", name="Theirs")
    path = f"/api-keys/{made['id']}"
    assert (await owner.get(path)).json()["user_id"] == str(colleague.user.id)
    assert await code(owner.patch(path, json={"addresses": []})) == (403, "forbidden")
    assert await code(owner.post(f"{path}/rotate", json={})) == (403, "forbidden")
    assert (await owner.delete(path)).status_code == 204
    assert await code(program(made["key"]).get("/me")) == (401, "key-revoked")
    (event,) = await events("key.revoked", object_id=made["id"])
    assert (event.actor_id, event.user_id) == (owner.user.id, colleague.user.id)


async def test_a_revoked_key_stays_to_be_seen_and_cannot_come_back(owner, program, events):
    made = await owner.made("/api-keys", name="Short-lived")
    path, client = f"/api-keys/{made['id']}", program(made["key"])
    assert (await client.get("/me")).status_code == 200
    assert (await owner.delete(path)).status_code == 204
    assert await code(client.get("/me")) == (401, "key-revoked")
    seen = (await owner.get(path)).json()
    assert seen["status"] == "revoked"
    assert seen["revoked_at"]
    assert (await owner.get("/api-keys")).json()["items"] == [seen]
    assert await code(owner.patch(path, json={"expires_at": None})) == (409, "key-not-active")
    assert await code(owner.post(f"{path}/rotate", json={})) == (409, "key-not-active")
    assert (await owner.delete(path)).status_code == 204
    assert len(await events("key.revoked", object_id=made["id"])) == 1


async def test_no_key_makes_or_sees_keys(owner, program, count):
    made = await owner.made("/api-keys", name="All", scopes=["read", "write", "chat", "admin"])
    client, path = program(made["key"]), f"/api-keys/{made['id']}"
    before = await count("api_keys")
    refusals = [
        await code(client.get("/api-keys")),
        await code(client.post("/api-keys", json={"name": "Child"})),
        await code(client.get(path)),
        await code(client.patch(path, json={"expires_at": None})),
        await code(client.post(f"{path}/rotate", json={})),
        await code(client.delete(path)),
    ]
    assert refusals == [(403, "key-not-allowed")] * 6
    assert await count("api_keys") == before


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"scopes": ["everything"]}, ""),
        ({"scopes": []}, ""),
        ({"name": ""}, ""),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, ""),
        ({"expires_at": "tomorrow"}, ""),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"addresses": ["192.0.2.1\u0000"]}, "addresses.0"),
        ({"origins": ["https://a.example\u0000"]}, "origins.0"),
        ({"addresses": ["192.0.2.1"] * 101}, ""),
        ({"addresses": ["192.0.2.1", "10.0.0.1/8"]}, "addresses.1"),
        ({"addresses": ["the office"]}, "addresses.0"),
        ({"origins": ["http://a.example"]}, "origins.0"),
        ({"origins": ["*"]}, "origins.0"),
        ({"requests_per_minute": 0}, ""),
        ({"tokens_per_month": -1}, ""),
        ({"tokens_per_month": 10**12}, ""),
        ({"assistant_id": "not an id"}, ""),
        ({"user_id": str(uuid4())}, "user_id"),
        ({"kind": "platform"}, "kind"),
    ],
)
async def test_bad_fields_are_named_and_nothing_is_made(owner, count, fields, path):
    response = await owner.post("/api-keys", json={"name": "Key", **fields})
    assert await code(response) == (400, "validation-failed"), response.text
    assert path in [item["path"] for item in response.json()["errors"]] or not path
    assert await count("api_keys", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_a_scope_that_its_owner_could_never_use_is_too_wide(owner, tenancy, program, change):
    user = await tenancy.colleague(owner)
    for scope in ("admin", "platform"):
        answer = await user.post("/api-keys", json={"name": "Wide", "scopes": ["read", scope]})
        assert await code(answer) == (403, "scope-too-wide")
        assert scope in answer.json()["detail"]
    assert (await owner.made("/api-keys", name="Admin", scopes=["admin"]))["kind"] == "user"
    assert await code(owner.post("/api-keys", json={"name": "P", "scopes": ["platform"]})) == (403, "scope-too-wide")
    await change(
        "INSERT INTO platform_admins (id, tenant_id, user_id, granted_by) VALUES (uuidv7(), :tenant, :user, 'a test')",
        tenant=owner.tenant_id,
        user=owner.user.id,
    )
    made = await owner.made("/api-keys", name="Platform", scopes=["platform", "read"])
    assert (made["kind"], made["key"][:4], made["scopes"]) == ("platform", "fmp_", ["read", "platform"])
    assert (await program(made["key"]).get("/spaces")).status_code == 200
    path = f"/api-keys/{made['id']}"
    assert await code(owner.patch(path, json={"scopes": ["read"]})) == (400, "validation-failed")


async def test_scopes_bound_what_a_key_does(owner, program):
    made = await owner.made("/api-keys", name="Reader", scopes=["read"])
    client = program(made["key"])
    assert (await client.get("/spaces")).status_code == 200
    assert await code(client.post("/spaces", json={"name": "x"})) == (403, "scope-missing")
    assert await code(client.get("/conversations")) == (403, "scope-missing")
    changed = await owner.patch(f"/api-keys/{made['id']}", json={"scopes": ["chat", "write", "chat"]})
    assert changed.json()["scopes"] == ["write", "chat"]
    assert await code(client.get("/spaces")) == (403, "scope-missing")
    assert (await client.post("/spaces", json={"name": "x"})).status_code == 201


async def test_settings_change_and_what_is_absent_stays(owner, program, events):
    made = await owner.made("/api-keys", name="A", addresses=["192.0.2.0/24"], tokens_per_month=100)
    path = f"/api-keys/{made['id']}"
    first = await owner.get(path)
    response = await owner.patch(
        path,
        json={"name": "B", "addresses": ["203.0.113.7", "203.0.113.7"]},
        headers={"If-Match": first.headers["etag"]},
    )
    changed = response.json()
    assert (changed["name"], changed["addresses"], changed["tokens_per_month"]) == ("B", ["203.0.113.7/32"], 100)
    assert (await program(made["key"]).get("/spaces")).status_code == 200
    late = await owner.patch(path, json={"name": "C"}, headers={"If-Match": first.headers["etag"]})
    assert await code(late) == (412, "changed-meanwhile")
    (event,) = await events("key.updated", object_id=made["id"])
    assert sorted(event.data["changed"]) == ["addresses", "name"]
    cleared = await owner.patch(path, json={"tokens_per_month": None})
    assert cleared.json()["tokens_per_month"] is None
    assert (await owner.patch(path, json={})).headers["etag"] == cleared.headers["etag"]
    assert await code(owner.patch(path, json={"expires_at": "2020-01-01T00:00:00Z"})) == (400, "validation-failed")


async def test_rotation_gives_a_new_key_while_the_old_one_works_on(owner, program, events):
    old = await owner.made(
        "/api-keys", name="Import", scopes=["read"], addresses=["203.0.113.0/24"], requests_per_minute=1000
    )
    path = f"/api-keys/{old['id']}"
    response = await owner.post(f"{path}/rotate", json={"grace_seconds": 3600})
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    new = response.json()
    assert new["key"] != old["key"]
    for name in ("name", "kind", "scopes", "addresses", "origins", "requests_per_minute", "expires_at", "user_id"):
        assert new[name] == old[name], name
    for key in (old["key"], new["key"]):
        assert (await program(key).get("/spaces")).status_code == 200
    seen = (await owner.get(path)).json()
    assert (seen["replaced_by"], seen["status"]) == (new["id"], "active")
    ends = datetime.fromisoformat(seen["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=55) < ends < timedelta(minutes=61)
    (event,) = await events("key.rotated", object_id=old["id"])
    assert event.data["replaced_by"] == new["id"]
    assert new["key"] not in json.dumps(event.data)
    assert await code(owner.post(f"{path}/rotate", json={})) == (409, "key-not-active")
    assert await code(owner.patch(path, json={"expires_at": None})) == (409, "key-not-active")


async def test_without_grace_the_old_key_ends_at_once(owner, program):
    old = await owner.made("/api-keys", name="Leaked")
    client = program(old["key"])
    assert (await client.get("/me")).status_code == 200
    new = await owner.made(f"/api-keys/{old['id']}/rotate", grace_seconds=0)
    assert await code(client.get("/me")) == (401, "key-expired")
    assert (await program(new["key"]).get("/me")).status_code == 200


async def test_grace_is_a_day_if_not_said_and_never_outlives_the_key(owner):
    one, two = (
        await owner.made("/api-keys", name="1"),
        await owner.made("/api-keys", name="2", expires_at=soon(hours=1)),
    )
    for made in (one, two):
        assert (await owner.post(f"/api-keys/{made['id']}/rotate")).status_code == 201
    ends = (await owner.get(f"/api-keys/{one['id']}")).json()["expires_at"]
    left = datetime.fromisoformat(ends) - datetime.now(UTC)
    assert timedelta(hours=23) < left < timedelta(hours=24, minutes=1)
    assert (await owner.get(f"/api-keys/{two['id']}")).json()["expires_at"] == two["expires_at"]
    for wrong in (-1, 31 * 24 * 3600, "long"):
        answer = await owner.post(f"/api-keys/{two['id']}/rotate", json={"grace_seconds": wrong})
        assert await code(answer) == (400, "validation-failed")


async def test_the_same_request_sent_twice_makes_one_key_and_redis_never_holds_it(owner, app, unique, count):
    headers = {"Idempotency-Key": unique}
    first = await owner.post("/api-keys", json={"name": "Once"}, headers=headers)
    again = await owner.post("/api-keys", json={"name": "Once"}, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["cache-control"] == "no-store"
    assert again.json() == first.json()
    assert await count("api_keys", f"tenant_id = '{owner.tenant_id}'") == 1
    secret, looked_at = first.json()["key"].encode(), 0
    async for name in app.redis.scan_iter("folkmoot:idempotency:*"):
        kept = await app.redis.get(name) or b""
        looked_at += 1
        assert secret not in kept
        assert secret[4:47] not in kept
    assert looked_at > 0


async def test_two_tenants_have_keys_of_their_own(tenancy, program):
    one, other = await tenancy.owner(), await tenancy.owner()
    space = await one.space()
    made = await other.made("/api-keys", name="Elsewhere", scopes=["read", "write", "chat", "admin"])
    client = program(made["key"])
    assert (await client.get("/spaces")).json()["items"] == []
    assert await code(client.get(f"/spaces/{space}")) == (404, "not-found")
    assert await code(client.delete(f"/spaces/{space}")) == (404, "not-found")
    assert (await one.get(f"/spaces/{space}")).status_code == 200
