"""What an organisation's own administrators see and settle."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from folkmoot.files.service import FileService
from folkmoot.identity.service import UserService
from folkmoot.kit.access import Principal
from folkmoot.kit.errors import Conflict, ContentTooLarge
from folkmoot.tenants.origins import clean_origin
from folkmoot.tenants.schemas import TenantSettings
from folkmoot.tenants.service import check_users_quota

PATH = "/organisation"
METHOD = text(
    "INSERT INTO login_methods (id, tenant_id, kind, name, config, enabled, provisioning)"
    " VALUES (gen_random_uuid(), :t, 'oidc', 'Our own', '\\x00', true, '{}')"
)
ACCOUNT = text(
    "INSERT INTO external_accounts (id, tenant_id, user_id, login_method_id, issuer, subject, email, last_used_at)"
    " SELECT gen_random_uuid(), :t, users.id, login_methods.id, 'https://id.example', users.id::text, '', now()"
    " FROM users JOIN login_methods USING (tenant_id) WHERE tenant_id = :t AND users.role = 'owner'"
)


@pytest.fixture
def quota(app):
    async def put(tenant_id, **quotas):
        from folkmoot.platform.schemas import PlatformTenantUpdate
        from folkmoot.platform.service import Actor, PlatformService

        await PlatformService(app, Actor.command("tester")).update(tenant_id, PlatformTenantUpdate(**quotas), None)

    return put


@pytest.fixture
def origins(superuser):
    async def read(tenant_id) -> list[str]:
        async with superuser.connect() as connection:
            query = text("SELECT origin FROM allowed_origins WHERE tenant_id = :t ORDER BY 1")
            return list(await connection.scalars(query, {"t": tenant_id}))

    return read


async def test_settings_begin_with_their_defaults(owner):
    read = await owner.get(PATH)
    assert read.status_code == 200
    body = read.json()
    assert body["id"] == str(owner.tenant_id)
    assert body["settings"] == {
        "allowed_origins": [],
        "password_login": True,
        "require_second_factor": False,
        "currency": "USD",
        "usd_rate": 1.0,
        "ai_mark": "AI-generated",
    }
    assert body["quotas"] == {
        "max_users": None,
        "max_storage_bytes": None,
        "max_chunks": None,
        "requests_per_minute": None,
    }
    assert body["usage"] == {"users": 1, "storage_bytes": 0, "chunks": 0}
    assert read.headers["etag"]


async def test_what_is_absent_stays_and_rows_of_origins_follow(owner, tenancy, origins, superuser):
    other = await tenancy.owner()
    await other.patch(PATH, json={"settings": {"allowed_origins": ["https://other.example"]}})
    wanted = ["https://B.example:443", "https://a.example:8443", "https://b.example"]
    kept = ["https://a.example:8443", "https://b.example"]
    first = await owner.patch(PATH, json={"settings": {"allowed_origins": wanted}})
    assert first.status_code == 200, first.text
    assert first.json()["settings"]["allowed_origins"] == kept
    assert await origins(owner.tenant_id) == kept
    renamed = await owner.patch(PATH, json={"name": f"{owner.tenant_name} again"})
    assert renamed.json()["settings"]["allowed_origins"] == kept
    assert (await owner.patch(PATH, json={"settings": {"allowed_origins": kept[:1]}})).status_code == 200
    assert await origins(owner.tenant_id) == kept[:1]
    same = await owner.patch(PATH, json={"settings": {"allowed_origins": kept[:1], "password_login": True}})
    assert same.status_code == 200
    last = await owner.patch(PATH, json={"settings": {"require_second_factor": True}})
    assert last.json()["settings"] == {
        "allowed_origins": kept[:1],
        "password_login": True,
        "require_second_factor": True,
        "currency": "USD",
        "usd_rate": 1.0,
        "ai_mark": "AI-generated",
    }
    assert await origins(owner.tenant_id) == kept[:1]
    assert await origins(other.tenant_id) == ["https://other.example"]
    query = text(
        "SELECT actor_id, data FROM events WHERE tenant_id = :t AND action = 'organisation.updated' ORDER BY seq"
    )
    async with superuser.connect() as connection:
        told = (await connection.execute(query, {"t": owner.tenant_id})).all()
    assert {row.actor_id for row in told} == {owner.user.id}
    assert [list(row.data["changed"]) for row in told] == [
        ["allowed_origins"],
        ["name"],
        ["allowed_origins"],
        ["require_second_factor"],
    ]


async def test_two_edits_at_once_are_told_apart(owner):
    tag = (await owner.get(PATH)).headers["etag"]
    new = f"{owner.tenant_name} (new)"
    first = await owner.patch(PATH, json={"name": new}, headers={"If-Match": tag})
    assert (first.status_code, first.json()["name"]) == (200, new)
    second = await owner.patch(PATH, json={"name": "x"}, headers={"If-Match": tag})
    assert (second.status_code, second.json()["code"]) == (412, "changed-meanwhile")
    assert first.headers["etag"] == (await owner.get(PATH)).headers["etag"] != tag


async def test_the_name_of_another_is_taken(owner, tenancy):
    other = await tenancy.owner()
    taken = await owner.patch(PATH, json={"name": other.tenant_name})
    assert (taken.status_code, taken.json()["code"]) == (409, "already-exists")


@pytest.mark.parametrize("field", ["quotas", "usage", "state", "max_users", "id"])
async def test_nobody_raises_their_own_quota(owner, field):
    refused = await owner.patch(PATH, json={field: {"max_users": 10_000}})
    assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed")


@pytest.mark.parametrize("role", ["user", "ai-configurator"])
async def test_only_administrators_see_and_settle_it(owner, tenancy, role):
    colleague = await tenancy.colleague(owner, role=role)
    for refused in (await colleague.get(PATH), await colleague.patch(PATH, json={"name": "Mine"})):
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await owner.get(PATH)).json()["name"] == owner.tenant_name


BAD_ORIGINS = [
    "null", "NULL", "*", "https://*", "https://*.example", "http://a.example", "ftp://a.example", "a.example",
    "https://", "https://a.example/", "https://a.example/path", "https://a.example?x", "https://a.example#x",
    "https://u:p@a.example", "https://a.example:0", "https://a.example:65536", "https://a.example:", "https://a b",
    "https://-a.example", "https://a..example", "https://å.example", "https://[::g]", "https://[1.2.3]",
    "javascript:alert(1)", "https://a.example\nhttps://b.example", "https://a.example\x00", "", "https://evil.example\\.a",
    "https://" + "a" * 64 + ".example", "https://" + ".".join(["a" * 60] * 5),
]  # fmt: skip


@pytest.mark.parametrize("origin", BAD_ORIGINS)
async def test_what_is_no_origin_of_a_page_is_refused_and_named(owner, origins, origin):
    refused = await owner.patch(PATH, json={"settings": {"allowed_origins": ["https://a.example", origin]}})
    assert refused.status_code == 400, refused.text
    assert refused.json()["errors"][0]["path"].endswith("allowed_origins.1") or len(origin) > 250
    assert await origins(owner.tenant_id) == []


@pytest.mark.parametrize(
    ("given_origin", "kept"),
    [
        ("https://Intranet.Example", "https://intranet.example"),
        ("https://intranet.example:443", "https://intranet.example"),
        ("https://intranet.example:8443", "https://intranet.example:8443"),
        ("https://xn--lngsele-exa.example", "https://xn--lngsele-exa.example"),
        ("https://192.0.2.7", "https://192.0.2.7"),
        ("https://[2001:DB8:0:0::1]:444", "https://[2001:db8::1]:444"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(given_origin, kept):
    assert clean_origin(given_origin) == kept


@given(st.text(max_size=60).map(lambda rest: f"https://{rest}"))
def test_what_is_kept_is_kept_the_same_again(origin):
    try:
        kept = clean_origin(origin)
    except ValueError:
        return
    assert clean_origin(kept) == kept
    assert not set(kept.removeprefix("https://")) & set("/?#@*\\ \n")


async def test_too_many_origins_are_refused(owner):
    many = [f"https://a{number}.example" for number in range(51)]
    assert (await owner.patch(PATH, json={"settings": {"allowed_origins": many}})).status_code == 400


async def test_passwords_are_not_switched_off_while_there_is_no_other_way_in(owner, superuser):
    off = {"settings": {"password_login": False}}
    refused = await owner.patch(PATH, json=off)
    assert (refused.status_code, refused.json()["code"]) == (409, "no-other-way-in")
    assert (await owner.get(PATH)).json()["settings"]["password_login"] is True
    async with superuser.begin() as connection:
        await connection.execute(METHOD, {"t": owner.tenant_id})
    # It may be one that does not work, or where no owner has an account: then nobody could undo it.
    refused = await owner.patch(PATH, json=off)
    assert (refused.status_code, refused.json()["code"]) == (409, "no-other-way-in")
    assert "no owner" in refused.json()["detail"]
    async with superuser.begin() as connection:
        await connection.execute(ACCOUNT, {"t": owner.tenant_id})
    assert (await owner.patch(PATH, json=off)).json()["settings"]["password_login"] is False


async def test_an_owner_of_another_organisation_is_no_way_in_to_this_one(owner, tenancy, superuser):
    other = await tenancy.owner()
    async with superuser.begin() as connection:
        for tenant_id in (owner.tenant_id, other.tenant_id):
            await connection.execute(METHOD, {"t": tenant_id})
        await connection.execute(ACCOUNT, {"t": other.tenant_id})
    refused = await owner.patch(PATH, json={"settings": {"password_login": False}})
    assert (refused.status_code, refused.json()["code"]) == (409, "no-other-way-in")


def test_settings_stored_by_an_older_version_are_read():
    assert TenantSettings.of({}) == TenantSettings()
    assert TenantSettings.of({"password_login": False, "gone": 1}).password_login is False


# quotas


async def test_nobody_is_added_beyond_the_quota_even_at_once(app, owner, quota, count):
    await quota(owner.tenant_id, max_users=3)

    async def add(number: int) -> str:
        try:
            async with app.begin(Principal.system(owner.tenant_id)) as work:
                await check_users_quota(work)
                await UserService(work).create(f"p{number}@people.example", None)
        except Conflict as error:
            return error.code
        return "made"

    results = await asyncio.gather(*(add(number) for number in range(5)))
    assert sorted(results) == ["made", "made", "quota-users", "quota-users", "quota-users"]
    assert await count("users", f"tenant_id = '{owner.tenant_id}'") == 3
    assert (await owner.get(PATH)).json()["quotas"]["max_users"] == 3


async def test_who_is_deleted_does_not_count(app, owner, quota, superuser):
    await quota(owner.tenant_id, max_users=2)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        gone = await UserService(work).create("gone@people.example", None)
    async with superuser.begin() as connection:
        await connection.execute(text("UPDATE users SET state = 'deleted' WHERE id = :i"), {"i": gone.id})
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await check_users_quota(work)
        with pytest.raises(Conflict):
            await check_users_quota(work, more=2)


async def pieces(*parts: bytes):
    for part in parts:
        yield part


async def test_files_are_refused_at_the_byte_that_is_beyond_the_quota(app, owner, quota, count):
    await quota(owner.tenant_id, max_storage_bytes=1000)
    principal = Principal.system(owner.tenant_id)
    files = FileService(app)
    await files.receive(principal, "a.txt", pieces(b"x" * 600))
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 100
            yield b"y" * 100

    with pytest.raises(ContentTooLarge) as refused:
        await files.receive(principal, "b.txt", endless())
    assert (refused.value.code, refused.value.status) == ("quota-storage", 413)
    assert sent == 500
    await files.receive(principal, "c.txt", pieces(b"z" * 400))
    with pytest.raises(ContentTooLarge):
        await files.receive(principal, "d.txt", pieces(b""))
    assert await count("files", f"tenant_id = '{owner.tenant_id}'") == 2
    assert (await app.storage.usage(owner.tenant_id))[0] == 2
    assert (await owner.get(PATH)).json()["usage"]["storage_bytes"] == 1000


async def test_an_upload_over_the_quota_says_so(owner, quota, count):
    await quota(owner.tenant_id, max_storage_bytes=10)
    collection = await owner.collection()
    refused = await owner.post(f"/collections/{collection}/documents", files=[("file", ("a.txt", b"x" * 11))])
    assert (refused.status_code, refused.json()["code"]) == (413, "quota-storage")
    assert await count("documents", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_two_files_that_come_in_at_once_do_not_share_the_same_room(app, owner, quota):
    await quota(owner.tenant_id, max_storage_bytes=1000)
    principal, both = Principal.system(owner.tenant_id), asyncio.Barrier(2)

    async def together():
        yield b"x" * 300
        await both.wait()
        yield b"x" * 300

    async def send(name: str) -> str:
        try:
            await FileService(app).receive(principal, name, together())
        except ContentTooLarge as error:
            return error.code
        return "kept"

    assert sorted(await asyncio.gather(send("a.txt"), send("b.txt"))) == ["kept", "quota-storage"]
    assert (await app.storage.usage(owner.tenant_id))[0] == 1


async def test_a_file_whose_organisation_goes_meanwhile_leaves_no_bytes(app, tenancy, superuser):
    tenant_id, _ = await tenancy.tenant()

    async def cut():
        yield b"half"
        async with superuser.begin() as connection:
            await connection.execute(text("DELETE FROM tenants WHERE id = :t"), {"t": tenant_id})
        await app.storage.delete_tenant(tenant_id)
        yield b"half"

    with pytest.raises(Exception, match="removed while it arrived"):
        await FileService(app).receive(Principal.system(tenant_id), "a.txt", cut())
    assert await app.storage.usage(tenant_id) == (0, 0)
