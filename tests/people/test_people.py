"""People as administrators look after them: invited, changed, shut out, deleted, erased."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from folkmoot.identity.models import PlatformAdmin, User
from folkmoot.kit.access import GRANTABLE, ROLES, Principal
from folkmoot.kit.errors import Conflict
from folkmoot.people.schemas import PersonUpdate
from folkmoot.people.service import PeopleService
from tests.support.people import PASSWORD


def address() -> str:
    return f"{uuid4().hex[:12]}@people.example"


@pytest.fixture
def token_in():
    """The token behind `#` of a link."""
    return lambda link: link.partition("#")[2]


@pytest.fixture
def actions(superuser):
    """What the log says of an object, oldest first, as (action, data)."""

    async def found(object_id, tenant_id=None):
        async with superuser.connect() as connection:
            rows = await connection.execute(
                text("SELECT action, data FROM events WHERE object_id = :o ORDER BY seq"), {"o": UUID(str(object_id))}
            )
            return [(row.action, row.data) for row in rows]

    return found


async def with_role(owner, tenancy, *permissions, role="user"):
    """A colleague with a custom role of these permissions beside their own."""
    person = await tenancy.colleague(owner, role=role)
    made = await owner.made("/roles", name=f"Role {uuid4().hex[:6]}", permissions=list(permissions))
    granted = await owner.put(f"/users/{person.user.id}/roles/{made['id']}")
    assert granted.status_code == 204, granted.text
    return person


def code(response):
    return response.status_code, response.json().get("code")


async def test_who_is_invited_comes_in_by_the_link(owner, stranger, token_in, actions):
    email = address().upper()
    response = await owner.post("/users", json={"email": f"  {email}"})
    assert response.status_code == 400
    response = await owner.post("/users", json={"email": email, "name": " Bo Ek ", "role": "ai-configurator"})
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    made = response.json()
    assert made["email"] == email.lower()
    assert (made["name"], made["role"], made["state"]) == ("Bo Ek", "ai-configurator", "invited")
    assert "mail" not in made
    link = made["link"]
    assert link.startswith("http://127.0.0.1:8000/link#fml_")
    person = (await owner.get(f"/users/{made['id']}")).json()
    assert person["link"] == {"purpose": "invitation", "mail": "none", "expires_at": made["expires_at"]}
    assert person["permissions"] == sorted(ROLES["ai-configurator"])

    token = token_in(link)
    login = {"email": email, "password": "four words of mine"}
    assert (await stranger.post("/api/v1/auth/login", json=login)).status_code == 401
    seen = await stranger.post("/api/v1/auth/link", json={"token": token})
    assert seen.status_code == 200
    assert seen.json()["organisation"] == owner.tenant_name
    assert (seen.json()["email"], seen.json()["purpose"]) == (email.lower(), "invitation")
    accepted = await stranger.post(
        "/api/v1/auth/link/accept", json={"token": token, "password": "four words of mine", "name": "Bo"}
    )
    assert accepted.status_code == 200, accepted.text
    assert accepted.json() == {"email": email.lower(), "organisation": owner.tenant_name}
    assert (await stranger.post("/api/v1/auth/login", json=login)).status_code == 200
    person = (await owner.get(f"/users/{made['id']}")).json()
    assert (person["state"], person["name"], person["link"]) == ("active", "Bo", None)
    happened = await actions(made["id"])
    told = [action for action, _ in happened if action.startswith("user.")]
    assert told == ["user.invited", "user.made_active", "user.password_changed"]
    assert email.lower() not in str(happened)


async def test_an_invitation_puts_into_groups_and_gives_roles(owner):
    group = await owner.made("/groups", name="Permits")
    role = await owner.made("/roles", name="Auditors", permissions=["audit"])
    made = await owner.made("/users", email=address(), group_ids=[group["id"]] * 2, role_ids=[role["id"]])
    person = (await owner.get(f"/users/{made['id']}")).json()
    assert (person["group_ids"], person["role_ids"]) == ([group["id"]], [role["id"]])
    assert "audit" in person["permissions"]
    for name in ("group_ids", "role_ids"):
        refused = await owner.post("/users", json={"email": address(), name: [str(uuid4())]})
        assert code(refused) == (404, "not-found")


@pytest.mark.parametrize(
    "email",
    ["no-at-sign", "two@at@signs", "a,b@example.org", '"x"@example.org', "<a@example.org>", "a b@example.org", "@x",
     "x@", "a@example.org\r\nBcc: c@example.org", "a\u200b@example.org", "a\u2028b@example.org", "x" * 250 + "@a.se"],
)  # fmt: skip
async def test_what_is_no_address_is_not_invited(owner, email, count):
    before = await count("users")
    refused = await owner.post("/users", json={"email": email})
    assert code(refused) == (400, "validation-failed")
    assert await count("users") == before


async def test_two_invited_at_once_with_one_e_mail_are_one(owner, count):
    email = address()
    answers = await asyncio.gather(*(owner.post("/users", json={"email": email}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already-exists"}
    assert await count("users", f"email = '{email}'") == 1
    assert await count("links", f"user_id IN (SELECT id FROM users WHERE email = '{email}')") == 1


async def test_a_new_invitation_replaces_the_old(owner, stranger, token_in):
    made = await owner.made("/users", email=address())
    again = await owner.post(f"/users/{made['id']}/invitation")
    assert again.status_code == 201
    assert again.json()["link"] != made["link"]
    old = await stranger.post("/api/v1/auth/link", json={"token": token_in(made["link"])})
    assert code(old) == (409, "link-used")
    new = await stranger.post("/api/v1/auth/link", json={"token": token_in(again.json()["link"])})
    assert new.status_code == 200


async def test_only_the_invited_are_invited_again_and_only_the_active_reset(owner, tenancy):
    invited = (await owner.made("/users", email=address()))["id"]
    active = (await tenancy.colleague(owner)).user.id
    assert code(await owner.post(f"/users/{active}/invitation")) == (409, "not-invited")
    assert code(await owner.post(f"/users/{invited}/reset")) == (409, "account-not-active")


async def test_a_reset_by_an_administrator_sets_a_new_password(owner, tenancy, stranger, token_in):
    person = await tenancy.colleague(owner)
    made = await owner.post(f"/users/{person.user.id}/reset")
    assert made.status_code == 201
    login = {"email": person.user.email, "password": PASSWORD}
    assert (await stranger.post("/api/v1/auth/login", json=login)).status_code == 200
    accept = {"token": token_in(made.json()["link"]), "password": "another four words"}
    assert (await stranger.post("/api/v1/auth/link/accept", json=accept)).status_code == 200
    assert code(await person.get("/me")) == (401, "session-ended")
    assert (await stranger.post("/api/v1/auth/login", json=login)).status_code == 401
    login["password"] = "another four words"
    assert (await stranger.post("/api/v1/auth/login", json=login)).status_code == 200


async def test_nobody_resets_themself_or_takes_their_own_second_factor_away(owner):
    assert code(await owner.post(f"/users/{owner.user.id}/reset")) == (403, "cannot-raise-yourself")
    assert code(await owner.delete(f"/users/{owner.user.id}/second-factor")) == (403, "cannot-raise-yourself")


async def test_the_list_finds_people_by_state_name_and_group(owner, tenancy):
    ada = await tenancy.colleague(owner)
    invited = await owner.made("/users", email=f"zz_%{uuid4().hex[:8]}@people.example", name="Zoë Öberg")
    group = await owner.made("/groups", name="Permits")
    await owner.put(f"/groups/{group['id']}/members/{ada.user.id}")

    async def ids(**query):
        response = await owner.get("/users", params=query)
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["items"]]

    everybody = {str(owner.user.id), str(ada.user.id), invited["id"]}
    assert set(await ids()) == everybody
    assert await ids(state="invited") == [invited["id"]]
    assert await ids(q="zoë ö") == [invited["id"]]
    assert await ids(q="_%") == [invited["id"]]
    assert await ids(q="%%%") == []
    assert await ids(group_id=group["id"]) == [str(ada.user.id)]
    assert code(await owner.get("/users", params={"group_id": str(uuid4())})) == (404, "not-found")
    assert (await owner.get("/users", params={"state": "asleep"})).status_code == 400
    first = (await owner.get("/users", params={"limit": 2})).json()
    rest = (await owner.get("/users", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert {item["id"] for item in first["items"] + rest["items"]} == everybody
    await owner.delete(f"/users/{ada.user.id}")
    assert str(ada.user.id) not in await ids()
    assert await ids(state="deleted") == [str(ada.user.id)]


async def test_the_directory_is_for_everybody_with_spaces(owner, tenancy):
    ada = await tenancy.colleague(owner)
    await owner.made("/users", email=address(), name="Adam Not-Yet")
    other = await tenancy.owner()
    found = (await ada.get("/users/directory", params={"q": "ad"})).json()["items"]
    assert {item["id"] for item in found} == {str(ada.user.id), str(owner.user.id)}
    assert set(found[0]) == {"id", "name", "email"}
    assert str(other.user.id) not in {item["id"] for item in found}
    assert (await ada.get("/users/directory", params={"q": "a"})).status_code == 400
    assert (await ada.get("/users/directory", params={"q": "   "})).status_code == 400
    assert (await ada.get("/users/directory")).status_code == 400
    assert code(await ada.get("/users")) == (403, "forbidden")


async def test_a_change_is_told_with_from_and_to(owner, tenancy, actions):
    person = await tenancy.colleague(owner)
    path = f"/users/{person.user.id}"
    before = await owner.get(path)
    changed = await owner.patch(
        path, json={"name": "Bo", "role": "ai-configurator"}, headers={"If-Match": before.headers["etag"]}
    )
    assert changed.status_code == 200, changed.text
    assert (changed.json()["name"], changed.json()["role"]) == ("Bo", "ai-configurator")
    stale = await owner.patch(path, json={"name": "Eve"}, headers={"If-Match": before.headers["etag"]})
    assert code(stale) == (412, "changed-meanwhile")
    fresh = await owner.patch(path, json={"name": "Eve"}, headers={"If-Match": changed.headers["etag"]})
    assert fresh.status_code == 200
    assert await actions(person.user.id) == [
        ("user.created", {"role": "user"}),
        ("user.role_changed", {"from": "user", "to": "ai-configurator"}),
        ("user.updated", {"fields": ["name"]}),
        ("user.updated", {"fields": ["name"]}),
    ]
    assert "models" in (await person.get("/me")).json()["permissions"]


@pytest.mark.parametrize("change", [{"role": "king"}, {"state": "deleted"}, {"state": "invited"}, {"email": "a@b.se"}])
async def test_what_cannot_be_changed_is_refused(owner, tenancy, change):
    person = await tenancy.colleague(owner)
    assert (await owner.patch(f"/users/{person.user.id}", json=change)).status_code == 400


async def test_who_is_made_inactive_is_out_at_once_and_an_open_link_with_them(owner, tenancy, stranger, token_in):
    person = await tenancy.colleague(owner)
    link = (await owner.post(f"/users/{person.user.id}/reset")).json()["link"]
    shut = await owner.patch(f"/users/{person.user.id}", json={"state": "inactive"})
    assert (shut.json()["state"], shut.json()["link"]) == ("inactive", None)
    assert (await person.get("/me")).status_code in (401, 403)
    accept = {"token": token_in(link), "password": "another four words"}
    assert code(await stranger.post("/api/v1/auth/link/accept", json=accept)) == (403, "account-inactive")
    back = await owner.patch(f"/users/{person.user.id}", json={"state": "active"})
    assert back.json()["state"] == "active"
    assert code(await stranger.post("/api/v1/auth/link/accept", json=accept)) == (409, "link-used")


async def test_sessions_are_ended_by_an_administrator(owner, tenancy, actions):
    person = await tenancy.colleague(owner)
    assert (await owner.delete(f"/users/{person.user.id}/sessions")).status_code == 204
    assert code(await person.get("/me")) == (401, "session-ended")
    assert ("user.sessions_ended", {"count": 1}) in await actions(person.user.id)


async def test_a_lost_second_factor_is_taken_away(owner, tenancy, app):
    person = await tenancy.colleague(owner)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(
            text("UPDATE users SET totp_confirmed_at = now(), totp_secret = 'x', recovery_codes = '{a}' WHERE id = :u"),
            {"u": person.user.id},
        )
    assert (await owner.get(f"/users/{person.user.id}")).json()["second_factor"] is True
    assert (await owner.delete(f"/users/{person.user.id}/second-factor")).status_code == 204
    assert (await owner.get(f"/users/{person.user.id}")).json()["second_factor"] is False
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        user = await work.session.get(User, person.user.id)
        assert (user.totp_secret, user.recovery_codes) == (None, [])


# Nobody raises themself


@pytest.mark.parametrize("role", ["user", "ai-configurator", "owner"])
@pytest.mark.parametrize("target", ["user", "ai-configurator", "owner"])
async def test_who_administers_people_reaches_only_who_has_no_more(owner, tenancy, role, target, superuser):
    """Over all predefined roles and targets, and everything that can be done to somebody."""
    actor = await with_role(owner, tenancy, "people", role=role)
    person = await tenancy.colleague(owner, role=target)
    permissions = ROLES[role] | {"people"}
    allowed = ROLES[target] <= permissions
    group = await owner.made("/groups", name=f"Group {uuid4().hex[:6]}")
    empty = await owner.made("/roles", name=f"Empty {uuid4().hex[:6]}", permissions=[])
    path = f"/users/{person.user.id}"
    calls = [
        ("PATCH", path, {"name": "Eve"}),
        ("PUT", f"{path}/roles/{empty['id']}", None),
        ("DELETE", f"{path}/roles/{empty['id']}", None),
        ("PUT", f"/groups/{group['id']}/members/{person.user.id}", None),
        ("DELETE", f"/groups/{group['id']}/members/{person.user.id}", None),
        ("DELETE", f"{path}/second-factor", None),
        ("POST", f"{path}/reset", None),
        ("DELETE", f"{path}/sessions", None),
        ("PATCH", path, {"state": "inactive"}),
        ("PATCH", path, {"state": "active"}),
        ("PATCH", path, {"role": "user"}),
        ("DELETE", path, None),
        ("POST", f"{path}/erase", None),
    ]
    if not allowed:
        # So that there is something to take away.
        await owner.put(f"{path}/roles/{empty['id']}")
        await owner.put(f"/groups/{group['id']}/members/{person.user.id}")
    before = await everything(superuser, owner.tenant_id)
    for method, url, body in calls:
        if url.endswith("/roles/" + empty["id"]) and not allowed and method == "PUT":
            continue
        if "/members/" in url and not allowed and method == "PUT":
            continue
        response = await actor.request(method, url, json=body)
        if allowed:
            assert response.status_code < 300, (method, url, response.text)
        else:
            assert code(response) == (403, "more-than-you-have"), (method, url)
    if not allowed:
        assert await everything(superuser, owner.tenant_id) == before


async def everything(superuser, tenant_id):
    """The rows that say who may do what."""
    async with superuser.connect() as connection:
        found = {}
        for table in ("users", "groups", "group_members", "roles", "role_grants", "links", "sessions"):
            rows = await connection.execute(
                text(f"SELECT to_jsonb(t)::text FROM {table} t WHERE tenant_id = :t ORDER BY id"), {"t": tenant_id}
            )
            found[table] = [row[0] for row in rows]
        return found


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("given", ROLES)
async def test_nobody_gives_a_role_that_holds_more(owner, tenancy, role, given):
    actor = await with_role(owner, tenancy, "people", role=role)
    allowed = ROLES[given] <= ROLES[role] | {"people"}
    person = await tenancy.colleague(owner)
    answers = [
        await actor.post("/users", json={"email": address(), "role": given}),
        await actor.patch(f"/users/{person.user.id}", json={"role": given}),
        await actor.post("/groups", json={"name": f"G {uuid4().hex[:6]}", "role": given}),
    ]
    if allowed:
        assert [answer.status_code for answer in answers] == [201, 200, 201]
    else:
        assert [code(answer) for answer in answers] == [(403, "more-than-you-have")] * 3
        assert (await owner.get(f"/users/{person.user.id}")).json()["role"] == "user"


@pytest.mark.parametrize("permission", sorted(GRANTABLE))
async def test_a_custom_role_gives_only_what_its_maker_has(owner, tenancy, permission):
    actor = await with_role(owner, tenancy, "people")
    allowed = permission in ROLES["user"] | {"people"}
    person = await tenancy.colleague(owner)
    made = await actor.post("/roles", json={"name": f"R {uuid4().hex[:6]}", "permissions": [permission]})
    assert (made.status_code == 201) == allowed
    theirs = await owner.made("/roles", name=f"R {uuid4().hex[:6]}", permissions=[permission])
    answers = [
        await actor.post("/users", json={"email": address(), "role_ids": [theirs["id"]]}),
        await actor.put(f"/users/{person.user.id}/roles/{theirs['id']}"),
        await actor.patch(f"/roles/{theirs['id']}", json={"description": "mine now"}),
        await actor.delete(f"/roles/{theirs['id']}"),
    ]
    expected = [201, 204, 200, 204] if allowed else [403] * 4
    assert [answer.status_code for answer in answers] == expected, [answer.text for answer in answers]


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_changes_what_they_are(owner, tenancy, role):
    actor = await with_role(owner, tenancy, "people", role=role)
    made = await owner.made("/roles", name="Some", permissions=["spaces"])
    own = f"/users/{actor.user.id}"
    held = (await owner.get(own)).json()["role_ids"][0]
    other = "owner" if role != "owner" else "user"
    for method, url, body in [
        ("PATCH", own, {"role": other}),
        ("PATCH", own, {"state": "inactive"}),
        ("DELETE", own, None),
        ("PUT", f"{own}/roles/{made['id']}", None),
        ("DELETE", f"{own}/roles/{held}", None),
    ]:
        assert code(await actor.request(method, url, json=body)) == (403, "cannot-raise-yourself"), (method, url)
    assert (await actor.patch(own, json={"name": "Myself", "role": role})).json()["name"] == "Myself"


async def test_the_owner_of_an_organisation_has_no_power_over_who_administers_the_installation(owner, tenancy, app):
    person = await tenancy.colleague(owner, role="owner")
    platform = Principal(tenant_id=owner.tenant_id, kind="platform")
    async with app.begin(platform) as work:
        work.session.add(PlatformAdmin(tenant_id=owner.tenant_id, user_id=person.user.id))
    path = f"/users/{person.user.id}"
    for method, url, body in [
        ("PATCH", path, {"role": "user"}),
        ("PATCH", path, {"state": "inactive"}),
        ("POST", f"{path}/reset", None),
        ("DELETE", path, None),
    ]:
        assert code(await owner.request(method, url, json=body)) == (403, "more-than-you-have"), (method, url)


# The last owner


@pytest.mark.parametrize("change", [{"role": "user"}, {"state": "inactive"}, None])
async def test_the_last_owner_stays(owner, tenancy, change):
    await tenancy.colleague(owner)
    inactive = await tenancy.colleague(owner, role="owner")
    assert (await owner.patch(f"/users/{inactive.user.id}", json={"state": "inactive"})).status_code == 200
    path = f"/users/{owner.user.id}"
    response = await (owner.patch(path, json=change) if change else owner.delete(path))
    assert code(response) == (409, "last-owner")
    assert (await owner.get("/me")).json()["user"]["role"] == "owner"


@pytest.mark.parametrize("change", [{"role": "user"}, {"state": "inactive"}, None])
async def test_two_owners_who_remove_each_other_at_once_leave_one(tenancy, change, count):
    async def remove(actor, target):
        path = f"/users/{target.user.id}"
        return await (actor.patch(path, json=change) if change else actor.delete(path))

    for _ in range(3):
        owner = await tenancy.owner()
        other = await tenancy.colleague(owner, role="owner")
        answers = await asyncio.gather(remove(owner, other), remove(other, owner))
        assert await count("users", f"tenant_id = '{owner.tenant_id}' AND role = 'owner' AND state = 'active'") == 1
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] < 300 <= statuses[1] < 500, [answer.text for answer in answers]
        refused = next(answer for answer in answers if answer.status_code >= 300)
        # Whoever asked after the other's commit was no owner any more when they came to the door.
        assert refused.json()["code"] in ("last-owner", "forbidden", "session-ended", "account-inactive")


async def test_who_waits_for_the_other_owners_change_is_told_of_the_last_owner(owner, tenancy, app):
    other = await tenancy.colleague(owner, role="owner")
    demotion = PersonUpdate(role="user")

    def acting(person):
        return Principal(owner.tenant_id, person.user.id, "user", ROLES["owner"])

    async def second():
        async with app.begin(acting(other)) as work:
            await PeopleService(work, app).update(owner.user.id, demotion, None)

    async with app.begin(acting(owner)) as work:
        await PeopleService(work, app).update(other.user.id, demotion, None)
        waiting = asyncio.create_task(second())
        async with asyncio.timeout(20):
            while not await waits_for_a_lock(app):  # noqa: ASYNC110 - the lock lies in a database
                await asyncio.sleep(0.01)
    with pytest.raises(Conflict) as refused:
        await waiting
    assert refused.value.code == "last-owner"


async def waits_for_a_lock(app):
    async with app.begin(Principal()) as work:
        return await work.session.scalar(
            text(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid IN"
                " (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))"
            )
        )


# Leaving


async def test_a_deleted_account_opens_nothing_and_frees_its_e_mail(owner, tenancy, stranger, app, superuser, count):
    person = await tenancy.colleague(owner)
    shared = await owner.space()
    await owner.put(f"/spaces/{shared}/members/{person.user.id}", json={"role": "viewer"})
    group = await owner.made("/groups", name="Permits")
    await owner.put(f"/groups/{group['id']}/members/{person.user.id}")
    role = await owner.made("/roles", name="Auditors", permissions=["audit"])
    await owner.put(f"/users/{person.user.id}/roles/{role['id']}")
    who = f"'{person.user.id}'"
    async with superuser.begin() as connection:
        values = {"t": owner.tenant_id, "u": person.user.id, "h": uuid4().hex}
        await connection.execute(
            text(
                "INSERT INTO spaces (id, tenant_id, name, kind, owner_id)"
                " VALUES (gen_random_uuid(), :t, 'Mine', 'personal', :u) ON CONFLICT DO NOTHING"
            ),
            values,
        )
        await connection.execute(
            text(
                "INSERT INTO collections (id, tenant_id, space_id, name) SELECT gen_random_uuid(), :t, id, 'Diary'"
                " FROM spaces WHERE owner_id = :u"
            ),
            values,
        )
        await connection.execute(
            text(
                "INSERT INTO api_keys (id, tenant_id, user_id, name, kind, secret_hash, hint, scopes, addresses,"
                " origins) VALUES (gen_random_uuid(), :t, :u, 'k', 'user', :h, 'x', '{}', '{}', '{}')"
            ),
            values,
        )
    deleted = await owner.delete(f"/users/{person.user.id}")
    assert deleted.status_code == 204, deleted.text
    assert (await person.get("/me")).status_code in (401, 403)
    login = {"email": person.user.email, "password": PASSWORD}
    assert (await stranger.post("/api/v1/auth/login", json=login)).status_code == 401
    assert await count("api_keys", f"user_id = {who} AND revoked_at IS NULL") == 0
    for table in ("group_members", "role_grants", "space_members"):
        assert await count(table, f"user_id = {who}") == 0
    assert await count("spaces", f"owner_id = {who}") == 0
    assert await count("collections", f"tenant_id = '{owner.tenant_id}' AND name = 'Diary'") == 0
    assert await count("sessions", f"user_id = {who} AND revoked_at IS NULL") == 0
    seen = (await owner.get(f"/users/{person.user.id}")).json()
    assert (seen["state"], seen["email"]) == ("deleted", person.user.email)
    assert seen["deleted_at"] is not None
    assert await count("events", f"action = 'user.deleted' AND object_id = {who}") == 1
    assert await count("events", f"action = 'key.revoked' AND user_id = {who}") == 1
    again = await owner.made("/users", email=person.user.email)
    assert again["id"] != str(person.user.id)
    for method, url, body in [
        ("PATCH", "", {"name": "x"}),
        ("PATCH", "", {"state": "active"}),
        ("DELETE", "", None),
        ("POST", "/reset", None),
        ("POST", "/invitation", None),
        ("DELETE", "/sessions", None),
        ("PUT", f"/roles/{role['id']}", None),
    ]:
        refused = await owner.request(method, f"/users/{person.user.id}{url}", json=body)
        assert code(refused) == (409, "account-deleted"), (method, url)
    joined = await owner.put(f"/groups/{group['id']}/members/{person.user.id}")
    assert code(joined) == (409, "account-deleted")


async def test_erasing_leaves_nothing_personal_but_the_id(owner, tenancy, superuser, count):
    person = await tenancy.colleague(owner)
    await owner.patch(f"/users/{person.user.id}", json={"name": "Ingeborg Unmistakable"})
    shared = await owner.space()
    assistant = await owner.assistant(shared)
    await owner.put(f"/spaces/{shared}/members/{person.user.id}", json={"role": "editor"})
    await person.conversation(assistant)
    assert code(await owner.post(f"/users/{person.user.id}/erase")) == (409, "not-deleted")
    await owner.delete(f"/users/{person.user.id}")
    for _ in range(2):
        assert (await owner.post(f"/users/{person.user.id}/erase")).status_code == 204
    seen = (await owner.get(f"/users/{person.user.id}")).json()
    assert (seen["name"], seen["email"]) == ("", f"{person.user.id}@erased.invalid")
    assert seen["erased_at"] is not None
    async with superuser.connect() as connection:
        tables = await connection.scalars(
            text("SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id'")
        )
        for table in tables.all():
            for word in (person.user.email, "Unmistakable"):
                found = await connection.scalar(
                    text(f"SELECT count(*) FROM {table} t WHERE tenant_id = :t AND to_jsonb(t)::text LIKE :w"),
                    {"t": owner.tenant_id, "w": f"%{word}%"},
                )
                assert found == 0, f"{table} still has {word}"
    for table in ("sessions", "links", "conversations"):
        assert await count(table, f"user_id = '{person.user.id}'") == 0
    assert await count("events", f"action = 'user.erased' AND object_id = '{person.user.id}'") == 1


async def test_who_administers_the_installation_is_not_deleted_by_the_way(owner, tenancy, app, api):
    person = await tenancy.colleague(owner)
    platform = Principal(tenant_id=owner.tenant_id, kind="platform")
    async with app.begin(platform) as work:
        for who in (person, owner):
            work.session.add(PlatformAdmin(tenant_id=owner.tenant_id, user_id=who.user.id))
    assert code(await owner.delete(f"/users/{person.user.id}")) == (409, "administers-platform")


# Another organisation


async def test_another_organisation_is_not_there(owner, tenancy, superuser):
    other = await tenancy.owner()
    person = await tenancy.colleague(owner)
    group = await owner.made("/groups", name="Permits")
    role = await owner.made("/roles", name="Auditors", permissions=["audit"])
    theirs = await tenancy.colleague(other)
    own_group = await other.made("/groups", name="Permits")
    own_role = await other.made("/roles", name="Auditors", permissions=["audit"])
    before = await everything(superuser, owner.tenant_id), await everything(superuser, other.tenant_id)
    user = f"/users/{person.user.id}"
    for method, url, body in [
        ("GET", user, None),
        ("PATCH", user, {"name": "x"}),
        ("DELETE", user, None),
        ("POST", f"{user}/erase", None),
        ("POST", f"{user}/invitation", None),
        ("POST", f"{user}/reset", None),
        ("DELETE", f"{user}/sessions", None),
        ("DELETE", f"{user}/second-factor", None),
        ("PUT", f"{user}/roles/{own_role['id']}", None),
        ("PUT", f"/users/{theirs.user.id}/roles/{role['id']}", None),
        ("DELETE", f"/users/{theirs.user.id}/roles/{role['id']}", None),
        ("GET", f"/groups/{group['id']}", None),
        ("PATCH", f"/groups/{group['id']}", {"name": "x"}),
        ("DELETE", f"/groups/{group['id']}", None),
        ("GET", f"/groups/{group['id']}/members", None),
        ("PUT", f"/groups/{group['id']}/members/{theirs.user.id}", None),
        ("PUT", f"/groups/{own_group['id']}/members/{person.user.id}", None),
        ("DELETE", f"/groups/{own_group['id']}/members/{person.user.id}", None),
        ("PUT", f"/groups/{group['id']}/roles/{own_role['id']}", None),
        ("PUT", f"/groups/{own_group['id']}/roles/{role['id']}", None),
        ("GET", f"/roles/{role['id']}", None),
        ("PATCH", f"/roles/{role['id']}", {"name": "x"}),
        ("DELETE", f"/roles/{role['id']}", None),
        ("POST", "/users", {"email": address(), "group_ids": [group["id"]]}),
        ("POST", "/users", {"email": address(), "role_ids": [role["id"]]}),
    ]:
        response = await other.request(method, url, json=body)
        assert code(response) == (404, "not-found"), (method, url)
    assert (await everything(superuser, owner.tenant_id), await everything(superuser, other.tenant_id)) == before
