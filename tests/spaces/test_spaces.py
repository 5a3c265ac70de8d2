"""Spaces, and who is in them."""

import asyncio
from uuid import uuid4

import pytest


async def put(client, space, person, role):
    return await client.put(f"/spaces/{space}/members/{person.user.id}", json={"role": role})


async def test_who_opens_a_space_is_its_admin(owner, tenancy):
    person = await tenancy.colleague(owner)
    made = await person.made("/spaces", name="Permits", description="About permits.")
    assert (made["name"], made["description"], made["role"]) == ("Permits", "About permits.", "admin")
    assert made["kind"] == "shared"
    members = (await person.get(f"/spaces/{made['id']}/members")).json()["items"]
    who = {"user_id": str(person.user.id), "group_id": None, "name": "Ada", "email": person.user.email}
    assert members == [{**who, "role": "admin"}]


async def test_a_space_is_for_its_members_alone_the_owner_of_the_organisation_included(owner, tenancy):
    person = await tenancy.colleague(owner)
    space = await person.space()
    assert (await owner.get(f"/spaces/{space}")).status_code == 404
    assert (await owner.get("/spaces")).json()["items"] == []


@pytest.mark.parametrize(
    ("role", "edits", "manages"), [("viewer", 403, 403), ("editor", 201, 403), ("admin", 201, 200)]
)
async def test_a_role_says_what_one_may_do(owner, tenancy, role, edits, manages):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    answer = (await put(owner, space, person, role)).json()
    assert (answer["user_id"], answer["role"]) == (str(person.user.id), role)
    assert (await person.get(f"/spaces/{space}")).json()["role"] == role
    assert (await person.post(f"/spaces/{space}/collections", json={"name": "C"})).status_code == edits
    assert (await person.patch(f"/spaces/{space}", json={"name": "New"})).status_code == manages
    assert (await person.delete(f"/spaces/{space}")).status_code == (204 if role == "admin" else 403)


async def test_the_last_admin_stays(owner, tenancy):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    for answer in (
        await put(owner, space, owner, "viewer"),
        await owner.delete(f"/spaces/{space}/members/{owner.user.id}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last-admin")
    await put(owner, space, person, "admin")
    assert (await put(owner, space, owner, "viewer")).status_code == 200
    assert (await owner.delete(f"/spaces/{space}/members/{owner.user.id}")).status_code == 204
    assert (await owner.get(f"/spaces/{space}")).status_code == 404


async def test_two_admins_cannot_remove_each_other_at_the_same_moment(owner, tenancy):
    space = await owner.space()
    person = await tenancy.colleague(owner)
    await put(owner, space, person, "admin")
    await asyncio.gather(
        owner.delete(f"/spaces/{space}/members/{person.user.id}"),
        person.delete(f"/spaces/{space}/members/{owner.user.id}"),
    )
    left = [await client.get(f"/spaces/{space}") for client in (owner, person)]
    assert any(answer.status_code == 200 and answer.json()["role"] == "admin" for answer in left)


async def test_somebody_who_is_not_there_cannot_be_let_in_or_out(owner):
    space = await owner.space()
    nobody = f"/spaces/{space}/members/{uuid4()}"
    assert (await owner.put(nobody, json={"role": "viewer"})).status_code == 404
    assert (await owner.delete(nobody)).status_code == 404
    assert (await owner.put(f"/spaces/{space}/members/{owner.user.id}", json={"role": "king"})).status_code == 400


async def test_a_deleted_space_takes_all_with_it(owner, count):
    space = await owner.space()
    collection = await owner.collection(space)
    await owner.assistant(space, collection)
    await owner.knows(collection, ("a.txt", b"Some text to be gone."))
    assert (await owner.delete(f"/spaces/{space}")).status_code == 204
    assert (await owner.delete(f"/spaces/{space}")).status_code == 404
    for table in ("collections", "documents", "chunks", "document_texts", "assistants", "assistant_versions"):
        assert await count(table, f"tenant_id = '{owner.tenant_id}'") == 0, table
    assert await count("events", f"tenant_id = '{owner.tenant_id}' AND action = 'space.deleted'") == 1
