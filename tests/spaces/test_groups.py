"""Groups as members of spaces."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import delete, update

from folkmoot.identity.models import User
from folkmoot.kit.access import Principal
from folkmoot.people.models import Group, GroupMember


async def put(client, space, group_id, role="viewer"):
    return await client.put(f"/spaces/{space}/groups/{group_id}", json={"role": role})


async def members(client, space):
    return (await client.get(f"/spaces/{space}/members")).json()["items"]


async def test_a_group_is_listed_beside_people_with_its_name(owner, tenancy, group):
    space = await owner.space()
    team = await group(owner, name="Permit office")
    answer = await put(owner, space, team, "editor")
    listed = {"user_id": None, "group_id": team, "name": "Permit office", "email": None, "role": "editor"}
    assert (answer.status_code, answer.json()) == (200, listed)
    assert (await members(owner, space))[1:] == [listed]


async def test_people_come_and_go_with_their_group(owner, tenancy, group, app):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    team = await group(owner)
    await put(owner, space, team)
    assert (await person.get(f"/spaces/{space}")).status_code == 404
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        work.session.add(GroupMember(tenant_id=owner.tenant_id, group_id=team, user_id=person.user.id))
    assert (await person.get(f"/spaces/{space}")).json()["role"] == "viewer"
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(delete(GroupMember).where(GroupMember.user_id == person.user.id))
    assert (await person.get(f"/spaces/{space}")).status_code == 404
    assert (await person.get("/spaces")).json()["items"] == []


async def test_a_deleted_group_lets_nobody_in(owner, tenancy, group, app):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    team = await group(owner, person)
    await put(owner, space, team, "admin")
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(delete(Group).where(Group.id == team))
    assert (await person.get(f"/spaces/{space}")).status_code == 404
    assert len(await members(owner, space)) == 1


async def test_taking_one_group_out_leaves_the_other_ways_in(owner, tenancy, group):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    first, second = await group(owner, person), await group(owner, person)
    await put(owner, space, first, "editor")
    await put(owner, space, second, "viewer")
    assert (await person.get(f"/spaces/{space}")).json()["role"] == "editor"
    assert (await owner.delete(f"/spaces/{space}/groups/{first}")).status_code == 204
    assert (await person.get(f"/spaces/{space}")).json()["role"] == "viewer"
    assert (await owner.delete(f"/spaces/{space}/groups/{first}")).status_code == 404
    assert (await owner.delete(f"/spaces/{space}/groups/{second}")).status_code == 204
    assert (await person.get(f"/spaces/{space}")).status_code == 404


async def test_who_is_in_through_a_group_cannot_leave_by_themself(owner, tenancy, group):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    await put(owner, space, await group(owner, person))
    assert (await person.delete(f"/spaces/{space}/members/{person.user.id}")).status_code == 404
    assert (await person.get(f"/spaces/{space}")).status_code == 200


async def test_a_group_of_admins_is_no_last_admin(owner, tenancy, group):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    await put(owner, space, await group(owner, person, owner), "admin")
    for answer in (
        await owner.delete(f"/spaces/{space}/members/{owner.user.id}"),
        await person.put(f"/spaces/{space}/members/{owner.user.id}", json={"role": "editor"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last-admin")


async def test_somebody_who_cannot_sign_in_is_no_other_admin(owner, tenancy, app):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": "admin"})
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(update(User).where(User.id == person.user.id).values(state="inactive"))
    answer = await owner.delete(f"/spaces/{space}/members/{owner.user.id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "last-admin")


@pytest.mark.parametrize("state", ["inactive", "deleted"])
async def test_somebody_who_is_shut_out_is_not_let_in(owner, tenancy, app, state):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(update(User).where(User.id == person.user.id).values(state=state))
    answer = await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": "viewer"})
    assert answer.status_code == 404
    assert len(await members(owner, space)) == 1


async def test_a_deleted_account_is_not_listed(owner, tenancy, app):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": "viewer"})
    assert len(await members(owner, space)) == 2
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(update(User).where(User.id == person.user.id).values(state="deleted"))
    assert [item["user_id"] for item in await members(owner, space)] == [str(owner.user.id)]


async def test_unknown_groups_and_those_of_another_organisation_are_not_there(owner, tenancy, group):
    space = await owner.space()
    foreign = await group(await tenancy.owner())
    for group_id in (foreign, str(uuid4())):
        assert (await put(owner, space, group_id)).status_code == 404
        assert (await owner.delete(f"/spaces/{space}/groups/{group_id}")).status_code == 404
    assert len(await members(owner, space)) == 1


@pytest.mark.parametrize("role", ["owner", "king", "", None, 1])
async def test_only_the_three_roles_are_given(owner, tenancy, group, role):
    space = await owner.space()
    person, team = await tenancy.colleague(owner), await group(owner)
    for path in (f"members/{person.user.id}", f"groups/{team}"):
        answer = await owner.put(f"/spaces/{space}/{path}", json={"role": role})
        assert (answer.status_code, answer.json()["code"]) == (400, "validation-failed")
    assert len(await members(owner, space)) == 1


async def test_nobody_raises_themself_or_their_group(owner, tenancy, group):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    team = await group(owner, person)
    await put(owner, space, team, "editor")
    for path in (f"members/{person.user.id}", f"groups/{team}"):
        assert (await person.put(f"/spaces/{space}/{path}", json={"role": "admin"})).status_code == 403
    assert (await person.get(f"/spaces/{space}")).json()["role"] == "editor"


async def test_members_are_read_page_by_page(owner, tenancy, group):
    space = await owner.space()
    teams = [await group(owner) for _ in range(4)]
    for team in teams:
        await put(owner, space, team)
    first = (await owner.get(f"/spaces/{space}/members", params={"limit": 3})).json()
    rest = (await owner.get(f"/spaces/{space}/members", params={"cursor": first["next_cursor"]})).json()
    assert [item["group_id"] for item in (*first["items"], *rest["items"])] == [None, *teams]
    assert rest["next_cursor"] is None


async def test_the_same_group_let_in_twice_at_once_is_in_once(owner, group):
    space = await owner.space()
    team = await group(owner)
    answers = await asyncio.gather(*(put(owner, space, team, role) for role in ("viewer", "editor", "viewer")))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(await members(owner, space)) == 2


async def test_each_change_is_an_event_and_a_repetition_is_none(owner, group, count):
    space = await owner.space()
    team = await group(owner)
    for role in ("viewer", "viewer", "editor"):
        await put(owner, space, team, role)
    await owner.delete(f"/spaces/{space}/groups/{team}")
    about = f"object_id = '{space}' AND data->>'group_id' = '{team}'"
    assert await count("events", f"{about} AND action = 'space.group_put'") == 2
    assert await count("events", f"{about} AND action = 'space.group_removed'") == 1
