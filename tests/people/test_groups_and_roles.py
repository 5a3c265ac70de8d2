"""Groups, custom roles, and what they give."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.kit.access import GRANTABLE, ROLES, Permission

PLAIN = sorted(ROLES["user"])


def code(response):
    return response.status_code, response.json().get("code")


async def permissions_of(person):
    return (await person.get("/me")).json()["permissions"]


async def people_administrator(owner, tenancy, *more):
    """Somebody who administers people by a custom role, and holds no more than `more` beside."""
    person = await tenancy.colleague(owner)
    role = await owner.made("/roles", name=f"Role {uuid4().hex[:6]}", permissions=["people", *more])
    assert (await owner.put(f"/users/{person.user.id}/roles/{role['id']}")).status_code == 204
    return person, role


async def test_what_a_group_gives_its_members_have_at_once_and_lose_at_once(owner, tenancy):
    person = await tenancy.colleague(owner)
    group = await owner.made("/groups", name="Configurators", role="ai-configurator", description="They tune.")
    assert (group["role"], group["member_count"], group["role_ids"]) == ("ai-configurator", 0, [])
    put = await owner.put(f"/groups/{group['id']}/members/{person.user.id}")
    assert put.status_code == 200
    assert put.json()["user_id"] == str(person.user.id)
    assert await permissions_of(person) == sorted(ROLES["ai-configurator"])
    assert (await person.get("/me")).json()["roles"] == ["ai-configurator", "user"]
    role = await owner.made("/roles", name="Auditors", permissions=["audit"])
    assert (await owner.put(f"/groups/{group['id']}/roles/{role['id']}")).status_code == 204
    assert "audit" in await permissions_of(person)
    seen = (await owner.get(f"/groups/{group['id']}")).json()
    assert (seen["member_count"], seen["role_ids"]) == (1, [role["id"]])
    changed = await owner.patch(f"/roles/{role['id']}", json={"permissions": ["people"]})
    assert changed.json()["permissions"] == ["people"]
    assert {"audit", "people"} & set(await permissions_of(person)) == {"people"}
    assert (await owner.delete(f"/groups/{group['id']}/roles/{role['id']}")).status_code == 204
    assert (await owner.patch(f"/groups/{group['id']}", json={"role": None})).json()["role"] is None
    assert await permissions_of(person) == PLAIN
    await owner.patch(f"/groups/{group['id']}", json={"role": "owner"})
    assert "admin" in await permissions_of(person)
    assert (await owner.delete(f"/groups/{group['id']}")).status_code == 204
    assert await permissions_of(person) == PLAIN


async def test_a_custom_role_counts_beside_ones_own_and_goes_when_it_is_deleted(owner, tenancy):
    person = await tenancy.colleague(owner)
    role = await owner.made("/roles", name="Auditors", permissions=["audit", "audit"])
    assert role["permissions"] == ["audit"]
    path = f"/users/{person.user.id}/roles/{role['id']}"
    for _ in range(2):
        assert (await owner.put(path)).status_code == 204
    assert await permissions_of(person) == sorted([*PLAIN, "audit"])
    assert (await owner.delete(path)).status_code == 204
    assert code(await owner.delete(path)) == (404, "not-found")
    assert await permissions_of(person) == PLAIN
    await owner.put(path)
    assert (await owner.delete(f"/roles/{role['id']}")).status_code == 204
    assert await permissions_of(person) == PLAIN
    assert code(await owner.get(f"/roles/{role['id']}")) == (404, "not-found")


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7, 200])
async def test_roles_are_listed_predefined_first_in_pages_of_any_size(owner, limit):
    for number in range(3):
        await owner.made("/roles", name=f"Role {number}", permissions=["audit"])
    found, cursor = [], None
    while cursor or not found:
        page = (await owner.get("/roles", params={"limit": limit, **({"cursor": cursor} if cursor else {})})).json()
        assert 1 <= len(page["items"]) <= limit
        found += page["items"]
        cursor = page["next_cursor"]
    assert [item["name"] for item in found] == [*ROLES, "Role 2", "Role 1", "Role 0"]
    assert [item["permissions"] for item in found[:3]] == [sorted(given) for given in ROLES.values()]
    assert [item["predefined"] for item in found] == [True] * 3 + [False] * 3
    assert code(await owner.get("/roles", params={"cursor": "!"})) == (400, "invalid-cursor")


async def test_a_page_that_ends_with_the_last_predefined_role_says_whether_more_come(owner):
    assert (await owner.get("/roles", params={"limit": 3})).json()["next_cursor"] is None
    await owner.made("/roles", name="Mine", permissions=[])
    assert (await owner.get("/roles", params={"limit": 3})).json()["next_cursor"] is not None


async def test_what_can_be_granted_is_listed_with_its_meaning(owner):
    items = (await owner.get("/roles/permissions")).json()["items"]
    assert {item["name"] for item in items} == {permission.value for permission in GRANTABLE}
    assert {"name": "audit", "meaning": "Read and export the log, for a stated reason."} in items


@pytest.mark.parametrize("permission", ["signed-in", "platform", "everything", "", 1])
async def test_what_cannot_be_granted_is_refused(owner, permission, count):
    refused = await owner.post("/roles", json={"name": "Bad", "permissions": [permission]})
    assert code(refused) == (400, "validation-failed")
    assert await count("roles", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_names_are_unique_also_when_made_at_once(owner, count):
    for path, fields in [("/groups", {}), ("/roles", {"permissions": []})]:
        made = await owner.made(path, name="Same", **fields)
        assert code(await owner.post(path, json={"name": "Same", **fields})) == (409, "already-exists")
        other = await owner.made(path, name="Other", **fields)
        assert code(await owner.patch(f"{path}/{other['id']}", json={"name": "Same"})) == (409, "already-exists")
        assert (await owner.patch(f"{path}/{made['id']}", json={"name": "Same"})).status_code == 200
        answers = await asyncio.gather(*(owner.post(path, json={"name": "Once", **fields}) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        assert await count(path[1:], f"tenant_id = '{owner.tenant_id}' AND name = 'Once'") == 1
    assert code(await owner.post("/roles", json={"name": "Owner", "permissions": []})) == (409, "already-exists")


async def test_two_edits_at_once_do_not_overwrite_each_other(owner):
    for path, fields in [("/groups", {}), ("/roles", {"permissions": []})]:
        made = await owner.post(path, json={"name": "Mine", **fields})
        url, tag = f"{path}/{made.json()['id']}", made.headers["etag"]
        assert (await owner.get(url)).headers["etag"] == tag
        first = await owner.patch(url, json={"description": "a"}, headers={"If-Match": tag})
        assert first.status_code == 200
        assert code(await owner.patch(url, json={"description": "b"}, headers={"If-Match": tag})) == (
            412,
            "changed-meanwhile",
        )
        assert (await owner.get(url)).json()["description"] == "a"


async def test_whom_a_login_method_put_in_is_not_taken_out_by_hand(owner, tenancy, superuser):
    person = await tenancy.colleague(owner)
    group = await owner.made("/groups", name="From elsewhere")
    path = f"/groups/{group['id']}/members/{person.user.id}"
    await owner.put(path)
    method = uuid4()
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE group_members SET login_method_id = :m WHERE group_id = :g"), {"m": method, "g": group["id"]}
        )
    assert code(await owner.delete(path)) == (409, "managed-by-login-method")
    # Putting in by hand whom it put in leaves them its own.
    assert (await owner.put(path)).json()["login_method_id"] == str(method)
    (member,) = (await owner.get(f"/groups/{group['id']}/members")).json()["items"]
    assert member["login_method_id"] == str(method)


async def test_members_are_put_in_once_listed_in_pages_and_taken_out(owner, tenancy, count):
    group = await owner.made("/groups", name="Permits")
    people = [await tenancy.colleague(owner) for _ in range(3)]
    for person in people:
        answers = await asyncio.gather(
            *(owner.put(f"/groups/{group['id']}/members/{person.user.id}") for _ in range(2))
        )
        assert [answer.status_code for answer in answers] == [200, 200]
    assert await count("group_members", f"group_id = '{group['id']}'") == 3
    first = (await owner.get(f"/groups/{group['id']}/members", params={"limit": 2})).json()
    rest = (
        await owner.get(f"/groups/{group['id']}/members", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()
    found = [item["user_id"] for item in first["items"] + rest["items"]]
    assert found == [str(person.user.id) for person in reversed(people)]
    assert rest["next_cursor"] is None
    path = f"/groups/{group['id']}/members/{people[0].user.id}"
    assert (await owner.delete(path)).status_code == 204
    assert code(await owner.delete(path)) == (404, "not-found")


async def test_groups_are_found_by_everybody_with_spaces_and_administered_by_few(owner, tenancy):
    person = await tenancy.colleague(owner)
    group = await owner.made("/groups", name="Permits and notices", description="x")
    other = await tenancy.owner()
    await other.made("/groups", name="Permits elsewhere")
    found = (await person.get("/groups/directory", params={"q": "PERM"})).json()["items"]
    assert found == [{"id": group["id"], "name": "Permits and notices", "description": "x", "member_count": 0}]
    assert (await person.get("/groups/directory", params={"q": "p"})).status_code == 400
    for method, url in [("GET", "/groups"), ("GET", f"/groups/{group['id']}"), ("GET", "/roles"), ("POST", "/groups")]:
        assert code(await person.request(method, url)) == (403, "forbidden")


# Nobody raises themself


async def test_nobody_puts_themself_into_or_takes_themself_out_of_a_group_that_has_rights(owner, tenancy):
    admin, role = await people_administrator(owner, tenancy)
    plain = await owner.made("/groups", name="Plain")
    by_role = await owner.made("/groups", name="By role", role="user")
    by_grant = await owner.made("/groups", name="By grant")
    await owner.put(f"/groups/{by_grant['id']}/roles/{role['id']}")
    path = "/groups/{}/members/" + str(admin.user.id)
    assert (await admin.put(path.format(plain["id"]))).status_code == 200
    assert (await admin.delete(path.format(plain["id"]))).status_code == 204
    for group in (by_role, by_grant):
        assert code(await admin.put(path.format(group["id"]))) == (403, "cannot-raise-yourself")
        await owner.put(path.format(group["id"]))
        assert code(await admin.delete(path.format(group["id"]))) == (403, "cannot-raise-yourself")


async def test_a_place_in_a_space_is_a_right_too(owner, tenancy, superuser):
    admin, _ = await people_administrator(owner, tenancy)
    group = await owner.made("/groups", name="Secret readers")
    space = await owner.space()
    async with superuser.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO space_members (id, tenant_id, space_id, group_id, role)"
                " VALUES (gen_random_uuid(), :t, :s, :g, 'viewer')"
            ),
            {"t": owner.tenant_id, "s": space, "g": group["id"]},
        )
    refused = await admin.put(f"/groups/{group['id']}/members/{admin.user.id}")
    assert code(refused) == (403, "cannot-raise-yourself")
    colleague = await tenancy.colleague(owner)
    assert (await admin.put(f"/groups/{group['id']}/members/{colleague.user.id}")).status_code == 200


async def test_nobody_raises_themself_through_a_group_or_role_that_they_have(owner, tenancy):
    admin, held = await people_administrator(owner, tenancy)
    group = await owner.made("/groups", name="Everybody")
    await owner.put(f"/groups/{group['id']}/members/{admin.user.id}")
    mighty = await owner.made("/roles", name="Mighty", permissions=["admin"])
    for method, url, body in [
        ("PATCH", f"/groups/{group['id']}", {"role": "owner"}),
        ("PATCH", f"/groups/{group['id']}", {"role": "ai-configurator"}),
        ("PUT", f"/groups/{group['id']}/roles/{mighty['id']}", None),
        ("PUT", f"/groups/{group['id']}/roles/{held['id']}", None),
        ("PATCH", f"/roles/{held['id']}", {"permissions": ["people", "admin"]}),
    ]:
        assert code(await admin.request(method, url, json=body)) == (403, "cannot-raise-yourself"), (method, body)
    assert await permissions_of(admin) == sorted([*PLAIN, "people"])
    assert (await owner.get(f"/groups/{group['id']}")).json()["role_ids"] == []
    # What the predefined role gives anyway raises nobody; and an owner sets up the group that they are in.
    assert (await admin.patch(f"/groups/{group['id']}", json={"role": "user"})).status_code == 200
    await owner.put(f"/groups/{group['id']}/members/{owner.user.id}")
    other = await owner.made("/groups", name="Owners too")
    assert (await owner.put(f"/groups/{other['id']}/members/{owner.user.id}")).status_code == 200
    assert (await owner.put(f"/groups/{other['id']}/roles/{mighty['id']}")).status_code == 204


async def test_what_holds_more_is_not_ones_to_give_edit_or_delete(owner, tenancy):
    admin, _ = await people_administrator(owner, tenancy)
    colleague = await tenancy.colleague(owner)
    strong = await owner.made("/groups", name="Strong", role="ai-configurator")
    role = await owner.made("/roles", name="Auditors", permissions=["audit"])
    await owner.put(f"/groups/{strong['id']}/roles/{role['id']}")
    weak = await owner.made("/groups", name="Weak")
    for method, url, body in [
        ("PUT", f"/groups/{strong['id']}/members/{colleague.user.id}", None),
        ("PATCH", f"/groups/{strong['id']}", {"role": None}),
        ("PATCH", f"/groups/{strong['id']}", {"name": "Mine"}),
        ("DELETE", f"/groups/{strong['id']}/roles/{role['id']}", None),
        ("DELETE", f"/groups/{strong['id']}", None),
        ("PATCH", f"/groups/{weak['id']}", {"role": "ai-configurator"}),
        ("PUT", f"/groups/{weak['id']}/roles/{role['id']}", None),
        ("PATCH", f"/roles/{role['id']}", {"permissions": []}),
        ("PATCH", f"/roles/{role['id']}", {"name": "Mine"}),
        ("DELETE", f"/roles/{role['id']}", None),
    ]:
        assert code(await admin.request(method, url, json=body)) == (403, "more-than-you-have"), (method, url, body)
    assert await permissions_of(colleague) == PLAIN
    seen = (await owner.get(f"/groups/{strong['id']}")).json()
    assert (seen["name"], seen["role"], seen["role_ids"]) == ("Strong", "ai-configurator", [role["id"]])


async def test_a_right_lost_a_moment_ago_is_not_given_on(owner, tenancy, app):
    """Who waits behind the change that takes their right away does not use it any more."""
    admin, role = await people_administrator(owner, tenancy, "audit")
    colleague = await tenancy.colleague(owner)
    audit = await owner.made("/roles", name="Auditors", permissions=["audit"])
    answers = await asyncio.gather(
        owner.patch(f"/roles/{role['id']}", json={"permissions": ["people"]}),
        admin.put(f"/users/{colleague.user.id}/roles/{audit['id']}"),
    )
    assert answers[0].status_code == 200
    given = Permission.AUDIT in await permissions_of(colleague)
    assert answers[1].status_code == (204 if given else 403)
    later = await admin.put(f"/users/{admin.user.id}/roles/{audit['id']}")
    assert code(later) == (403, "cannot-raise-yourself")
    other = await tenancy.colleague(owner)
    assert code(await admin.put(f"/users/{other.user.id}/roles/{audit['id']}")) == (403, "more-than-you-have")


async def test_everything_about_groups_and_roles_is_in_the_log(owner, tenancy, superuser):
    person = await tenancy.colleague(owner)
    group = await owner.made("/groups", name="Permits")
    role = await owner.made("/roles", name="Auditors", permissions=["audit"])
    await owner.patch(f"/groups/{group['id']}", json={"role": "user", "description": "x"})
    await owner.put(f"/groups/{group['id']}/members/{person.user.id}")
    await owner.put(f"/groups/{group['id']}/roles/{role['id']}")
    await owner.put(f"/users/{person.user.id}/roles/{role['id']}")
    await owner.patch(f"/roles/{role['id']}", json={"permissions": ["people"]})
    await owner.delete(f"/users/{person.user.id}/roles/{role['id']}")
    await owner.delete(f"/groups/{group['id']}/roles/{role['id']}")
    await owner.delete(f"/groups/{group['id']}/members/{person.user.id}")
    await owner.delete(f"/roles/{role['id']}")
    await owner.delete(f"/groups/{group['id']}")
    async with superuser.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT action, data, actor_id FROM events WHERE tenant_id = :t"
                " AND object_type IN ('group', 'role') ORDER BY seq"
            ),
            {"t": owner.tenant_id},
        )
        found = [(row.action, row.data) for row in rows if row.actor_id == owner.user.id]
    someone = {"user_id": str(person.user.id)}
    assert found == [
        ("group.created", {"name": "Permits", "role": None}),
        ("role.created", {"name": "Auditors", "permissions": ["audit"]}),
        ("group.updated", {"fields": ["description", "role"], "from": None, "to": "user"}),
        ("group.member_added", someone),
        ("role.granted", {"group_id": group["id"]}),
        ("role.granted", someone),
        ("role.updated", {"fields": ["permissions"], "added": ["people"], "removed": ["audit"]}),
        ("role.revoked", someone),
        ("role.revoked", {"group_id": group["id"]}),
        ("group.member_removed", someone),
        ("role.deleted", {"name": "Auditors"}),
        ("group.deleted", {"name": "Permits"}),
    ]
