"""A space whose last admin is gone gets one again: from the organisation's administrators, who never take it."""

import asyncio

import pytest
from sqlalchemy import text

from tests.support.groups import make_group


@pytest.fixture
async def lost(owner, tenancy):
    """A space whose only admin was shut out; with a viewer who is still there."""
    admin, viewer = await tenancy.colleague(owner), await tenancy.colleague(owner)
    space = await admin.space("Permits")
    await admin.put(f"/spaces/{space}/members/{viewer.user.id}", json={"role": "viewer"})
    assert (await owner.patch(f"/users/{admin.user.id}", json={"state": "inactive"})).status_code == 200
    return space, admin, viewer


async def appoint(by, space, person, role="admin"):
    return await by.put(f"/spaces/{space}/members/{person.user.id}", json={"role": role})


async def orphans(by):
    answer = await by.get("/spaces/orphaned")
    assert answer.status_code == 200, answer.text
    return {item["id"] for item in answer.json()["items"]}


def code(response):
    return response.status_code, response.json().get("code")


@pytest.mark.parametrize("gone", ["inactive", "deleted"])
async def test_an_administrator_appoints_somebody_once_the_last_admin_is_gone(owner, tenancy, superuser, gone):
    admin, heir = await tenancy.colleague(owner), await tenancy.colleague(owner)
    space = await admin.space("Permits")
    assert code(await appoint(owner, space, heir)) == (404, "not-found")
    assert await orphans(owner) == set()
    if gone == "deleted":
        assert (await owner.delete(f"/users/{admin.user.id}")).status_code == 204
    else:
        await owner.patch(f"/users/{admin.user.id}", json={"state": "inactive"})
    assert await orphans(owner) == {space}
    done = await appoint(owner, space, heir)
    assert (done.status_code, done.json()["role"]) == (200, "admin")
    assert (await heir.get(f"/spaces/{space}")).json()["role"] == "admin"
    assert await orphans(owner) == set()
    async with superuser.connect() as connection:
        found = await connection.execute(
            text("SELECT actor_id, data FROM events WHERE object_id = :s AND action = 'space.admin_appointed'"),
            {"s": space},
        )
        (event,) = found.all()
    assert event.actor_id == owner.user.id
    assert event.data == {"user_id": str(heir.user.id), "role": "admin"}


async def test_nobody_shuts_an_admin_out_to_get_at_their_space(owner, lost, tenancy):
    space, *_ = lost
    assert code(await appoint(owner, space, owner)) == (403, "cannot-raise-yourself")
    assert (await owner.get(f"/spaces/{space}")).status_code == 404
    assert (await owner.get(f"/spaces/{space}/members")).status_code == 404
    assert (await owner.delete(f"/spaces/{space}")).status_code == 404
    made = await owner.made("/api-keys", name="A program", scopes=["read", "write", "admin"])
    heir = await tenancy.colleague(owner)
    by_key = await heir.put(
        f"/spaces/{space}/members/{heir.user.id}",
        json={"role": "admin"},
        headers={"Authorization": f"Bearer {made['key']}"},
    )
    assert code(by_key) == (404, "not-found")


async def test_only_who_administers_the_organisation_appoints_and_sees_the_list(owner, lost, tenancy):
    space, _, viewer = lost
    configurator = await tenancy.colleague(owner, role="ai-configurator")
    assert code(await appoint(viewer, space, viewer)) == (403, "forbidden")
    assert code(await appoint(configurator, space, viewer)) == (404, "not-found")
    assert (await viewer.get("/spaces/orphaned")).status_code == 403
    other = await tenancy.owner()
    assert await orphans(other) == set()
    assert code(await appoint(other, space, other)) == (404, "not-found")
    assert (await appoint(owner, space, viewer)).status_code == 200
    assert (await viewer.get(f"/spaces/{space}")).json()["role"] == "admin"


async def test_what_would_leave_it_without_admin_is_refused(owner, lost):
    space, admin, viewer = lost
    assert code(await appoint(owner, space, viewer, "editor")) == (409, "space-without-admin")
    assert code(await appoint(owner, space, admin)) == (409, "person-not-active")
    assert await orphans(owner) == {space}


async def test_a_space_that_a_group_administers_is_no_orphan(owner, tenancy, app):
    admin, member = await tenancy.colleague(owner), await tenancy.colleague(owner)
    space = await admin.space()
    group = await make_group(app, owner, member)
    await admin.put(f"/spaces/{space}/groups/{group}", json={"role": "admin"})
    await owner.delete(f"/users/{admin.user.id}")
    assert await orphans(owner) == set()
    assert (await appoint(owner, space, member)).status_code == 404
    await owner.delete(f"/groups/{group}")
    assert await orphans(owner) == {space}


async def test_personal_spaces_and_that_of_the_organisation_are_nobodys_to_appoint_in(owner, tenancy):
    person, heir = await tenancy.colleague(owner), await tenancy.colleague(owner)
    personal = (await person.get("/spaces/personal")).json()["id"]
    common = (await owner.get("/spaces/organisation")).json()["id"]
    await owner.patch(f"/users/{person.user.id}", json={"state": "inactive"})
    assert await orphans(owner) == set()
    assert (await appoint(owner, personal, heir)).status_code == 404
    assert (await appoint(owner, common, heir)).status_code == 403


async def test_of_two_who_appoint_at_once_one_does(owner, lost, tenancy):
    space, *_ = lost
    another = await tenancy.colleague(owner, role="owner")
    heirs = [await tenancy.colleague(owner) for _ in range(2)]
    answers = await asyncio.gather(appoint(owner, space, heirs[0]), appoint(another, space, heirs[1]))
    assert sorted(answer.status_code for answer in answers) == [200, 404]
