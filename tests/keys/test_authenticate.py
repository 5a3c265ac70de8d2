"""Checking keys: what is refused, where from, how long it is remembered, and what is written of it."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from folkmoot.keys import authenticate
from folkmoot.keys.authenticate import REMEMBER_SECONDS, Keys
from folkmoot.keys.mint import digest, mint
from folkmoot.kit.errors import NotSignedIn
from folkmoot.tenants.models import PLATFORM
from tests.keys.conftest import HOME, code, until


@pytest.fixture
def asked(monkeypatch):
    """The hashes that the database was asked for."""
    found, real = [], authenticate.glance

    async def counting(sessions, statement, **parameters):
        found.append(parameters["hash"])
        return await real(sessions, statement, **parameters)

    monkeypatch.setattr(authenticate, "glance", counting)
    return found


@pytest.fixture
async def keys(app):
    """A checker of its own, with a clock that stands until it is told."""
    made = Keys(app, app.part(Keys).may_edit)
    made.now = 1000.0
    made._clock = lambda: made.now
    yield made
    await made.close()


def signs_in(keys, key):
    return keys.authenticate(key, ip=HOME, origin=None)


async def test_a_key_is_read_once_and_remembered_for_a_quarter_of_a_second(owner, keys, asked):
    made = await owner.made("/api-keys", name="Busy")
    for _ in range(5):
        principal, standing = await signs_in(keys, made["key"])
    assert (principal.kind, principal.user_id, str(principal.key_id)) == ("key", owner.user.id, made["id"])
    assert (standing.tenant_id, standing.email) == (owner.tenant_id, owner.user.email)
    assert asked == [digest(made["key"])]
    assert REMEMBER_SECONDS <= 0.25
    keys.now += REMEMBER_SECONDS - 0.01
    await signs_in(keys, made["key"])
    assert len(asked) == 1
    keys.now += 0.02
    await signs_in(keys, made["key"])
    assert len(asked) == 2


async def test_many_who_ask_at_once_are_one_query(owner, keys, asked):
    made = await owner.made("/api-keys", name="Busy")
    found = await asyncio.gather(*(signs_in(keys, made["key"]) for _ in range(50)))
    assert {str(principal.key_id) for principal, _ in found} == {made["id"]}
    assert len(asked) == 1


async def test_one_who_goes_away_takes_the_answer_from_nobody(owner, keys, asked):
    made = await owner.made("/api-keys", name="Busy")
    first, second = (asyncio.create_task(signs_in(keys, made["key"])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    principal, _ = await second
    assert str(principal.key_id) == made["id"]
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(asked) == 1


async def test_an_unknown_key_is_asked_for_once_and_a_mistyped_one_never(keys, asked):
    unknown, mistyped = mint("user").key, mint("user").key[:-1] + "?"
    for key in (unknown, mistyped, unknown, mistyped):
        with pytest.raises(NotSignedIn) as refused:
            await signs_in(keys, key)
        assert refused.value.code == "key-invalid"
    assert asked == [digest(unknown)]


async def test_what_is_remembered_is_bounded(keys, monkeypatch, asked):
    monkeypatch.setattr(authenticate, "MOST_UNKNOWN", 5)
    for _ in range(20):
        with pytest.raises(NotSignedIn):
            await signs_in(keys, mint("user").key)
    assert len(asked) == 20
    assert len(keys._unknown) == 5
    assert keys._asking == {}


async def test_an_answer_from_before_a_change_is_not_remembered(owner, keys, monkeypatch):
    made = await owner.made("/api-keys", name="Racing")
    real, reading, go_on = authenticate.glance, asyncio.Event(), asyncio.Event()

    async def slow(sessions, statement, **parameters):
        row = await real(sessions, statement, **parameters)
        reading.set()
        await go_on.wait()
        return row

    monkeypatch.setattr(authenticate, "glance", slow)
    first = asyncio.create_task(signs_in(keys, made["key"]))
    await reading.wait()
    assert (await owner.delete(f"/api-keys/{made['id']}")).status_code == 204
    keys.forget(digest(made["key"]))
    go_on.set()
    await first
    with pytest.raises(NotSignedIn) as refused:
        await signs_in(keys, made["key"])
    assert refused.value.code == "key-revoked"


@pytest.mark.parametrize(
    ("change_it", "refusal"),
    [
        ("UPDATE api_keys SET revoked_at = now() WHERE id = :key", (401, "key-revoked")),
        ("UPDATE api_keys SET expires_at = now() WHERE id = :key", (401, "key-expired")),
        ("UPDATE api_keys SET addresses = '{192.0.2.0/24}' WHERE id = :key", (403, "address-not-allowed")),
        ("UPDATE api_keys SET scopes = '{chat}' WHERE id = :key", (403, "scope-missing")),
        ("UPDATE users SET state = 'inactive' WHERE id = :user", (403, "account-inactive")),
        ("UPDATE users SET state = 'deleted' WHERE id = :user", (403, "account-inactive")),
        ("UPDATE tenants SET state = 'suspended' WHERE id = :tenant", (403, "tenant-suspended")),
        ("DELETE FROM api_keys WHERE id = :key", (401, "key-invalid")),
    ],
)
async def test_a_change_made_elsewhere_holds_on_every_process(owner, api, second, program, change, change_it, refusal):
    made = await owner.made("/api-keys", name="Everywhere")
    clients = [program(made["key"], on=litestar) for litestar in (api, second)]
    for client in clients:
        assert (await client.get("/spaces")).status_code == 200
    values = {"key": made["id"], "user": owner.user.id, "tenant": owner.tenant_id}
    await change(change_it, **{name: value for name, value in values.items() if f":{name}" in change_it})
    for client in clients:

        async def refused(client=client):
            response = await client.get("/spaces")
            return response.status_code != 200 and await code(response) == refusal

        await until(refused, seconds=5)


async def test_a_key_revoked_on_one_process_ends_on_the_other(owner, second, program):
    made = await owner.made("/api-keys", name="Everywhere")
    elsewhere = program(made["key"], on=second)
    assert (await elsewhere.get("/spaces")).status_code == 200
    assert (await owner.delete(f"/api-keys/{made['id']}")).status_code == 204

    async def refused():
        return (await elsewhere.get("/spaces")).status_code == 401

    await until(refused, seconds=5)


async def test_what_the_owner_loses_the_key_loses(owner, tenancy, program, change):
    colleague = await tenancy.colleague(owner, role="owner")
    made = await colleague.made("/api-keys", name="Admin", scopes=["admin"])
    client = program(made["key"])
    assert (await client.get("/plugins")).status_code == 200
    await change("UPDATE users SET role = 'user' WHERE id = :user", user=colleague.user.id)

    async def refused():
        return await code(await client.get("/plugins")) == (403, "forbidden")

    await until(refused, seconds=5)


async def test_addresses_are_checked_at_each_request(owner, program):
    made = await owner.made("/api-keys", name="Office", addresses=["192.0.2.0/24", "2001:db8::/32"])
    for ip in ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8::5"):
        assert (await program(made["key"], ip=ip).get("/spaces")).status_code == 200, ip
    for ip in ("192.0.3.9", "::ffff:192.0.3.9", "2001:db9::5", "testclient"):
        answer = await program(made["key"], ip=ip).get("/spaces")
        assert await code(answer) == (403, "address-not-allowed"), ip
        assert ip in answer.json()["detail"]


async def test_nobody_gets_in_by_saying_another_address(owner, program):
    made = await owner.made("/api-keys", name="Office", addresses=["192.0.2.0/24"])
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP"):
        client = program(made["key"], **{name: "192.0.2.9"})
        assert await code(client.get("/spaces")) == (403, "address-not-allowed"), name


async def test_web_pages_need_their_origin_in_the_list_and_programs_need_none(owner, program):
    plain = await owner.made("/api-keys", name="Program")
    paged = await owner.made("/api-keys", name="Page", origins=["https://WWW.municipality.example:443"])
    assert paged["origins"] == ["https://www.municipality.example"]
    page = {"Origin": "https://www.municipality.example"}
    assert (await program(paged["key"], **page).get("/spaces")).status_code == 200
    assert (await program(paged["key"]).get("/spaces")).status_code == 200
    assert await code(program(plain["key"], **page).get("/spaces")) == (403, "origin-not-allowed")
    for other in (
        "https://municipality.example",
        "http://www.municipality.example",
        "https://www.municipality.example.evil.example",
        "https://www.municipality.example:8443",
        "null",
    ):
        assert await code(program(paged["key"], Origin=other).get("/spaces")) == (403, "origin-not-allowed"), other


async def test_a_key_counts_only_in_its_header(owner, stranger):
    key = (await owner.made("/api-keys", name="Url"))["key"]
    path = "/api/v1/spaces"
    for name in ("api_key", "key", "access_token", "token", "api-key"):
        assert await code(stranger.get(path, params={name: key})) == (401, "not-signed-in"), name
    for headers in ({"X-Api-Key": key}, {"Api-Key": key}, {"Authorization": key}, {"Authorization": f"Basic {key}"}):
        assert (await stranger.get(path, headers=headers)).status_code == 401, headers
    for name in ("access_token", "folkmoot_access", "token", "session"):
        assert (await stranger.get(path, headers={"Cookie": f"{name}={key}"})).status_code == 401, name


@pytest.mark.parametrize(
    "wrong",
    [
        "fmu_",
        "fmu_short",
        "fma_" + "A" * 49,
        "fmp_" + "A" * 49,
        "fmu_" + "A" * 100_000,
        "fmu_' OR true --",
        "fmu_" + "%00" * 10,
        pytest.param(mint("user").key, id="a key that nobody has"),
        pytest.param(mint("platform").key, id="a platform key that nobody has"),
    ],
)
async def test_what_is_no_key_of_ours_is_refused(program, wrong):
    answer = await program(wrong).get("/me")
    assert await code(answer) == (401, "key-invalid")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert wrong not in answer.text


async def test_refusals_are_recorded_with_what_is_known_and_never_with_the_key(owner, program, events, unique):
    made = await owner.made("/api-keys", name="Ended", addresses=["192.0.2.1"])
    await program(made["key"]).get("/spaces")
    await owner.delete(f"/api-keys/{made['id']}")
    await program(made["key"], ip="192.0.2.1").get("/spaces")
    refused = await events("key.refused", object_id=made["id"])
    assert [event.data["code"] for event in refused] == ["address-not-allowed", "key-revoked"]
    assert {event.tenant_id for event in refused} == {owner.tenant_id}
    assert [event.ip for event in refused] == [HOME, "192.0.2.1"]
    unknown = mint("user").key
    await program(unknown, **{"X-Request-ID": unique}).get("/spaces")
    (nameless,) = await events("key.refused", request_id=unique)
    assert (nameless.tenant_id, nameless.data) == (PLATFORM, {"code": "key-invalid", "reason": "unknown"})
    for event in [*refused, nameless]:
        assert made["key"] not in json.dumps(event.data)
        assert unknown not in json.dumps(event.data)


async def test_a_key_is_never_in_the_log_nor_in_an_error(owner, program, superuser):
    with capture_logs() as logs:
        made = await owner.made("/api-keys", name="Quiet", scopes=["read"])
        client = program(made["key"])
        answers = [
            await client.get("/spaces"),
            await client.post("/spaces", json={"name": "x"}),
            await client.get(f"/spaces/{uuid4()}"),
            await client.get("/nowhere"),
            await program(made["key"] + "x").get("/spaces"),
            await program(made["key"], Origin="https://evil.example").get("/spaces"),
        ]
    body = made["key"][4:47]
    assert [answer.status_code for answer in answers] == [200, 403, 404, 404, 401, 403]
    assert all(body not in answer.text for answer in answers)
    assert body not in repr(logs)
    async with superuser.connect() as connection:
        found = await connection.execute(
            text("SELECT count(*) FROM events e WHERE e::text LIKE :like"), {"like": f"%{body}%"}
        )
        assert found.scalar() == 0


async def test_a_key_has_its_own_limit_of_requests(owner, program):
    made = await owner.made("/api-keys", name="Slow", requests_per_minute=3)
    client = program(made["key"])
    answers = [await client.get("/spaces") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "too-many-requests"
    assert int(refused.headers["retry-after"]) >= 1
    assert '"key";q=3' in refused.headers["ratelimit-policy"]
    assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("3", "0")
    assert refused.headers["ratelimit-reset"] == refused.headers["retry-after"]
    assert (await owner.get("/spaces")).status_code == 200


async def test_last_use_is_seen_and_written_at_most_once_a_minute(owner, program, app, row, events):
    made = await owner.made("/api-keys", name="Used")
    assert (made["last_used_at"], made["last_used_from"]) == (None, "")
    client = program(made["key"])
    uses = app.part(Keys).uses
    await client.get("/spaces")
    await uses.flush()
    first = await row(made["id"])
    assert first.last_used_at is not None
    assert first.last_used_from == HOME
    tag = (await owner.get(f"/api-keys/{made['id']}")).headers["etag"]
    for _ in range(3):
        await client.get("/spaces")
    assert uses._waiting == []
    uses._written.clear()  # as another process would, which has not written yet
    await client.get("/spaces")
    await uses.flush()
    assert (await row(made["id"])).last_used_at == first.last_used_at
    seen = await owner.get(f"/api-keys/{made['id']}")
    assert seen.json()["last_used_from"] == HOME
    assert seen.headers["etag"] == tag


async def test_the_next_minute_is_written_again(owner, program, app, row, change):
    made = await owner.made("/api-keys", name="Used")
    client, uses = program(made["key"]), app.part(Keys).uses
    await client.get("/spaces")
    await uses.flush()
    await change("UPDATE api_keys SET last_used_at = last_used_at - interval '61 s' WHERE id = :key", key=made["id"])
    before = await row(made["id"])
    uses._written.clear()
    await client.get("/spaces")
    await uses.flush()
    assert (await row(made["id"])).last_used_at > before.last_used_at


async def test_the_owner_is_told_of_each_new_address_once(owner, program, app, events, count):
    made = await owner.made("/api-keys", name="Travelling")
    for ip in (HOME, "198.51.100.4", HOME, "198.51.100.4"):
        await program(made["key"], ip=ip, **{"User-Agent": "importer/2"}).get("/spaces")
    told = await events("key.used_from_new_address", object_id=made["id"])
    assert [event.data["ip"] for event in told] == [HOME, "198.51.100.4"]
    assert [(event.ip, event.user_agent) for event in told] == [(HOME, "importer/2"), ("198.51.100.4", "importer/2")]
    assert {event.user_id for event in told} == {owner.user.id}
    assert {str(event.key_id) for event in told} == {made["id"]}
    assert await count("key_addresses", f"key_id = '{made['id']}'") == 2
    app.part(Keys).uses._seen.clear()  # a process that starts anew
    await program(made["key"]).get("/spaces")
    assert len(await events("key.used_from_new_address", object_id=made["id"])) == 2


async def test_a_use_that_could_not_be_written_is_written_at_the_next(owner, program, app, monkeypatch, events):
    made = await owner.made("/api-keys", name="Unlucky")
    uses = app.part(Keys).uses
    write = uses._write

    async def broken(use):
        raise OSError("the database went away")

    monkeypatch.setattr(uses, "_write", broken)
    assert (await program(made["key"]).get("/spaces")).status_code == 200
    await uses.flush()
    monkeypatch.setattr(uses, "_write", write)
    assert await events("key.used_from_new_address", object_id=made["id"]) == []
    assert (await program(made["key"]).get("/spaces")).status_code == 200
    assert len(await events("key.used_from_new_address", object_id=made["id"])) == 1
